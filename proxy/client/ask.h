/* SPDX-License-Identifier: Apache-2.0 */
/* A client connection and its requests, for the files of this folder alone: client.c reads,
 * answers.c writes. */
#ifndef TLSFAN_CLIENT_ASK_H
#define TLSFAN_CLIENT_ASK_H

#include "base/backlog.h"
#include "client/client.h"
#include "exchange/order.h"
#include "http/h1_write.h"

enum client_state {
    CLIENT_HEAD,   /* reads heads */
    CLIENT_BODY,   /* reads the body of `reading` */
    CLIENT_LAST,   /* reads no more: writes the answers that are due, then closes */
    CLIENT_TUNNEL, /* the stream is the tunnel's; waits for its end */
    CLIENT_CLOSED  /* waits for the reaper */
};

enum {
    CLIENT_HEADS_A_TURN = 32, /* taken of one client, when they have come at once */
    CLIENT_GATHER_MAX = 16384 /* bytes joined before a write */
};

/* Owner: struct clients. Closed by client_close(). */
struct client {
    struct list link; /* in clients->all */
    struct clients *cs;
    struct stream *stream; /* owned; NULL in a tunnel and when closed */
    enum client_state state;
    struct conf *conf; /* the listener's snapshot: keeps from.forward */
    struct source_side from;
    char fixed_name[256];  /* what from.fixed points to */
    char *user;            /* and from.user; NULL: none */
    struct order order;    /* of struct ask */
    struct ask *reading;   /* whose body comes now: set exactly in CLIENT_BODY, else NULL */
    struct ask *switching; /* CONNECT or Upgrade: what comes next depends on its answer; or NULL */
    unsigned heads;        /* taken since on_data() was called */
    struct post rested;    /* more of them, in the next turn */
    struct str in;         /* what on_data() has not used up yet; empty outside it */
    size_t scanned;        /* of an incomplete head */
    bool has_partial;      /* on_data() left bytes: a head has begun */
    bool seen_request;
    bool running, again; /* client_run() is on the stack, and must look once more */
    bool blocked;        /* the stream is paused */
    bool body_full;      /* the upstream of `reading` takes no more for now */
    struct list waiting; /* in clients->waiting */
    int64_t waits_since; /* µs: since when its next request waits; 0: it has not */
    bool finishing;      /* closes as soon as all has been written */
    bool cut;            /* and must not look like a proper end */
    bool said_last; /* the client itself asked to close: it sends nothing behind that request */
    bool dropped;   /* but it did, or was not read to its end: closing at once would reset it */
    enum client_timer {
        TIMER_NONE,
        TIMER_IDLE,
        TIMER_HEAD,
        TIMER_BODY,
        TIMER_REST,
        TIMER_TOLD
    } timer_is;
    struct deadline timer;
    struct deadline write_timer; /* write_timeout, while output waits */
    uint64_t write_mark;         /* bytes_out when it was set */
    struct tunnel *tunnel;
    struct reap reap;
};

/* One request of a client. From the engine's slab; closed by ask_close(). */
struct ask {
    struct exchange x;
    struct client *c; /* borrowed; valid until ask_close() */
    struct order_item item;
    struct backlog held; /* answer whose turn has not come, or that ask_release() lets go */
    struct h1_out out;
    bool keep_alive;        /* the client wants to go on after it */
    bool cut;               /* the answer ends here and is not whole */
    bool is_told;           /* 100, and has sent nothing since: its answer is held */
    struct fields trailers; /* of the request */
};

/* ---- client.c */

/* Writes what is due, begins what may begin, reads on if it can. Call when anything has changed.
 * May close C. */
void client_run(struct client *c);
/* Closes at once; what was asked for is cancelled. Idempotent. */
void client_close(struct client *c);

/* ---- body.c */

/* Begins A with what is already there of its body. A body that is bad from its first byte is
 * refused. */
void ask_start(struct ask *a);
/* The next part of the body that is being read. */
void client_read_body(struct client *c);
/* It is bad or too slow: F is the answer, and nothing more is read. */
void client_stop_body(struct client *c, const struct fault *f);
/* The request of A is whole. */
void client_request_ended(struct client *c, const struct ask *a);

/* ---- answers.c */

/* For a new request of C. */
struct ask *ask_new(struct client *c);
/* Cancels what is under way and takes A out of the order. */
void ask_close(struct ask *a, enum fault_code fault);

extern const struct source_ops client_source;

/* The client of A rightly sends no body: its answer has begun, or no 100 has left for it. */
bool ask_may_wait(const struct ask *a);
/* If the answer of A is whole before its request is, the rest of the body is read and dropped, and
 * the connection goes on behind it. Not when that is much or takes long, nor where the client may
 * never send it, for it waits for 100 (RFC 9110 §10.1.1). Nor behind the body of a CONNECT, though
 * it has come: for another reader it is what follows the request. */
bool ask_may_skip(const struct ask *a);
/* A is first in line now: what was held goes out. */
void ask_promote(struct ask *a);
/* The client of A has sent some of its body, or has had time to: an answer that came right behind
 * 100 goes out. Before, one read of the client's could take both, and there are those that lose the
 * second then, and wait for it for ever (Java's HttpURLConnection). */
void ask_release(struct ask *a);
/* Bytes for the client, gathered until the end of the turn. */
void client_write(struct client *c, const struct iovec *iov, int n);
/* Sends what is gathered, whoever it is for. */
void clients_flush(struct clients *cs);
/* True when more output waits than may: no more answers, so no more requests. */
bool client_is_full(const struct client *c);
/* Slows the first answer down, or lets it go on, as output waits. */
void client_mind_output(struct client *c);

#endif
