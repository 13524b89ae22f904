/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the resolver share: dns.c (queries, the resolver itself) and dns_lookup.c. */
#ifndef TLSFAN_NET_DNS_IMPL_H
#define TLSFAN_NET_DNS_IMPL_H

#include "base/counter.h"
#include "base/file.h"
#include "base/hash.h"
#include "net/dns.h"
#include "net/dns_channel.h"
#include "net/dns_hosts.h"

struct dns {
    struct loop *loop;
    struct conf *conf;           /* a reference */
    struct dns_channel *channel; /* NULL when none could be made: tried again at the next lookup */
    struct list channels;        /* that one, and retired ones */
    unsigned version;            /* of channel, search list and configuration */
    struct dns_search search;
    struct dns_hosts hosts;
    bool is_ruled; /* a rule may match a name because of a domain of the list */
    struct dns_cache cache;
    struct lookup *flying; /* by key */
    struct counter *stale; /* borrowed; NULL: nobody counts */
    struct file_id resolv;
    uint64_t resolv_digest; /* of its text */
    bool is_resolv_sure;    /* that is what the channel was made from */
    int64_t resolv_checked; /* µs */
    struct reap reap;
};

/* A name that a written one may mean. */
struct candidate {
    char *name;     /* heap, no dot at the end, but for the file */
    bool is_file;   /* looked up in the file of hosts, as it was written */
    bool is_passed; /* its share is over, the next one has been asked */
    struct dns_question questions[DNS_FAMILIES];
};

/* Owner: struct dns, in `flying`, until all of its answer has been told. */
struct lookup {
    UT_hash_handle hh;
    struct dns *dns;
    struct dns_key key;
    int family;                        /* of the configuration it began with; AF_UNSPEC: both */
    unsigned version;                  /* of DNS when it began */
    struct list queries[DNS_FAMILIES]; /* struct dns_query; cancelled ones are gone from it */
    unsigned n, started;               /* candidates; those of them that have been asked */
    struct candidate *taken;           /* the one that has an address */
    struct dns_pair answer;            /* what has been told */
    int64_t end;                       /* µs, of dns.timeout */
    struct deadline whole;             /* the same */
    struct deadline share;             /* of the candidate asked last */
    struct deadline patience;          /* then an answer that has expired is told, and K goes on */
    bool is_refresh;                   /* although nobody waits for it */
    struct post later;
    struct reap reap;
    struct candidate candidates[];
};

struct dns_query {
    struct list link;          /* in lookup->queries */
    struct dns *dns;           /* borrowed */
    struct dns_record *answer; /* a reference, of a query that could be answered at once */
    bool is_stale;             /* the answer has expired */
    struct post later;
    dns_fn fn;
    void *arg;
};

/* ---- dns_lookup.c */

/* Starts a lookup of KEY. It ends by itself: tells all of its queries, which are gone then. */
struct lookup *lookup_new(struct dns *d, const struct dns_key *key);
/* Starts one that nobody waits for, unless one is under way. */
void lookup_refresh(struct dns *d, const struct dns_key *key);
/* K is nobody's any more; its queries have been told or cancelled. */
void lookup_close(struct lookup *k);

/* Ends Q with R; nothing of Q is left when its owner is told. */
void dns_query_tell(struct dns_query *q, const struct dns_record *r);

#endif
