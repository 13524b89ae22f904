/* SPDX-License-Identifier: Apache-2.0 */
/* own/batch_read.c on any body. The first byte chooses JSON or text. What comes out as a head
 * must be a good request, or at least one that the parser takes apart without harm, with no line
 * that the call did not ask for. */
#include <stdlib.h>

#include "http/h1_body.h"
#include "http/h1_parse.h"
#include "own/batch_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct batch_want *w)
{
    struct arena arena;
    struct h1_head head = {0};
    struct h1_body body;
    struct h1_error e;
    size_t scanned = 0;
    if ((w->head == NULL) == (w->wrong == NULL))
        abort();
    if (w->head == NULL)
        return;
    /* Exactly one head, which ends where it should. */
    if (h1_head_end(w->head, w->head_len, &scanned, false) != w->head_len)
        abort();
    arena_init(&arena, NULL, 0);
    fields_init(&head.fields, &arena, NULL, 0);
    if (h1_parse_request(&head, w->head, w->head_len, false, &e)) {
        if (!h1_body_of_request(&body, &head, &e) || fields_has(&head.fields, FIELD_UPGRADE) ||
            body.framing == H1_FRAMING_CHUNKED || body.length != w->body_len)
            abort();
        h1_body_clear(&body);
    } else if (e.code != FAULT_HEAD_TOO_LARGE) {
        abort();
    }
    arena_clear(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct batch_reader r;
    if (size == 0)
        return 0;
    batch_read_init(&r, str_make((const char *)data + 1, size - 1), data[0] & 1, 50, 65536);
    enum batch_read_result result;
    do {
        result = batch_read_step(&r);
    } while (result == BATCH_READ_MORE);
    for (unsigned i = 0; result == BATCH_READ_DONE && i < r.n; i++)
        check(&r.v[i]);
    batch_read_clear(&r);
    return 0;
}
