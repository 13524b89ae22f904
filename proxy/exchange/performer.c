/* SPDX-License-Identifier: Apache-2.0 */
/* Who performs a request by a connection to its origin: see performer.h. */
#include "exchange/performer.h"

#include "exchange/blind.h"
#include "exchange/plain.h"
#include "exchange/stats.h"
#include "upstream/dial.h"
#include "upstream/origin.h"
#include "upstream/way.h"

/* ---- the pool */

static void by_pool_on_ready(void *arg, struct ustream *us)
{
    struct exchange *x = arg;
    x->t.queued += x->wait.queued_us;
    if (x->wait.was_timed)
        counter_add(&x->engine->stats->paced, 1);
    exchange_launch(x, us);
}

static void by_pool_on_fault(void *arg, const struct fault *f)
{
    struct exchange *x = arg;
    x->t.queued += x->wait.queued_us;
    exchange_note(x, &x->wait.failed);
    struct fault told = *f;
    plain_advise(x, &told);
    exchange_fail(x, &told);
}

static struct ustream *by_pool_start(struct exchange *x)
{
    x->wait.on_ready = by_pool_on_ready;
    x->wait.on_fault = by_pool_on_fault;
    x->wait.arg = x;
    return pool_get(x->engine->pool, &x->where, &x->how, &x->wait);
}

/* Who gives up waiting has waited, and at whose door is noted, too. */
static void by_pool_cancel(struct exchange *x)
{
    if (x->wait.origin == NULL)
        return;
    pool_cancel(&x->wait);
    x->t.queued += x->wait.queued_us;
    x->facts.place = x->wait.failed.place;
}

static uint64_t by_pool_answers(const struct exchange *x)
{
    return pool_answers(x->engine->pool, &x->where);
}

const struct performer performer_pool = {
    .start = by_pool_start,
    .cancel = by_pool_cancel,
    .answers = by_pool_answers,
};

/* ---- CONNECT */

/* Where the origin of X is counted. */
static struct tally_place *by_dial_place(const struct exchange *x, const struct dial_result *r)
{
    const struct up_where *w = &x->where;
    struct tally_place *places = x->engine->stats->tally.places;
    if (r->stream != NULL || origin_is_written(w))
        return &places[tally_register(w->host, w->port)];
    if (dial_found(r) && way_is_direct(w))
        return &places[tally_register_found(w->host, w->port)];
    return &places[tally_find(w->host, w->port)];
}

static void by_dial_count(struct exchange *x, const struct dial_result *r)
{
    const struct parent *p = way_parent(&x->where);
    x->facts.place = by_dial_place(x, r);
    if (r->stream != NULL) {
        counter_add(&x->facts.place->opened, 1);
        counter_add(&x->facts.place->in_flight, 1);
        counter_add(&x->facts.place->conns, 1);
    }
    if (p != NULL && dial_asked(r)) {
        unsigned place = tally_register(str_from(p->host), p->port);
        tally_count_parent(&x->engine->stats->tally.places[place], r->stream != NULL);
    }
}

static void by_dial_on_end(void *arg, const struct dial_result *r)
{
    struct exchange *x = arg;
    x->dial = NULL;
    x->t.dns = r->dns_us;
    x->t.connect = r->connect_us;
    x->facts.peer = r->peer;
    by_dial_count(x, r);
    if (r->stream == NULL) {
        exchange_fail(x, r->fault);
        return;
    }
    x->status = 200;
    x->t.head = loop_now();
    blind_tell(x);
    exchange_tunnel(x, NULL, r->stream, NULL);
}

static struct ustream *by_dial_start(struct exchange *x)
{
    struct dial_offer offer = {.via = x->conf->via ? x->engine->id->via : NULL};
    x->dial = dial_start(x->engine->dns, &x->where, &offer, by_dial_on_end, x);
    return NULL;
}

static void by_dial_cancel(struct exchange *x)
{
    if (x->dial != NULL)
        dial_cancel(x->dial);
    x->dial = NULL;
}

const struct performer performer_dial = {.start = by_dial_start, .cancel = by_dial_cancel};
