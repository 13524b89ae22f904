/* SPDX-License-Identifier: Apache-2.0 */
/* Rings as one list: see feed.h. Writers do not wait: a record may be gone between two looks. */
#include "service/feed.h"

#include <stdlib.h>

#include "exchange/exchange.h"

struct feed *feed_new(int64_t since, unsigned n)
{
    struct feed *f = xcalloc(1, sizeof *f + n * sizeof f->v[0]);
    f->since = since;
    f->n = n;
    return f;
}

/* False when TEXT is no cursor of this process. */
static bool feed_parse(struct feed *f, struct str text)
{
    struct str part;
    uint64_t since;
    if (!str_next_part(&text, '.', &part) || !str_hex_to_u64(part, &since) ||
        since != (uint64_t)f->since)
        return false;
    for (unsigned i = 0; i < f->n; i++) {
        struct feed_ring *r = &f->v[i];
        if (!str_next_part(&text, '.', &part) || !str_hex_to_u64(part, &r->from) ||
            r->from > ring_end(r->ring))
            return false;
    }
    return text.len == 0;
}

void feed_begin(struct feed *f, struct str cursor)
{
    f->goes_on = feed_parse(f, cursor);
    for (unsigned i = 0; i < f->n; i++) {
        struct feed_ring *r = &f->v[i];
        uint64_t begin = ring_begin(r->ring, ring_end(r->ring));
        if (!f->goes_on)
            r->from = begin;
        /* Who was told more than the worker has said since then waits until it says more. */
        if (r->end < r->from)
            r->end = r->from;
        r->held = r->from > begin ? r->from : begin < r->end ? begin : r->end;
    }
}

uint64_t feed_gone(const struct feed *f)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < f->n; i++)
        n += f->v[i].held - f->v[i].from;
    return n;
}

uint64_t feed_left(const struct feed *f)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < f->n; i++)
        n += f->v[i].end - f->v[i].held;
    return n;
}

/* Sets PICK to record NUMBER of ring I; false when it is gone. */
static bool feed_look(const struct feed *f, unsigned i, uint64_t number, struct feed_pick *pick)
{
    struct exchange_times t;
    if (!ring_get(f->v[i].ring, number, &t, sizeof t))
        return false;
    *pick = (struct feed_pick){.ring = i, .number = number, .end = t.end};
    return true;
}

/* ---- some of all */

static int compare_picks(const void *a, const void *b)
{
    const struct feed_pick *one = a;
    const struct feed_pick *other = b;
    return (one->end > other->end) - (one->end < other->end);
}

unsigned feed_sample(struct feed *f, struct feed_pick *picks, unsigned max)
{
    unsigned n = 0;
    struct feed_pick *all = xcalloc(feed_left(f) + 1, sizeof *all);
    for (unsigned i = 0; i < f->n; i++) {
        struct feed_ring *r = &f->v[i];
        for (; r->held < r->end; r->held++)
            n += feed_look(f, i, r->held, &all[n]);
    }
    qsort(all, n, sizeof *all, compare_picks);
    unsigned shown = n < max ? n : max;
    for (unsigned i = 0; i < shown; i++)
        picks[i] = all[f->goes_on ? (uint64_t)i * n / shown : n - shown + i];
    free(all);
    return shown;
}

/* ---- the first ones */

/* The next record of ring I that is there. */
static bool feed_peek(struct feed *f, unsigned i, struct feed_pick *pick)
{
    struct feed_ring *r = &f->v[i];
    for (; r->held < r->end; r->held++)
        if (feed_look(f, i, r->held, pick))
            return true;
    return false;
}

/* What ends first of what comes next in the rings; NEXT[i].number is UINT64_MAX where nothing does.
 */
static struct feed_pick *feed_first(struct feed_pick *next, unsigned n)
{
    struct feed_pick *first = NULL;
    for (unsigned i = 0; i < n; i++)
        if (next[i].number != UINT64_MAX && (first == NULL || next[i].end < first->end))
            first = &next[i];
    return first;
}

static void feed_advance(struct feed *f, unsigned i, struct feed_pick *next)
{
    if (!feed_peek(f, i, next))
        next->number = UINT64_MAX;
}

unsigned feed_take(struct feed *f, struct feed_pick *picks, unsigned max)
{
    unsigned n = 0;
    struct feed_pick *first;
    struct feed_pick *next = xcalloc(f->n + 1, sizeof *next);
    for (unsigned i = 0; i < f->n; i++)
        feed_advance(f, i, &next[i]);
    while (n < max && (first = feed_first(next, f->n)) != NULL) {
        picks[n++] = *first;
        f->v[first->ring].held++;
        feed_advance(f, first->ring, first);
    }
    free(next);
    return n;
}

char *feed_cursor(const struct feed *f)
{
    char *text = xcalloc(f->n + 1, 17);
    size_t n = str_put_hex(text, (uint64_t)f->since);
    for (unsigned i = 0; i < f->n; i++) {
        text[n++] = '.';
        n += str_put_hex(text + n, f->v[i].held);
    }
    return text;
}
