/* SPDX-License-Identifier: Apache-2.0 */
/* Long bodies: see batch_body.h. Neither coding makes a text longer, so there is room from the
 * beginning. */
#include "own/batch_body.h"

#include <stdlib.h>

#include "base/mem.h"

enum { PIECE = 2048, ROOM = 8 }; /* bytes of base64 at a time; that a piece may be longer */

static void body_begin(struct batch_body *b, size_t len)
{
    free(b->bytes); /* of the other one: both are refused later */
    b->bytes = xmalloc(len + ROOM);
    b->len = 0;
    memset(&b->text, 0, sizeof b->text);
}

static void body_take_base64(struct batch_body *b, struct str s)
{
    char digits[PIECE + ROOM];
    while (s.len > 0 && b->text.wrong == NULL) {
        size_t n = s.len < PIECE ? s.len : PIECE, got = 0;
        struct str piece = {digits, json_unescape(&b->text, digits, str_make(s.p, n))};
        if (!b->is_bad_base64)
            b->is_bad_base64 = !base64_take(&b->base64, b->bytes + b->len, piece, &got);
        b->len += got;
        s = str_from_byte(s, n);
    }
}

/* Some of CUT; true when all of it is done, or it is wrong. */
static bool body_take(struct batch_body *b, const struct batch_cut *cut, struct str whole,
                      size_t *left)
{
    size_t len = cut->end - cut->begin, n = len - b->done;
    if (b->done == 0)
        body_begin(b, len);
    if (n > *left)
        n = *left;
    struct str some = str_make(whole.p + cut->begin + b->done, n);
    if (b->member == BATCH_BASE64)
        body_take_base64(b, some);
    else
        b->len += json_unescape(&b->text, b->bytes + b->len, some);
    b->done += n;
    *left -= n;
    b->wrong_at = cut->begin + b->text.at;
    if (b->text.wrong == NULL && b->done < len)
        return false;
    return json_unescape_end(&b->text) || b->text.wrong != NULL;
}

bool batch_body_step(struct batch_body *b, const struct batch_scan *s, struct str whole,
                     size_t *left)
{
    for (; b->member < BATCH_MEMBERS && b->text.wrong == NULL; b->member++) {
        const struct batch_cut *cut = &s->cuts[b->member];
        if (cut->end == 0)
            continue;
        if (!body_take(b, cut, whole, left))
            return false;
        if (b->member == BATCH_BASE64 && !base64_is_whole(&b->base64))
            b->is_bad_base64 = true;
        b->done = 0;
    }
    return true;
}

/* The cut that begins first at or behind FROM; NULL: none. */
static const struct batch_cut *body_next_cut(const struct batch_scan *s, size_t from)
{
    const struct batch_cut *next = NULL;
    for (unsigned i = 0; i < BATCH_MEMBERS; i++) {
        const struct batch_cut *cut = &s->cuts[i];
        if (cut->end > from && (next == NULL || cut->begin < next->begin))
            next = cut;
    }
    return next;
}

size_t batch_rest_size(const struct batch_scan *s)
{
    size_t n = s->at - s->begin;
    for (unsigned i = 0; i < BATCH_MEMBERS; i++)
        n -= s->cuts[i].end - s->cuts[i].begin;
    return n;
}

char *batch_rest(const struct batch_scan *s, struct str whole)
{
    char *text = xmalloc(batch_rest_size(s)), *to = text;
    for (size_t from = s->begin; from < s->at;) {
        const struct batch_cut *next = body_next_cut(s, from);
        size_t n = (next == NULL ? s->at : next->begin) - from;
        memcpy(to, whole.p + from, n);
        to += n;
        from = next == NULL ? s->at : next->end;
    }
    return text;
}

size_t batch_rest_place(const struct batch_scan *s, size_t at)
{
    size_t place = s->begin + at;
    const struct batch_cut *next = body_next_cut(s, s->begin);
    for (; next != NULL && next->begin < place; next = body_next_cut(s, next->end))
        place += next->end - next->begin;
    return place;
}
