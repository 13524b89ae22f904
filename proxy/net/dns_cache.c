/* SPDX-License-Identifier: Apache-2.0 */
/* A hash of answers with a list by age beside it. What has expired is dropped when it is met or
 * when it is the oldest, so memory is bounded by the numbers of names and addresses. */
#include "net/dns_cache.h"

#include <stdlib.h>

#include "base/hash.h"
#include "base/loop.h"
#include "http/uri.h"

enum {
    NAMES_MAX = 4096,
    ADDRS_MAX = 65536 /* of all names: some 8 MiB */
};

struct dns_cached {
    UT_hash_handle hh;
    struct list link; /* in cache->by_age */
    struct dns_kept kept;
    struct dns_key key;
};

struct dns_record *dns_record_new(const struct addr *addrs, unsigned n)
{
    struct dns_record *r = xcalloc(1, sizeof(*r) + n * sizeof(r->addrs[0]));
    r->refs = 1;
    r->n = n;
    r->born = loop_now();
    r->outcome = n > 0 ? DNS_FOUND : DNS_FAILED;
    if (addrs != NULL)
        memcpy(r->addrs, addrs, n * sizeof(r->addrs[0]));
    return r;
}

struct dns_record *dns_record_fault(enum fault_code code, const char *reason, struct str host)
{
    char text[DNS_NAME_MAX + 1];
    struct dns_record *r = dns_record_new(NULL, 0);
    r->fault = xmalloc(sizeof(*r->fault));
    fault_set(r->fault, code, "%s: %s", str_escape(text, sizeof(text), host), reason);
    return r;
}

struct dns_record *dns_record_absent(struct str host)
{
    struct dns_record *r = dns_record_fault(FAULT_DNS, "there is no such name in the DNS", host);
    r->fault->phrase = "No such host: %s";
    r->outcome = DNS_ABSENT;
    return r;
}

struct dns_record *dns_record_nodata(struct str host, int family)
{
    const char *why = family == AF_INET6  ? "the name has no IPv6 address"
                      : family == AF_INET ? "the name has no IPv4 address"
                                          : "the name has no address";
    struct dns_record *r = dns_record_fault(FAULT_DNS, why, host);
    r->fault->phrase = "No address of %s in the DNS";
    r->outcome = DNS_NODATA;
    return r;
}

struct dns_record *dns_record_known(struct str host, int family)
{
    struct addr a;
    if (addr_parse_ip(&a, host, 0))
        return addr_family(&a) == family ? dns_record_new(&a, 1) : dns_record_nodata(host, family);
    if (uri_is_loopback_name(host)) {
        bool is_ip = addr_parse_ip(&a, family == AF_INET6 ? STR("::1") : STR("127.0.0.1"), 0);
        return dns_record_new(&a, is_ip ? 1 : 0);
    }
    if (host.len == 0 || host.len > DNS_NAME_MAX)
        return dns_record_fault(FAULT_DNS, "no DNS name is that long or empty", host);
    return NULL;
}

struct dns_record *dns_record_ref(struct dns_record *r)
{
    r->refs++;
    return r;
}

void dns_record_unref(struct dns_record *r)
{
    if (r == NULL || --r->refs > 0)
        return;
    free(r->full);
    free(r->fault);
    free(r);
}

/* The dot at its end makes it another name. */
void dns_key_set(struct dns_key *k, struct str host)
{
    memcpy(k->p, host.p, host.len);
    k->len = host.len;
}

void dns_cache_init(struct dns_cache *c)
{
    c->table = NULL;
    c->n = 0;
    c->n_addrs = 0;
    list_init(&c->by_age);
}

static unsigned addrs_of(const struct dns_pair *pair)
{
    unsigned n = 0;
    for (unsigned i = 0; i < DNS_FAMILIES; i++)
        n += pair->of[i] != NULL ? pair->of[i]->n : 0;
    return n;
}

static void cache_drop(struct dns_cache *c, struct dns_cached *e)
{
    HASH_DEL(c->table, e);
    list_remove(&e->link);
    c->n_addrs -= addrs_of(&e->kept.pair);
    for (unsigned i = 0; i < DNS_FAMILIES; i++)
        dns_record_unref(e->kept.pair.of[i]);
    free(e);
    c->n--;
}

static struct dns_cached *cache_find(struct dns_cache *c, const struct dns_key *k)
{
    struct dns_cached *e;
    HASH_FIND(hh, c->table, k->p, k->len, e);
    return e;
}

/* What may serve at NOW in one way or the other; what may not is dropped. */
static struct dns_kept *cache_look(struct dns_cache *c, const struct dns_key *k, int64_t now)
{
    struct dns_cached *e = cache_find(c, k);
    if (e == NULL)
        return NULL;
    if (now < e->kept.until || now < e->kept.stale)
        return &e->kept;
    cache_drop(c, e);
    return NULL;
}

const struct dns_pair *dns_cache_get(struct dns_cache *c, const struct dns_key *k, int64_t now)
{
    const struct dns_kept *kept = cache_look(c, k, now);
    return kept != NULL && now < kept->until ? &kept->pair : NULL;
}

struct dns_kept *dns_cache_stale(struct dns_cache *c, const struct dns_key *k, int64_t now)
{
    struct dns_kept *kept = cache_look(c, k, now);
    return kept != NULL && now >= kept->until ? kept : NULL;
}

void dns_cache_forget(struct dns_cache *c, const struct dns_key *k)
{
    struct dns_cached *e = cache_find(c, k);
    if (e != NULL)
        cache_drop(c, e);
}

void dns_cache_put(struct dns_cache *c, const struct dns_key *k, const struct dns_kept *kept)
{
    struct dns_cached *e;
    dns_cache_forget(c, k);
    unsigned n_addrs = addrs_of(&kept->pair);
    while (c->n >= NAMES_MAX || (c->n > 0 && c->n_addrs + n_addrs > ADDRS_MAX))
        cache_drop(c, container_of(list_first(&c->by_age), struct dns_cached, link));
    e = xcalloc(1, sizeof(*e));
    e->kept = *kept;
    for (unsigned i = 0; i < DNS_FAMILIES; i++) {
        if (kept->pair.of[i] != NULL)
            dns_record_ref(kept->pair.of[i]);
    }
    e->key = *k;
    HASH_ADD_KEYPTR(hh, c->table, e->key.p, e->key.len, e);
    list_push_back(&c->by_age, &e->link);
    c->n++;
    c->n_addrs += n_addrs;
}

/* An answer without addresses never serves beyond its time: nothing is left of it. */
void dns_cache_expire(struct dns_cache *c, int64_t now)
{
    struct list *next;
    for (struct list *it = c->by_age.next; it != &c->by_age; it = next) {
        struct dns_cached *e = container_of(it, struct dns_cached, link);
        next = it->next;
        bool may_serve = e->kept.stale > e->kept.until;
        e->kept.is_failing = false;
        e->kept.ask_again = 0;
        if (now < e->kept.until)
            e->kept.until = now;
        if (!may_serve)
            cache_drop(c, e);
    }
}

void dns_cache_clear(struct dns_cache *c)
{
    struct list *it;
    while ((it = list_first(&c->by_age)) != NULL)
        cache_drop(c, container_of(it, struct dns_cached, link));
}
