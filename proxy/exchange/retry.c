/* SPDX-License-Identifier: Apache-2.0 */
#include "exchange/retry.h"

enum {
    AT_ONCE = 3,         /* tries that wait for nothing */
    FRUITLESS_MOST = 10, /* tries in a row while the origin answers nobody */
    LOST_MOST = 10,      /* tries of what may be the reason why connections end */
    DELAY_FIRST = 20,    /* ms */
    DELAY_MOST = 500,    /* ms */
    ASKED_MOST = 3600000 /* ms, where queue_timeout is none */
};

void retry_note(struct retry *r, uint64_t answers, int64_t now)
{
    bool is_first = r->since == 0;
    if (is_first)
        r->since = now;
    r->fruitless = is_first || answers == r->answers ? r->fruitless + 1 : 0;
    r->answers = answers;
}

static bool is_too_late(const struct retry *r, const struct retry_case *c, int64_t now)
{
    return c->patience > 0 && now - r->since >= c->patience * 1000;
}

/* An origin that sheds a stream at a time may have room on the very connection. */
static enum retry_how choose_unsent(const struct retry *r, const struct retry_case *c)
{
    if (r->fruitless > FRUITLESS_MOST)
        return RETRY_NOT;
    if (c->code == FAULT_UP_WANTS_H1)
        return RETRY_BY_H1;
    if (r->tries >= AT_ONCE)
        return RETRY_LATER;
    return c->code == FAULT_UP_REFUSED && r->tries > 0 ? RETRY_NEWER : RETRY_ANYWHERE;
}

int64_t retry_asked_until(const struct retry *r, const struct retry_case *c, int64_t now)
{
    int64_t ms = c->patience > 0 ? c->patience : ASKED_MOST;
    return (r->asked_since != 0 ? r->asked_since : now) + ms * 1000;
}

enum retry_how retry_choose(const struct retry *r, const struct retry_case *c, int64_t now)
{
    if (!c->is_replayable)
        return RETRY_NOT;
    if (c->asked_ms > 0)
        return c->is_safe && now + c->asked_ms * 1000 <= retry_asked_until(r, c, now)
                   ? RETRY_WHEN_ASKED
                   : RETRY_NOT;
    if (c->is_misdirected)
        return RETRY_ALONE;
    bool is_amid = c->loss == LOSS_AMID && c->is_safe && c->limit > 0 && r->lost < LOST_MOST;
    if (c->loss == LOSS_UNSENT)
        return is_too_late(r, c, now) ? RETRY_NOT : choose_unsent(r, c);
    if (c->loss == LOSS_FINAL || !c->is_idempotent)
        return RETRY_NOT;
    if (r->lost < c->limit)
        return RETRY_NEWER;
    if (!is_amid || is_too_late(r, c, now))
        return RETRY_NOT;
    return r->tries < AT_ONCE ? RETRY_NEWER : RETRY_LATER;
}

unsigned retry_delay(const struct retry *r)
{
    unsigned n = r->tries < AT_ONCE ? 0 : r->tries - AT_ONCE;
    unsigned delay = n < 6 ? DELAY_FIRST << n : DELAY_MOST;
    return delay < DELAY_MOST ? delay : DELAY_MOST;
}

void retry_count(struct retry *r, const struct retry_case *c, int64_t now)
{
    if (c->asked_ms > 0 && r->asked_since == 0)
        r->asked_since = now;
    r->tries++;
    r->lost += c->loss == LOSS_REUSED || c->loss == LOSS_AMID;
}

void retry_explain(struct fault *told, const struct fault *f, const struct retry *r,
                   const struct retry_case *c)
{
    *told = *f;
    if (c->loss == LOSS_UNSENT && !c->is_replayable)
        fault_set(told, f->code,
                  "%s; the request was not carried out, but more of its body had been sent than is "
                  "kept for another try (twice client.buffer)",
                  f->text);
    else if (c->loss == LOSS_UNSENT && r->fruitless > FRUITLESS_MOST)
        fault_set(told, f->code,
                  "%s; the request was asked %u times and never begun, nor was any other answered",
                  f->text, r->tries + 1);
    else if (c->loss == LOSS_UNSENT)
        fault_set(told, f->code,
                  "%s; the request was asked %u times within %lld ms (upstream.queue_timeout) and "
                  "never begun",
                  f->text, r->tries + 1, (long long)c->patience);
    else if (!c->is_safe && f->code == FAULT_UP_CLOSED)
        fault_set(told, f->code, "%s; the request may have been carried out", f->text);
    told->phrase = f->phrase;
}
