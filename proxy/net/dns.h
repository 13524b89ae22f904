/* SPDX-License-Identifier: Apache-2.0 */
/* Names to addresses over c-ares, on the loop: one family a query, both looked up together, cached
 * by TTL (the least of addresses and CNAMEs), equal queries in flight shared. /etc/hosts first,
 * then what the name may mean by resolv.conf, which is read again when it changes. IP literals and
 * *.localhost never leave the machine. Where the servers fail, an expired answer serves for
 * dns.stale (RFC 8767), and they are asked again every 5 s, while nobody waits for them. */
#ifndef TLSFAN_NET_DNS_H
#define TLSFAN_NET_DNS_H

#include "conf/conf.h"
#include "base/loop.h"

struct counter;
struct dns;
struct dns_search;
struct dns_query; /* a token */

enum { DNS_ADDRS_MAX = 256 }; /* of one name and family; what comes behind them is not used */

struct dns_answer {
    const struct addr *addrs; /* port 0; valid until the callback returns */
    struct str full; /* the name that was found, where a domain of the search list was added to the
                        written one; else empty. Valid as long */
    unsigned n;      /* 0: F says why: FAULT_DNS (no such name, no address of this family) or
                       FAULT_DNS_TIMEOUT */
    bool is_nodata;  /* n = 0, and it was a clean "none of this family" */
    bool is_absent;  /* n = 0, and there is no such name */
    int64_t said;    /* µs: when the DNS has said so; 0: it has failed, or this has expired */
    const struct fault *fault;
};
typedef void (*dns_fn)(void *arg, const struct dns_answer *a);

/* A resolver for one loop, with the settings of CONF (servers, timeout, ttl_max, negative_ttl).
 * NULL with errno. */
struct dns *dns_new(struct loop *l, const struct conf *c);
/* Expired answers that are given are counted there from now on, each family by itself. */
void dns_count_stale(struct dns *d, struct counter *n);
/* New settings; queries in flight go on, the cache is emptied. */
void dns_configure(struct dns *d, const struct conf *c);
void dns_close(struct dns *d);
/* The loop it was made for. */
struct loop *dns_loop(const struct dns *d);

/* The search list as it is now, until the next call; NULL when no rule of the newest configuration
 * depends on it. */
const struct dns_search *dns_ruled_search(struct dns *d);

/* Looks HOST (lower case; with a dot at its end that name alone) up for FAMILY, AF_INET or
 * AF_INET6, as dns.family allows. The answers for both families are of one full name. Never calls
 * FN before it has returned: what is cached is told through a post. The token is gone when FN is
 * called. */
struct dns_query *dns_lookup(struct dns *d, struct str host, int family, dns_fn fn, void *arg);
/* FN will not come. */
void dns_cancel(struct dns_query *q);

#endif
