/* SPDX-License-Identifier: Apache-2.0 */
/* A connection to the service listener, for the files of this folder alone. libevhtp owns its
 * socket, parses its requests and writes the answers; a struct service_conn stands beside each of
 * its connections and says what libevhtp does not: limits, times, refusals with a text.
 *
 *     IDLE -> HEAD -> BODY -> ANSWER -> IDLE ... CLOSED
 *
 * libevhtp frees a connection as soon as its parser or a hook says no, and what waits to be written
 * is lost with it. So a refusal is written to a duplicate of the socket, which lingers until the
 * peer has read it (service_conn_refuse()). */
#ifndef TLSFAN_SERVICE_SERVICE_CONN_H
#define TLSFAN_SERVICE_SERVICE_CONN_H

#include <evhtp.h>

#include "exchange/auth.h"
#include "service/pages.h"
#include "service/watch.h"

enum service_conn_state {
    SERVICE_CONN_IDLE,   /* waits for a request */
    SERVICE_CONN_HEAD,   /* its head has begun */
    SERVICE_CONN_BODY,   /* its head is good; reads the rest */
    SERVICE_CONN_ANSWER, /* is being answered, or waits until it can be */
    SERVICE_CONN_CLOSED  /* waits for the reaper */
};

/* Who is admitted: admission.h. */
struct admission {
    struct list members, guests; /* struct service_conn, oldest first */
    unsigned n_members, n_guests;
};

/* All connections. Embedded in struct service. */
struct service_conns {
    struct engine *engine;
    struct service_view view; /* conf, draining, connections: as of the last request */
    const _Atomic unsigned *connections;
    struct watch *watch; /* owned */
    struct admission admission;
    unsigned busy;    /* in BODY or ANSWER */
    bool is_ending;   /* no new batch calls */
    uint64_t next_id; /* of sources: whose turn in a pool's queue */
};

/* Owner: struct service_conns. Closed when libevhtp frees `conn`. */
struct service_conn {
    struct list link; /* in the admission */
    struct service_conns *all;
    evhtp_connection_t *conn; /* libevhtp's; lives as long as we are not CLOSED */
    evhtp_request_t *rq;      /* libevhtp's: the one being read or answered; or NULL */
    const struct page *page;  /* what it asks for; NULL until the head is good */
    enum service_conn_state state;
    struct source_side from;
    struct evbuffer *in;            /* read, and not yet given to libevhtp */
    size_t scanned;                 /* of an incomplete head in it */
    uint64_t body_left;             /* bytes of the body that libevhtp has still to get */
    bufferevent_data_cb evhtp_read; /* libevhtp's own */
    struct deadline deadline;       /* of IDLE, HEAD and BODY */
    struct auth_job *auth;          /* credentials are being hashed */
    struct event gone;              /* while `auth` is set: the client has left */
    struct ustream *batch;          /* the batch call being made */
    struct watch_wait watching;     /* while workers are asked for a live page */
    bool has_watched;               /* they have been, for this request */
    struct post later;              /* what may not be done inside libevhtp's callbacks */
    bool is_guest;                  /* admitted for health checks alone */
    bool is_last;                   /* what comes behind the request is not read any more */
    bool is_whole;                  /* the request has been read to its end */
    bool is_held;                   /* the batch waits until what we have is written */
    bool has_begun;                 /* the answer's head has been given away */
    bool is_doomed;                 /* refused: `later` frees the connection */
    struct share share;             /* of what waits in it, both ways, and about itself */
    struct reap reap;
};

/* ---- service_conn.c */

void service_conns_init(struct service_conns *all, struct engine *e, const struct service_view *v);
/* Sets the hooks of a new connection, as the callbacks of libevhtp before and after it accepts. */
evhtp_res service_conns_admit(evhtp_connection_t *conn, void *conns);
evhtp_res service_conns_accept(evhtp_connection_t *conn, void *conns);
/* A request is whole: libevhtp's callback for all paths. */
void service_conns_take(evhtp_request_t *rq, void *conns);
/* Closes all. */
void service_conns_close(struct service_conns *all);

/* Answers with F instead, or cuts the answer that has begun; the connection ends. Anywhere. */
void service_conn_refuse(struct service_conn *c, const struct fault *f);
void service_conn_refuse_as(struct service_conn *c, enum fault_code code, const char *text);
/* The first byte of a head has come. */
void service_conn_begin_head(struct service_conn *c);
static inline const struct client_conf *service_conn_limits(const struct service_conn *c)
{
    return &c->all->engine->use->conf->client;
}
/* Ours beside a connection of libevhtp's. */
static inline struct service_conn *service_conn_of(const evhtp_connection_t *conn)
{
    return conn->hooks->on_connection_fini_arg;
}
/* The value of a request field, or the empty text. */
struct str service_conn_field(const struct service_conn *c, const char *name);

/* ---- service_head.c: is the request one that is served here */

/* Finds C's page and the length of its body. False with F. */
MUST_CHECK bool service_head_check(struct service_conn *c, struct fault *f);

/* ---- service_input.c: what libevhtp gets to read */

/* Comes between the socket and libevhtp from now on. */
void service_input_open(struct service_conn *c);
/* What waits has changed. */
void service_input_count(struct service_conn *c);
/* Gives libevhtp what it may have of what was read. May close C. */
void service_input_run(struct service_conn *c);

/* ---- batch_call.c: the batch call */

/* The head of a batch call is good. C may be refused at once. */
void batch_call_open(struct service_conn *c);
/* More of its body, emptied; and its end. */
void batch_call_body(struct service_conn *c, struct evbuffer *data);
void batch_call_end(struct service_conn *c);
/* The client has taken what waited for it. */
void batch_call_drain(struct service_conn *c);
/* The client is gone: what was asked for is cancelled. Harmless when there is none. */
void batch_call_cancel(struct service_conn *c);

#endif
