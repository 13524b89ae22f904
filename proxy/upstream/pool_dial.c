/* SPDX-License-Identifier: Apache-2.0 */
/* Connections in the making. A dial whose waiter was served otherwise goes on; the next one that
 * needs a connection adopts it, else its connection becomes idle. */
#include <stdio.h>
#include <stdlib.h>

#include "http/forward.h"
#include "net/tls_issuers.h"
#include "net/tls_wire.h"
#include "upstream/issuer.h"
#include "upstream/pool_impl.h"
#include "upstream/tally_cert.h"
#include "upstream/up_h1.h"
#include "upstream/up_h2.h"

/* Bytes that a connection costs while it carries nothing, measured: those of the TLS library, of
 * nghttp2 and ours; and about what a handshake takes, or an issuer's certificate after it. */
enum {
    HOLDS_PLAIN = 2048,
    HOLDS_TLS = 22 * 1024,
    HOLDS_H2 = 40 * 1024,
    HOLDS_HANDSHAKE = 64 * 1024
};
_Static_assert((int)HOLDS_HANDSHAKE >= (int)TLS_AIA_BODY,
               "what is fetched is counted as a handshake");

bool pool_dial_suits(const struct origin *o, const struct pool_wait *wait)
{
    return o->tls && !origin_wants_h1(o) && o->speaks != ORIGIN_SPEAKS_H1 &&
           wait->where.rule->http2 && !wait->how.h1_only && !wait->how.is_alone && !wait->is_apart;
}

unsigned pool_dial_room(struct origin *o)
{
    uint64_t room = 0;
    unsigned each = carry_most(&o->carry, loop_now());
    bool is_known = o->speaks == ORIGIN_SPEAKS_H2 && o->streams > 0;
    /* Where little is carried, one that settles is as full as it gets. */
    if (o->n_settling > 0 && !(is_known && each != UINT32_MAX))
        return UINT32_MAX;
    each = each < o->streams ? each : o->streams;
    list_foreach (it, &o->dials) {
        const struct pool_dial *d = container_of(it, struct pool_dial, link);
        if (!d->offers_h2)
            continue;
        if (!is_known)
            return UINT32_MAX;
        room += each - (d->wait != NULL ? 1 : 0);
    }
    return room < UINT32_MAX ? (unsigned)room : UINT32_MAX;
}

/* What R says of the origin, of its parent, and of sessions. */
static void dial_count(struct origin *o, const struct dial_result *r)
{
    struct origins *t = &o->pool->origins;
    bool is_reached = dial_reached(r);
    if (is_reached)
        origin_reached(t, o);
    else if (dial_found(r))
        origin_found(t, o);
    if (o->parent_place != NULL && dial_asked(r))
        tally_count_parent(o->parent_place, is_reached);
    if (r->stream != NULL && o->tls)
        counter_add(tls_client_is_resumed(r->stream) ? &t->tally->resumed : &t->tally->shaken, 1);
}

/* What no other dial would find otherwise. */
static bool is_definite(enum fault_code code)
{
    return code == FAULT_TLS_CERTIFICATE || code == FAULT_DNS || code == FAULT_ADDRESS_DENIED ||
           code == FAULT_DENIED || code == FAULT_PARENT;
}

/* Those who counted on a dial that failed as R says. What is definite holds for them as well. When
 * time has run out, the next one's dial is started for the others; else each has its own, for what
 * happened to one connection need not happen to the next. Who has come since the last plan counted
 * on nothing, and may find a place on a connection that is there. */
static void tell_others(struct origin *o, const struct dial_result *r)
{
    struct list told;
    struct list *it, *next;
    enum fault_code code = r->fault->code;
    if (code == FAULT_CONNECT_TIMEOUT || code == FAULT_DNS_TIMEOUT || pool_dial_room(o) > 0)
        return;
    list_init(&told);
    for (it = o->undialled.next; it != &o->undialled; it = next) {
        struct pool_wait *wait = container_of(it, struct pool_wait, link);
        next = it->next;
        if (wait->is_held && is_definite(code)) {
            list_remove(it);
            list_push_back(&told, it);
        } else if (wait->is_held) {
            wait->is_apart = true;
        }
    }
    while ((it = list_first(&told)) != NULL) {
        struct pool_wait *wait = container_of(it, struct pool_wait, link);
        wait->failed = (struct up_facts){.peer = r->peer};
        pool_wait_fail(wait, r->fault);
    }
}

static struct pool_conn *make_conn(struct origin *o, const struct dial_result *r)
{
    struct pool *p = o->pool;
    struct pool_made made = {
        .loop = p->loop,
        .pool = p,
        .origin = o,
        .stream = r->stream,
        .id = p->id,
        .budget = p->budget,
        .h2 = &p->h2,
        .holds = tls_client_is_h2(r->stream) ? HOLDS_H2
                 : o->tls                    ? HOLDS_TLS
                                             : HOLDS_PLAIN,
        .facts = {.peer = r->peer,
                  .tls_version = o->tls ? tls_wire_version(r->stream) : "",
                  .dns_us = r->dns_us,
                  .connect_us = r->connect_us,
                  .tls_us = r->tls_us,
                  .place = o->place},
    };
    struct pool_conn *c = tls_client_is_h2(r->stream) ? up_h2_new(&made) : up_h1_new(&made);
    if (r->name != NULL)
        c->peer = peers_add(&o->peers, p->dns, r->name, &r->peer);
    o->conns++;
    if (c->is_settling)
        o->n_settling++;
    counter_add(&o->place->conns, 1);
    return c;
}

static void fail_dial(struct origin *o, struct pool_wait *wait, const struct dial_result *r)
{
    if (wait != NULL) {
        wait->failed = (struct up_facts){
            .peer = r->peer, .dns_us = r->dns_us, .connect_us = r->connect_us, .tls_us = r->tls_us};
        pool_wait_fail(wait, r->fault);
    }
    tell_others(o, r);
    origins_settle(&o->pool->origins, o);
}

/* ---- issuers that the server does not send */

/* What a dial is made again from, when its waiter may be gone. */
struct refetch {
    struct up_where where; /* host and conf are its own */
    struct dial_offer offer;
    struct dial_result failed; /* whose fault is `fault`; neither `name` nor `lacking` */
    struct fault fault;
    int64_t since; /* µs */
    unsigned n;    /* issuers that were fetched */
};

/* Of a dial that may fail for want of an issuer and be made again. */
static struct refetch *refetch_new(const struct up_where *where, const struct dial_offer *offer)
{
    if (!where->tls || !where->rule->tls.fetch_intermediates || !where->rule->tls.verify)
        return NULL;
    struct refetch *again = xcalloc(1, sizeof(*again));
    again->where = *where;
    again->where.host = str_from(xstrndup(where->host.p, where->host.len));
    again->where.conf = conf_ref((struct conf *)where->conf);
    again->offer = *offer;
    again->since = loop_now();
    return again;
}

static void refetch_free(struct refetch *again)
{
    if (again == NULL)
        return;
    struct conf *c = (struct conf *)again->where.conf;
    free((char *)again->where.host.p);
    conf_unref(&c);
    free(again);
}

static void on_dialled(void *arg, const struct dial_result *r);
static void pool_dial_finish(struct pool_dial *d, const struct dial_result *r);

/* ms of connect_timeout that are left, at least one; 0: it has no end. */
static int64_t refetch_left(const struct refetch *again)
{
    int64_t all = again->where.conf->upstream.connect_timeout;
    int64_t left = all - (loop_now() - again->since) / 1000;
    return all == 0 ? 0 : left > 1 ? left : 1;
}

static void on_issuer(void *arg, bool got, const char *why)
{
    struct pool_dial *d = arg;
    struct refetch *again = d->again;
    d->issuer = NULL;
    if (got) {
        again->offer.ms = refetch_left(again);
        d->token = dial_start(d->origin->pool->dns, &again->where, &again->offer, on_dialled, d);
        return;
    }
    size_t len = strlen(again->fault.text);
    if (*why != '\0')
        snprintf(again->fault.text + len, sizeof(again->fault.text) - len, "; %s", why);
    struct fault fault = again->fault;
    struct dial_result failed = again->failed;
    failed.fault = &fault;
    pool_dial_finish(d, &failed);
}

/* True when D, which has ended as R says, waits for an issuer now. */
static bool dial_fetches(struct pool_dial *d, const struct dial_result *r)
{
    struct refetch *again = d->again;
    if (again == NULL || r->lacking == NULL || again->n == TLS_ISSUERS_DEPTH)
        return false;
    again->n++;
    again->fault = *r->fault;
    again->failed = *r;
    again->failed.name = NULL;
    again->failed.lacking = NULL;
    struct issuer_want want = {again->where.conf, r->lacking, again->where.host,
                               refetch_left(again)};
    d->issuer = issuer_start(d->origin->pool->dns, &want, on_issuer, d);
    return true;
}

/* ---- the end of a dial */

/* D is over: no link to it is left, and its waiter, if it has one, is as it was before. */
static struct pool_wait *dial_end(struct pool_dial *d)
{
    struct pool_wait *wait = d->wait;
    list_remove(&d->link);
    share_set(&d->share, 0);
    refetch_free(d->again);
    free(d);
    if (wait != NULL) {
        wait->dial = NULL;
        pool_wait_undial(wait);
    }
    return wait;
}

/* WAIT, for whom there is a connection, may begin now; else the plan finds both when it may. One
 * that must have a connection of its own has waited before that was made. */
static bool dial_is_in_time(struct origin *o, const struct pool_wait *wait)
{
    return o->pace == NULL || wait->how.is_alone || origin_pace_go(o->pace, PACE_BEGIN);
}

/* R is the connection or the fault of D, whose waiter may be gone. */
static void pool_dial_finish(struct pool_dial *d, const struct dial_result *r)
{
    struct origin *o = d->origin;
    struct pool *p = o->pool;
    bool offers_h2 = d->offers_h2;
    struct pool_wait *wait = dial_end(d);
    pool_replan(o);
    dial_count(o, r);
    if (r->stream == NULL && r->fault->code == FAULT_DESCRIPTORS && origin_is_waited_for(o)) {
        pool_room_starve(o);
        return;
    }
    if (r->stream == NULL) {
        fail_dial(o, wait, r);
        return;
    }
    origin_connected(&p->origins, o, tls_client_expiry(r->stream));
    tally_cert_note((unsigned)(o->place - p->origins.tally->places), r->stream);
    struct pool_conn *c = make_conn(o, r);
    if (offers_h2)
        o->speaks = c->is_shared ? ORIGIN_SPEAKS_H2 : ORIGIN_SPEAKS_H1;
    c->is_going = wait != NULL && wait->how.is_alone;
    if (wait != NULL && dial_is_in_time(o, wait))
        pool_wait_serve(wait, pool_conn_use(c));
    else
        pool_conn_keep(c);
}

static void on_dialled(void *arg, const struct dial_result *r)
{
    struct pool_dial *d = arg;
    struct refetch *again = d->again;
    d->token = NULL;
    if (dial_fetches(d, r))
        return;
    struct dial_result all = *r;
    /* What was spent on getting here belongs to TLS. */
    if (again != NULL && again->n > 0)
        all.tls_us = loop_now() - again->since - r->dns_us - r->connect_us;
    pool_dial_finish(d, &all);
}

/* A dial that nobody waits for and that may serve whoever asks for HOW. */
static struct pool_dial *find_orphan(const struct origin *o, const struct up_how *how)
{
    list_foreach (it, &o->dials) {
        struct pool_dial *d = container_of(it, struct pool_dial, link);
        if (d->wait != NULL)
            return NULL;
        if (!how->is_alone && !((how->h1_only || origin_wants_h1(o)) && d->offers_h2))
            return d;
    }
    return NULL;
}

/* D is WAIT's from now on. */
static void dial_join(struct origin *o, struct pool_dial *d, struct pool_wait *wait)
{
    list_remove(&wait->link);
    pool_wait_push(&o->dialled, wait);
    pool_wait_set_state(wait, WAIT_DIALLED);
    wait->had_dial = true;
    wait->dial = d;
    d->wait = wait;
    list_remove(&d->link);
    list_push_back(&o->dials, &d->link);
}

bool pool_dial_adopt(struct origin *o, struct pool_wait *wait)
{
    struct pool_dial *d = find_orphan(o, &wait->how);
    if (d != NULL)
        dial_join(o, d, wait);
    return d != NULL;
}

void pool_dial_begin(struct origin *o, struct pool_wait *wait)
{
    struct pool *p = o->pool;
    struct pool_dial *d = xcalloc(1, sizeof(*d));
    d->origin = o;
    wait->how.h1_only = wait->how.h1_only || origin_wants_h1(o);
    d->offers_h2 = o->tls && wait->where.rule->http2 && !wait->how.h1_only;
    d->share.budget = p->budget;
    share_set(&d->share, o->tls ? HOLDS_HANDSHAKE : HOLDS_PLAIN);
    list_init(&d->link);
    dial_join(o, d, wait);
    struct dial_offer offer = {
        .via = wait->where.conf->via ? p->id->via : NULL,
        .http2 = d->offers_h2,
        .tickets = wait->where.rule->tls.session_resumption ? &o->tickets : NULL,
    };
    d->again = refetch_new(&wait->where, &offer);
    d->token = dial_start(p->dns, &wait->where, &offer, on_dialled, d);
}

void pool_dial_cancel(struct pool_dial *d)
{
    if (d->token != NULL)
        dial_cancel(d->token);
    if (d->issuer != NULL)
        issuer_cancel(d->issuer);
    (void)dial_end(d);
}

/* ---- for who watches */

static const char *wait_doing(const struct pool_wait *wait)
{
    if (wait->is_timed || (wait->state == WAIT_QUEUED && wait->was_timed))
        return "waits for its time (rate, or a pause that the origin asked for)";
    if (wait->state == WAIT_QUEUED)
        return "waits for others to this host (max_per_host)";
    return wait->is_hungry ? "waits for a descriptor (RLIMIT_NOFILE)" : "waits for a connection";
}

void pool_progress(const struct pool_wait *wait, struct up_progress *p)
{
    const struct pool_dial *d = wait->dial;
    memset(p, 0, sizeof(*p));
    p->step = d == NULL ? UP_STEP_QUEUE : UP_STEP_TLS;
    p->doing = d == NULL ? wait_doing(wait) : "fetches the certificate of an issuer";
    if (d != NULL && d->token != NULL)
        dial_progress(d->token, p);
    p->queued_us = wait->queued_us;
}
