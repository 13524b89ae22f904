/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target: two targets, a line each, as a walk; and the fields that name a next page. What
 * follows them follows the second one by the same step. */
#include <stdlib.h>

#include "own/link.h"
#include "own/sequence.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void check_walk(struct str a, struct str b)
{
    struct sequence from, to, next;
    struct sequence_step step, again;
    char *text = xmalloc(sequence_room(b) + a.len + 1);
    if (!sequence_read(&from, a) || !sequence_read(&to, b) || !sequence_step(&from, &to, &step)) {
        free(text);
        return;
    }
    must(sequence_shape(&from, a, text) <= a.len);
    size_t n = sequence_next(&to, b, &step, 1, text);
    must(n <= sequence_room(b));
    if (n > 0 && sequence_read(&next, str_make(text, n)) && next.n == to.n)
        must(sequence_step(&to, &next, &again) && sequence_step_is(&step, &again));
    (void)sequence_next(&to, b, &step, UINT64_MAX, text);
    free(text);
}

static void check_link(struct str base, struct str value)
{
    struct arena arena;
    struct str uri, target;
    arena_init(&arena, NULL, 0);
    if (link_next(value, &uri)) {
        must(uri.p >= value.p && uri.p + uri.len <= value.p + value.len);
        if (link_resolve(&arena, base, uri, &target))
            must(target.len > 0 && target.p[0] == '/');
    }
    arena_clear(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str all = str_make((const char *)data, size);
    size_t n = str_find(all, '\n');
    struct str rest = str_from_byte(all, n + 1);
    check_walk(str_make(all.p, n), rest);
    check_link(str_make(all.p, n), rest);
    return 0;
}
