/* SPDX-License-Identifier: Apache-2.0 */
/* Upstreams, and times, that are waited for: see timeout.h. */
#include "exchange/timeout.h"

#include "exchange/token.h"

void exchange_begin_later(struct exchange *x, unsigned ms)
{
    exchange_set_state(x, EXCHANGE_LATER);
    x->t.queued -= loop_now();
    sweep_set(&x->engine->sweep, &x->timeout, ms);
}

void exchange_end_later(struct exchange *x)
{
    if (x->state == EXCHANGE_LATER)
        x->t.queued += loop_now();
}

static void exchange_on_timeout(void *arg)
{
    struct exchange *x = arg;
    struct fault f;
    if (x->state == EXCHANGE_LATER) {
        exchange_end_later(x);
        exchange_resume(x);
        return;
    }
    if (x->state == EXCHANGE_TOKEN) {
        token_on_timeout(x);
        return;
    }
    if (x->res == HALF_BODY) {
        fault_set(&f, FAULT_RESPONSE_TIMEOUT,
                  "%.*s sent no more of its response within %lld ms (read_timeout)",
                  STR_ARG(x->where.host), (long long)x->rule->read_timeout);
        exchange_cut(x, &f);
        return;
    }
    if (x->req != HALF_DONE)
        fault_set(&f, FAULT_RESPONSE_TIMEOUT,
                  "%.*s took no more of the request body within %lld ms (read_timeout)",
                  STR_ARG(x->where.host), (long long)x->rule->read_timeout);
    else
        fault_set(&f, FAULT_RESPONSE_TIMEOUT,
                  "%.*s did not answer within %lld ms (response_timeout)%s", STR_ARG(x->where.host),
                  (long long)x->rule->response_timeout,
                  x->head.method.is_safe ? "" : "; the request may have been carried out");
    if (x->req != HALF_DONE)
        f.phrase = "Request body not taken by %s in time";
    exchange_fail(x, &f);
}

void exchange_init_timeout(struct exchange *x)
{
    timeout_init(&x->timeout, exchange_on_timeout, x);
}

void exchange_arm(struct exchange *x)
{
    exchange_arm_at(x, loop_now());
}

void exchange_arm_at(struct exchange *x, int64_t now)
{
    x->armed_in = x->engine->loop->turn;
    bool is_sending = x->res == HALF_HEAD && x->req != HALF_DONE;
    if (x->paused || x->us == NULL || x->rule == NULL || (is_sending && !x->body_waits))
        timeout_clear(&x->timeout);
    else
        sweep_set_from(&x->engine->sweep, &x->timeout,
                       x->res == HALF_HEAD && !is_sending ? x->rule->response_timeout
                                                          : x->rule->read_timeout,
                       now);
}
