/* SPDX-License-Identifier: Apache-2.0 */
/* One request to one origin, whatever the protocol. An exchange knows upstreams by this header
 * alone.
 *
 *     us = pool_get(pool, &want, &wait);
 *         NULL: wait.on_ready(us) or wait.on_fault() comes later; or pool_cancel()
 *     ustream_attach(us, &events, arg);
 *     us->ops->start(us, &request, first bytes of the body, is that all);
 *     while there is more body: us->ops->body(...), us->ops->end(...)
 *     ... on_info* on_head on_body* on_end, or on_fault once, at any point;
 *         after on_end or on_fault US is not ours any more
 *     us->ops->cancel(us)     instead, at any time before that
 */
#ifndef TLSFAN_UPSTREAM_UPSTREAM_H
#define TLSFAN_UPSTREAM_UPSTREAM_H

#include "conf/conf.h"
#include "http/h1_body.h"
#include "net/stream.h"
#include "upstream/want.h"

struct ustream;
struct pool;
struct tally;
struct tally_place;

/* What a request looks like on its way up. Borrowed until start() returns. */
struct up_request {
    struct method method;
    struct str target;           /* path and query, "*" */
    struct str host;             /* value of the Host field */
    const struct fields *fields; /* without hop-by-hop fields */
    enum h1_framing framing;     /* NONE, LENGTH or CHUNKED */
    uint64_t length;
    size_t buffer; /* bytes of body that may wait for the origin before body() says false */
    bool te_trailers;
    bool is_upgrade; /* Upgrade: websocket is in the fields */
};

/* What is known of a request that an upstream has lost, from the worst on. */
enum up_loss {
    LOSS_FINAL,  /* it may have been carried out, or a part of the answer has come */
    LOSS_REUSED, /* not a byte of an answer had come, on a connection that had been used before */
    LOSS_AMID,   /* nor here, and the connection has answered others while it was under way */
    LOSS_UNSENT  /* not begun: not even a byte was written, or the origin says so; by HTTP/1.1 alone
                    when the fault is FAULT_UP_WANTS_H1 */
};

struct ustream_events {
    /* A 1xx but 101. HEAD, its fields and bytes last until return and may be changed. */
    void (*on_info)(void *arg, struct h1_head *head);
    /* The final head (or 101, see take()), hop-by-hop fields gone, Via added. BODY: framing and
     * length of what follows. */
    void (*on_head)(void *arg, struct h1_head *head, const struct h1_body *body);
    void (*on_body)(void *arg, const char *p, size_t n);
    /* TRAILERS may be NULL. */
    void (*on_end)(void *arg, const struct fields *trailers);
    void (*on_fault)(void *arg, const struct fault *f, enum up_loss loss);
    /* Request body may go on after body() said false. */
    void (*on_drain)(void *arg);
};

struct ustream_ops {
    /* Sends the head and BODY behind it in one go; END: that is the whole body. */
    void (*start)(struct ustream *us, const struct up_request *rq, struct str body, bool end);
    /* More body (copied if it must wait). False: enough for now, wait for on_drain(). */
    bool (*body)(struct ustream *us, struct str data);
    /* The end of the body: LAST, which may be empty, then TRAILERS (NULL: none). */
    void (*end)(struct ustream *us, struct str last, const struct fields *trailers);
    /* While paused no on_body() comes and the origin is slowed down. */
    void (*pause)(struct ustream *us, bool paused);
    /* No event comes any more; the connection goes back or closes as it must. */
    void (*cancel)(struct ustream *us);
    /* After on_head() with 101, inside it or later: hands over the connection as a stream (bytes
     * behind the head are kept in its rest; it is paused), and the ustream is gone. The slot is
     * given back by pool_release_slot(TOKEN) at the end of the tunnel. */
    struct stream *(*take)(struct ustream *us, void **slot);
};

/* Facts for the log. Valid while the ustream is ours. */
struct up_facts {
    struct addr peer;
    const char *protocol;               /* "h1" or "h2" */
    const char *tls_version;            /* "TLSv1.3" or "" */
    bool is_reused;                     /* this connection carried a request before */
    bool is_shared;                     /* and may carry others at the same time: HTTP/2 */
    int64_t dns_us, connect_us, tls_us; /* of making it; 0 when reused */
    struct tally_place *place;          /* where the origin's requests are counted; NULL: nowhere */
};

struct ustream {
    const struct ustream_ops *ops;
    const struct ustream_events *events; /* set by attach; cleared when over */
    void *arg;
    struct up_facts facts;
    bool *is_silent; /* the origin's: struct origin; NULL: nobody remembers. Until on_head() */
};

static inline void ustream_attach(struct ustream *us, const struct ustream_events *events,
                                  void *arg)
{
    us->events = events;
    us->arg = arg;
}

/* A request that waits for a connection or a slot. Embedded in its owner, zero-initialised. */
struct pool_wait {
    struct list link;         /* in a group of one origin, or among those that hold a slot */
    void *origin;             /* NULL: not waiting */
    void *group;              /* while it waits for a slot */
    void *dial;               /* the dial this waiter started, if it is still running */
    struct deadline deadline; /* queue_timeout, until it has a slot */
    bool has_slot;
    bool is_delayed;        /* has not yet asked for one: `deadline` is want.delay then */
    bool is_held;           /* counts on the dial of another; `deadline` is connect_timeout then */
    bool had_dial;          /* one was made for it, or adopted */
    int64_t since;          /* µs */
    struct up_facts failed; /* of the dial whose fault is told; `place` after pool_cancel(), too */
    int64_t queued_us;      /* how long it waited for a slot, or for another's connection */
    struct up_want want;    /* slices point into the owner's memory, which outlives the wait */
    void (*on_ready)(void *arg, struct ustream *us);
    void (*on_fault)(void *arg, const struct fault *f);
    void *arg;
};

struct dns;
struct forward_id;

/* The pool of one worker. ID for Via; BUDGET for buffers; it counts in TALLY. All borrowed. */
struct pool *pool_new(struct loop *l, struct dns *dns, const struct forward_id *id,
                      struct budget *budget, struct tally *tally);
/* Closes idle connections of snapshots older than GENERATION, some now and the rest in the next
 * milliseconds, and busy ones when they come back. */
void pool_retire(struct pool *p, unsigned generation);
/* Closes everything; no request may be under way. */
void pool_close(struct pool *p);

/* A warm connection with a slot under max_per_host; or NULL, and WAIT (callbacks and arg set by the
 * caller) will be told, never before this returns. Faults: those of dial.h, and FAULT_LIMIT after
 * queue_timeout. */
struct ustream *pool_get(struct pool *p, const struct up_want *want, struct pool_wait *wait);
/* How many answers the origin of WANT has begun here so far. */
uint64_t pool_answers(struct pool *p, const struct up_want *want);
/* WAIT is not told any more. Harmless when it is not waiting. */
void pool_cancel(struct pool_wait *wait);
/* Ends the slot of a connection that was taken. */
void pool_release_slot(struct pool *p, void *slot);

/* How many connections are idle / in use, for tests and the log. */
void pool_count(const struct pool *p, unsigned *idle, unsigned *busy);

#endif
