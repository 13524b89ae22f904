/* SPDX-License-Identifier: Apache-2.0 */
/* A name that is looked up. A written one may mean several (net/dns_search.h): they are asked one
 * after the other, both families of one together, and the first that has any address is taken. So
 * an answer of one family is never beside one of the other that belongs to another name.
 *
 * A candidate that fails is passed over, and one that does not answer, too: when its share of
 * dns.timeout is over the next one is asked beside it. What it still says counts until one behind
 * it has been taken.
 *
 * Where the servers fail, an answer that has expired serves (RFC 8767): of the name that had it,
 * if that has failed, and rather than one of a name behind it. */
#include <stdlib.h>

#include "base/log_limit.h"
#include "net/dns_impl.h"

enum {
    HOSTS_TTL = 1,         /* s; entries of /etc/hosts come with TTL 0 */
    PATIENCE = 5000,       /* ms that are shared where dns.timeout is 0 */
    STALE_PATIENCE = 1800, /* ms, RFC 8767 section 5: the client response timer */
    ASK_AGAIN = 5000000    /* µs from one look-up that fails to the next of that name */
};

static const int families[DNS_FAMILIES] = {AF_INET6, AF_INET};

/* ---- candidates */

static bool is_asked(const struct lookup *k, unsigned family)
{
    return k->family == AF_UNSPEC || k->family == families[family];
}

static bool has_address(const struct candidate *c)
{
    for (unsigned f = 0; f < DNS_FAMILIES; f++) {
        const struct dns_record *r = c->questions[f].answer;
        if (r != NULL && r->outcome == DNS_FOUND)
            return true;
    }
    return false;
}

static bool has_ended(const struct lookup *k, const struct candidate *c)
{
    for (unsigned f = 0; f < DNS_FAMILIES; f++)
        if (is_asked(k, f) && c->questions[f].answer == NULL)
            return false;
    return true;
}

/* It was asked in vain, or not at all. */
static bool has_failed(const struct lookup *k, const struct candidate *c)
{
    for (unsigned f = 0; f < DNS_FAMILIES; f++) {
        const struct dns_record *r = c->questions[f].answer;
        if (is_asked(k, f) && (r == NULL || r->outcome == DNS_FAILED))
            return true;
    }
    return false;
}

/* The first that has an address, if all before it have none or were passed over. */
static struct candidate *lookup_choose(struct lookup *k)
{
    for (unsigned i = 0; i < k->started; i++) {
        struct candidate *c = &k->candidates[i];
        if (has_address(c))
            return c;
        if (!has_ended(k, c) && !c->is_passed)
            return NULL;
    }
    return NULL;
}

static bool have_all_ended(const struct lookup *k)
{
    for (unsigned i = 0; i < k->n; i++)
        if (!has_ended(k, &k->candidates[i]))
            return false;
    return true;
}

/* Asks the next one. Its answers may be there when this returns, and are looked at later. */
static void start_next(struct lookup *k)
{
    struct candidate *c = &k->candidates[k->started++];
    struct dns_channel *ch = k->dns->channel;
    bool is_nowhere = c->is_file && !dns_hosts_may_have(&k->dns->hosts, str_from(c->name));
    for (unsigned f = 0; f < DNS_FAMILIES; f++) {
        struct dns_question *q = &c->questions[f];
        q->loop = k->dns->loop;
        q->later = &k->later;
        if (!is_asked(k, f))
            continue;
        if (ch == NULL)
            q->answer = dns_record_fault(FAULT_DNS, "the DNS resolver could not be set up",
                                         str_from(c->name));
        else if (is_nowhere)
            q->answer = dns_record_nodata(str_from(c->name), families[f]);
        else if (c->is_file)
            dns_channel_ask_file(ch, q, c->name, families[f]);
        else
            dns_channel_ask(ch, q, c->name, families[f]);
    }
    if (ch == NULL || is_nowhere)
        loop_post(k->dns->loop, &k->later);
    deadline_clear(&k->share);
    unsigned left = k->n - k->started;
    int64_t share = (k->end - loop_now()) / 1000 / (left + 1);
    if (left > 0 && !c->is_file)
        deadline_set(&k->share, share > 0 ? share : 1);
}

/* ---- lookups */

static void lookup_free(void *object)
{
    struct lookup *k = object;
    for (unsigned i = 0; i < k->n; i++) {
        free(k->candidates[i].name);
        for (unsigned f = 0; f < DNS_FAMILIES; f++)
            dns_record_unref(k->candidates[i].questions[f].answer);
    }
    for (unsigned f = 0; f < DNS_FAMILIES; f++)
        dns_record_unref(k->answer.of[f]);
    free(k);
}

/* What c-ares still does for K only counts. */
void lookup_close(struct lookup *k)
{
    HASH_DEL(k->dns->flying, k);
    for (unsigned i = 0; i < k->started; i++)
        for (unsigned f = 0; f < DNS_FAMILIES; f++)
            dns_question_forget(&k->candidates[i].questions[f]);
    deadline_close(&k->whole);
    deadline_close(&k->share);
    deadline_close(&k->patience);
    loop_unpost(&k->later);
    loop_reap(k->dns->loop, &k->reap, lookup_free, k);
}

static struct str lookup_host(const struct lookup *k)
{
    return str_make(k->key.p, k->key.len);
}

void dns_query_tell(struct dns_query *q, const struct dns_record *r)
{
    dns_fn fn = q->fn;
    void *arg = q->arg;
    struct dns_answer a = {.addrs = r->addrs,
                           .n = r->n,
                           .full = str_from(r->full),
                           .is_nodata = r->outcome == DNS_NODATA,
                           .is_absent = r->outcome == DNS_ABSENT,
                           .said = q->is_stale || r->outcome == DNS_FAILED ? 0 : r->born,
                           .fault = r->fault};
    if (q->is_stale && r->n > 0 && q->dns->stale != NULL)
        counter_add(q->dns->stale, 1);
    list_remove(&q->link);
    free(q);
    fn(arg, &a);
}

/* How long to keep what K has found, in µs. What was found behind a candidate that failed may be
 * another thing next time, and so may a family that failed. */
static int64_t time_to_keep(const struct lookup *k)
{
    const struct dns_conf *c = &k->dns->conf->dns;
    int64_t us = c->ttl_max * 1000;
    bool is_sure = true;
    for (unsigned i = 0; i < k->started; i++) {
        const struct candidate *at = &k->candidates[i];
        for (unsigned f = 0; f < DNS_FAMILIES; f++) {
            const struct dns_record *r = at->questions[f].answer;
            bool is_failed = r == NULL ? is_asked(k, f) : r->outcome == DNS_FAILED;
            is_sure = is_sure && !is_failed && !at->is_passed;
            if (r == NULL || r->outcome != DNS_FOUND)
                continue;
            int64_t ttl = at->questions[f].ttl > 0 ? at->questions[f].ttl : HOSTS_TTL;
            us = ttl * 1000000 < us ? ttl * 1000000 : us;
        }
        if (at == k->taken)
            break;
    }
    if (k->taken == NULL)
        return is_sure ? c->negative_ttl * 1000 : 0;
    return is_sure || us < c->negative_ttl * 1000 ? us : c->negative_ttl * 1000;
}

static void keep_answer(struct lookup *k)
{
    struct dns *d = k->dns;
    char host[DNS_NAME_MAX + 2];
    int64_t now = loop_now();
    struct dns_kept kept = {.pair = k->answer, .until = now + time_to_keep(k)};
    kept.stale = kept.until;
    if (k->version != d->version)
        return;
    const struct dns_kept *old = dns_cache_stale(&d->cache, &k->key, now);
    if (old != NULL && old->is_failing)
        log_limited(LOG_LEVEL_INFO, "%s: the DNS servers answer again",
                    str_escape(host, sizeof(host), lookup_host(k)));
    if (k->taken != NULL) {
        kept.source = (unsigned)(k->taken - k->candidates);
        kept.stale += d->conf->dns.stale * 1000;
    }
    if (kept.stale > now)
        dns_cache_put(&d->cache, &k->key, &kept);
    else
        dns_cache_forget(&d->cache, &k->key);
}

/* What to tell who asked for family F when nothing was found: the worst that was said, of the
 * written name where that is among it. A reference. */
static struct dns_record *worst(const struct lookup *k, unsigned f)
{
    struct str host = lookup_host(k);
    struct dns_record *found = NULL;
    for (unsigned i = 0; i < k->n; i++) {
        struct dns_record *r = k->candidates[i].questions[f].answer;
        if (k->candidates[i].is_file)
            continue;
        if (r == NULL)
            return dns_channel_fault(k->dns->channel, FAULT_DNS_TIMEOUT,
                                     "no DNS server answered within dns.timeout", host);
        if (found == NULL || r->outcome > found->outcome ||
            (r->outcome == found->outcome && str_eq(host, str_from(k->candidates[i].name))))
            found = r;
    }
    return found != NULL ? dns_record_ref(found) : dns_record_absent(host);
}

/* Puts what is known by now into k->answer; when K is over, that is all. */
static void fill_answer(struct lookup *k, bool is_over)
{
    for (unsigned f = 0; f < DNS_FAMILIES; f++) {
        struct dns_record *r = k->taken == NULL ? NULL : k->taken->questions[f].answer;
        if (k->answer.of[f] != NULL)
            continue;
        if (r != NULL)
            k->answer.of[f] = dns_record_ref(r);
        else if (is_over && !is_asked(k, f))
            k->answer.of[f] = dns_record_nodata(lookup_host(k), families[f]);
        else if (is_over)
            k->answer.of[f] = worst(k, f);
    }
}

/* A name for mail alone has an address of neither family, which is said as such: who reads of one
 * looks for a fault of that one. */
static void join_nodata(struct lookup *k)
{
    for (unsigned f = 0; f < DNS_FAMILIES; f++)
        if (!is_asked(k, f) || k->answer.of[f]->outcome != DNS_NODATA)
            return;
    for (unsigned f = 0; f < DNS_FAMILIES; f++) {
        dns_record_unref(k->answer.of[f]);
        k->answer.of[f] = dns_record_nodata(lookup_host(k), AF_UNSPEC);
    }
}

/* Tells who waits for a family that is known. They may look up and cancel as they like meanwhile.
 */
static void lookup_tell(struct lookup *k, bool is_over)
{
    struct list told[DNS_FAMILIES];
    struct list *it;
    fill_answer(k, is_over);
    for (unsigned f = 0; f < DNS_FAMILIES; f++) {
        list_init(&told[f]);
        if (k->answer.of[f] != NULL)
            list_move(&told[f], &k->queries[f]);
    }
    if (is_over) {
        join_nodata(k);
        keep_answer(k);
        lookup_close(k);
    }
    /* The records live until the reaper comes. */
    for (unsigned f = 0; f < DNS_FAMILIES; f++)
        while ((it = list_first(&told[f])) != NULL)
            dns_query_tell(container_of(it, struct dns_query, link), k->answer.of[f]);
}

/* ---- expired answers */

/* R says that what OLD said is not so any more: an answer, and not a failure. There is no such name
 * in either family, so one of them is enough; but some servers say so of a family of which there is
 * no address, and have done before (RFC 4074). */
static bool is_news(const struct dns_record *r, const struct dns_record *old)
{
    if (r == NULL || r->outcome == old->outcome)
        return false;
    return r->outcome == DNS_ABSENT || (r->outcome == DNS_NODATA && old->outcome == DNS_FOUND);
}

/* What may serve in the place of K's answer, of which nothing was told yet: the name that it is of
 * has failed for one family, and has said nothing else for the other. */
static struct dns_kept *lookup_stale(struct lookup *k)
{
    if (k->taken != NULL || k->version != k->dns->version)
        return NULL;
    struct dns_kept *kept = dns_cache_stale(&k->dns->cache, &k->key, loop_now());
    if (kept == NULL || !has_failed(k, &k->candidates[kept->source]))
        return NULL;
    const struct dns_question *now = k->candidates[kept->source].questions;
    for (unsigned f = 0; f < DNS_FAMILIES; f++)
        if (is_news(now[f].answer, kept->pair.of[f]))
            return NULL;
    return kept;
}

static void log_stale(const struct lookup *k, const struct dns_kept *kept)
{
    char host[DNS_NAME_MAX + 2];
    const struct dns_question *asked = k->candidates[kept->source].questions;
    long long s = (kept->stale - loop_now() + 999999) / 1000000;
    const char *why = NULL;
    for (unsigned f = 0; f < DNS_FAMILIES; f++)
        if (asked[f].answer != NULL && asked[f].answer->outcome == DNS_FAILED)
            why = asked[f].answer->fault->text;
    if (why != NULL)
        log_limited(LOG_LEVEL_WARNING, "%s: the last answer serves for up to %lld s (dns.stale)",
                    why, s);
    else
        log_limited(LOG_LEVEL_WARNING,
                    "%s: no DNS server has answered yet: the last answer serves for up to %lld s "
                    "(dns.stale)",
                    str_escape(host, sizeof(host), lookup_host(k)), s);
}

/* Tells all who wait what KEPT says; K is over, or goes on for those who come later. */
static void lookup_tell_stale(struct lookup *k, struct dns_kept *kept, bool is_over)
{
    struct list told[DNS_FAMILIES];
    struct list *it;
    struct dns_pair pair = kept->pair;
    if (!kept->is_failing)
        log_stale(k, kept);
    kept->is_failing = true;
    for (unsigned f = 0; f < DNS_FAMILIES; f++) {
        dns_record_ref(pair.of[f]);
        list_init(&told[f]);
        list_move(&told[f], &k->queries[f]);
    }
    k->is_refresh = true;
    if (is_over)
        lookup_close(k);
    for (unsigned f = 0; f < DNS_FAMILIES; f++) {
        while ((it = list_first(&told[f])) != NULL) {
            struct dns_query *q = container_of(it, struct dns_query, link);
            q->is_stale = true;
            dns_query_tell(q, pair.of[f]);
        }
        dns_record_unref(pair.of[f]);
    }
}

/* K has all that it will get. */
static void lookup_end(struct lookup *k)
{
    struct dns_kept *kept = lookup_stale(k);
    if (kept != NULL)
        lookup_tell_stale(k, kept, true);
    else
        lookup_tell(k, true);
}

static void lookup_on_patience(void *arg)
{
    struct lookup *k = arg;
    struct dns_kept *kept = lookup_stale(k);
    if (kept != NULL)
        lookup_tell_stale(k, kept, false);
}

/* ---- steps */

static void lookup_take(struct lookup *k, struct candidate *c)
{
    struct str host = lookup_host(k);
    bool is_written = str_starts(host, str_from(c->name));
    k->taken = c;
    deadline_clear(&k->share);
    for (unsigned f = 0; f < DNS_FAMILIES; f++) {
        struct dns_record *r = c->questions[f].answer;
        if (r != NULL && !is_written && r->full == NULL)
            r->full = xstrdup(c->name);
    }
}

static bool is_abandoned(const struct lookup *k)
{
    for (unsigned f = 0; f < DNS_FAMILIES; f++)
        if (!list_is_empty(&k->queries[f]))
            return false;
    return true;
}

/* The next candidate's turn, unless all who wanted to know have left. */
static void lookup_go_on(struct lookup *k)
{
    if (is_abandoned(k) && !k->is_refresh)
        lookup_close(k);
    else
        start_next(k);
}

/* Something has come: answers, or the end of a share. */
static void lookup_on_step(void *arg)
{
    struct lookup *k = arg;
    struct candidate *c = k->taken != NULL ? k->taken : lookup_choose(k);
    struct candidate *last = &k->candidates[k->started - 1];
    struct dns_kept *kept = c != NULL ? lookup_stale(k) : NULL;
    if (kept != NULL && c > &k->candidates[kept->source]) {
        lookup_tell_stale(k, kept, true);
    } else if (c != NULL) {
        lookup_take(k, c);
        lookup_tell(k, has_ended(k, c));
    } else if (k->started < k->n && (last->is_passed || has_ended(k, last))) {
        lookup_go_on(k);
    } else if (k->started == k->n && have_all_ended(k)) {
        lookup_end(k);
    }
}

static void on_share(void *arg)
{
    struct lookup *k = arg;
    k->candidates[k->started - 1].is_passed = true;
    lookup_on_step(k);
}

static void on_whole(void *arg)
{
    lookup_end(arg);
}

struct lookup *lookup_new(struct dns *d, const struct dns_key *key)
{
    char *names[DNS_NAMES_MAX];
    struct str host = str_make(key->p, key->len);
    unsigned n = dns_search_names(&d->search, host, names);
    struct lookup *k = xcalloc(1, sizeof(*k) + (n + 1) * sizeof(k->candidates[0]));
    int64_t patience = d->conf->dns.timeout > 0 ? d->conf->dns.timeout : PATIENCE;
    k->dns = d;
    k->key = *key;
    k->family = d->conf->dns.family;
    k->version = d->version;
    k->end = loop_now() + patience * 1000;
    for (unsigned f = 0; f < DNS_FAMILIES; f++)
        list_init(&k->queries[f]);
    /* With its dot, which no name in that file has: glibc asks so, too. */
    k->candidates[0] = (struct candidate){.name = xstrndup(host.p, host.len), .is_file = true};
    for (unsigned i = 0; i < n; i++)
        k->candidates[i + 1].name = names[i];
    k->n = n + 1;
    deadline_init(&k->whole, d->loop, on_whole, k);
    deadline_init(&k->share, d->loop, on_share, k);
    deadline_init(&k->patience, d->loop, lookup_on_patience, k);
    post_init(&k->later, lookup_on_step, k);
    HASH_ADD_KEYPTR(hh, d->flying, k->key.p, k->key.len, k);
    deadline_set(&k->whole, d->conf->dns.timeout);
    struct dns_kept *kept = dns_cache_stale(&d->cache, key, loop_now());
    if (kept != NULL) {
        kept->ask_again = loop_now() + ASK_AGAIN;
        deadline_set(&k->patience, STALE_PATIENCE);
    }
    start_next(k);
    return k;
}

void lookup_refresh(struct dns *d, const struct dns_key *key)
{
    struct lookup *k;
    HASH_FIND(hh, d->flying, key->p, key->len, k);
    if (k == NULL)
        lookup_new(d, key)->is_refresh = true;
}
