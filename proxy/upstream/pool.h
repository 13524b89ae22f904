/* SPDX-License-Identifier: Apache-2.0 */
/* The pool of one worker: who asks it gets a place on a connection to an origin.
 *
 *     us = pool_get(pool, &where, &how, &wait);
 *         NULL: wait.on_ready(us) or wait.on_fault() comes later; or pool_cancel()
 *     ... ustream.h
 */
#ifndef TLSFAN_UPSTREAM_POOL_H
#define TLSFAN_UPSTREAM_POOL_H

#include "upstream/ustream.h"
#include "upstream/want.h"

struct budget;
struct dns;
struct forward_id;
struct origin;
struct pool;
struct pool_dial;
struct tally;
struct wait_group;

/* What a request waits for; from WAIT_UNDIALLED on it has a slot. */
enum wait_state {
    WAIT_NONE,      /* it does not */
    WAIT_QUEUED,    /* for a slot, queue_timeout at most */
    WAIT_UNDIALLED, /* for the plan (pool_plan.c); then for the dial of another, or a descriptor */
    WAIT_DIALLED    /* for a dial of its own, or any other connection that comes first */
};

/* A request that waits for a connection or a slot. Embedded in its owner, zero-initialised. */
struct pool_wait {
    struct list link; /* in `group` or queue->ahead, or in `undialled` or `dialled` of the origin */
    struct origin *origin;    /* NULL: not waiting */
    struct wait_group *group; /* while it waits for a slot; NULL: made ahead */
    struct pool_dial *dial;   /* exactly while it is WAIT_DIALLED */
    enum wait_state state;    /* pool_wait_set_state() */
    struct deadline deadline; /* the end of `state` */
    bool had_dial;            /* one was made for it, or adopted */
    bool is_held;             /* UNDIALLED: by the plan, for a dial of another or a descriptor */
    bool is_hungry;           /* for a descriptor, once at least: `deadline` is of that */
    bool is_timed;            /* UNDIALLED: there is a connection, and it waits for its time */
    bool was_timed;           /* that, or in the queue: its time had not come */
    bool is_apart;            /* one that it counted on has failed: it gets one of its own */
    int64_t since;            /* µs */
    struct up_facts failed; /* of the dial whose fault is told; `place` after pool_cancel(), too */
    int64_t queued_us;      /* how long it waited for a slot, or for another's connection */
    struct up_where where;  /* slices point into the owner's memory, which outlives the wait */
    struct up_how how;
    void (*on_ready)(void *arg, struct ustream *us);
    void (*on_fault)(void *arg, const struct fault *f);
    void *arg;
};

/* The pool of one worker. ID for Via; BUDGET for buffers; it counts in TALLY. All borrowed. */
struct pool *pool_new(struct loop *l, struct dns *dns, const struct forward_id *id,
                      struct budget *budget, struct tally *tally);
/* Closes idle connections of snapshots older than GENERATION, some now and the rest in the next
 * milliseconds, and busy ones when they come back. */
void pool_retire(struct pool *p, unsigned generation);
/* Closes everything; no request may be under way. */
void pool_close(struct pool *p);

/* A warm connection with a slot under max_per_host, where there is one and nobody waits for it: to
 * find it calls nobody back and reads nothing, so that it may be asked for anywhere. Or NULL, and
 * WAIT (callbacks and arg set by the caller) will be told, never before this returns. Faults: those
 * of dial.h, and FAULT_LIMIT after queue_timeout. */
struct ustream *pool_get(struct pool *p, const struct up_where *where, const struct up_how *how,
                         struct pool_wait *wait);
/* The origin at WHERE has asked for a pause: no request of it begins within MS milliseconds, in no
 * worker, where its rule says retry_after. */
void pool_pause(struct pool *p, const struct up_where *where, int64_t ms);
/* WAIT, which was made ahead, is in a queue where it will have its turn. */
bool pool_is_in_line(const struct pool_wait *wait);
/* Somebody asks for what WAIT was made ahead for: it waits among others from now on,
 * as HOW says whose it is. */
void pool_want(struct pool_wait *wait, const struct up_how *how);
/* How many answers the origin at WHERE has begun here so far. */
uint64_t pool_answers(struct pool *p, const struct up_where *where);
/* WAIT is not told any more. Harmless when it is not waiting. */
void pool_cancel(struct pool_wait *wait);
/* Ends the slot of a connection that was taken; NULL: it had none. */
void pool_release_slot(void *slot);

/* How far WAIT, which waits, has come. */
void pool_progress(const struct pool_wait *wait, struct up_progress *p);

/* How many connections are idle / in use, for tests. */
void pool_count(const struct pool *p, unsigned *idle, unsigned *busy);

#endif
