/* SPDX-License-Identifier: Apache-2.0 */
/* Who says 100: see expect.h. */
#include "exchange/expect.h"

#include "http/h1_write.h"

static void expect_say(struct exchange *x)
{
    struct h1_head head = {.status = 100, .reason = h1_reason(100), .minor = 1};
    fields_init(&head.fields, &x->arena, NULL, 0);
    x->is_continued = true;
    x->source->on_info(x, &head);
}

/* True while X goes on only if somebody says 100. */
static bool expect_is_due(const struct exchange *x)
{
    return x->us != NULL && x->req != HALF_DONE && x->res == HALF_HEAD && expect_is_waiting(x);
}

static void on_patience(void *arg)
{
    struct exchange *x = arg;
    if (!expect_is_due(x))
        return;
    if (x->us->is_silent != NULL)
        *x->us->is_silent = true;
    expect_say(x);
}

void expect_init(struct exchange *x)
{
    x->expects_continue = forward_expects_continue(&x->head);
    timeout_init(&x->patience, on_patience, x);
}

void expect_begin(struct exchange *x)
{
    if (!expect_is_due(x))
        return;
    if (x->us->is_silent != NULL && *x->us->is_silent)
        expect_say(x);
    else
        sweep_set(&x->engine->sweep, &x->patience, EXPECT_MS);
}

void expect_on_info(void *arg, struct h1_head *head)
{
    struct exchange *x = arg;
    bool is_100 = head->status == 100;
    if (is_100 && x->us->is_silent != NULL)
        *x->us->is_silent = false;
    if (is_100 ? x->is_continued : !x->conf->client.early_hints)
        return;
    x->is_continued = x->is_continued || is_100;
    x->source->on_info(x, head);
}
