/* SPDX-License-Identifier: Apache-2.0 */
/* Records of origins, found by one hash look-up a request. */
#include "upstream/origin.h"

#include <stdio.h>
#include <stdlib.h>

#include "upstream/way.h"

enum {
    KEY_ON_STACK = 320,      /* bytes: any DNS name fits */
    UNUSED_MANY = 512,       /* beyond it unused records go early */
    UNUSED_SHORT = 10000000, /* µs an unused record stays in any case */
    UNUSED_LONG = 600000000, /* µs, for its TLS sessions */
    H1_KEPT = 600000000,     /* µs without HTTP/2, after which it is offered again */
    FORGOTTEN_AT_ONCE = 32   /* in one turn: about a millisecond, most of it for TLS sessions */
};

/* The fixed part of a key, without holes; the host follows. */
struct key_head {
    uint32_t generation;
    uint32_t rule;
    uint16_t port;
    uint8_t flags;
    uint8_t zero;
};

static void put_key(char *key, const struct up_where *where)
{
    struct key_head head = {
        .generation = where->conf->generation,
        .rule = where->rule->index,
        .port = where->port,
        .flags = (uint8_t)(where->tls | where->is_local << 1 | where->exempt << 2 |
                           where->is_rooted << 3 | where->is_tunnel << 4 | where->is_direct << 5 |
                           where->is_bound << 6),
    };
    memcpy(key, &head, sizeof(head));
    if (where->host.len > 0)
        memcpy(key + sizeof(head), where->host.p, where->host.len);
}

/* A copy, for connections outlive the snapshot. */
static void origin_note_parent(struct origin *o, const struct up_where *where)
{
    const struct parent *p = way_asked(where);
    if (p == NULL)
        return;
    o->parent = xstrdup(p->shown);
    o->parent_auth = p->auth == NULL ? NULL : xstrdup(p->auth);
    o->prefix = xasprintf(str_find(where->host, ':') < where->host.len ? "http://[%.*s]:%u"
                                                                       : "http://%.*s:%u",
                          STR_ARG(where->host), (unsigned)where->port);
    if (where->port == 80)
        o->prefix[strlen(o->prefix) - 3] = '\0';
}

/* A client that asks all ports of a host that is written has named no more than the host. */
bool origin_is_written(const struct up_where *where)
{
    const struct rule *r = where->rule;
    const struct connect_to *to = conf_connect_to(where->conf, where->host, where->port);
    bool is_usual = where->port == 443 || where->port == 80;
    if (where->exempt)
        return true;
    if (r->host[0] != '*' && (is_usual || r->port != 0 || r->match_port != 0))
        return true;
    return to != NULL && to->host[0] != '\0' && (is_usual || to->port != 0);
}

/* Where it is counted, and the parent on the way to it, which the operator wrote as well. */
static void origin_find_places(struct origin *o, struct tally_place *places,
                               const struct up_where *where)
{
    const struct parent *p = way_parent(where);
    o->is_direct = way_is_direct(where);
    o->is_found = false;
    o->is_named = origin_is_written(where);
    o->place = &places[o->is_named ? tally_register(where->host, where->port)
                                   : tally_find(where->host, where->port)];
    if (p != NULL)
        o->parent_place = &places[tally_register(str_from(p->host), p->port)];
}

static struct origin *origin_new(struct origins *t, const struct up_where *where, const char *key,
                                 size_t len)
{
    const struct upstream_conf *u = &where->conf->upstream;
    struct origin *o = xcalloc(1, sizeof(*o) + len);
    list_init(&o->link);
    queue_init(&o->queue);
    list_init(&o->undialled);
    list_init(&o->dialled);
    list_init(&o->open);
    list_init(&o->dials);
    list_init(&o->starved);
    post_init(&o->serve, t->serve, o);
    peers_init(&o->peers, t->on_gone, o);
    tickets_init(&o->tickets, t->loop, way_parent(where) != NULL);
    o->pool = t->pool;
    origin_find_places(o, t->tally->places, where);
    o->limit = limit_get(where->host, where->port, where->tls);
    o->pace = origin_pace_new(where, t->loop, &o->serve);
    o->generation = where->conf->generation;
    o->idle_timeout = u->idle_timeout * 1000;
    o->max_age = u->max_age * 1000;
    o->max_head = u->max_head;
    o->buffer = where->conf->client.buffer;
    o->max_requests = where->rule->max_per_host;
    o->tls = where->tls;
    o->lenient = where->rule->lenient;
    o->via = where->conf->via;
    o->key_len = len;
    memcpy(o->key, key, len);
    origin_note_parent(o, where);
    return o;
}

static void origin_free(struct origins *t, struct origin *o)
{
    free(o->parent);
    free(o->prefix);
    secret_free(o->parent_auth);
    HASH_DEL(t->table, o);
    list_remove(&o->starved);
    peers_close(&o->peers);
    loop_unpost(&o->serve);
    limit_leave(&o->seat);
    limit_put(o->limit);
    origin_pace_free(o->pace);
    tickets_clear(&o->tickets);
    free(o);
}

static void use(struct origins *t, struct origin *o)
{
    if (list_is_empty(&o->link))
        return;
    list_remove(&o->link);
    t->n_unused--;
}

/* Frees what has been unused for long, or for a short while when there are many: a part of it in
 * each turn. */
static void forget(void *arg)
{
    struct origins *t = arg;
    int64_t now = loop_now();
    for (int i = 0; i < FORGOTTEN_AT_ONCE; i++) {
        struct list *it = list_first(&t->unused);
        if (it == NULL)
            return;
        struct origin *o = container_of(it, struct origin, link);
        int64_t keep = t->n_unused > UNUSED_MANY ? UNUSED_SHORT : UNUSED_LONG;
        if (now - o->since < keep)
            return;
        use(t, o);
        origin_free(t, o);
    }
    loop_post_next(t->loop, &t->forget);
}

void origins_init(struct origins *t, struct loop *l, void (*serve)(void *origin))
{
    t->table = NULL;
    t->n_unused = 0;
    t->loop = l;
    t->serve = serve;
    list_init(&t->unused);
    post_init(&t->forget, forget, t);
}

struct origin *origins_get(struct origins *t, const struct up_where *where)
{
    char stack[KEY_ON_STACK];
    size_t len = sizeof(struct key_head) + where->host.len;
    char *key = len <= sizeof(stack) ? stack : xmalloc(len);
    struct origin *o;
    put_key(key, where);
    HASH_FIND(hh, t->table, key, len, o);
    if (o == NULL) {
        loop_post(t->loop, &t->forget);
        o = origin_new(t, where, key, len);
        HASH_ADD_KEYPTR(hh, t->table, o->key, len, o);
    }
    if (!list_is_empty(&o->link)) /* somebody else may have its places by now */
        origin_find_places(o, t->tally->places, where);
    use(t, o);
    if (key != stack)
        free(key);
    return o;
}

static bool is_unused(const struct origin *o)
{
    return o->conns == 0 && o->slots == 0 && queue_is_empty(&o->queue) &&
           list_is_empty(&o->dials) && !origin_is_waited_for(o);
}

void origins_settle(struct origins *t, struct origin *o)
{
    if (!is_unused(o) || !list_is_empty(&o->link))
        return;
    loop_unpost(&o->serve);
    o->since = loop_now();
    list_push_back(&t->unused, &o->link);
    t->n_unused++;
}

void origin_want_h1(struct origin *o)
{
    o->h1_until = loop_now() + H1_KEPT;
}

void origins_clear(struct origins *t)
{
    struct origin *o;
    struct origin *tmp;
    loop_unpost(&t->forget);
    HASH_ITER (hh, t->table, o, tmp) {
        loop_unpost(&o->serve);
        list_remove(&o->link);
        origin_free(t, o);
    }
    t->n_unused = 0;
}

struct str origin_host(const struct origin *o)
{
    return str_make(o->key + sizeof(struct key_head), o->key_len - sizeof(struct key_head));
}

/* What is under way already moves to PLACE. */
static void origin_move(struct origin *o, struct tally_place *place)
{
    counter_sub(&o->place->in_flight, o->slots);
    counter_sub(&o->place->waiting, o->n_queued);
    o->place = place;
    counter_add(&o->place->in_flight, o->slots);
    counter_add(&o->place->waiting, o->n_queued);
}

static uint16_t origin_port(const struct origin *o)
{
    struct key_head head;
    memcpy(&head, o->key, sizeof(head));
    return head.port;
}

void origin_found(struct origins *t, struct origin *o)
{
    if (o->is_named || o->is_found || !o->is_direct)
        return;
    o->is_found = true;
    origin_move(o, &t->tally->places[tally_register_found(origin_host(o), origin_port(o))]);
}

/* Who came while there was no room may have some later. */
void origin_reached(struct origins *t, struct origin *o)
{
    if (o->is_named && o->place != &t->tally->places[TALLY_OTHER])
        return;
    o->is_named = true;
    origin_move(o, &t->tally->places[tally_register(origin_host(o), origin_port(o))]);
}

void origin_count_queued(struct origin *o, int n)
{
    if (n > 0)
        counter_add(&o->place->waiting, 1);
    else
        counter_sub(&o->place->waiting, 1);
    o->n_queued += (unsigned)n;
}

void origin_connected(struct origins *t, struct origin *o, int64_t expiry)
{
    origin_reached(t, o);
    counter_add(&o->place->opened, 1);
    if (expiry != 0)
        tally_set_expiry((unsigned)(o->place - t->tally->places), expiry);
}
