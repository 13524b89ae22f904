/* SPDX-License-Identifier: Apache-2.0 */
/* max_per_host: how many requests are under way to one origin over all workers. Taking and giving
 * back a slot is one atomic operation on the origin's own cache line; only where somebody waits a
 * lock is taken.
 *
 *     limit_take(l, max) ... limit_give(l)      a request
 *     limit_wait(l, seat, m, max); limit_take(l, max)
 *                                               nothing free: sit down, then look once more
 *     the member's on_turn(seat)                limit_take_turn(seat, l, max) for who waits: a slot
 *                                               is kept for it, so that whose thread is quicker
 *                                               takes none away
 *     limit_leave(seat)                         nobody waits any more
 */
#ifndef TLSFAN_UPSTREAM_LIMIT_H
#define TLSFAN_UPSTREAM_LIMIT_H

#include "base/list.h"
#include "base/loop.h"

struct limit_seat;
struct limit; /* of one origin (host, port, TLS or not), whatever the configuration; counted
                 references */

/* A worker that may wait. Embedded in its pool. */
struct limit_member {
    struct list link;
    uint64_t id;
    struct loop *loop;
    void (*on_turn)(void *arg, struct limit_seat *seat); /* on the loop's thread; must not part */
    void *arg;
    struct list called; /* its seats whose turn it is, of which it has not heard yet */
};

/* A member's place in the queue of one limit. Embedded, zero-initialised; one thread uses it. */
struct limit_seat {
    struct list link;
    struct list called;
    struct limit *limit; /* NULL: not waiting */
    struct limit_member *member;
    unsigned max;          /* with which it takes */
    _Atomic unsigned kept; /* slots that are its own, counted as taken */
};

/* From any thread; on_turn() may come between join and part. */
void limit_join(struct limit_member *m, struct loop *l,
                void (*on_turn)(void *, struct limit_seat *), void *arg);
void limit_part(struct limit_member *m);

/* Finds or makes; a reference for the caller. */
struct limit *limit_get(struct str host, uint16_t port, bool tls);
void limit_put(struct limit *l);

/* False when MAX requests (0: any number) are under way already. */
MUST_CHECK bool limit_take(struct limit *l, unsigned max);
/* The same for who waits by SEAT, which may have slots that are kept for it. */
MUST_CHECK bool limit_take_turn(struct limit_seat *seat, struct limit *l, unsigned max);
/* Ends a request. When members wait, the one whose turn it is has the
 * slot, and is told; when that is SELF, its seat is returned instead, and the slot is free. */
MUST_CHECK struct limit_seat *limit_give(struct limit *l, const struct limit_member *self);

/* SEAT waits for what limit_take() with MAX would give: one snapshot may have another number than
 * the next. Afterwards limit_take() must be tried once more: a slot given back before this was told
 * to nobody. */
void limit_wait(struct limit *l, struct limit_seat *seat, struct limit_member *m, unsigned max);
/* Idempotent. A turn that came too late for SEAT goes on to the next member. */
void limit_leave(struct limit_seat *seat);

/* Somebody waits, on whatever thread. */
bool limit_is_waited_for(const struct limit *l);
/* Requests under way, for tests. */
unsigned limit_in_use(const struct limit *l);

#endif
