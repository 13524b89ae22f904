/* SPDX-License-Identifier: Apache-2.0 */
/* Names to addresses.
 *
 *     query      what a caller holds, for one family; many may wait for one lookup
 *     lookup     a written name in flight; ends with an answer or with dns.timeout
 *     candidate  a name that it may mean; the first one is the written name in the file of hosts
 *
 * A changed resolv.conf makes a new channel and a new search list. */
#include "net/dns.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log_limit.h"
#include "conf/rule.h"
#include "net/dns_impl.h"
#include "net/dns_resolv.h"

enum { RESOLV_CHECK = 1000000 }; /* µs between two looks at resolv.conf */

/* ---- resolv.conf */

static void find_ruled(struct dns *d)
{
    d->is_ruled = false;
    for (unsigned i = 0; i < d->search.n; i++)
        d->is_ruled = d->is_ruled || rule_knows_domain(d->conf, str_from(d->search.domains[i]));
}

/* A channel and a search list by SEARCH, which is taken over. False with errno; then all is as it
 * was. */
static bool take_channel(struct dns *d, struct dns_search *search)
{
    struct dns_channel *fresh = dns_channel_new(d->loop, &d->channels, &d->conf->dns, search);
    if (fresh == NULL) {
        dns_search_clear(search);
        return false;
    }
    dns_channel_retire(d->channel);
    dns_search_clear(&d->search);
    d->channel = fresh;
    d->search = *search;
    find_ruled(d);
    return true;
}

/* Everything anew. Where resolv.conf was written again with what it had, as DHCP clients do when
 * they renew, what is known stays, and so does a good channel. False with errno; then all is as it
 * was. */
static bool open_channel(struct dns *d)
{
    struct dns_search search = {.n = 0};
    struct file_id id = dns_resolv_identify();
    uint64_t digest = dns_resolv_read(&search);
    bool is_same =
        d->is_resolv_sure && digest == d->resolv_digest && dns_search_equal(&search, &d->search);
    if (is_same && d->channel != NULL && !dns_channel_is_worn(d->channel))
        dns_search_clear(&search);
    else if (!take_channel(d, &search))
        return false;
    /* c-ares reads it, too, and may have found another. */
    struct file_id after = dns_resolv_identify();
    d->resolv = id;
    d->resolv_digest = digest;
    d->is_resolv_sure = file_is_same(&id, &after);
    if (is_same)
        return true;
    dns_cache_clear(&d->cache);
    d->version++;
    return true;
}

static void renew(struct dns *d)
{
    if (!open_channel(d))
        log_limited(LOG_LEVEL_WARNING, "no DNS resolver could be set up: %s", strerror(errno));
}

/* A new channel when there is none or resolv.conf has changed. */
static void refresh(struct dns *d)
{
    int64_t now = loop_now();
    if (d->channel != NULL && now - d->resolv_checked < RESOLV_CHECK)
        return;
    struct file_id id = dns_resolv_identify();
    d->resolv_checked = now;
    if (d->channel != NULL && file_is_same(&id, &d->resolv))
        return;
    renew(d);
}

const struct dns_search *dns_ruled_search(struct dns *d)
{
    refresh(d);
    return d->is_ruled ? &d->search : NULL;
}

/* ---- queries */

static void on_ready(void *arg)
{
    struct dns_query *q = arg;
    struct dns_record *r = q->answer;
    dns_query_tell(q, r);
    dns_record_unref(r);
}

/* Joins the lookup of KEY, which is made when there is none; or takes what it knows already. */
static void query_join(struct dns *d, struct dns_query *q, const struct dns_key *key, unsigned f)
{
    struct lookup *k;
    HASH_FIND(hh, d->flying, key->p, key->len, k);
    if (k == NULL && d->channel != NULL && dns_channel_is_worn(d->channel))
        renew(d);
    if (k == NULL)
        k = lookup_new(d, key);
    if (k->answer.of[f] == NULL) {
        list_push_back(&k->queries[f], &q->link);
        return;
    }
    q->answer = dns_record_ref(k->answer.of[f]);
    loop_post(d->loop, &q->later);
}

/* What needs no lookup. A reference, or NULL. */
static struct dns_record *find_known(struct dns *d, struct str host, const struct dns_key *key,
                                     int family)
{
    unsigned f = dns_family_at(family);
    const struct dns_pair *pair = dns_cache_get(&d->cache, key, loop_now());
    if (pair == NULL)
        return NULL;
    return pair->of[f] != NULL ? dns_record_ref(pair->of[f]) : dns_record_nodata(host, family);
}

/* The same where the servers fail: what has expired. They are asked meanwhile, now and then. */
static struct dns_record *find_stale(struct dns *d, const struct dns_key *key, int family)
{
    int64_t now = loop_now();
    struct dns_kept *kept = dns_cache_stale(&d->cache, key, now);
    if (kept == NULL || !kept->is_failing)
        return NULL;
    struct dns_record *r = dns_record_ref(kept->pair.of[dns_family_at(family)]);
    if (now >= kept->ask_again)
        lookup_refresh(d, key);
    return r;
}

struct dns_query *dns_lookup(struct dns *d, struct str host, int family, dns_fn fn, void *arg)
{
    struct dns_query *q = xcalloc(1, sizeof(*q));
    struct str bare = host;
    if (bare.len > 0 && bare.p[bare.len - 1] == '.')
        bare.len--;
    list_init(&q->link);
    post_init(&q->later, on_ready, q);
    q->dns = d;
    q->fn = fn;
    q->arg = arg;
    q->answer = dns_record_known(bare, family);
    if (q->answer == NULL) {
        struct dns_key key;
        refresh(d); /* or what is kept would be told although the servers are others */
        dns_key_set(&key, host);
        q->answer = find_known(d, bare, &key, family);
        if (q->answer == NULL) {
            q->answer = find_stale(d, &key, family);
            q->is_stale = q->answer != NULL;
        }
        if (q->answer == NULL) {
            query_join(d, q, &key, dns_family_at(family));
            return q;
        }
    }
    loop_post(d->loop, &q->later);
    return q;
}

void dns_cancel(struct dns_query *q)
{
    list_remove(&q->link);
    loop_unpost(&q->later);
    dns_record_unref(q->answer);
    free(q);
}

/* ---- the resolver */

struct dns *dns_new(struct loop *l, const struct conf *c)
{
    struct dns *d = xcalloc(1, sizeof(*d));
    list_init(&d->channels);
    dns_cache_init(&d->cache);
    d->loop = l;
    d->conf = conf_ref((struct conf *)c);
    d->resolv_checked = loop_now();
    if (open_channel(d))
        return d;
    int err = errno;
    conf_unref(&d->conf);
    free(d);
    errno = err;
    return NULL;
}

/* What A's servers have said holds under B, too. */
static bool are_same_answers(const struct dns_conf *a, const struct dns_conf *b)
{
    bool is_same = a->family == b->family && a->stale == b->stale && a->servers.n == b->servers.n;
    for (unsigned i = 0; is_same && i < a->servers.n; i++)
        is_same = strcmp(a->servers.v[i], b->servers.v[i]) == 0;
    return is_same;
}

void dns_configure(struct dns *d, const struct conf *c)
{
    struct conf *old = d->conf;
    d->conf = conf_ref((struct conf *)c);
    if (are_same_answers(&old->dns, &c->dns)) {
        dns_cache_expire(&d->cache, loop_now());
    } else {
        dns_cache_clear(&d->cache);
        d->version++;
    }
    conf_unref(&old);
    dns_channel_retire(d->channel);
    d->channel = NULL;
    refresh(d);
}

static void dns_free(void *object)
{
    struct dns *d = object;
    conf_unref(&d->conf);
    free(d);
}

void dns_close(struct dns *d)
{
    struct lookup *k;
    struct lookup *tmp;
    struct list *it;
    if (d == NULL)
        return;
    HASH_ITER (hh, d->flying, k, tmp) {
        for (unsigned f = 0; f < DNS_FAMILIES; f++)
            while ((it = list_first(&k->queries[f])) != NULL)
                dns_cancel(container_of(it, struct dns_query, link));
        lookup_close(k);
    }
    dns_cache_clear(&d->cache);
    dns_search_clear(&d->search);
    dns_hosts_clear(&d->hosts);
    dns_channels_close(&d->channels);
    d->channel = NULL;
    loop_reap(d->loop, &d->reap, dns_free, d);
}

void dns_count_stale(struct dns *d, struct counter *n)
{
    d->stale = n;
}

struct loop *dns_loop(const struct dns *d)
{
    return d->loop;
}
