/* SPDX-License-Identifier: Apache-2.0 */
/* What one worker counts. It alone writes, in memory of its own and without locks; any thread
 * reads, and sums over workers. Freed when no worker runs any more. */
#ifndef TLSFAN_EXCHANGE_STATS_H
#define TLSFAN_EXCHANGE_STATS_H

#include "base/fault.h"
#include "exchange/ring.h"
#include "net/tls_server.h"
#include "upstream/tally.h"

struct exchange;

enum phase {
    PHASE_QUEUE,   /* for a slot under max_per_host; of all that went upstream */
    PHASE_DNS,     /* this and the next two: where a connection was made for the exchange */
    PHASE_CONNECT, /* TCP */
    PHASE_TLS,     /* handshake */
    PHASE_WAIT,    /* from the request sent to the response head */
    PHASE_TOTAL,   /* of all */
    PHASE_COUNT
};

enum {
    STATS_BOUNDS = 15,   /* of a histogram's buckets */
    STATS_CLASSES = 6,   /* 1xx to 5xx; [0]: no answer */
    STATS_FAILURES = 100 /* that are kept of each kind */
};

/* Upper bounds of the buckets, µs. */
extern const int64_t stats_bounds[STATS_BOUNDS];

struct histogram {
    struct counter in[STATS_BOUNDS + 1]; /* the last: above all bounds */
    struct counter sum;                  /* µs */
};

/* TLS handshakes with clients that have ended well. */
struct tls_shaken {
    struct counter whole, resumed;
};

struct stats {
    struct counter begun; /* exchanges; those that have ended are the sum of `classes` */
    struct counter classes[STATS_CLASSES];
    struct counter faults[FAULT_COUNT];
    struct counter bytes_in, bytes_out; /* from and to clients */
    struct counter retries;
    struct counter unverified;            /* requests sent upstream under verify = off */
    struct counter plain;                 /* and without TLS */
    struct counter h1, h2;                /* requests that got a connection, by what it speaks */
    struct counter tunnels;               /* opened */
    struct counter tunnels_open;          /* now */
    struct counter tunnel_in, tunnel_out; /* bytes in them, from and to clients */
    struct counter intercepted;           /* CONNECTs */
    struct tls_shaken inside, listening;  /* handshakes with their clients, and of tls: listeners */
    struct counter unshaken[TLS_FAILURES]; /* of those: the client did not get through TLS */
    struct counter insecure[TLS_FAILURES]; /* clients of tls: listeners that did not either */
    struct counter paced;                  /* requests that waited for their time (rate, pauses) */
    struct counter put_off;                /* answers that were waited for, with retry_after */
    struct counter dns_stale;              /* expired answers that were used */
    struct counter turned_away;            /* connections of clients that got no place */
    struct counter over_limit;             /* of these: there was none, or no descriptor */
    struct counter tokens, tokens_lost;    /* access tokens fetched; asked for in vain */
    struct counter ahead_issued, ahead_used, ahead_wasted; /* requests made ahead */
    struct histogram phases[PHASE_COUNT];
    struct tally tally;
    struct ring *records;   /* struct record of record.h */
    struct ring *sentences; /* struct sentence of record.h: of those that failed */
    struct ring *heads;     /* of seen.h: of some that were watched */
    struct ring *failures;  /* struct failure of record.h: of those that tlsfan ended, */
    struct ring *refusals;  /* and of those that origins refused, or that clients left */
    struct engine *engine;  /* whose worker counts; borrowed, NULL: nobody's */
};

/* The sums of several workers, as plain numbers. */
struct stats_sum {
    uint64_t in_flight, exchanges, failed;
    uint64_t classes[STATS_CLASSES];
    uint64_t faults[FAULT_COUNT];
    uint64_t bytes_in, bytes_out, retries, unverified, plain, h1, h2, turned_away;
    uint64_t tunnels, tunnels_open, tunnel_in, tunnel_out, over_limit, tokens, tokens_lost;
    struct shaken_sum {
        uint64_t whole, resumed;
    } upstream, inside, listening;
    uint64_t intercepted, unshaken[TLS_FAILURES], insecure[TLS_FAILURES];
    uint64_t dns_stale, paced, put_off;
    uint64_t ahead_issued, ahead_used, ahead_wasted;
    struct phase_sum {
        uint64_t in[STATS_BOUNDS + 1];
        uint64_t count, sum; /* µs */
    } phases[PHASE_COUNT];
};

struct stats *stats_new(void);
void stats_free(struct stats *s);

/* A handshake with a client has ended well. */
static inline void stats_count_shaken(struct tls_shaken *s, bool is_resumed)
{
    counter_add(is_resumed ? &s->resumed : &s->whole, 1);
}

/* X has ended: counts it. Once for each. */
void stats_count(const struct exchange *x);

/* Adds what S has. */
void stats_add(struct stats_sum *sum, const struct stats *s);

/* "queue", "dns"... */
const char *stats_phase_name(enum phase phase);

#endif
