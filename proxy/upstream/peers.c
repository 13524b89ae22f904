/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream/peers.h"

#include <stdlib.h>

#include "base/hash.h"
#include "base/log_limit.h"

enum {
    LOOK_EVERY = 5000000, /* µs: an answer may have a TTL of nothing */
    GONE_AFTER = 60000000 /* µs from the first answer without an address to one that says so, too */
};

/* ---- answers */

static bool answer_has(const struct dns_answer *a, const struct addr *addr)
{
    for (unsigned i = 0; i < a->n; i++)
        if (addr_same_ip(&a->addrs[i], addr))
            return true;
    return false;
}

static uint32_t mark_of(const struct addr *a)
{
    return (uint32_t)(addr_family(a) == AF_INET6
                          ? hash_bytes(&a->in6.sin6_addr, sizeof(a->in6.sin6_addr))
                          : hash_bytes(&a->in4.sin_addr, sizeof(a->in4.sin_addr)));
}

/* A, if it has any, takes the place of LAST. True when the DNS gives out others each time: no more
 * than half of A's addresses were in LAST, too. */
static bool is_other_answer(struct peers_answer *last, const struct dns_answer *a)
{
    unsigned n_both = 0;
    if (a->n == 0)
        return false;
    uint32_t *marks = xmalloc(a->n * sizeof(*marks));
    for (unsigned i = 0; i < a->n; i++) {
        marks[i] = mark_of(&a->addrs[i]);
        for (unsigned k = 0; k < last->n; k++)
            n_both += last->marks[k] == marks[i];
    }
    free(last->marks);
    *last = (struct peers_answer){.marks = marks, .n = a->n};
    return n_both * 2 <= a->n;
}

/* True when P has left just now. */
static bool peer_judge(struct peer *p, const struct dns_answer *a, bool is_other)
{
    bool was_gone = p->is_gone;
    if (answer_has(a, &p->addr)) {
        p->missed = 0;
        p->is_gone = false;
        return false;
    }
    if (p->missed == 0 || is_other)
        p->missed = a->said;
    p->is_gone = was_gone || a->said - p->missed >= GONE_AFTER;
    return p->is_gone && !was_gone;
}

/* An answer that was cut says of no address that it is not there. */
static void peers_take(struct peers *p, int family, const struct dns_answer *a)
{
    char text[ADDR_TEXT];
    bool have_left = false;
    if (a->said == 0 || a->n >= DNS_ADDRS_MAX)
        return;
    bool is_other = is_other_answer(&p->last[family == AF_INET6 ? 0 : 1], a);
    list_foreach (it, &p->all) {
        struct peer *peer = container_of(it, struct peer, link);
        if (addr_family(&peer->addr) != family || !peer_judge(peer, a, is_other))
            continue;
        log_limited(LOG_LEVEL_DEBUG,
                    "%s is no address of %s any more: %u connections take no new request",
                    addr_print_ip(&peer->addr, text), p->name, peer->conns);
        have_left = true;
    }
    if (have_left)
        p->on_gone(p->arg);
}

static void peers_on_v6(void *arg, const struct dns_answer *a)
{
    struct peers *p = arg;
    p->queries[0] = NULL;
    peers_take(p, AF_INET6, a);
}

static void peers_on_v4(void *arg, const struct dns_answer *a)
{
    struct peers *p = arg;
    p->queries[1] = NULL;
    peers_take(p, AF_INET, a);
}

/* ---- looks */

static bool peers_have(const struct peers *p, int family)
{
    list_foreach (it, &p->all)
        if (addr_family(&container_of(it, struct peer, link)->addr) == family)
            return true;
    return false;
}

static void peers_ask(struct peers *p, int family, dns_fn fn)
{
    unsigned f = family == AF_INET6 ? 0 : 1;
    if (p->queries[f] == NULL && peers_have(p, family))
        p->queries[f] = dns_lookup(p->dns, str_from(p->name), family, fn, p);
}

static void peers_on_start(void *arg)
{
    struct peers *p = arg;
    if (p->name == NULL)
        return;
    peers_ask(p, AF_INET6, peers_on_v6);
    peers_ask(p, AF_INET, peers_on_v4);
}

void peers_look_soon(struct peers *p, int64_t now)
{
    p->look_at = now + LOOK_EVERY;
    loop_post(dns_loop(p->dns), &p->start);
}

/* ---- the owner's */

void peers_init(struct peers *p, void (*on_gone)(void *arg), void *arg)
{
    list_init(&p->all);
    post_init(&p->start, peers_on_start, p);
    p->look_at = INT64_MAX;
    p->on_gone = on_gone;
    p->arg = arg;
}

static void peers_forget(struct peers *p)
{
    free(p->name);
    p->name = NULL;
    for (unsigned i = 0; i < 2; i++) {
        free(p->last[i].marks);
        p->last[i] = (struct peers_answer){.n = 0};
    }
    p->look_at = INT64_MAX;
}

void peers_close(struct peers *p)
{
    for (unsigned i = 0; i < 2; i++) {
        if (p->queries[i] != NULL)
            dns_cancel(p->queries[i]);
        p->queries[i] = NULL;
    }
    loop_unpost(&p->start);
    peers_forget(p);
}

static struct peer *peers_find(const struct peers *p, const struct addr *addr)
{
    list_foreach (it, &p->all) {
        struct peer *peer = container_of(it, struct peer, link);
        if (addr_same_ip(&peer->addr, addr))
            return peer;
    }
    return NULL;
}

struct peer *peers_add(struct peers *p, struct dns *dns, const char *name, const struct addr *addr)
{
    struct peer *peer = peers_find(p, addr);
    if (p->name == NULL) {
        p->dns = dns;
        p->name = xstrdup(name);
        p->look_at = loop_now() + LOOK_EVERY;
    }
    if (peer == NULL) {
        peer = xcalloc(1, sizeof(*peer));
        peer->addr = *addr;
        list_push_back(&p->all, &peer->link);
    }
    peer->conns++;
    peer->missed = 0;
    peer->is_gone = false;
    return peer;
}

void peers_remove(struct peers *p, struct peer *peer)
{
    if (--peer->conns > 0)
        return;
    list_remove(&peer->link);
    free(peer);
    if (list_is_empty(&p->all))
        peers_forget(p);
}
