/* SPDX-License-Identifier: Apache-2.0 */
/* Between the pool and the transports; nobody else includes it. A transport embeds struct pool_conn
 * first in its connection, and tells the pool when a request on it is over. */
#ifndef TLSFAN_UPSTREAM_POOL_CONN_H
#define TLSFAN_UPSTREAM_POOL_CONN_H

#include "net/tls_client.h"
#include "upstream/origin.h"

struct pool_conn;
struct up_h2_spare;

struct pool_conn_ops {
    /* A place for one more request. Only while there is room. */
    struct ustream *(*open)(struct pool_conn *c);
    /* Closes C, which carries nothing, telling nobody; ends in pool_conn_gone(). */
    void (*close)(struct pool_conn *c);
};

/* One connection. Owner: the pool while it carries no request, else the requests together. It is in
 * origin->open while it has room (n_requests < room, and see carry.h), and in pool->idle exactly
 * while n_requests is 0. */
struct pool_conn {
    const struct pool_conn_ops *ops;
    struct list link;            /* in origin->open */
    struct list by_age;          /* in pool->idle */
    struct pool *pool;           /* borrowed, outlives it */
    struct origin *origin;       /* borrowed, outlives it */
    struct peer *peer;           /* borrowed from it; NULL: its address is none of the DNS */
    struct stream *stream;       /* owned; NULL: C is closed */
    const struct forward_id *id; /* borrowed: for Via */
    struct up_facts facts;       /* of its first request, and then of the others */
    unsigned n_requests;         /* that it carries */
    unsigned n_begun;            /* that it was given since it was made */
    unsigned n_answered;         /* of them: those whose answer has begun */
    bool is_short;               /* it has turned others away: pool_conn_carried() */
    unsigned n_refused;   /* that were turned away since the last answer: pool_conn_refused() */
    unsigned room;        /* how many it may carry at once: 1 by HTTP/1 */
    size_t holds;         /* bytes: see struct pool_made */
    bool is_shared;       /* HTTP/2 */
    bool is_settling;     /* HTTP/2: `room` is a guess until the peer has said it */
    bool is_going;        /* takes no other request, and is closed behind the last one */
    bool is_reading;      /* what came is being taken in, so it is alive */
    enum up_loss refusal; /* HTTP/2: pool_conn_refusal(), once it is lost */
    int64_t born;         /* µs */
    int64_t idle_since;   /* µs, 0: it carries its first requests */
};

/* What a transport makes a connection of; STREAM is its own from then on. FACTS: peer and times. */
struct pool_made {
    struct loop *loop;
    struct pool *pool;
    struct origin *origin;
    struct stream *stream; /* connected, as struct dial_result gives it */
    const struct forward_id *id;
    struct budget *budget;  /* NULL allowed */
    struct up_h2_spare *h2; /* of its pool */
    size_t holds;           /* about what the connection costs, by what it speaks: bytes */
    struct up_facts facts;
};

/* Fills in what all transports have in common. C->room is 1. */
void pool_conn_init(struct pool_conn *c, const struct pool_made *made);

/* A request on C is over and C lives on. Its slot is free; C without another one is idle from now
 * on, or closed. */
void pool_conn_done(struct pool_conn *c);
/* C is closed: the slots of all that it carried are free. */
void pool_conn_gone(struct pool_conn *c);
/* C may carry ROOM requests at once from now on, as its peer says: it is not settling any more.
 * With 0 it is closed when it carries nothing, which may be now. */
void pool_conn_room(struct pool_conn *c, unsigned room);
/* C takes no other request; it is closed behind the last one, which may be at once. */
void pool_conn_retire(struct pool_conn *c);
/* C leads to an address that has left the DNS: it takes no other request, either. */
static inline bool pool_conn_is_gone(const struct pool_conn *c)
{
    return c->peer != NULL && c->peer->is_gone;
}
/* A final answer has begun on C. */
static inline void pool_conn_answered(struct pool_conn *c)
{
    c->n_answered++;
    c->n_refused = 0;
    c->origin->answers++;
    if (c->is_shared)
        carry_answered(&c->origin->carry, c->n_answered);
}
/* C ends when it has carried N requests; IS_SHORT: and others on it were not begun or lost. */
void pool_conn_carried(struct pool_conn *c, unsigned n, bool is_short);
/* A request that C still carries was refused. C goes when it refuses whatever it is asked. */
void pool_conn_refused(struct pool_conn *c);
/* What is known of requests that C, which is lost, has not answered, if the origin refused the
 * session that C began with; else LOSS_FINAL. While C has its stream. */
static inline enum up_loss pool_conn_refusal(const struct pool_conn *c)
{
    static const enum up_loss loss[] = {LOSS_FINAL, LOSS_REUSED, LOSS_UNSENT};
    return loss[tls_client_refusal(c->stream)];
}
/* C's stream goes its own way and keeps the slot: a token for pool_release_slot(). Then C is as
 * gone. */
void *pool_conn_taken(struct pool_conn *c);
/* C holds MORE bytes than it costs without: what it gathers for a request. */
void pool_conn_holds(struct pool_conn *c, size_t more);
/* True when max_memory has no room for what C would have to gather, with F to say so. */
bool pool_conn_is_full(const struct pool_conn *c, struct fault *f);

#endif
