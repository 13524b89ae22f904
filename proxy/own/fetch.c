/* SPDX-License-Identifier: Apache-2.0 */
/* A request made ahead: see fetch.h. Its bytes are bounded by readahead_memory over all workers
 * until somebody takes it, and like an exchange's from then on. Where nothing has come of it that X
 * may have, X is performed anew, as if there had been none. */
#include "own/fetch.h"

#include <stdlib.h>

#include "base/state.h"
#include "exchange/performer.h"
#include "exchange/polite.h"
#include "exchange/stats.h"

enum {
    FRESH_MS = 10000,  /* that an answer may wait for who asks for it */
    ALONE_MS = 60000,  /* that its head may take where response_timeout is none */
    PIECE = 16384,     /* bytes given on at a time */
    TURN = 16 * PIECE, /* and in one turn */
};

/* readahead_memory, of the process. */
static struct budget fetch_budget = {0, INT64_MAX};

#define TO(state) STATE_BIT(FETCH_##state)

static void fetch_set_state(struct fetch *f, enum fetch_state to)
{
    static const struct state_row states[] = {
        [FETCH_NEW] = {"NEW", TO(HEAD) | TO(CLOSED)},
        [FETCH_HEAD] = {"HEAD", TO(BODY) | TO(CLOSED)},
        [FETCH_BODY] = {"BODY", TO(WHOLE) | TO(CLOSED)},
        [FETCH_WHOLE] = {"WHOLE", TO(CLOSED)},
        [FETCH_CLOSED] = {"CLOSED", 0},
    };
    state_check("fetch", (uintptr_t)f, states, f->state, to);
    f->state = to;
}

/* ---- memory */

/* True while N bytes more may be held for nobody. */
static bool fetch_has_room(struct engine *e, const struct conf *c, uint64_t n)
{
    uint64_t used = (uint64_t)budget_used(&fetch_budget);
    return n <= c->readahead_memory && used <= c->readahead_memory - n &&
           !budget_is_tight(e->budget);
}

static void fetch_count(struct fetch *f)
{
    size_t own = sizeof *f + f->arena.total;
    share_set(&f->share, own);
    share_set(&f->ahead, f->x != NULL ? 0 : own + backlog_len(&f->held));
}

/* ---- its end */

static void fetch_free(void *object)
{
    struct fetch *f = object;
    engine_unuse(f->use);
    arena_clear(&f->arena);
    xfree(f);
}

void fetch_close(struct fetch *f)
{
    struct stats *s = f->engine->stats;
    struct ustream *up = f->up;
    if (f->state == FETCH_CLOSED)
        return;
    fetch_set_state(f, FETCH_CLOSED);
    f->up = NULL;
    if (up != NULL)
        up->ops->cancel(up);
    pool_cancel(&f->wait);
    if (f->is_sent)
        counter_add(f->is_given ? &s->ahead_used : &s->ahead_wasted, 1);
    timeout_clear(&f->timeout);
    loop_unpost(&f->give);
    backlog_clear(&f->held);
    share_set(&f->share, 0);
    share_set(&f->ahead, 0);
    loop_reap(f->engine->loop, &f->reap, fetch_free, f);
}

/* Nobody gets what has come, if anything has: who waits for it is performed anew. */
static void fetch_fail(struct fetch *f, enum fetch_news news)
{
    struct exchange *x = f->x;
    f->tell(f->arg, f, news);
    fetch_close(f);
    if (x != NULL)
        exchange_anew(x);
}

static void fetch_on_timeout(void *arg)
{
    struct fetch *f = arg;
    fetch_fail(f, f->state < FETCH_BODY ? FETCH_IS_LOST : FETCH_IS_OLD);
}

/* ---- to who has taken it */

/* All has been given. */
static void fetch_finish(struct fetch *f, const struct fields *trailers)
{
    const struct ustream_events *events = f->us.events;
    void *user = f->us.arg;
    fetch_close(f);
    events->on_end(user, trailers);
}

static void fetch_give_head(struct fetch *f, struct h1_head *head)
{
    f->is_given = true;
    f->us.events->on_head(f->us.arg, head, &f->body);
}

/* Gives what is held. False: X has had enough for now, or F is closed. */
static bool fetch_give_held(struct fetch *f)
{
    char piece[PIECE];
    for (size_t given = 0; given < TURN && !f->is_paused && backlog_len(&f->held) > 0;) {
        size_t n = backlog_take(&f->held, piece, sizeof piece);
        given += n;
        f->us.events->on_body(f->us.arg, piece, n);
        if (f->state == FETCH_CLOSED)
            return false;
    }
    return !f->is_paused;
}

static void fetch_slow(struct fetch *f, bool is_slowed)
{
    if (f->up == NULL || f->is_slowed == is_slowed)
        return;
    f->is_slowed = is_slowed;
    f->up->ops->pause(f->up, is_slowed);
}

static void fetch_give(void *arg)
{
    struct fetch *f = arg;
    if (f->state < FETCH_BODY || f->us.events == NULL)
        return;
    if (!f->is_given)
        fetch_give_head(f, &f->head);
    if (f->state == FETCH_CLOSED || !fetch_give_held(f))
        return;
    if (backlog_len(&f->held) > 0)
        loop_post_next(f->engine->loop, &f->give);
    else if (f->state == FETCH_WHOLE)
        fetch_finish(f, f->has_trailers ? &f->trailers : NULL);
    else
        fetch_slow(f, false);
}

static void fetch_us_start(struct ustream *us, const struct up_request *rq, struct str body,
                           bool end)
{
    struct fetch *f = container_of(us, struct fetch, us);
    (void)rq; /* as it was sent */
    (void)body;
    (void)end;
    loop_post(f->engine->loop, &f->give);
}

static bool fetch_us_body(struct ustream *us, struct str data)
{
    (void)us;
    (void)data;
    return true;
}

static void fetch_us_end(struct ustream *us, struct str last, const struct fields *trailers)
{
    (void)us;
    (void)last;
    (void)trailers;
}

static void fetch_us_pause(struct ustream *us, bool paused)
{
    struct fetch *f = container_of(us, struct fetch, us);
    f->is_paused = paused;
    if (paused)
        fetch_slow(f, true);
    else
        loop_post(f->engine->loop, &f->give);
}

/* Who has waited in vain would do so for the next pages, too: the origin may leave unanswered what
 * is made ahead. */
static void fetch_us_cancel(struct ustream *us)
{
    struct fetch *f = container_of(us, struct fetch, us);
    if (!f->is_given)
        f->tell(f->arg, f, FETCH_IS_BAD);
    fetch_close(f);
}

static struct stream *fetch_us_take(struct ustream *us, void **slot)
{
    (void)us;
    (void)slot;
    return NULL; /* no 101 is handed out */
}

static const struct ustream_ops fetch_ops = {
    .start = fetch_us_start,
    .body = fetch_us_body,
    .end = fetch_us_end,
    .pause = fetch_us_pause,
    .cancel = fetch_us_cancel,
    .take = fetch_us_take,
};

struct ustream *fetch_take(struct fetch *f, struct exchange *x)
{
    f->x = x;
    pool_want(&f->wait, &x->how);
    timeout_clear(&f->timeout);
    fetch_count(f);
    return &f->us;
}

/* ---- what its upstream tells */

/* It may be another one for the same request, or for one that is not made ahead. */
static bool fetch_varies(const struct fields *fields)
{
    for (unsigned i = 0; i < fields->n; i++) {
        const struct field *field = &fields->v[i];
        if (field->name.p != NULL && str_ieq(field->name, STR("Vary")) &&
            (str_has_token(field->value, STR("*")) ||
             str_has_token(field->value, STR("Sec-Purpose"))))
            return true;
    }
    return false;
}

bool fetch_is_good(const struct h1_head *head)
{
    return head->status >= 200 && head->status < 400 && head->status != 206 &&
           head->status != 304 && !fetch_varies(&head->fields);
}

static void fetch_on_info(void *arg, struct h1_head *head)
{
    struct fetch *f = arg;
    if (f->x != NULL && f->us.events != NULL)
        f->us.events->on_info(f->us.arg, head);
}

static void fetch_keep_head(struct fetch *f, const struct h1_head *head)
{
    f->head = *head;
    f->head.reason = arena_dup(&f->arena, head->reason);
    fields_copy(&f->arena, &f->head.fields, &head->fields);
    fetch_count(f);
    if (f->x == NULL)
        sweep_set(&f->engine->sweep, &f->timeout, FRESH_MS);
}

static void fetch_on_head(void *arg, struct h1_head *head, const struct h1_body *body)
{
    struct fetch *f = arg;
    uint64_t length = body->framing == H1_FRAMING_LENGTH ? body->length : 0;
    (void)polite_pause(f->engine, &f->where, head); /* who asks for it waits as well */
    if (!fetch_is_good(head) ||
        (f->x == NULL && !fetch_has_room(f->engine, f->use->conf, length))) {
        fetch_fail(f, FETCH_IS_BAD);
        return;
    }
    fetch_set_state(f, FETCH_BODY);
    f->body.framing = body->framing;
    f->body.length = body->length;
    if (fields_has(&head->fields, FIELD_SET_COOKIE))
        f->tell(f->arg, f, FETCH_IS_LAST);
    if (f->x != NULL && f->us.events != NULL)
        fetch_give_head(f, head);
    else
        fetch_keep_head(f, head);
}

/* What waits for X is bounded like what waits for any client. */
static void fetch_hold(struct fetch *f, struct str data)
{
    backlog_add(&f->held, data);
    fetch_count(f);
    if (f->x != NULL &&
        backlog_len(&f->held) > budget_bound(f->engine->budget, f->use->conf->client.buffer))
        fetch_slow(f, true);
}

static void fetch_on_body(void *arg, const char *p, size_t n)
{
    struct fetch *f = arg;
    if (f->is_given && !f->is_paused && backlog_len(&f->held) == 0)
        f->us.events->on_body(f->us.arg, p, n);
    else if (f->x == NULL && !fetch_has_room(f->engine, f->use->conf, n))
        fetch_fail(f, FETCH_IS_BAD);
    else
        fetch_hold(f, str_make(p, n));
}

static void fetch_on_end(void *arg, const struct fields *trailers)
{
    struct fetch *f = arg;
    f->up = NULL;
    fetch_set_state(f, FETCH_WHOLE);
    bool is_given = f->is_given && backlog_len(&f->held) == 0;
    f->tell(f->arg, f, FETCH_IS_FREE);
    if (f->state == FETCH_CLOSED)
        return;
    if (is_given) {
        fetch_finish(f, trailers);
        return;
    }
    f->has_trailers = trailers != NULL;
    if (trailers != NULL)
        fields_copy(&f->arena, &f->trailers, trailers);
    fetch_count(f);
    loop_post(f->engine->loop, &f->give);
}

static void fetch_on_fault(void *arg, const struct fault *fault, enum up_loss loss)
{
    struct fetch *f = arg;
    f->up = NULL;
    (void)loss;
    if (!f->is_given) {
        fetch_fail(f, FETCH_IS_LOST);
        return;
    }
    const struct ustream_events *events = f->us.events;
    void *user = f->us.arg;
    f->tell(f->arg, f, FETCH_IS_LOST);
    fetch_close(f);
    events->on_fault(user, fault, LOSS_FINAL);
}

static void fetch_on_drain(void *arg)
{
    (void)arg; /* it has no body */
}

static const struct ustream_events fetch_events = {
    .on_info = fetch_on_info,
    .on_head = fetch_on_head,
    .on_body = fetch_on_body,
    .on_end = fetch_on_end,
    .on_fault = fetch_on_fault,
    .on_drain = fetch_on_drain,
};

/* ---- its beginning */

static void fetch_send(struct fetch *f, struct ustream *up)
{
    int64_t ms = f->where.rule->response_timeout;
    fetch_set_state(f, FETCH_HEAD);
    f->up = up;
    f->is_sent = true;
    counter_add(&f->engine->stats->ahead_issued, 1);
    f->us.facts = up->facts;
    f->us.facts.dns_us = f->us.facts.connect_us = f->us.facts.tls_us = 0;
    if (f->x != NULL)
        exchange_note(f->x, &up->facts);
    else
        sweep_set(&f->engine->sweep, &f->timeout, ms > 0 ? ms : ALONE_MS);
    f->rq.buffer = budget_bound(f->engine->budget, f->use->conf->client.buffer);
    ustream_attach(up, &fetch_events, f);
    up->ops->start(up, &f->rq, str_make(NULL, 0), true);
}

static void fetch_on_ready(void *arg, struct ustream *up)
{
    fetch_send(arg, up);
}

static void fetch_on_refused(void *arg, const struct fault *fault)
{
    (void)fault;
    fetch_fail(arg, FETCH_IS_LOST);
}

bool fetch_start(struct fetch *f)
{
    f->wait.on_ready = fetch_on_ready;
    f->wait.on_fault = fetch_on_refused;
    f->wait.arg = f;
    struct ustream *up = pool_get(f->engine->pool, &f->where, &f->how, &f->wait);
    if (up != NULL)
        fetch_send(f, up);
    else if (f->wait.state == WAIT_QUEUED && !pool_is_in_line(&f->wait))
        return false;
    return true;
}

struct fetch *fetch_new(struct engine *e, const struct fetch_like *like, struct str target,
                        struct str key)
{
    const struct conf *c = like->use->conf;
    if (!fetch_has_room(e, c, sizeof(struct fetch) + key.len + target.len))
        return NULL;
    struct fetch *f = xcalloc(1, sizeof *f);
    arena_init(&f->arena, NULL, 0);
    list_init(&f->link);
    list_init(&f->link);
    f->engine = e;
    f->use = like->use;
    f->use->users++;
    f->key = arena_dup(&f->arena, key);
    f->where = like->where;
    f->where.host = arena_dup(&f->arena, like->where.host);
    f->how = (struct up_how){.person = like->person, .client = like->client, .is_ahead = true};
    f->rq = like->rq;
    f->rq.target = arena_dup(&f->arena, target);
    f->rq.host = arena_dup(&f->arena, like->rq.host);
    f->rq.method = method_lookup(STR("GET"));
    fields_copy(&f->arena, &f->fields, like->rq.fields);
    fields_remove_name(&f->fields, STR("Sec-Purpose"));
    fields_put(&f->fields, STR("Sec-Purpose"), STR("prefetch"));
    f->rq.fields = &f->fields;
    f->us.ops = &fetch_ops;
    backlog_init(&f->held, e->budget);
    timeout_init(&f->timeout, fetch_on_timeout, f);
    post_init(&f->give, fetch_give, f);
    f->share.budget = e->budget;
    f->ahead.budget = &fetch_budget;
    fetch_count(f);
    return f;
}
