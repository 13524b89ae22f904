/* SPDX-License-Identifier: Apache-2.0 */
/* One request to one origin, whatever the protocol: what a transport is to an exchange, which gets
 * them from pool.h.
 *
 *     ustream_attach(us, &events, arg);
 *     us->ops->start(us, &request, first bytes of the body, is that all);
 *     while there is more body: us->ops->body(...), us->ops->end(...)
 *     ... on_info* on_head on_body* on_end, or on_fault once, at any point;
 *         after on_end or on_fault US is not ours any more
 *     us->ops->cancel(us)     instead, at any time before that
 */
#ifndef TLSFAN_UPSTREAM_USTREAM_H
#define TLSFAN_UPSTREAM_USTREAM_H

#include "http/h1_body.h"
#include "net/stream.h"

struct ustream;
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

/* Which request on which connection. */
struct up_seat {
    uint32_t number;   /* of the connection, among those of the worker's pool, from 1; 0: none */
    uint32_t position; /* on it, from 1 */
    uint32_t stream;   /* HTTP/2: its id, once it is known; 0: it is not */
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
    struct up_seat seat;
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

#endif
