/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the pool share: pool.c (slots, waiting), pool_plan.c (who gets what),
 * pool_conn.c (connections), pool_dial.c (making them), pool_room.c (descriptors, and how many may
 * be idle), pool_memory.c (max_memory). Nobody else includes it. */
#ifndef TLSFAN_UPSTREAM_POOL_IMPL_H
#define TLSFAN_UPSTREAM_POOL_IMPL_H

#include "upstream/dial.h"
#include "upstream/pool_conn.h"
#include "upstream/up_h2_spare.h"

/* Owner: the worker. Closed by pool_close(). */
struct pool {
    struct loop *loop;
    struct dns *dns; /* borrowed, like the next two */
    const struct forward_id *id;
    struct budget *budget;
    struct origins origins;
    struct limit_member member;
    struct list idle;       /* struct pool_conn by_age, longest idle first */
    struct deadline expiry; /* of the front of `idle`, or sooner */
    unsigned n_idle, n_busy;
    unsigned n_made;        /* connections, ever: the number of the next one and -1 */
    struct room_cell *cell; /* what other pools may know; the next three: pool_room.c */
    struct list starved;    /* struct origin: who waits for a connection lacks a descriptor */
    struct up_h2_spare h2;
    struct post feed;
    struct deadline hunger;
    unsigned generation; /* connections of older snapshots are not kept */
    struct reap reap;
};

/* A dial under way. Owner: its origin. Ended by pool_dial_cancel(), or when it is over. */
struct pool_dial {
    struct list link;      /* in origin->dials */
    struct dial *token;    /* NULL while an issuer is fetched */
    struct issuer *issuer; /* a token; then it is dialled again */
    struct refetch *again; /* heap, what that takes; NULL: it will not come to that */
    struct origin *origin;
    struct pool_wait *wait; /* borrowed, wait->dial points back; NULL: for whoever comes */
    bool offers_h2;
    struct share share; /* of the handshake */
};

/* ---- pool.c */

/* A slot of O; false when none is free, or IS_AHEAD and none but the last, which is kept for who
 * asks. And one request of O has ended: its slot goes to whose turn it is. */
MUST_CHECK bool pool_slot_take(struct origin *o, bool is_ahead);
void pool_slot_give(struct origin *o);
/* WAIT is in STATE; its deadline is over. */
void pool_wait_set_state(struct pool_wait *wait, enum wait_state state);
/* Who is next in the queue of O, and now in no list; there is one. */
struct pool_wait *pool_wait_next(struct origin *o);
/* WAIT has a slot and no dial: it waits for the plan, behind those who do. */
void pool_wait_undial(struct pool_wait *wait);
/* WAIT, which is undialled, waits for its time (pace.h). */
void pool_wait_time(struct pool_wait *wait);
/* ms until queue_timeout of WAIT is over, at least 1; 0: never. */
int64_t pool_wait_left(const struct pool_wait *wait);
/* WAIT waits in WAITS from now on: at its end, but before those that nobody has asked for yet. */
void pool_wait_push(struct list *waits, struct pool_wait *wait);
/* WAIT gets US, or fails with F. */
void pool_wait_serve(struct pool_wait *wait, struct ustream *us);
void pool_wait_fail(struct pool_wait *wait, const struct fault *f);

/* ---- pool_plan.c */

/* Makes the plan of O, with N_DIALS new ones at most. It calls back: only from a post, or the
 * like. */
void pool_plan(struct origin *o, unsigned n_dials);
/* Origin's `serve`: the plan, as things are. */
void pool_serve(void *origin);
/* Somebody may wait for what has changed at O: the plan is made later in this turn. */
void pool_replan(struct origin *o);

/* ---- pool_memory.c */

/* True when idle connections cost what others need more. */
bool pool_is_tight(const struct pool *p);

/* ---- pool_conn.c */

/* A place on the most recently used connection of O that is fit for HOW, or NULL. Reads nothing:
 * an idle one that something has come on sets o->is_restless, and is read later in this turn. */
struct ustream *pool_conn_find(struct origin *o, const struct up_how *how);
/* The same where a request of O may begin now, which it then does. */
struct ustream *pool_conn_find_in_time(struct origin *o, const struct up_how *how);
/* C is new: gives a place on it, or keeps it for whoever comes. */
struct ustream *pool_conn_use(struct pool_conn *c);
void pool_conn_keep(struct pool_conn *c);
/* Closes what is idle and too old, or of an older snapshot; many not all at once. */
void pool_conn_expire(void *pool);
/* Closes idle ones whose address has left the DNS. */
void pool_conn_close_gone(void *origin);

/* ---- pool_dial.c */

/* WAIT, which is undialled, takes over a dial that nobody waits for any more; false: there is none
 * that it may have. */
MUST_CHECK bool pool_dial_adopt(struct origin *o, struct pool_wait *wait);
/* Or has a new one. For the plan alone. */
void pool_dial_begin(struct origin *o, struct pool_wait *wait);
void pool_dial_cancel(struct pool_dial *d);
/* How many of those who wait, beside those whose dials these are, will find a place on connections
 * that are being made: as many as it takes while it is not known whether they speak HTTP/2. */
unsigned pool_dial_room(struct origin *o);
/* True when WAIT may ride such a connection. */
bool pool_dial_suits(const struct origin *o, const struct pool_wait *wait);

/* ---- pool_room.c */

void pool_room_init(struct pool *p);
void pool_room_close(struct pool *p);
/* DELTA more connections are open. */
void pool_room_conns(int delta);
/* One more is in p->idle, or one less. */
void pool_room_idle(struct pool *p);
void pool_room_used(struct pool *p);
/* Closes the one that has been idle longest, of whatever pool, while there are too many. */
void pool_room_trim(struct pool *p);
/* True while a dial of P must wait for its turn. */
bool pool_room_is_starving(const struct pool *p);
/* WAIT, which is undialled, waits for a descriptor: queue_timeout at most, all in all. */
void pool_room_wait(struct pool_wait *wait);
/* Some at O lack a descriptor, or none does. */
void pool_room_set(struct origin *o, bool is_hungry);
/* A dial of O has just found none. Calls nobody back. */
void pool_room_starve(struct origin *o);
/* A descriptor may have come free. */
void pool_room_feed(struct pool *p);

#endif
