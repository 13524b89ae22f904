/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the pool share: pool.c (slots, waiting, serving), pool_conn.c (connections),
 * pool_dial.c (making them). Nobody else includes it. */
#ifndef TLSFAN_UPSTREAM_POOL_IMPL_H
#define TLSFAN_UPSTREAM_POOL_IMPL_H

#include "upstream/dial.h"
#include "upstream/pool.h"

/* Owner: the worker. Closed by pool_close(). */
struct pool {
    struct loop *loop;
    struct dns *dns; /* borrowed, like the next two */
    const struct forward_id *id;
    struct budget *budget;
    struct origins origins;
    struct limit_member member;
    struct list waiting;    /* struct origin with waiters for a slot */
    struct list idle;       /* struct pool_conn by_age, longest idle first */
    struct deadline expiry; /* of the front of `idle`, or sooner */
    unsigned n_idle, n_busy;
    unsigned generation; /* connections of older snapshots are not kept */
    int64_t
        asked_others; /* µs: when the pools of other workers were last asked to give up theirs */
    struct reap reap;
};

/* A dial under way. Owner: its origin. Ended by pool_dial_cancel(), or when it is over. */
struct pool_dial {
    struct list link; /* in origin->dials */
    struct dial *token;
    struct origin *origin;
    struct pool_wait *wait; /* borrowed, wait->dial points back; NULL: for whoever comes */
    bool offers_h2;
    struct share share; /* of the handshake */
};

/* ---- pool.c */

/* One request of O has ended: its slot goes to whose turn it is. */
void pool_slot_give(struct origin *o);
/* WAIT does not count on the dial of somebody else any more. */
void pool_wait_unhold(struct pool_wait *wait);
/* WAIT gets US, or fails with F. */
void pool_wait_serve(struct pool_wait *wait, struct ustream *us);
void pool_wait_fail(struct pool_wait *wait, const struct fault *f);

/* ---- idle.c */

/* True when idle connections cost what others need more. */
bool pool_is_tight(const struct pool *p);
/* Closes idle connections of P alone while that is so. */
void pool_give_up_own(struct pool *p);

/* ---- pool_conn.c */

/* A place on the most recently used connection of O that is fit for WANT, or NULL. */
struct ustream *pool_conn_find(struct origin *o, const struct up_want *want);
/* C is new: gives a place on it, or keeps it for whoever comes. */
struct ustream *pool_conn_use(struct pool_conn *c);
void pool_conn_keep(struct pool_conn *c);
void pool_conn_expire(void *pool);
/* Closes the one that has been idle longest; there must be one. */
void pool_conn_drop_oldest(struct pool *p);

/* ---- pool_dial.c */

/* Gets a connection under way for WAIT, which holds a slot: its own dial, or one that nobody waits
 * for any more. */
void pool_dial_for(struct origin *o, struct pool_wait *wait);
void pool_dial_cancel(struct pool_dial *d);
/* How many of those who wait, beside those whose dials these are, will find a place on connections
 * that are being made: as many as it takes while it is not known whether they speak HTTP/2. */
unsigned pool_dial_room(const struct origin *o);
/* True when WAIT may ride such a connection. */
bool pool_dial_suits(const struct origin *o, const struct up_want *want);

#endif
