/* SPDX-License-Identifier: Apache-2.0 */
/* Origins that ask to be left alone for a while: see polite.h. The request waits in the queue of
 * its origin, as the first of its connection: what that has asked for behind it would take its slot
 * and then wait for it. */
#include "exchange/polite.h"

#include "exchange/again.h"
#include "exchange/stats.h"
#include "http/retry_after.h"

enum {
    PAUSE_MIN = 1000,    /* ms: "0" again and again is no reason to hammer */
    PAUSE_MOST = 3600000 /* ms, where queue_timeout is none */
};
enum { ASIDE_MOST = 16384 }; /* bytes of a body */

/* An answer that was set aside. Owner: its exchange. */
struct aside {
    struct arena arena;
    struct h1_head head;
    struct h1_body body; /* its framing and length */
    struct fields trailers;
    struct backlog held;
    struct share share; /* in max_memory: it and its arena */
    struct up_facts facts;
    int64_t at;    /* µs: when it came */
    int64_t until; /* µs: when the origin may be asked again */
    bool is_whole, has_trailers;
};

int64_t polite_pause(struct engine *e, const struct up_where *where, const struct h1_head *head)
{
    const struct field *field = fields_find(&head->fields, FIELD_RETRY_AFTER, NULL);
    const struct field *date = fields_find(&head->fields, FIELD_DATE, NULL);
    if (!where->rule->retry_after || (head->status != 429 && head->status != 503) || field == NULL)
        return 0;
    /* A date is one of the origin's clock. */
    int64_t wall = loop_wall();
    int64_t now = date == NULL ? -1 : http_date(date->value, wall / 1000000);
    int64_t ms = retry_after_ms(field->value, now < 0 ? wall : now * 1000000);
    int64_t most = where->conf->upstream.queue_timeout;
    if (ms >= 0 && ms < PAUSE_MIN)
        ms = PAUSE_MIN;
    if (ms < 0 || ms > (most > 0 ? most : PAUSE_MOST))
        return 0;
    pool_pause(e->pool, where, ms);
    return ms;
}

static void aside_free(struct aside *a)
{
    if (a == NULL)
        return;
    backlog_clear(&a->held);
    share_set(&a->share, 0);
    arena_clear(&a->arena);
    xfree(a);
}

void polite_end(struct exchange *x)
{
    struct aside *a = x->aside;
    x->aside = NULL;
    aside_free(a);
}

/* Gives X what is there of the answer A, which is X's no more. False: X is closed. */
static bool aside_give(struct exchange *x, struct aside *a)
{
    x->aside = NULL;
    exchange_pass_head(x, &a->head, &a->body);
    if (x->state == EXCHANGE_CLOSED)
        return false;
    x->t.head = a->at;
    struct str all = backlog_all(&a->held);
    if (all.len > 0)
        exchange_pass_body(x, all.p, all.len);
    return x->state != EXCHANGE_CLOSED;
}

static void aside_give_all(struct exchange *x, struct aside *a)
{
    x->facts = a->facts;
    if (aside_give(x, a))
        exchange_pass_end(x, a->has_trailers ? &a->trailers : NULL);
    aside_free(a);
}

bool polite_give(struct exchange *x)
{
    struct aside *a = x->aside;
    if (a == NULL || !a->is_whole)
        return false;
    aside_give_all(x, a);
    return true;
}

/* ---- what the upstream tells */

static void polite_on_info(void *arg, struct h1_head *head)
{
    (void)arg; /* none comes behind the final head */
    (void)head;
}

static void polite_on_head(void *arg, struct h1_head *head, const struct h1_body *body)
{
    (void)arg;
    (void)head;
    (void)body;
}

/* What is too much goes to the source, and the rest as it comes. */
static void polite_on_body(void *arg, const char *p, size_t n)
{
    struct exchange *x = arg;
    struct aside *a = x->aside;
    backlog_add(&a->held, str_make(p, n));
    if (backlog_len(&a->held) <= ASIDE_MOST)
        return;
    exchange_listen(x);
    (void)aside_give(x, a);
    aside_free(a);
}

static void polite_on_end(void *arg, const struct fields *trailers)
{
    struct exchange *x = arg;
    struct aside *a = x->aside;
    struct retry_case what = again_case(x);
    int64_t now = loop_now();
    x->us = NULL;
    a->is_whole = true;
    a->has_trailers = trailers != NULL;
    if (trailers != NULL)
        fields_copy(&a->arena, &a->trailers, trailers);
    what.asked_ms = a->until > now ? (a->until - now + 999) / 1000 : 1;
    if (again_ask(x, &what))
        counter_add(&x->engine->stats->put_off, 1);
    else
        aside_give_all(x, a);
}

/* It broke off: there is nothing that could be given as it came. */
static void polite_on_fault(void *arg, const struct fault *f, enum up_loss loss)
{
    struct exchange *x = arg;
    (void)loss;
    x->us = NULL;
    polite_end(x);
    exchange_fail(x, f);
}

static void polite_on_drain(void *arg)
{
    (void)arg; /* the request is whole */
}

static const struct ustream_events polite_events = {
    .on_info = polite_on_info,
    .on_head = polite_on_head,
    .on_body = polite_on_body,
    .on_end = polite_on_end,
    .on_fault = polite_on_fault,
    .on_drain = polite_on_drain,
};

static struct aside *aside_new(struct exchange *x, const struct h1_head *head,
                               const struct h1_body *body)
{
    struct aside *a = xcalloc(1, sizeof *a);
    arena_init(&a->arena, NULL, 0);
    a->head = *head;
    a->head.reason = arena_dup(&a->arena, head->reason);
    fields_copy(&a->arena, &a->head.fields, &head->fields);
    a->body.framing = body->framing;
    a->body.length = body->length;
    a->facts = x->facts;
    a->at = loop_now();
    backlog_init(&a->held, x->engine->budget);
    a->share.budget = x->engine->budget;
    share_set(&a->share, sizeof *a + a->arena.total);
    return a;
}

bool polite_take(struct exchange *x, const struct h1_head *head, const struct h1_body *body)
{
    if (x->rule == NULL || !x->rule->retry_after)
        return false;
    struct retry_case what = again_case(x);
    what.asked_ms = polite_pause(x->engine, &x->where, head);
    if (what.asked_ms == 0 || x->req != HALF_DONE ||
        (body->framing == H1_FRAMING_LENGTH && body->length > ASIDE_MOST) ||
        retry_choose(&x->retry, &what, loop_now()) != RETRY_WHEN_ASKED)
        return false;
    polite_end(x); /* that of the try before */
    x->aside = aside_new(x, head, body);
    x->aside->until = x->aside->at + what.asked_ms * 1000;
    ustream_attach(x->us, &polite_events, x);
    return true;
}
