/* SPDX-License-Identifier: Apache-2.0 */
/* What retry.h decides is done here. What was kept of the body waits for the next connection. */
#include "exchange/again.h"

#include "exchange/timeout.h"

enum { GRACE = 100 }; /* ms: who may ask when all of a pause is over does ask */

struct retry_case again_case(const struct exchange *x)
{
    return (struct retry_case){
        .is_safe = x->head.method.is_safe,
        .is_idempotent = x->head.method.is_idempotent,
        .is_replayable = rbody_is_replayable(&x->rbody),
        .limit = x->conf->upstream.retries,
        .patience = x->conf->upstream.queue_timeout,
    };
}

/* X asks when its origin wants it: in the queue, on any connection, and with its patience. */
static void again_queue(struct exchange *x, const struct retry_case *what)
{
    x->how.not_before = 0;
    int64_t now = loop_now();
    int64_t then = now + (what->asked_ms + GRACE) * 1000;
    int64_t until = retry_asked_until(&x->retry, what, now);
    x->how.queue_by = then > until ? then : until;
}

bool again_ask(struct exchange *x, const struct retry_case *what)
{
    enum retry_how how = retry_choose(&x->retry, what, loop_now());
    if (how == RETRY_NOT)
        return false;
    int64_t now = loop_now();
    x->how.not_before = how == RETRY_ANYWHERE || how == RETRY_LATER ? 1 : now;
    if (how == RETRY_WHEN_ASKED)
        again_queue(x, what);
    x->how.is_alone = x->how.is_alone || how == RETRY_ALONE;
    x->how.h1_only = x->how.h1_only || how == RETRY_BY_H1;
    unsigned delay = how == RETRY_LATER ? retry_delay(&x->retry) : 0;
    retry_count(&x->retry, what, now);
    timeout_clear(&x->timeout);
    rbody_again(&x->rbody);
    x->body_waits = false;
    if (delay > 0)
        exchange_begin_later(x, delay);
    else
        exchange_resume(x);
    return true;
}

bool again_is_misdirected(struct exchange *x, const struct h1_head *head)
{
    if (head->status != 421 || !x->facts.is_shared || x->how.is_alone ||
        !rbody_is_replayable(&x->rbody))
        return false;
    struct ustream *us = x->us;
    x->us = NULL;
    us->ops->cancel(us);
    struct retry_case what = again_case(x);
    what.is_misdirected = true;
    return again_ask(x, &what);
}
