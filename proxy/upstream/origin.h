/* SPDX-License-Identifier: Apache-2.0 */
/* What one worker knows of one origin: its connections, who waits for them, TLS sessions, and the
 * origin's process-wide limit. Everything that decided a handshake is in the key, so what was made
 * under one policy never serves another. */
#ifndef TLSFAN_UPSTREAM_ORIGIN_H
#define TLSFAN_UPSTREAM_ORIGIN_H

#include "base/hash.h"
#include "upstream/carry.h"
#include "upstream/limit.h"
#include "upstream/origin_pace.h"
#include "upstream/peers.h"
#include "upstream/queue.h"
#include "upstream/tally.h"
#include "upstream/tickets.h"

/* What its last handshake has agreed on, where HTTP/2 was offered. */
enum origin_speaks { ORIGIN_SPEAKS_UNKNOWN, ORIGIN_SPEAKS_H1, ORIGIN_SPEAKS_H2 };

/* Owner: struct origins. Freed some time after nothing uses it any more. */
struct origin {
    UT_hash_handle hh;
    struct list link;  /* in origins->unused */
    int64_t since;     /* µs: since when unused */
    struct pool *pool; /* borrowed, outlives it */
    struct limit *limit;
    struct limit_seat seat;
    struct origin_pace *pace; /* owned; NULL: its requests begin at any time */
    struct queue queue;       /* who waits for a slot */
    struct list undialled;    /* struct pool_wait with a slot and no dial, first come first */
    struct list dialled;      /* the same with a dial of their own */
    struct list open;         /* struct pool_conn that take a request, most recently used first */
    struct list dials;        /* dials that run, in front those that nobody waits for any more */
    struct list starved;      /* in pool->starved: some in `undialled` lack a descriptor */
    struct post serve;        /* makes the plan: somebody waits, and something has changed */
    bool is_restless; /* an idle connection is about to be read: then the plan is made again */
    bool has_looked;  /* it has, and did not find one at rest: no use in waiting for that */
    unsigned conns;   /* idle and busy ones */
    unsigned slots;   /* held by this worker */
    enum origin_speaks speaks;
    int64_t h1_until;    /* µs: it has said that it wants HTTP/1.1, and gets it so long; 0: not */
    bool is_silent;      /* it left who waited for 100 without: exchange/expect.h decides */
    unsigned streams;    /* by HTTP/2: how many its connections take at once; 0: it has not said */
    struct carry carry;  /* and how many one of them carries in all */
    uint64_t answers;    /* that have begun to come from it: it makes progress */
    unsigned n_settling; /* connections that have yet to say so */
    struct tickets tickets;
    struct peers peers;        /* where its connections lead */
    struct tally_place *place; /* that of TALLY_OTHER until it has one of its own */
    bool is_found, is_named;   /* has asked for one: since it was found, since it was reached */
    bool is_direct;            /* it is what one connects to: neither connect_to nor a parent is */
    struct tally_place *parent_place; /* of its parent; NULL: none */
    unsigned n_queued;                /* waiters in `queue` */
    /* From the snapshot that it was made for. */
    unsigned generation;
    int64_t idle_timeout; /* µs, 0 = none */
    int64_t max_age;      /* µs, 0 = none */
    size_t max_head;
    size_t buffer;         /* client.buffer: what of a body may come before the client takes it */
    unsigned max_requests; /* max_per_host of the rule; 0 = none */
    bool tls, via;
    bool lenient; /* to its framing, by the rule that is in the key */
    /* Heap, owned: of a parent that reads the requests (way_asked()); NULL: none. */
    char *parent;      /* "HOST:PORT" of it, for sentences */
    char *parent_auth; /* value of Proxy-Authorization; NULL: none */
    char *prefix;      /* "http://host", in front of the path of each target */
    size_t key_len;
    char key[];
};

/* All origins of one worker. Embedded in its pool. */
struct origins {
    struct origin *table;
    struct list unused; /* longest unused first */
    unsigned n_unused;
    struct post forget; /* of what is unused and could not be forgotten at once */
    struct loop *loop;
    struct pool *pool;
    struct tally *tally; /* borrowed */
    void (*serve)(void *origin);
    void (*on_gone)(void *origin); /* of every origin's peers */
};

/* HTTP/2 is not offered to O for now, for it has asked for HTTP/1.1 by that. */
static inline bool origin_wants_h1(const struct origin *o)
{
    return o->h1_until != 0 && loop_now() < o->h1_until;
}
void origin_want_h1(struct origin *o);

/* Somebody has a slot and waits for a connection. */
static inline bool origin_is_waited_for(const struct origin *o)
{
    return !list_is_empty(&o->undialled) || !list_is_empty(&o->dialled);
}

/* WHERE has its name among those that are counted in any case: the operator wrote it, in a rule of
 * that one host, in connect_to, or as `to` of a forward. */
bool origin_is_written(const struct up_where *where);

/* SERVE is what every origin's `serve` calls. The caller sets `pool` and `tally`. */
void origins_init(struct origins *t, struct loop *l, void (*serve)(void *origin));
void origins_clear(struct origins *t);
/* Finds or makes the record for WHERE. */
struct origin *origins_get(struct origins *t, const struct up_where *where);
/* Waiters have come into O's queue (1), or left it (-1). */
void origin_count_queued(struct origin *o, int n);
/* To be called when something that used O has ended; O stays for 10 s at least, for a stream that
 * lingers may still put sessions there. */
void origins_settle(struct origins *t, struct origin *o);

/* Its name, as the key has it; lives as long as O. */
struct str origin_host(const struct origin *o);

/* A connection to O was tried in vain, but its name led to an address. From now on it is counted
 * under its name, if there is room for another one. */
void origin_found(struct origins *t, struct origin *o);
/* O is there: it took a connection, though TLS may have failed then. The same, with more room. */
void origin_reached(struct origins *t, struct origin *o);
/* And a connection of O is ready, whose certificate expires at EXPIRY (seconds since 1970; 0: none
 * was seen). */
void origin_connected(struct origins *t, struct origin *o, int64_t expiry);

#endif
