/* SPDX-License-Identifier: Apache-2.0 */
/* The moves of an exchange: see state.h. */
#include "exchange/state.h"

#include "base/state.h"
#include "exchange/exchange.h"

#define TO(state) STATE_BIT(EXCHANGE_##state)

void exchange_set_state(struct exchange *x, enum exchange_state to)
{
    static const struct state_row states[] = {
        [EXCHANGE_NEW] = {"NEW",
                          TO(AUTH) | TO(NAME) | TO(TOKEN) | TO(WAIT) | TO(DONE) | TO(CLOSED)},
        [EXCHANGE_AUTH] = {"AUTH", TO(NAME) | TO(TOKEN) | TO(WAIT) | TO(DONE) | TO(CLOSED)},
        /* Who was remembered when the name was asked for may be forgotten when it is there. */
        [EXCHANGE_NAME] = {"NAME", TO(AUTH) | TO(TOKEN) | TO(WAIT) | TO(DONE) | TO(CLOSED)},
        [EXCHANGE_TOKEN] = {"TOKEN", TO(WAIT) | TO(DONE) | TO(CLOSED)},
        [EXCHANGE_WAIT] = {"WAIT", TO(ACTIVE) | TO(TUNNEL) | TO(DONE) | TO(CLOSED)},
        /* TOKEN: the one it has sent was refused. */
        [EXCHANGE_ACTIVE] = {"ACTIVE",
                             TO(TOKEN) | TO(WAIT) | TO(LATER) | TO(TUNNEL) | TO(DONE) | TO(CLOSED)},
        [EXCHANGE_LATER] = {"LATER", TO(WAIT) | TO(DONE) | TO(CLOSED)},
        [EXCHANGE_TUNNEL] = {"TUNNEL", TO(DONE) | TO(CLOSED)},
        [EXCHANGE_DONE] = {"DONE", TO(CLOSED)},
        [EXCHANGE_CLOSED] = {"CLOSED", 0},
    };
    state_check("exchange", x->id, states, x->state, to);
    x->state = to;
}
