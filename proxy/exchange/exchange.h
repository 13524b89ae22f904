/* SPDX-License-Identifier: Apache-2.0 */
/* One request and its one response. A source (a client connection) makes it and feeds the request;
 * an upstream performs it; what comes back is told to the source through struct source_ops, whether
 * an origin or tlsfan itself answers.
 *
 *     exchange_init(x)                 the source fills x->head, x->body from what it parsed
 *     exchange_refuse(x, fault)        the request was bad: answer it, or
 *     exchange_start(x, body, end)     route it and send it upstream
 *     exchange_body(), exchange_end()  the rest of the request body
 *     ... on_info* [on_head on_body* | on_tunnel] on_end, or on_cut
 *     exchange_close(x)                at any time; writes the log line when there is none yet
 *
 * Owner: the source. Closed by exchange_close(); the source's memory is given back by its release()
 * from the reaper. */
#ifndef TLSFAN_EXCHANGE_EXCHANGE_H
#define TLSFAN_EXCHANGE_EXCHANGE_H

#include "exchange/engine.h"
#include "exchange/request_body.h"
#include "exchange/retry.h"
#include "exchange/seen.h"
#include "exchange/source.h"
#include "exchange/state.h"
#include "http/rewrite.h"
#include "upstream/pool.h"

struct exchange;
struct aside;
struct auth_job;
struct dial;
struct performer;
struct token_wait;
struct tunnel;

enum half_state { HALF_HEAD, HALF_BODY, HALF_DONE };

/* µs */
struct exchange_times {
    int64_t begin, queued, dns, connect, tls, sent, head, end;
};

struct exchange {
    struct engine *engine;
    const struct source_ops *source;
    struct source_side *from; /* borrowed from the source */
    struct conf_use *use;     /* keeps conf */
    const struct conf *conf;  /* the snapshot it began with */
    enum exchange_state state;
    enum half_state req, res;
    uint64_t id;

    /* The request. */
    struct h1_head head;
    struct h1_body body; /* its framing, and the source's decoder */
    struct target target;
    bool has_target;        /* `target` has been parsed */
    bool is_trusted;        /* its credentials were found good */
    bool is_named;          /* `full` is known */
    struct str credentials; /* that were found good, as they came; p NULL: see source_side.user */
    bool wants_token;       /* its rule adds an access token: token.h */
    uint64_t token;         /* the number of the one it carries; 0: none */
    uint64_t refused_token; /* of the one that the origin has refused, which happens once */
    struct str full;        /* what the host was found as, where a domain was added; else empty */

    /* The route. */
    struct up_where where;
    struct up_how how;
    struct up_request rq;
    const struct performer *performer; /* NULL: it has not been routed */
    const struct rule *rule;           /* NULL: none, as nobody is asked; no timeouts then */
    struct rewrite rewrite;
    bool res_is_bare; /* HEAD or 304 */
    bool looks_ahead; /* its performer is told of the head: what it fetches ahead follows from it */
    bool is_ahead;    /* its answer was fetched ahead */
    uint64_t walk;    /* of own/readahead.c; 0: none */
    bool must_close;  /* the source should not read another request behind this one */

    /* Upstream; at most one of us, wait, dial and tunnel. */
    struct ustream *us;
    struct pool_wait wait;
    struct dial *dial;
    struct tunnel *tunnel; /* owned; in TUNNEL */
    struct auth_job *auth;
    struct token_wait *token_wait;
    struct dns_query *naming;
    struct up_facts facts;   /* copied when the ustream goes */
    struct rbody rbody;      /* what has come of the request's body */
    struct fields *trailers; /* of the request; the source's, outlive X; NULL: none */
    bool paused;             /* the source takes no more */
    bool body_waits;         /* the upstream takes no more request body for now */
    bool expects_continue;   /* Expect: 100-continue (expect.h) */
    bool is_continued;       /* 100 was told: no other is */
    struct retry retry;
    struct aside *aside;     /* owned, of polite.h: an answer that may be given yet; or NULL */
    struct timeout timeout;  /* response_timeout, then read_timeout; while LATER, the next try */
    uint64_t armed_in;       /* loop->turn: exchange_arm() */
    struct timeout patience; /* for the origin's 100; where it is expected */

    /* For the record. */
    unsigned status;
    enum fault_code fault;
    struct str sentence; /* of that fault, in the arena; empty: none was told */
    struct exchange_times t;
    uint64_t bytes_in, bytes_out;
    bool is_summed; /* of summary.h: it is under way there */
    struct seen seen;

    struct share share; /* of X itself, its heads and its reserve: exchange_count() */
    struct reap reap;
    struct arena arena;
    struct field first_fields[32];
    char first_bytes[3072];
};

/* Zeroes and sets X up: a new id, the engine's newest configuration. */
void exchange_init(struct exchange *x, struct engine *e, const struct source_ops *source,
                   struct source_side *from);

/* The request is bad: answers with F, or breaks the response off when it has begun; the source
 * reads no more. Harmless when X is over. */
void exchange_refuse(struct exchange *x, const struct fault *f);

/* Answers with F, nothing of a response having been given yet; or ends with F the response that has
 * begun. For the files of this folder. */
void exchange_fail(struct exchange *x, const struct fault *f);
void exchange_cut(struct exchange *x, const struct fault *f);

/* For polite.c: an answer that X gets, its ustream told again as at first. */
void exchange_listen(struct exchange *x);
void exchange_pass_head(struct exchange *x, struct h1_head *head, const struct h1_body *body);
void exchange_pass_body(void *x, const char *p, size_t n);
void exchange_pass_end(void *x, const struct fields *trailers);

/* Routes the request in x->head and performs it. BODY is what is there of the body, END that this
 * is all of it. Callbacks may come before this returns only for answers of tlsfan's own. */
void exchange_start(struct exchange *x, struct str body, bool end);

/* What X waited for before its route has come; also for another try. */
void exchange_resume(struct exchange *x);

/* More of the request body. False: enough, wait for on_drain(). Harmless when nobody wants it any
 * more. LAST, which may be empty, is the end of the body. TRAILERS (or NULL) live as long as X. */
bool exchange_body(struct exchange *x, struct str data);
void exchange_end(struct exchange *x, struct str last, struct fields *trailers);

/* The source takes no more of the response for now, or does again. */
void exchange_pause(struct exchange *x, bool paused);

/* Cancels what is under way, counts X, keeps its record, writes the log line, frees later.
 * Idempotent. FAULT says why it ended early (FAULT_CLIENT_GONE...); FAULT_NONE when it ended as it
 * should. */
void exchange_close(struct exchange *x, enum fault_code fault);

/* The source has been told the last thing, or has given up its connection to a tunnel. */
static inline bool exchange_is_over(const struct exchange *x)
{
    return x->state >= EXCHANGE_TUNNEL;
}

#endif
