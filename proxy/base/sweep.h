/* SPDX-License-Identifier: Apache-2.0 */
/* Timeouts for objects that come and go by the thousand a second (exchanges): setting and clearing
 * one touches no timer. One deadline stands for all; when it passes, the list is looked through.
 * Late by 20 ms at most, or by 10 ms for each thousand that are set, up to 200 ms: so looking
 * through them takes a small part of a worker's time. Of those that are due together 64 are called
 * in a millisecond. */
#ifndef TLSFAN_BASE_SWEEP_H
#define TLSFAN_BASE_SWEEP_H

#include "base/loop.h"

struct sweep {
    struct list set; /* struct timeout */
    struct deadline next;
    int64_t next_at; /* µs, of the deadline; 0: none */
    int64_t grain;   /* µs: so long it waits at least from one look to the next */
};

/* Embedded in its object. */
struct timeout {
    struct list link;
    int64_t at; /* µs */
    void (*fn)(void *arg);
    void *arg;
};

void sweep_init(struct sweep *s, struct loop *l);
/* Every timeout must have been cleared. */
void sweep_close(struct sweep *s);

void timeout_init(struct timeout *t, void (*fn)(void *arg), void *arg);
/* Calls T's fn once in MS milliseconds, unless it is set again or cleared before; MS <= 0 clears
 * it. */
void sweep_set(struct sweep *s, struct timeout *t, int64_t ms);
/* The same from NOW on, which the caller has read already. */
void sweep_set_from(struct sweep *s, struct timeout *t, int64_t ms, int64_t now);
void timeout_clear(struct timeout *t);
/* TO, of the same sweep, is called when FROM would have been, which is cleared; nothing happens
 * where that is not set. */
void timeout_pass(struct timeout *from, struct timeout *to);
static inline bool timeout_is_set(const struct timeout *t)
{
    return !list_is_empty(&t->link);
}

#endif
