/* SPDX-License-Identifier: Apache-2.0 */
/* The listener side: client connections of one worker. A connection reads heads, makes exchanges,
 * and writes their answers in request order; all client timeouts live here. */
#ifndef TLSFAN_CLIENT_CLIENT_H
#define TLSFAN_CLIENT_CLIENT_H

#include "exchange/exchange.h"

struct client;

/* All clients of one worker. Embedded in it. */
struct clients {
    struct engine *engine;
    struct list all;          /* struct client */
    struct list resting;      /* of these: idle, longest first */
    struct list woken;        /* and idle again: they were parked behind a request */
    struct list parked;       /* struct parked: idle ones of which no more is kept, see parked.c */
    struct sweep timers;      /* their timeouts */
    unsigned n;               /* in `all` and `parked` */
    unsigned n_resting;       /* in `resting` and `woken` */
    unsigned resting_most;    /* more are parked; of `woken` */
    int64_t resting_us;       /* nobody who has rested for less, */
    struct deadline parking;  /* which is when the first has */
    _Atomic unsigned *total;  /* of all workers, for max_connections */
    unsigned max;             /* client.max_connections, or what descriptors allow */
    int64_t grace_ms;         /* while draining: how long an idle connection is kept; else 0 */
    uint64_t next_id;         /* the worker in the top 16 bits */
    struct client *gathering; /* whose output waits in `gather` */
    size_t gathered;          /* bytes */
    char *gather;             /* heap, CLIENT_GATHER_MAX: small writes of one turn, joined */
    struct claim joining;     /* guards `gather` while bytes go in or out */
    struct turn flush;
    struct list waiting; /* struct client that wait for memory, longest first: client_memory.c */
    unsigned n_waiting;
    struct deadline wait;
    struct list shaking; /* struct secure with TLS laid, longest first: secure.c */
};

/* What the listener that accepted a connection is. */
struct client_listener {
    struct addr addr; /* as bound */
    enum listener_kind kind;
    bool tls;                      /* its clients speak TLS */
    const struct forward *forward; /* FORWARD: a borrowed part of CONF */
    struct conf *conf;             /* a reference of the listener's, that clients take too */
};

void clients_init(struct clients *cs, struct engine *e, _Atomic unsigned *total, unsigned max);
/* Every client must be gone. */
void clients_clear(struct clients *cs);

/* Serves FD, accepted on L from PEER, if it is admitted (admit.c); owns it. */
void client_open(struct clients *cs, int fd, const struct addr *peer,
                 const struct client_listener *l);

/* A client on S, which it owns from now on, and which the caller starts; it is admitted. WHO is
 * copied: its kind, its peer, the one host that it may ask, its user. CONF, which has who->forward,
 * is kept. */
struct client *client_new(struct clients *cs, struct stream *s, const struct source_side *who,
                          struct conf *conf);

/* Drain: from now on answers carry Connection: close (engine->draining is set by the caller);
 * connections that are idle get GRACE_MS to send a request that is on its way, then close. */
void clients_drain(struct clients *cs, int64_t grace_ms);
/* Closes all at once. */
void clients_close(struct clients *cs);

#endif
