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

void rbody_init(struct rbody *b, struct budget *budget, size_t most)
{
    *b = (struct rbody){.most = most};
    backlog_init(&b->buffer, budget);
}

void rbody_drop(struct rbody *b)
{
    if (b->state == RBODY_NONE)
        return;
    backlog_clear(&b->buffer);
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
        backlog_add(&b->buffer, b->bytes);
    rbody_set_state(b, RBODY_WAITING);
    backlog_add(&b->buffer, data);
    return backlog_len(&b->buffer) < budget_bound(b->buffer.share.budget, b->most);
}

struct str rbody_give(struct rbody *b, const struct rbody_try *how)
{
    if (b->state == RBODY_NONE)
        return str_make(NULL, 0);
    if (b->state == RBODY_COPIED)
        return b->bytes;
    assert(b->state == RBODY_LENT || b->state == RBODY_WAITING);
    if (b->state == RBODY_WAITING)
        b->bytes = backlog_all(&b->buffer);
    if (!how->keeps) {
        /* The buffer lasts a little longer: it is not copied for a try that cannot be repeated. */
        rbody_set_state(b, RBODY_LOST);
    } else if (how->is_whole && b->bytes.len <= COPY_MAX) {
        rbody_set_state(b, RBODY_COPIED);
        b->bytes = arena_dup(how->arena, b->bytes);
        backlog_clear(&b->buffer);
    } else {
        if (b->state == RBODY_LENT)
            backlog_add(&b->buffer, b->bytes);
        rbody_set_state(b, RBODY_KEPT);
    }
    return b->bytes;
}

void rbody_given(struct rbody *b)
{
    if (b->state == RBODY_LOST)
        backlog_clear(&b->buffer);
}

void rbody_pass(struct rbody *b, struct str data, bool keeps)
{
    size_t n = backlog_len(&b->buffer);
    bool is_kept = b->state == RBODY_KEPT || (b->state == RBODY_NONE && keeps);
    if (is_kept && (n == 0 || n + data.len <= budget_bound(b->buffer.share.budget, 2 * b->most))) {
        backlog_add(&b->buffer, data);
        rbody_set_state(b, RBODY_KEPT);
        return;
    }
    backlog_clear(&b->buffer);
    rbody_set_state(b, RBODY_LOST);
}

void rbody_again(struct rbody *b)
{
    assert(rbody_is_replayable(b));
    if (b->state == RBODY_KEPT)
        rbody_set_state(b, RBODY_WAITING);
}
