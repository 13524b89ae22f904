/* SPDX-License-Identifier: Apache-2.0 */
/* Answers to DNS queries, kept as long as their TTL allows, and those with addresses as long beyond
 * that as they may serve when the servers fail; bounded, the oldest goes first. One thread. */
#ifndef TLSFAN_NET_DNS_CACHE_H
#define TLSFAN_NET_DNS_CACHE_H

#include "base/addr.h"
#include "base/fault.h"
#include "base/list.h"
#include "net/dns_search.h"

/* What an answer is worth, the more telling ones last. */
enum dns_outcome {
    DNS_ABSENT, /* there is no such name */
    DNS_NODATA, /* there is, but without an address of this family */
    DNS_FAILED, /* nobody could say */
    DNS_FOUND
};

/* An answer for one family: immutable once others see it, counted references. */
struct dns_record {
    unsigned refs;
    unsigned n;   /* addresses; 0: `fault` says why */
    int64_t born; /* µs */
    enum dns_outcome outcome;
    char *full;          /* heap; the name that was found, where a domain was added; else NULL */
    struct fault *fault; /* heap, or NULL */
    struct addr addrs[];
};

/* With one reference; the fault, if any, is set by the maker, and so are the N addresses where
 * ADDRS is NULL. */
struct dns_record *dns_record_new(const struct addr *addrs, unsigned n);
/* Without addresses: DNS_FAILED, and the fault is "HOST: REASON". */
struct dns_record *dns_record_fault(enum fault_code code, const char *reason, struct str host);
/* There is no such name. */
struct dns_record *dns_record_absent(struct str host);
/* HOST exists, but has no address of FAMILY; AF_UNSPEC: none at all. */
struct dns_record *dns_record_nodata(struct str host, int family);
/* What needs no server: literals, loopback names (RFC 6761 §6.3), names that cannot be. NULL for
 * all else. */
struct dns_record *dns_record_known(struct str host, int family);
struct dns_record *dns_record_ref(struct dns_record *r);
void dns_record_unref(struct dns_record *r);

/* The two families; IPv6 first. */
enum { DNS_FAMILIES = 2 };
static inline unsigned dns_family_at(int family)
{
    return family == AF_INET6 ? 0 : 1;
}

/* A name as it was written, with its dot: what tables are keyed by. */
struct dns_key {
    size_t len;
    char p[DNS_NAME_MAX + 1];
};

/* HOST is at most DNS_NAME_MAX bytes and a dot. */
void dns_key_set(struct dns_key *k, struct str host);

/* What is known of a name: both families, or neither, so that they are always of one full name. A
 * reference each, or NULL: was not asked for. */
struct dns_pair {
    struct dns_record *of[DNS_FAMILIES];
};

/* What is kept of a name. */
struct dns_kept {
    struct dns_pair pair;
    int64_t until;     /* µs: valid so long */
    int64_t stale;     /* µs: it may serve so long if the servers fail; `until`: it may not */
    int64_t ask_again; /* µs: not before; 0: it was not asked for since it expired */
    bool is_failing;   /* and the servers have failed to say what it is now */
    unsigned source;   /* the owner's: which of the names that a written one may mean has it */
};

struct dns_cached;

/* Embedded; zero-initialised and then dns_cache_init(). */
struct dns_cache {
    struct dns_cached *table;
    struct list by_age; /* oldest first */
    unsigned n;         /* names */
    unsigned n_addrs;   /* and their addresses */
};

void dns_cache_init(struct dns_cache *c);
/* Borrowed records that are still valid at NOW (µs), or NULL. */
const struct dns_pair *dns_cache_get(struct dns_cache *c, const struct dns_key *k, int64_t now);
/* What has expired and may serve all the same, or NULL. Until the next call that may drop it. */
struct dns_kept *dns_cache_stale(struct dns_cache *c, const struct dns_key *k, int64_t now);
/* Keeps what KEPT says (its pair with references of its own) instead of what was there. */
void dns_cache_put(struct dns_cache *c, const struct dns_key *k, const struct dns_kept *kept);
void dns_cache_forget(struct dns_cache *c, const struct dns_key *k);
/* All of it has expired at NOW, and the servers are asked as though they had not failed. */
void dns_cache_expire(struct dns_cache *c, int64_t now);
/* Empties it. */
void dns_cache_clear(struct dns_cache *c);

#endif
