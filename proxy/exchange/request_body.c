/* SPDX-License-Identifier: Apache-2.0 */
/* Where the body of a request is: see request_body.h. */
#include "exchange/request_body.h"

#include <assert.h>

#include "base/state.h"

enum {
    COPY_MAX = 16384 /* bytes that are copied to the arena, beside the exchange */
};

#define TO(state) STATE_BIT(RBODY_##state)

/* The one place where b->state changes. More of what is there already is a move, too. */
static void rbody_set_state(struct rbody *b, enum rbody_state to)
{
    static const struct state_row states[] = {
        /* To LENT as the source begins, WAITING while there is no upstream, else as it keeps. */
        [RBODY_NONE] = {"NONE", TO(LENT) | TO(WAITING) | TO(KEPT) | TO(LOST)},
        [RBODY_LENT] = {"LENT", TO(WAITING) | TO(KEPT) | TO(COPIED) | TO(LOST)},
        [RBODY_WAITING] = {"WAITING", TO(WAITING) | TO(KEPT) | TO(COPIED) | TO(LOST)},
        /* WAITING: asked again. LOST: more than is kept, or nobody asks again. */
        [RBODY_KEPT] = {"KEPT", TO(WAITING) | TO(KEPT) | TO(LOST)},
        [RBODY_COPIED] = {"COPIED", TO(LOST)},
        [RBODY_LOST] = {"LOST", TO(LOST)},
    };
    state_check("request body", (uintptr_t)b, states, b->state, to);
    b->state = to;
}

static size_t rbody_len(const struct rbody *b)
{
    return b->buffer == NULL ? 0 : evbuffer_get_length(b->buffer);
}

static void rbody_append(struct rbody *b, struct str data)
{
    if (b->buffer == NULL)
        b->buffer = evbuffer_new();
    evbuffer_add(b->buffer, data.p, data.len);
    share_set(&b->share, rbody_len(b));
}

static void rbody_free(struct rbody *b)
{
    if (b->buffer == NULL)
        return;
    evbuffer_free(b->buffer);
    b->buffer = NULL;
    share_set(&b->share, 0);
}

void rbody_init(struct rbody *b, struct budget *budget, size_t most)
{
    memset(b, 0, sizeof *b);
    b->share.budget = budget;
    b->most = most;
}

void rbody_drop(struct rbody *b)
{
    if (b->state == RBODY_NONE)
        return;
    rbody_free(b);
    rbody_set_state(b, RBODY_LOST);
}

void rbody_lend(struct rbody *b, struct str data)
{
    assert(b->state == RBODY_NONE);
    if (data.len == 0)
        return;
    b->bytes = data;
    rbody_set_state(b, RBODY_LENT);
}

void rbody_settle(struct rbody *b)
{
    if (b->state == RBODY_LENT)
        (void)rbody_add(b, str_make(NULL, 0));
}

/* Only what has been given to no upstream can be added to: a body goes up in order. */
bool rbody_add(struct rbody *b, struct str data)
{
    assert(b->state <= RBODY_WAITING);
    if (b->state == RBODY_LENT)
        rbody_append(b, b->bytes);
    rbody_set_state(b, RBODY_WAITING);
    if (data.len > 0)
        rbody_append(b, data);
    return rbody_len(b) < budget_bound(b->share.budget, b->most);
}

struct str rbody_give(struct rbody *b, const struct rbody_try *how)
{
    if (b->state == RBODY_NONE)
        return str_make(NULL, 0);
    if (b->state == RBODY_COPIED)
        return b->bytes;
    assert(b->state == RBODY_LENT || b->state == RBODY_WAITING);
    size_t n = rbody_len(b);
    if (b->state == RBODY_WAITING)
        b->bytes = str_make((const char *)evbuffer_pullup(b->buffer, -1), n);
    if (!how->keeps) {
        /* The buffer lasts a little longer: it is not copied for a try that cannot be repeated. */
        rbody_set_state(b, RBODY_LOST);
        share_set(&b->share, 0);
    } else if (how->is_whole && b->bytes.len <= COPY_MAX) {
        rbody_set_state(b, RBODY_COPIED);
        b->bytes = arena_dup(how->arena, b->bytes);
        rbody_free(b);
    } else {
        if (b->state == RBODY_LENT)
            rbody_append(b, b->bytes);
        rbody_set_state(b, RBODY_KEPT);
    }
    return b->bytes;
}

void rbody_given(struct rbody *b)
{
    if (b->state == RBODY_LOST)
        rbody_free(b);
}

void rbody_pass(struct rbody *b, struct str data, bool keeps)
{
    size_t n = rbody_len(b);
    bool is_kept = b->state == RBODY_KEPT || (b->state == RBODY_NONE && keeps);
    if (is_kept && (n == 0 || n + data.len <= budget_bound(b->share.budget, 2 * b->most))) {
        rbody_append(b, data);
        rbody_set_state(b, RBODY_KEPT);
        return;
    }
    rbody_free(b);
    rbody_set_state(b, RBODY_LOST);
}

void rbody_again(struct rbody *b)
{
    assert(rbody_is_replayable(b));
    if (b->state == RBODY_KEPT)
        rbody_set_state(b, RBODY_WAITING);
}
