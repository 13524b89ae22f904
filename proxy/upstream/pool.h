/* SPDX-License-Identifier: Apache-2.0 */
/* Between the pool and the transports; nobody else includes it. A transport embeds struct pool_conn
 * first in its connection and tells the pool when a request is over. */
#ifndef TLSFAN_UPSTREAM_POOL_H
#define TLSFAN_UPSTREAM_POOL_H

#include "upstream/origin.h"

/* One connection. Owner: the pool while idle, whoever holds its ustream while busy. Closed by
 * close(). */
struct pool_conn {
    struct ustream us;
    struct list link;   /* in origin->idle; in no list while busy */
    struct list by_age; /* in pool->idle */
    struct pool *pool;  /* borrowed, outlives it */
    struct origin *origin;
    struct stream *stream;       /* owned */
    const struct forward_id *id; /* borrowed: for Via */
    int64_t born;                /* µs */
    int64_t idle_since;          /* µs */
    bool is_busy;
    void (*close)(
        struct pool_conn *c); /* closes it at once, telling nobody; ends in pool_conn_gone() */
};

/* The request on C is over and C can take another one: it is idle from now on, or closed. Its slot
 * is free. */
void pool_conn_idle(struct pool_conn *c);
/* C is closed: idle or busy, its slot is free. */
void pool_conn_gone(struct pool_conn *c);
/* C's stream goes its own way and keeps the slot: a token for pool_release_slot(). Then C is as
 * gone. */
void *pool_conn_taken(struct pool_conn *c);

#endif
