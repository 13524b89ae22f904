/* SPDX-License-Identifier: Apache-2.0 */
/* Answers to DNS queries, kept as long as their TTL allows; bounded, the oldest goes first. One
 * thread. */
#ifndef TLSFAN_NET_DNS_CACHE_H
#define TLSFAN_NET_DNS_CACHE_H

#include "base/addr.h"
#include "base/fault.h"
#include "base/list.h"

/* An answer: immutable once made, counted references. */
struct dns_record {
    unsigned refs;
    unsigned n; /* addresses; 0: `fault` says why */
    bool is_nodata;
    struct fault *fault; /* heap, or NULL */
    struct addr addrs[];
};

/* With one reference; the fault, if any, is set by the maker. */
struct dns_record *dns_record_new(const struct addr *addrs, unsigned n);
/* Without addresses: F is "HOST: REASON". */
struct dns_record *dns_record_fault(enum fault_code code, const char *reason, struct str host);
/* HOST exists, but has no address of FAMILY. */
struct dns_record *dns_record_nodata(struct str host, int family);
/* What needs no server: literals, loopback names (RFC 6761 §6.3), names that cannot be. NULL for
 * all else. */
struct dns_record *dns_record_known(struct str host, int family);
struct dns_record *dns_record_ref(struct dns_record *r);
void dns_record_unref(struct dns_record *r);

enum { DNS_NAME_MAX = 253, DNS_KEY_MAX = DNS_NAME_MAX + 1 };

/* Of a name and a family: what tables are keyed by. */
struct dns_key {
    size_t len;
    char p[DNS_KEY_MAX]; /* '4' or '6', then the name */
};

/* HOST is at most DNS_NAME_MAX bytes. */
void dns_key_set(struct dns_key *k, struct str host, int family);

struct dns_cached;

/* Embedded; zero-initialised and then dns_cache_init(). */
struct dns_cache {
    struct dns_cached *table;
    struct list by_age; /* oldest first */
    unsigned n;
};

void dns_cache_init(struct dns_cache *c);
/* A borrowed record that is still valid at NOW (µs), or NULL. */
struct dns_record *dns_cache_get(struct dns_cache *c, const struct dns_key *k, int64_t now);
/* Keeps R (a reference of its own) until UNTIL (µs), instead of what was there. */
void dns_cache_put(struct dns_cache *c, const struct dns_key *k, struct dns_record *r,
                   int64_t until);
/* Empties it. */
void dns_cache_clear(struct dns_cache *c);

#endif
