/* SPDX-License-Identifier: Apache-2.0 */
/* Who performs a request by a connection to its origin: see performer.h. */
#include "exchange/performer.h"

#include "exchange/blind.h"
#include "exchange/plain.h"
#include "exchange/stats.h"
#include "upstream/dial.h"

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

static void by_dial_on_end(void *arg, const struct dial_result *r)
{
    struct exchange *x = arg;
    x->dial = NULL;
    x->t.dns = r->dns_us;
    x->t.connect = r->connect_us;
    x->facts.peer = r->peer;
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
