/* SPDX-License-Identifier: Apache-2.0 */
/* A connection to the service listener, for the files of this folder alone. libevhtp owns its
 * socket, parses its requests and writes the answers; a struct caller stands beside each of its
 * connections and says what libevhtp does not: limits, times, refusals with a text.
 *
 *     IDLE -> HEAD -> BODY -> ANSWER -> IDLE ... CLOSED
 *
 * libevhtp frees a connection as soon as its parser or a hook says no, and what waits to be written
 * is lost with it. So a refusal is written to a duplicate of the socket, which lingers until the
 * peer has read it (caller_refuse()). */
#ifndef TLSFAN_SERVICE_CALLER_H
#define TLSFAN_SERVICE_CALLER_H

#include <evhtp.h>

#include "exchange/auth.h"
#include "service/pages.h"

enum caller_state {
    CALLER_IDLE,   /* waits for a request */
    CALLER_HEAD,   /* its head has begun */
    CALLER_BODY,   /* its head is good; reads the rest */
    CALLER_ANSWER, /* is being answered, or waits until it can be */
    CALLER_CLOSED  /* waits for the reaper */
};

/* Who has a place: places.h. */
struct places {
    struct list members, guests; /* struct caller, oldest first */
    unsigned n_members, n_guests;
};

/* All callers. Embedded in struct service. */
struct callers {
    struct engine *engine;
    struct watch watch; /* conf, draining, connections: as of the last request */
    const _Atomic unsigned *connections;
    struct places places;
    unsigned busy;    /* in BODY or ANSWER */
    bool is_ending;   /* no new batch calls */
    uint64_t next_id; /* of sources: whose turn in a pool's queue */
};

/* Owner: struct callers. Closed by caller_close(), which comes when libevhtp frees `conn`. */
struct caller {
    struct list link; /* in places */
    struct callers *all;
    evhtp_connection_t *conn; /* libevhtp's; lives as long as we are not CLOSED */
    evhtp_request_t *rq;      /* libevhtp's: the one being read or answered; or NULL */
    const struct page *page;  /* what it asks for; NULL until the head is good */
    enum caller_state state;
    struct source_side from;
    struct evbuffer *in;            /* read, and not yet given to libevhtp */
    size_t scanned;                 /* of an incomplete head in it */
    uint64_t body_left;             /* bytes of the body that libevhtp has still to get */
    bufferevent_data_cb evhtp_read; /* libevhtp's own */
    struct deadline deadline;       /* of IDLE, HEAD and BODY */
    struct auth_job *auth;          /* credentials are being hashed */
    struct event gone;              /* while `auth` is set: the caller has left */
    struct ustream *batch;          /* the batch call being made */
    struct post later;              /* what may not be done inside libevhtp's callbacks */
    bool is_guest;                  /* has a place for health checks alone */
    bool is_last;                   /* what comes behind the request is not read any more */
    bool is_whole;                  /* the request has been read to its end */
    bool is_held;                   /* the batch waits until what we have is written */
    bool has_begun;                 /* the answer's head has been given away */
    bool is_doomed;                 /* refused: `later` frees the connection */
    struct share share;             /* of what waits in it, both ways, and about itself */
    struct reap reap;
};

/* ---- caller.c */

void callers_init(struct callers *all, struct engine *e, const struct watch *w);
/* Sets the hooks of a new connection, as the callbacks of libevhtp before and after it accepts. */
evhtp_res callers_admit(evhtp_connection_t *conn, void *callers);
evhtp_res callers_accept(evhtp_connection_t *conn, void *callers);
/* A request is whole: libevhtp's callback for all paths. */
void callers_take(evhtp_request_t *rq, void *callers);
/* Closes all. */
void callers_close(struct callers *all);

/* Answers with F instead, or cuts the answer that has begun; the connection ends. Anywhere. */
void caller_refuse(struct caller *k, const struct fault *f);
void caller_refuse_as(struct caller *k, enum fault_code code, const char *text);
/* The first byte of a head has come. */
void caller_begin_head(struct caller *k);
static inline const struct client_conf *caller_limits(const struct caller *k)
{
    return &k->all->engine->use->conf->client;
}
/* The caller beside a connection of libevhtp's. */
static inline struct caller *caller_of(const evhtp_connection_t *conn)
{
    return conn->hooks->on_connection_fini_arg;
}
/* The value of a request field, or the empty text. */
struct str caller_field(const struct caller *k, const char *name);

/* ---- feed.c: what libevhtp gets to read */

/* Comes between the socket and libevhtp from now on. */
void feed_open(struct caller *k);
/* What waits has changed. */
void feed_count(struct caller *k);
/* Gives libevhtp what it may have of what was read. May close K. */
void feed_caller(struct caller *k);

/* ---- call.c: the batch call */

/* The head of a batch call is good. K may be refused at once. */
void call_open(struct caller *k);
/* More of its body, emptied; and its end. */
void call_body(struct caller *k, struct evbuffer *data);
void call_end(struct caller *k);
/* The caller has taken what waited for it. */
void call_drain(struct caller *k);
/* The caller is gone: what was asked for is cancelled. Harmless when there is none. */
void call_cancel(struct caller *k);

#endif
