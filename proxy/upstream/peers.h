/* SPDX-License-Identifier: Apache-2.0 */
/* The addresses that connections of one origin lead to, and whether they still stand in the DNS.
 * While connections are used nobody dials, so the name is looked up again on the side, when its
 * answer has expired; no request waits for that. An address that no answer has had for a minute
 * has left: no new request goes there. Many names are given a few addresses of a large set, others
 * each time: one answer alone says nothing, and of those that have less than half in common the
 * next begins the minute anew. Where the servers fail nothing changes. */
#ifndef TLSFAN_UPSTREAM_PEERS_H
#define TLSFAN_UPSTREAM_PEERS_H

#include "net/dns.h"

/* An address that connections lead to. Owner: its peers, while there are such. */
struct peer {
    struct list link; /* in peers.all */
    struct addr addr;
    unsigned conns;
    int64_t missed; /* µs: since when no answer has had it; 0: the last one has */
    bool is_gone;   /* and for so long that no new request goes there */
};

/* The addresses of the last answer that had any, for one family. */
struct peers_answer {
    uint32_t *marks; /* heap, a hash of each; NULL: there was none */
    unsigned n;
};

/* Embedded in its origin. */
struct peers {
    struct list all;              /* struct peer */
    struct dns *dns;              /* borrowed */
    char *name;                   /* heap, that is looked up; NULL: nothing is */
    struct peers_answer last[2];  /* IPv6 is [0] here, too */
    int64_t look_at;              /* µs: not before */
    struct post start;            /* of a look */
    struct dns_query *queries[2]; /* under way; IPv6 is [0] */
    /* Some have just left. Called from a look, or the like; P may be closed in it. */
    void (*on_gone)(void *arg);
    void *arg;
};

void peers_init(struct peers *p, void (*on_gone)(void *arg), void *arg);
/* Looks end, and nothing begins one. Any number of times. */
void peers_close(struct peers *p);

/* One more connection leads to ADDR, that an answer for NAME has had just now; and it goes. */
struct peer *peers_add(struct peers *p, struct dns *dns, const char *name, const struct addr *addr);
void peers_remove(struct peers *p, struct peer *peer);

/* A connection to one of them is used at NOW (µs). */
void peers_look_soon(struct peers *p, int64_t now);
static inline void peers_use(struct peers *p, int64_t now)
{
    if (now >= p->look_at)
        peers_look_soon(p, now);
}

#endif
