/* SPDX-License-Identifier: Apache-2.0 */
/* The life of one request and its response: route, wait, perform, try again, end. The states and
 * their moves stand in state.h, who waits for what in exchange.h. */
#include "exchange/exchange.h"

#include "exchange/again.h"
#include "exchange/answer.h"
#include "exchange/expect.h"
#include "exchange/hold.h"
#include "exchange/name.h"
#include "exchange/performer.h"
#include "exchange/polite.h"
#include "exchange/record.h"
#include "exchange/redirect.h"
#include "exchange/route.h"
#include "exchange/stats.h"
#include "exchange/summary.h"
#include "exchange/timeout.h"
#include "exchange/token.h"
#include "exchange/trust.h"
#include "exchange/tunnel.h"

/* Leaves whatever is under way for X upstream. */
static void exchange_leave(struct exchange *x)
{
    struct ustream *us = x->us;
    x->us = NULL;
    if (us != NULL)
        us->ops->cancel(us);
    if (x->state == EXCHANGE_WAIT && x->performer->cancel != NULL)
        x->performer->cancel(x);
    tunnel_close(x->tunnel);
    x->tunnel = NULL;
    exchange_end_later(x);
    trust_cancel(x);
    if (x->token_wait != NULL)
        token_cancel(x);
    name_cancel(x);
    timeout_clear(&x->timeout);
    expect_end(x);
}

/* Nothing more comes from upstream; the source is about to be told. */
static void exchange_end_as(struct exchange *x, enum exchange_state state)
{
    timeout_clear(&x->timeout);
    expect_end(x);
    rbody_drop(&x->rbody);
    if (summary_is_open) /* also of what goes on as a tunnel: its answer is there */
        summary_end(x);
    x->res = HALF_DONE;
    exchange_set_state(x, state);
}

static void exchange_done(struct exchange *x)
{
    x->t.end = loop_now();
    exchange_end_as(x, EXCHANGE_DONE);
}

static void exchange_tunnel_ended(void *arg)
{
    struct exchange *x = arg;
    x->tunnel = NULL;
    exchange_done(x);
    x->source->on_end(x, NULL);
}

void exchange_tunnel(struct exchange *x, struct h1_head *head, struct stream *up, void *slot)
{
    struct engine *e = x->engine;
    counter_add(&e->stats->tunnels, 1);
    list_remove(&x->seen.link);
    list_push_back(&e->tunnels, &x->seen.link);
    exchange_end_as(x, EXCHANGE_TUNNEL);
    struct stream *client = x->source->on_tunnel(x, head);
    if (client == NULL || x->state != EXCHANGE_TUNNEL) {
        stream_close(client);
        stream_close(up);
        pool_release_slot(slot);
        return;
    }
    struct tunnel_ends ends = {.client = client,
                               .up = up,
                               .bytes_up = &x->bytes_in,
                               .bytes_down = &x->bytes_out,
                               .slot = slot,
                               .timeout_ms = x->rule->tunnel_timeout,
                               .buffer = x->conf->client.buffer};
    exchange_count(x);
    x->tunnel = tunnel_open(e, &ends, exchange_tunnel_ended, x);
}

static void exchange_blame(struct exchange *x, const struct fault *f)
{
    x->fault = f->code;
    x->sentence = arena_dup(&x->arena, str_from(f->text));
}

/* The response broke off after its head had been passed on. */
void exchange_cut(struct exchange *x, const struct fault *f)
{
    exchange_leave(x);
    exchange_blame(x, f);
    exchange_done(x);
    x->source->on_cut(x);
}

/* Answers with F what has no answer yet. */
void exchange_fail(struct exchange *x, const struct fault *f)
{
    if (f->code == FAULT_LIMIT && polite_give(x))
        return;
    struct fault told = *f;
    exchange_leave(x);
    route_explain(x, &told);
    exchange_blame(x, &told);
    exchange_done(x);
    answer_fault(x, &told);
}

/* ---- what the upstream tells */

/* 101. */
static void exchange_switch(struct exchange *x, struct h1_head *head)
{
    struct ustream *us = x->us;
    void *slot = NULL;
    x->us = NULL;
    struct stream *up = us->ops->take(us, &slot);
    exchange_tunnel(x, head, up, slot);
}

void exchange_pass_head(struct exchange *x, struct h1_head *head, const struct h1_body *body)
{
    x->t.head = loop_now();
    x->status = head->status;
    if (x->engine->credit > 0 || head->status >= 400)
        seen_note_answer(x, &head->fields);
    redirect_watch(x, head);
    if (x->looks_ahead)
        x->performer->on_head(x, head);
    if (x->rewrite.is_upgraded || x->rewrite.forward != NULL)
        rewrite_response(&head->fields, &x->rewrite);
    if (head->status == 101) {
        exchange_switch(x, head);
        return;
    }
    rbody_drop(&x->rbody);
    x->res = HALF_BODY;
    x->res_is_bare = head->status == 304 || x->head.method.id == METHOD_HEAD;
    exchange_arm_at(x, x->t.head);
    enum h1_framing framing = body->framing;
    if (framing == H1_FRAMING_CLOSE)
        framing = H1_FRAMING_CHUNKED;
    x->source->on_head(x, head, framing, body->length);
}

/* Final heads that may not be the answer yet are few: one look tells. */
static void exchange_on_head(void *arg, struct h1_head *head, const struct h1_body *body)
{
    struct exchange *x = arg;
    x->facts.seat.stream = x->us->facts.seat.stream; /* HTTP/2 gives it as the request leaves */
    if (head->status < 401 || (!again_is_misdirected(x, head) && !token_again(x, head->status) &&
                               !polite_take(x, head, body)))
        exchange_pass_head(x, head, body);
}

void exchange_pass_body(void *arg, const char *p, size_t n)
{
    struct exchange *x = arg;
    exchange_arm_again(x);
    x->seen.body += n;
    x->source->on_body(x, p, n);
}

void exchange_pass_end(void *arg, const struct fields *trailers)
{
    struct exchange *x = arg;
    x->us = NULL;
    exchange_done(x);
    x->source->on_end(x, trailers);
}

static void exchange_on_drain(void *arg)
{
    struct exchange *x = arg;
    x->body_waits = false;
    exchange_arm(x);
    x->source->on_drain(x);
}

static void exchange_on_fault(void *arg, const struct fault *f, enum up_loss loss)
{
    struct exchange *x = arg;
    x->us = NULL;
    if (x->res == HALF_BODY) {
        exchange_cut(x, f);
        return;
    }
    struct retry_case what = again_case(x);
    what.loss = loss;
    what.code = f->code;
    retry_note(&x->retry, x->performer->answers == NULL ? 0 : x->performer->answers(x), loop_now());
    if (again_ask(x, &what))
        return;
    struct fault told;
    retry_explain(&told, f, &x->retry, &what);
    exchange_fail(x, &told);
}

static const struct ustream_events events = {
    .on_info = expect_on_info,
    .on_head = exchange_on_head,
    .on_body = exchange_pass_body,
    .on_end = exchange_pass_end,
    .on_fault = exchange_on_fault,
    .on_drain = exchange_on_drain,
};

/* ---- going upstream */

/* Who has listened to X's ustream meanwhile was polite.c. */
void exchange_listen(struct exchange *x)
{
    ustream_attach(x->us, &events, x);
}

void exchange_note(struct exchange *x, const struct up_facts *facts)
{
    x->facts = *facts;
    x->t.dns += facts->dns_us;
    x->t.connect += facts->connect_us;
    x->t.tls += facts->tls_us;
}

/* A shared connection may say at any time before the answer that a request was not processed
 * (GOAWAY), an idle one may have ended, a token may be refused: what such a one gets is kept. */
static bool exchange_keeps(const struct exchange *x)
{
    return x->res == HALF_HEAD && (x->facts.is_reused || x->facts.is_shared || x->token != 0);
}

void exchange_launch(struct exchange *x, struct ustream *us)
{
    bool has_waited = x->rbody.state == RBODY_WAITING;
    bool is_whole = x->req == HALF_DONE;
    exchange_set_state(x, EXCHANGE_ACTIVE);
    x->us = us;
    exchange_note(x, &us->facts);
    struct rbody_try how = {exchange_keeps(x), is_whole, &x->arena};
    struct str body = rbody_give(&x->rbody, &how);
    if (x->rbody.state == RBODY_COPIED)
        exchange_count(x);
    ustream_attach(us, &events, x);
    x->t.sent = loop_now();
    x->rq.buffer = budget_bound(x->engine->budget, x->conf->client.buffer);
    us->ops->start(us, &x->rq, body, is_whole && x->trailers == NULL);
    if (is_whole && x->trailers != NULL)
        us->ops->end(us, str_make(NULL, 0), x->trailers);
    rbody_given(&x->rbody);
    if (x->paused)
        us->ops->pause(us, true);
    exchange_arm_at(x, x->t.sent);
    if (x->expects_continue)
        expect_begin(x);
    if (has_waited && x->state == EXCHANGE_ACTIVE && x->req != HALF_DONE)
        x->source->on_drain(x);
}

/* Performs what route_request() decided. */
static void exchange_perform(struct exchange *x)
{
    if (x->wants_token && x->token == 0 && !token_begin(x))
        return;
    exchange_set_state(x, EXCHANGE_WAIT);
    if (summary_is_open) /* never but in `tlsfan run` */
        summary_begin(x);
    struct ustream *us = x->performer->start(x);
    if (us != NULL)
        exchange_launch(x, us);
}

static void exchange_route(struct exchange *x)
{
    struct fault f;
    switch (route_request(x, &f)) {
    case ROUTE_REFUSE:
        exchange_fail(x, &f);
        break;
    case ROUTE_AUTH:
        if (trust_start(x, &f))
            exchange_set_state(x, EXCHANGE_AUTH);
        else
            exchange_fail(x, &f);
        break;
    case ROUTE_NAME:
        name_start(x);
        exchange_set_state(x, EXCHANGE_NAME);
        break;
    case ROUTE_UPSTREAM:
        exchange_perform(x);
        break;
    case ROUTE_PLAIN:
        x->status = 200;
        exchange_done(x);
        x->source->on_connect_plain(x);
        break;
    case ROUTE_TLS:
        x->status = 200;
        counter_add(&x->engine->stats->intercepted, 1);
        exchange_done(x);
        x->source->on_connect_tls(x);
        break;
    case ROUTE_OPTIONS:
        exchange_done(x);
        answer_options(x);
        break;
    case ROUTE_TRACE:
        exchange_done(x);
        answer_trace(x);
        break;
    }
}

void exchange_anew(struct exchange *x)
{
    x->us = NULL;
    x->is_ahead = false;
    timeout_clear(&x->timeout);
    rbody_again(&x->rbody);
    exchange_perform(x);
}

void exchange_resume(struct exchange *x)
{
    if (x->performer == NULL)
        exchange_route(x);
    else
        exchange_perform(x);
}

/* ---- what the source says */

void exchange_init(struct exchange *x, struct engine *e, const struct source_ops *source,
                   struct source_side *from)
{
    memset(x, 0, offsetof(struct exchange, first_fields));
    x->engine = e;
    x->source = source;
    x->from = from;
    x->use = engine_use(e);
    x->conf = x->use->conf;
    x->share.budget = e->budget;
    rbody_init(&x->rbody, e->budget, x->conf->client.buffer);
    x->id = ++e->next_id;
    x->t.begin = loop_now();
    x->seen.position = ++from->asked;
    list_push_back(&e->running, &x->seen.link);
    e->open_exchanges++;
    counter_add(&e->stats->begun, 1);
    exchange_init_timeout(x);
    arena_init(&x->arena, x->first_bytes, sizeof x->first_bytes);
    fields_init(&x->head.fields, &x->arena, x->first_fields,
                sizeof x->first_fields / sizeof x->first_fields[0]);
}

void exchange_refuse(struct exchange *x, const struct fault *f)
{
    x->must_close = true;
    if (exchange_is_over(x))
        return;
    if (x->res == HALF_BODY)
        exchange_cut(x, f);
    else
        exchange_fail(x, f);
}

void exchange_start(struct exchange *x, struct str body, bool end)
{
    x->req = end ? HALF_DONE : HALF_BODY;
    rbody_lend(&x->rbody, body);
    if (fields_has(&x->head.fields, FIELD_EXPECT))
        expect_init(x);
    struct fault f;
    if (!exchange_admit(x, &f)) {
        exchange_fail(x, &f);
        return;
    }
    exchange_route(x);
    rbody_settle(&x->rbody);
}

bool exchange_body(struct exchange *x, struct str data)
{
    if (exchange_is_over(x) || data.len == 0)
        return true;
    if (x->us == NULL)
        return rbody_add(&x->rbody, data);
    rbody_pass(&x->rbody, data, exchange_keeps(x));
    x->body_waits = !x->us->ops->body(x->us, data);
    if (x->body_waits)
        exchange_arm(x);
    return !x->body_waits;
}

void exchange_end(struct exchange *x, struct str last, struct fields *trailers)
{
    if (x->req == HALF_DONE)
        return;
    x->req = HALF_DONE;
    x->body_waits = false;
    x->trailers = trailers;
    route_trailers(x);
    if (exchange_is_over(x))
        return;
    if (x->us == NULL) {
        if (last.len > 0)
            (void)rbody_add(&x->rbody, last);
        return;
    }
    if (last.len > 0)
        rbody_pass(&x->rbody, last, exchange_keeps(x));
    x->t.sent = loop_now();
    x->us->ops->end(x->us, last, trailers);
    if (x->us != NULL && x->res == HALF_HEAD)
        exchange_arm(x);
}

void exchange_pause(struct exchange *x, bool paused)
{
    if (x->paused == paused || exchange_is_over(x))
        return;
    x->paused = paused;
    if (x->us == NULL)
        return;
    x->us->ops->pause(x->us, paused);
    exchange_arm(x);
}

static void exchange_free(void *object)
{
    struct exchange *x = object;
    x->engine->open_exchanges--;
    engine_unuse(x->use);
    h1_body_clear(&x->body);
    arena_clear(&x->arena);
    share_set(&x->share, 0);
    x->source->release(x);
}

void exchange_close(struct exchange *x, enum fault_code fault)
{
    if (x->state == EXCHANGE_CLOSED)
        return;
    exchange_leave(x);
    rbody_drop(&x->rbody);
    if (x->aside != NULL)
        polite_end(x);
    if (x->fault == FAULT_NONE)
        x->fault = fault;
    if (x->t.end == 0)
        x->t.end = loop_now();
    list_remove(&x->seen.link);
    stats_count(x);
    if (summary_is_open)
        summary_count(x);
    record_end(x);
    exchange_set_state(x, EXCHANGE_CLOSED);
    share_set(&x->share, 0); /* now: what is next may begin in this turn */
    loop_reap(x->engine->loop, &x->reap, exchange_free, x);
}
