/* SPDX-License-Identifier: Apache-2.0 */
/* The access token of a request: see token.h. */
#include "exchange/token.h"

#include "conf/secret.h"

/* In place of what was there for an earlier try. */
static void token_put(struct exchange *x, const struct token_got *got)
{
    const struct rule *r = x->rule;
    x->token = got->number;
    for (unsigned i = 0; i < r->n_edits; i++) {
        const struct header_edit *e = &r->edits[i];
        if (e->text.is_token)
            rewrite_edit(&x->head.fields, str_from(e->name),
                         secret_text_with(&x->arena, x->conf, &e->text, got->token));
    }
}

static void token_on_got(void *arg, const struct token_got *got)
{
    struct exchange *x = arg;
    token_cancel(x);
    if (got->token.p == NULL) {
        exchange_fail(x, &got->fault);
        return;
    }
    token_put(x, got);
    exchange_resume(x);
}

static void token_wait(struct exchange *x, struct token_wait *w)
{
    x->token_wait = w;
    exchange_set_state(x, EXCHANGE_TOKEN);
    x->t.queued -= loop_now();
    if (!source_rules[x->from->kind].is_patient)
        sweep_set(&x->engine->sweep, &x->timeout, x->conf->upstream.queue_timeout);
}

bool token_begin(struct exchange *x)
{
    struct token_job job;
    struct token_got got;
    struct token_ask ask = {.conf = x->use->conf,
                            .oauth = x->rule->oauth,
                            .refused = x->refused_token,
                            .arena = &x->arena,
                            .loop = x->engine->loop,
                            .fn = token_on_got,
                            .arg = x};
    struct token_wait *w = token_store_get(&ask, &got, &job);
    if (job.place != NULL)
        x->engine->fetch_token(x->engine, &job);
    if (w != NULL)
        token_wait(x, w);
    else if (got.token.p == NULL)
        exchange_fail(x, &got.fault);
    else
        token_put(x, &got);
    return x->token != 0;
}

/* What is told to the store counts for others, too, so it comes before what X itself cannot do. */
bool token_again(struct exchange *x, unsigned status)
{
    struct ustream *us = x->us;
    if (status != 401 || x->token == 0 || x->refused_token != 0 ||
        !token_store_refused(x->rule->oauth, x->token) || !rbody_is_replayable(&x->rbody))
        return false;
    x->refused_token = x->token;
    x->token = 0;
    x->us = NULL;
    us->ops->cancel(us);
    timeout_clear(&x->timeout);
    rbody_again(&x->rbody);
    x->body_waits = false;
    exchange_resume(x);
    return true;
}

void token_cancel(struct exchange *x)
{
    struct token_wait *w = x->token_wait;
    x->token_wait = NULL;
    if (w == NULL)
        return;
    x->t.queued += loop_now();
    timeout_clear(&x->timeout);
    token_store_cancel(w);
}

void token_on_timeout(struct exchange *x)
{
    struct fault f;
    fault_set(&f, FAULT_TOKEN,
              "no access token for oauth \"%s\": %s has not answered within %lld ms "
              "(upstream.queue_timeout)",
              x->rule->oauth->name, x->rule->oauth->host,
              (long long)x->conf->upstream.queue_timeout);
    exchange_fail(x, &f);
}
