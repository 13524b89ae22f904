/* SPDX-License-Identifier: Apache-2.0 */
/* A client connection and its requests, for the files of this folder alone. */
#ifndef TLSFAN_CLIENT_CLIENT_IMPL_H
#define TLSFAN_CLIENT_CLIENT_IMPL_H

#include "base/backlog.h"
#include "client/client.h"
#include "client/state_impl.h"
#include "exchange/order.h"
#include "http/h1_write.h"

/* What `timer` ends. */
enum client_timer { TIMER_NONE, TIMER_IDLE, TIMER_HEAD, TIMER_BODY, TIMER_REST, TIMER_TOLD };

enum {
    CLIENT_HEADS_A_TURN = 32, /* taken of one client, when they have come at once */
    CLIENT_GATHER_MAX = 16384 /* bytes joined before a write */
};

/* Owner: struct clients. Closed by client_close(). */
struct client {
    struct list link, resting; /* in clients->all; in ->resting or ->woken while it may be parked */
    struct clients *cs;
    struct stream *stream; /* owned; NULL in a tunnel and when closed */
    enum client_state state;
    unsigned heads;    /* taken since on_data() was called */
    struct conf *conf; /* the listener's snapshot: keeps from.forward */
    struct source_side from;
    char *texts;                 /* heap: what from.fixed and from.user point to; NULL: nothing */
    struct intercept *intercept; /* owned; NULL: but in CLIENT_SHAKES */
    struct secure *secure;       /* the same, of one by a tls: listener */
    struct turned *turned;       /* owned: from.turned is in it; NULL: nobody has turned it */
    struct order order;          /* of struct request */
    struct request *reading;     /* whose body comes now: set exactly in CLIENT_BODY, else NULL */
    struct request *switching;   /* CONNECT or Upgrade: its answer says what comes next; or NULL */
    struct post rested;          /* more of them, in the next turn */
    struct str in;               /* what on_data() has not used up yet; empty outside it */
    size_t scanned;              /* of an incomplete head */
    bool has_partial;            /* on_data() left bytes: a head has begun */
    bool seen_request, asks_again;    /* it has been parked behind a request, too */
    bool running, again;              /* client_run() is on the stack, and must look once more */
    bool blocked, body_full;          /* the stream is paused; the upstream of `reading` is full */
    struct list waiting;              /* in clients->waiting */
    int64_t waits_since, reads_since; /* µs: it waits; it (turned) is read again; or 0 */
    int64_t timed;                    /* µs: when `timer` was set */
    enum client_timer timer_is;
    struct timeout timer, write_timer; /* the latter: write_timeout, while output waits */
    uint64_t write_mark;               /* bytes_out when it was set */
    struct reap reap;
};

/* One request of a client. From the engine's slab; closed by request_close(). */
struct request {
    struct exchange x;
    struct client *c; /* borrowed; valid until request_close() */
    struct order_item item;
    struct backlog held; /* answer whose turn has not come, or that request_release() lets go */
    struct h1_out out;
    bool keep_alive;        /* the client wants to go on after it */
    bool cut;               /* the answer ends here and is not whole */
    bool is_told;           /* 100, and has sent nothing since: its answer is held */
    struct fields trailers; /* of the request */
};

/* Nothing begins any more, and no answer is due. */
static inline bool client_is_over(const struct client *c)
{
    return c->state == CLIENT_TUNNEL || c->state >= CLIENT_TO_CLOSE;
}

/* The first in line, whose answer is being written; NULL: there is none. */
static inline struct request *client_first(const struct client *c)
{
    struct order_item *item = order_first(&c->order);
    return item == NULL ? NULL : container_of(item, struct request, item);
}

static inline bool request_is_first(const struct request *r)
{
    return order_first(&r->c->order) == &r->item;
}

static inline const struct client_conf *client_conf(const struct client *c)
{
    return &c->cs->engine->use->conf->client;
}

/* ---- client.c: life, timers, and where things begin and end */
/* What C sends from now on is another thing: FIXED and USER (copied) as in struct source_side. */
void client_become(struct client *c, enum source_kind kind, const struct uri_host *fixed,
                   struct str user);
extern const struct stream_user client_user; /* what the stream of a client tells */
/* Writes what is due, begins what may begin, reads on: when anything has changed. May close. */
void client_run(struct client *c);
/* Which timeout runs now. HAS_READ: something has just come, which moves that of a body. */
void client_set_timer(struct client *c, bool has_read);
/* Closes at once; what was asked for is cancelled. Idempotent. */
void client_close(struct client *c);

/* ---- client_read.c: heads and bodies in */
/* What has come, as stream_user.on_data(). */
size_t client_read(struct client *c, const char *p, size_t n);
/* Answers with that fault in its turn, to no request that could be read, and reads no more. */
void client_refuse(struct client *c, enum fault_code code, const char *text);
/* The body that is being read is bad or too slow: F is the answer. */
void client_stop_body(struct client *c, const struct fault *f);
/* Begins R with what is there of its body; one that is bad from its first byte is refused. */
void request_start(struct request *r);

/* ---- client_write.c: bytes out, gathered; calls nobody back */
/* Sends what is gathered, whoever it is for. */
void clients_flush(struct clients *cs);
/* True when more output waits than may: no more answers, so no more requests. */
bool client_is_full(const struct client *c);
/* Bytes of the answer of R: gathered until the end of the turn, or held until it is its turn. */
void request_write(struct request *r, const struct iovec *iov, int n);
/* R is first in line now: what was held goes out. */
void request_promote(struct request *r);
/* The client of R has sent some of its body, or has had time to: an answer that came right behind
 * 100 goes out. */
void request_release(struct request *r);

/* ---- client_source.c: requests, and what is told of their answers */
struct request *request_open(struct client *c);
/* Cancels what is under way and takes R out of the order. */
void request_close(struct request *r, enum fault_code fault);
/* The client of R rightly sends no body: its answer has begun, or no 100 has left for it. */
bool request_may_wait(const struct request *r);
/* If the answer of R is whole before its request is, the rest of the body is read and dropped, and
 * the connection goes on behind it. */
bool request_may_skip(const struct request *r);
extern const struct source_ops client_source;

/* ---- client_memory.c: what may be read and begun as memory fills (max_memory) */
enum room {
    ROOM_ENOUGH, /* go on; there or later it may be 503 */
    ROOM_LATER,  /* the client waits, and is blocked until client_run() is called for it */
    ROOM_NONE    /* to be refused */
};

void room_init(struct clients *cs);
void room_clear(struct clients *cs);
/* Room for a head of HEAD bytes that is whole in c->in, or (0) for a part of one; NONE with F. */
enum room client_room(struct client *c, size_t head, struct fault *f);
/* C waits no more: it is closed. */
void client_wait_end(struct client *c);
/* False with F when N bytes of trailers are more than may be kept. */
MUST_CHECK bool client_may_gather(struct client *c, size_t n, struct fault *f);
/* Reads on, or stops reading: what would come has no place yet. */
void client_set_flow(struct client *c);
/* The next request that may begin, as order_next(). */
struct request *client_next(struct client *c);

/* ---- admit.c: who gets a place, before anything is done for a connection */
/* True: FD may be served, and is counted in cs->total. False: it is ours no more; its peer gets 403
 * or 503 and no place. */
MUST_CHECK bool admit_client(struct clients *cs, int fd, const struct addr *peer,
                             const struct client_listener *l);

#endif
