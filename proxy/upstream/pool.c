/* SPDX-License-Identifier: Apache-2.0 */
/* Who gets which connection. A request needs two things, in this order: a slot under max_per_host
 * (process-wide, limit.h), then a connection: a warm one, or the one that is dialled for it.
 * Waiters therefore stand in one of two places of their origin:
 *
 *     groups   no slot yet; clients take turns; queue_timeout runs
 *     ready    a slot, no connection: the first one that comes serves it, given back or dialled
 *
 * Nobody is called back from inside another exchange's callback: what has come free posts `serve`
 * of the origin. A dial whose waiter was served otherwise goes on; the next one that needs a
 * connection adopts it, else its connection becomes idle. */
#include "upstream/pool.h"

#include <stdlib.h>

#include "upstream/dial.h"
#include "upstream/up_h1.h"

enum { IDLE_MAX = 2048 }; /* connections kept by one worker; the oldest goes */

/* Owner: the worker. Closed by pool_close(). */
struct pool {
    struct loop *loop;
    struct dns *dns; /* borrowed, like the next two */
    const struct forward_id *id;
    struct budget *budget;
    struct origins origins;
    struct limit_member member;
    struct list waiting;    /* struct origin with waiters for a slot */
    struct list idle;       /* struct pool_conn by_age, longest idle first */
    struct deadline expiry; /* of the front of `idle`, or sooner */
    unsigned n_idle, n_busy;
    unsigned generation; /* connections of older snapshots are not kept */
    struct reap reap;
};

/* A dial under way. Owner: its origin. Ended by on_dialled() or pool_dial_cancel(). */
struct pool_dial {
    struct list link; /* in origin->dials */
    struct dial *token;
    struct origin *origin;
    struct pool_wait *wait; /* borrowed, wait->dial points back; NULL: for whoever comes */
};

/* ---- slots */

/* Another worker has ended a request to an origin that somebody waits for here. */
static void on_turn(void *arg)
{
    struct pool *p = arg;
    list_foreach (it, &p->waiting) {
        struct origin *o = container_of(it, struct origin, waiting);
        loop_post(p->loop, &o->serve);
    }
}

static bool slot_take(struct origin *o)
{
    if (!limit_take(o->limit, o->max_requests))
        return false;
    o->slots++;
    counter_add(&o->place->in_flight, 1);
    return true;
}

static void slot_give(struct origin *o)
{
    struct pool *p = o->pool;
    o->slots--;
    counter_sub(&o->place->in_flight, 1);
    struct limit_seat *turn = limit_give(o->limit, &p->member);
    if (turn != NULL)
        loop_post(p->loop, &container_of(turn, struct origin, seat)->serve);
    origins_settle(&p->origins, o);
}

/* ---- connections */

static void conn_unidle(struct pool_conn *c)
{
    list_remove(&c->link);
    list_remove(&c->by_age);
    c->pool->n_idle--;
    counter_sub(&c->origin->place->idle, 1);
}

static bool conn_is_old(const struct pool_conn *c, int64_t now)
{
    const struct origin *o = c->origin;
    return (o->max_age > 0 && now - c->born >= o->max_age) ||
           (o->idle_timeout > 0 && now - c->idle_since >= o->idle_timeout);
}

static void arm_expiry(struct pool *p)
{
    struct list *it = list_first(&p->idle);
    if (it == NULL || deadline_is_set(&p->expiry))
        return;
    const struct pool_conn *c = container_of(it, struct pool_conn, by_age);
    int64_t us = c->idle_since + c->origin->idle_timeout - loop_now();
    if (c->origin->idle_timeout > 0)
        deadline_set(&p->expiry, us < 1000 ? 1 : us / 1000 + 1);
}

static void on_expiry(void *arg)
{
    struct pool *p = arg;
    int64_t now = loop_now();
    struct list *it;
    while ((it = list_first(&p->idle)) != NULL) {
        struct pool_conn *c = container_of(it, struct pool_conn, by_age);
        if (!conn_is_old(c, now))
            break;
        c->close(c);
    }
    arm_expiry(p);
}

/* Puts C, which carries nothing, where the next request finds it first. */
static void conn_keep(struct pool_conn *c)
{
    struct pool *p = c->pool;
    struct origin *o = c->origin;
    c->idle_since = loop_now();
    list_push_front(&o->idle, &c->link);
    list_push_back(&p->idle, &c->by_age);
    p->n_idle++;
    counter_add(&o->place->idle, 1);
    if (!list_is_empty(&o->ready))
        loop_post(p->loop, &o->serve);
    else if (o->generation < p->generation)
        c->close(c);
    else if (p->n_idle > IDLE_MAX) {
        struct pool_conn *oldest = container_of(list_first(&p->idle), struct pool_conn, by_age);
        oldest->close(oldest);
    }
    arm_expiry(p);
}

static struct ustream *conn_use(struct pool_conn *c)
{
    c->is_busy = true;
    c->pool->n_busy++;
    return &c->us;
}

/* The most recently used connection of O that is fit for WANT. The kernel is asked each time: bytes
 * that came behind an answer must not become the answer to somebody else, and one that has ended
 * would lose a request. One that merely has something buffered is left to its own event handler,
 * which may be on the stack now. */
static struct ustream *conn_find(struct origin *o, const struct up_want *want)
{
    if (want->no_reuse || list_is_empty(&o->idle))
        return NULL;
    int64_t now = loop_now();
    struct list *next;
    for (struct list *it = o->idle.next; it != &o->idle; it = next) {
        struct pool_conn *c = container_of(it, struct pool_conn, link);
        next = it->next;
        bool is_old = conn_is_old(c, now);
        if (!is_old && !stream_is_quiet(c->stream, false))
            continue;
        if (!is_old && stream_is_quiet(c->stream, true)) {
            conn_unidle(c);
            return conn_use(c);
        }
        c->close(c);
    }
    return NULL;
}

/* ---- waiting */

/* WAIT leaves the queue for slots. */
static void wait_unqueue(struct origin *o, struct pool_wait *wait)
{
    deadline_close(&wait->deadline);
    wait->queued_us = loop_now() - wait->since;
    if (wait->group != NULL)
        origin_unqueue(o, wait);
    if (!list_is_empty(&o->groups))
        return;
    list_remove(&o->waiting);
    limit_leave(&o->seat);
}

/* WAIT is over, served or not: no link to it is left but the slot it may hold. */
static void wait_end(struct pool_wait *wait)
{
    struct pool_dial *d = wait->dial;
    if (wait->has_slot)
        list_remove(&wait->link);
    else
        wait_unqueue(wait->origin, wait);
    if (d != NULL)
        d->wait = NULL;
    wait->dial = NULL;
    wait->origin = NULL;
}

static void wait_serve(struct pool_wait *wait, struct ustream *us)
{
    wait_end(wait);
    wait->on_ready(wait->arg, us);
}

static void wait_fail(struct pool_wait *wait, const struct fault *f)
{
    struct origin *o = wait->origin;
    bool has_slot = wait->has_slot;
    wait_end(wait);
    wait->failed.place = o->place;
    if (has_slot)
        slot_give(o);
    else
        origins_settle(&o->pool->origins, o);
    wait->on_fault(wait->arg, f);
}

static void on_queue_timeout(void *arg)
{
    struct pool_wait *wait = arg;
    const struct origin *o = wait->origin;
    struct fault f;
    fault_set(&f, FAULT_LIMIT,
              "%u requests to %.*s are under way already (max_per_host), and none ended within "
              "upstream.queue_timeout",
              o->max_requests, STR_ARG(wait->want.host));
    wait_fail(wait, &f);
}

/* ---- dials */

/* What only an origin that is there can do. */
static bool dial_reached(const struct dial_result *r)
{
    return r->stream != NULL || r->fault->code == FAULT_TLS_CERTIFICATE ||
           r->fault->code == FAULT_TLS_PROTOCOL || r->fault->code == FAULT_TLS_ALERT;
}

/* The connection or the fault of D. Its waiter may be gone. */
static void on_dialled(void *arg, const struct dial_result *r)
{
    struct pool_dial *d = arg;
    struct origin *o = d->origin;
    struct pool_wait *wait = d->wait;
    struct pool *p = o->pool;
    list_remove(&d->link);
    free(d);
    if (wait != NULL)
        wait->dial = NULL;
    if (dial_reached(r))
        origin_reached(&p->origins, o);
    if (r->stream == NULL) {
        origins_settle(&p->origins, o);
        if (wait != NULL)
            wait->failed = (struct up_facts){.peer = r->peer,
                                             .dns_us = r->dns_us,
                                             .connect_us = r->connect_us,
                                             .tls_us = r->tls_us};
        if (wait != NULL)
            wait_fail(wait, r->fault);
        return;
    }
    origin_connected(&p->origins, o, tls_stream_expiry(r->stream));
    struct up_h1_from from = {p, o, r->stream, p->id, p->budget};
    struct pool_conn *c = up_h1_new(p->loop, &from);
    c->born = loop_now();
    c->us.facts.dns_us = r->dns_us;
    c->us.facts.connect_us = r->connect_us;
    c->us.facts.tls_us = r->tls_us;
    c->us.facts.place = o->place;
    o->conns++;
    counter_add(&o->place->conns, 1);
    if (wait != NULL)
        wait_serve(wait, conn_use(c));
    else
        conn_keep(c);
}

/* Gets a connection under way for WAIT, which holds a slot. */
static void dial_for(struct origin *o, struct pool_wait *wait)
{
    struct pool *p = o->pool;
    list_foreach (it, &o->dials) {
        struct pool_dial *orphan = container_of(it, struct pool_dial, link);
        if (orphan->wait != NULL)
            continue;
        orphan->wait = wait;
        wait->dial = orphan;
        return;
    }
    struct pool_dial *d = xcalloc(1, sizeof(*d));
    d->origin = o;
    d->wait = wait;
    wait->dial = d;
    list_push_back(&o->dials, &d->link);
    struct tls_sessions *sessions = wait->want.rule->tls.session_resumption ? &o->sessions : NULL;
    d->token = dial_start(p->dns, &wait->want, sessions, on_dialled, d);
}

static void pool_dial_cancel(struct pool_dial *d)
{
    if (d->wait != NULL)
        d->wait->dial = NULL;
    list_remove(&d->link);
    dial_cancel(d->token);
    free(d);
}

/* ---- serving those who wait */

/* WAIT has got a slot and waits for a connection from now on. */
static void wait_ready(struct origin *o, struct pool_wait *wait)
{
    wait->has_slot = true;
    list_push_back(&o->ready, &wait->link);
}

/* Slots that are free go to those whose turn it is. */
static void serve_slots(struct origin *o)
{
    while (!list_is_empty(&o->groups) && slot_take(o)) {
        struct pool_wait *wait = origin_next(o);
        wait_unqueue(o, wait);
        wait_ready(o, wait);
    }
}

/* One idle connection to the first who may have it; false when that cannot be. */
static bool serve_one(struct origin *o)
{
    if (list_is_empty(&o->idle))
        return false;
    list_foreach (it, &o->ready) {
        struct pool_wait *wait = container_of(it, struct pool_wait, link);
        struct ustream *us = conn_find(o, &wait->want);
        if (us != NULL) {
            wait_serve(wait, us);
            return true; /* the list may be another one now */
        }
    }
    return false;
}

/* Something of O has come free. O itself stays at least as long as callbacks are on the stack. */
static void serve(void *arg)
{
    struct origin *o = arg;
    serve_slots(o);
    while (serve_one(o))
        serve_slots(o);
    list_foreach (it, &o->ready) {
        struct pool_wait *wait = container_of(it, struct pool_wait, link);
        if (wait->dial == NULL)
            dial_for(o, wait);
    }
}

/* ---- what transports tell */

void pool_conn_idle(struct pool_conn *c)
{
    c->is_busy = false;
    c->pool->n_busy--;
    conn_keep(c);
    slot_give(c->origin);
}

/* C is no connection of the pool's any more. */
static void conn_forget(struct pool_conn *c)
{
    if (c->is_busy)
        c->pool->n_busy--;
    else if (!list_is_empty(&c->link))
        conn_unidle(c);
    c->origin->conns--;
    counter_sub(&c->origin->place->conns, 1);
}

void pool_conn_gone(struct pool_conn *c)
{
    struct origin *o = c->origin;
    bool had_slot = c->is_busy;
    conn_forget(c);
    c->is_busy = false;
    if (had_slot)
        slot_give(o);
    else
        origins_settle(&o->pool->origins, o);
}

void *pool_conn_taken(struct pool_conn *c)
{
    conn_forget(c);
    c->is_busy = false;
    return c->origin;
}

void pool_release_slot(struct pool *p, void *slot)
{
    (void)p;
    if (slot != NULL)
        slot_give(slot);
}

/* ---- what requests ask for */

/* Makes WAIT wait for O; it will be told. */
static void wait_begin(struct origin *o, const struct up_want *want, struct pool_wait *wait)
{
    wait->origin = o;
    wait->group = NULL;
    wait->dial = NULL;
    wait->has_slot = false;
    wait->since = loop_now();
    wait->queued_us = 0;
    memset(&wait->failed, 0, sizeof(wait->failed));
    wait->want = *want;
    list_init(&wait->link);
    deadline_init(&wait->deadline, o->pool->loop, on_queue_timeout, wait);
}

/* Nothing is free: WAIT queues. */
static void wait_queue(struct origin *o, struct pool_wait *wait)
{
    struct pool *p = o->pool;
    if (list_is_empty(&o->groups))
        list_push_back(&p->waiting, &o->waiting);
    origin_queue(o, wait);
    if (!wait->want.is_patient)
        deadline_set(&wait->deadline, wait->want.conf->upstream.queue_timeout);
    limit_wait(o->limit, &o->seat, &p->member);
    /* What was given back before we sat down was told to nobody. */
    loop_post(p->loop, &o->serve);
}

struct ustream *pool_get(struct pool *p, const struct up_want *want, struct pool_wait *wait)
{
    struct origin *o = origins_get(&p->origins, want);
    wait->queued_us = 0;
    /* A second try goes before who waits: it takes back the slot that the first one has just lost.
     * What its client asked for next may hold the others until this one is answered. */
    bool has_slot = (want->no_reuse || list_is_empty(&o->groups)) && slot_take(o);
    if (has_slot) {
        struct ustream *us = conn_find(o, want);
        if (us != NULL)
            return us;
    }
    wait_begin(o, want, wait);
    if (has_slot) {
        wait_ready(o, wait);
        dial_for(o, wait);
    } else {
        wait_queue(o, wait);
    }
    return NULL;
}

void pool_cancel(struct pool_wait *wait)
{
    struct origin *o = wait->origin;
    if (o == NULL)
        return;
    struct pool_dial *d = wait->dial;
    bool has_slot = wait->has_slot;
    wait_end(wait);
    wait->failed.place = o->place;
    if (d != NULL)
        pool_dial_cancel(d);
    if (has_slot)
        slot_give(o);
    else
        origins_settle(&o->pool->origins, o);
}

void pool_retire(struct pool *p, unsigned generation)
{
    struct list all;
    struct list *it;
    p->generation = generation;
    list_init(&all);
    list_move(&all, &p->idle);
    while ((it = list_pop(&all)) != NULL) {
        struct pool_conn *c = container_of(it, struct pool_conn, by_age);
        list_push_back(&p->idle, it);
        if (c->origin->generation < generation)
            c->close(c);
    }
}

void pool_count(const struct pool *p, unsigned *idle, unsigned *busy)
{
    *idle = p->n_idle;
    *busy = p->n_busy;
}

struct pool *pool_new(struct loop *l, struct dns *dns, const struct forward_id *id,
                      struct budget *budget, struct tally *tally)
{
    struct pool *p = xcalloc(1, sizeof(*p));
    p->loop = l;
    p->dns = dns;
    p->id = id;
    p->budget = budget;
    list_init(&p->waiting);
    list_init(&p->idle);
    origins_init(&p->origins, p, serve);
    p->origins.tally = tally;
    deadline_init(&p->expiry, l, on_expiry, p);
    limit_join(&p->member, l, on_turn, p);
    return p;
}

static void pool_free(void *object)
{
    struct pool *p = object;
    origins_clear(&p->origins);
    free(p);
}

void pool_close(struct pool *p)
{
    struct list *it;
    struct origin *o;
    struct origin *tmp;
    if (p == NULL)
        return;
    while ((it = list_first(&p->idle)) != NULL) {
        struct pool_conn *c = container_of(it, struct pool_conn, by_age);
        c->close(c);
    }
    HASH_ITER (hh, p->origins.table, o, tmp) {
        loop_unpost(&o->serve);
        while ((it = list_first(&o->dials)) != NULL)
            pool_dial_cancel(container_of(it, struct pool_dial, link));
    }
    limit_part(&p->member);
    deadline_close(&p->expiry);
    loop_reap(p->loop, &p->reap, pool_free, p);
}
