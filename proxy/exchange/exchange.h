/* SPDX-License-Identifier: Apache-2.0 */
/* One request and its one response. A source (a client connection) makes it and feeds the request; an upstream performs
 * it; what comes back is told to the source through struct source_ops, whether an origin or tlsfan itself answers.
 *
 *     exchange_init(x)                 the source fills x->head, x->body from what it parsed
 *     exchange_refuse(x, fault)        the request was bad: answer it, or
 *     exchange_start(x, body, end)     route it and send it upstream
 *     exchange_body(), exchange_end()  the rest of the request body
 *     ... on_info* on_head on_body* on_end | on_tunnel | on_cut
 *     exchange_close(x)                at any time; writes the log line when there is none yet
 *
 * Owner: the source. Closed by exchange_close(); the source's memory is given back by its release() from the reaper. */
#ifndef TLSFAN_EXCHANGE_EXCHANGE_H
#define TLSFAN_EXCHANGE_EXCHANGE_H

#include "exchange/engine.h"
#include "http/rewrite.h"
#include "http/uri.h"

struct exchange;
struct auth_job;
struct tunnel;
struct dial;

/* What a source is told. None comes before exchange_start() was called; each may close the exchange. */
struct source_ops {
    /* 1xx but 101. */
    void (*on_info)(struct exchange *x, struct h1_head *head);
    /* The final head; HEAD lasts until return. How the body that follows is delimited: NONE, LENGTH with LENGTH bytes, or
     * CHUNKED when it is not known. x->res_is_bare: no body, but the length fields stay (HEAD, 304). */
    void (*on_head)(struct exchange *x, struct h1_head *head, enum h1_framing framing, uint64_t length);
    void (*on_body)(struct exchange *x, const char *p, size_t n);
    /* The response is whole. TRAILERS may be NULL. */
    void (*on_end)(struct exchange *x, const struct fields *trailers);
    /* The body broke off: there must be no proper end. */
    void (*on_cut)(struct exchange *x);
    /* A tunnel is open to UP (owned by the callee from now on, paused): 200 to CONNECT with HEAD NULL, or a 101. SLOT as
     * ustream_ops.take(). */
    void (*on_tunnel)(struct exchange *x, struct h1_head *head, struct stream *up, void *slot);
    /* CONNECT host:80: what follows on this connection is plain HTTP for x->target.host. */
    void (*on_connect_plain)(struct exchange *x);
    /* The request body may go on. */
    void (*on_drain)(struct exchange *x);
    /* From the reaper: the memory X lives in. */
    void (*release)(struct exchange *x);
};

/* Who asks, and what its listener is. Kept by the source, outlives its exchanges. */
struct origin_side {
    struct addr peer;
    char peer_text[ADDR_TEXT]; /* "1.2.3.4", "unix" */
    char self[ADDR_TEXT];      /* the listener's own address and port */
    const struct forward *forward; /* NULL: a proxy listener */
    struct uri_host fixed;     /* inside CONNECT host:80: the host; name.p NULL otherwise. Owned by the source */
    bool is_local;             /* loopback or unix: */
    bool is_trusted;           /* credentials were accepted on this connection's CONNECT */
    uint64_t id;               /* whose turn in a pool's queue */
};

enum exchange_state {
    EXCHANGE_NEW,    /* the source fills it in */
    EXCHANGE_AUTH,   /* waits for auth_job: credentials are being hashed */
    EXCHANGE_WAIT,   /* waits for pool_wait or dial */
    EXCHANGE_ACTIVE, /* has a ustream */
    EXCHANGE_DONE,   /* the source has been told the end; nothing upstream any more */
    EXCHANGE_CLOSED  /* waits for the reaper */
};

enum half_state { HALF_HEAD, HALF_BODY, HALF_DONE };

/* µs */
struct exchange_times {
    int64_t begin, queued, dns, connect, tls, sent, head, end;
};

struct exchange {
    struct engine *engine;
    const struct source_ops *source;
    struct origin_side *from; /* borrowed from the source */
    struct conf_use *use;     /* keeps conf */
    const struct conf *conf;  /* the snapshot it began with */
    enum exchange_state state;
    enum half_state req, res;
    uint64_t id;

    /* The request. */
    struct h1_head head;
    struct h1_body body; /* its framing, and the source's decoder */
    struct target target;
    struct forward_info hop;
    bool has_target;  /* `target` has been parsed */

    /* The route. */
    struct up_want want;
    struct up_request rq;
    const struct rule *rule;
    struct rewrite rewrite;
    bool res_is_bare;  /* HEAD or 304 */
    bool res_is_local; /* tlsfan itself answers */
    bool must_close;   /* the source should not read another request behind this one */

    /* Upstream; at most one of us, wait and dial. */
    struct ustream *us;
    struct pool_wait wait;
    struct dial *dial;
    struct auth_job *auth;
    struct up_facts facts; /* copied when the ustream goes */
    struct evbuffer *pending; /* request body that waits for a connection; NULL: none */
    struct str replay;   /* the whole body, kept for another try; p NULL: none was kept */
    const struct fields *trailers; /* of the request; the source's, outlive X; NULL: none */
    bool replayable;     /* the whole body is in `replay`, or there is none */
    bool paused;         /* the source takes no more */
    unsigned retries;
    struct timeout timeout; /* response_timeout, then read_timeout */

    /* For the record. */
    unsigned status;
    enum fault_code fault;
    struct exchange_times t;
    uint64_t bytes_in, bytes_out;
    bool recorded;

    struct reap reap;
    struct arena arena;
    struct field first_fields[32];
    char first_bytes[3072];
};

/* Zeroes and sets X up: a new id, the engine's newest configuration. */
void exchange_init(struct exchange *x, struct engine *e, const struct source_ops *source, struct origin_side *from);

/* The request is bad: answers with F, or breaks the response off when it has begun; the source reads no more. Harmless when X is
 * over. */
void exchange_refuse(struct exchange *x, const struct fault *f);

/* Routes the request in x->head and performs it. BODY is what is there of the body, END that this is all of it. Callbacks may
 * come before this returns only for answers of tlsfan's own. */
void exchange_start(struct exchange *x, struct str body, bool end);

/* More of the request body. False: enough, wait for on_drain(). Harmless when nobody wants it any more. TRAILERS (NULL: none)
 * live as long as X. */
bool exchange_body(struct exchange *x, struct str data);
void exchange_end(struct exchange *x, const struct fields *trailers);

/* The source takes no more of the response for now, or does again. */
void exchange_pause(struct exchange *x, bool paused);

/* Cancels what is under way, writes the log line, frees later. Idempotent. FAULT says why it ended early (FAULT_CLIENT_GONE...);
 * FAULT_NONE when it ended as it should. */
void exchange_close(struct exchange *x, enum fault_code fault);

/* For answer.c, auth.c and route.c: the next step, a local answer. */
void exchange_go(struct exchange *x);
void exchange_fail(struct exchange *x, const struct fault *f);

static inline bool exchange_is_over(const struct exchange *x)
{
    return x->state >= EXCHANGE_DONE;
}

#endif
