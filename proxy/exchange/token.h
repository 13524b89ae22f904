/* SPDX-License-Identifier: Apache-2.0 */
/* The access token of a request whose rule has {oauth:NAME}: it is there before the request is
 * performed, and where the origin does not take it, once more with another. */
#ifndef TLSFAN_EXCHANGE_TOKEN_H
#define TLSFAN_EXCHANGE_TOKEN_H

#include "exchange/exchange.h"
#include "exchange/token_store.h"

/* Puts the token into the head of X, which wants one and has none. False: it waits, and
 * exchange_resume() comes, or it has been answered. */
MUST_CHECK bool token_begin(struct exchange *x);
/* STATUS has come from the origin of X. True: it is a 401 to a token, and X is asked once more,
 * with another one. Where X cannot be asked again, who comes next has the other one. */
MUST_CHECK bool token_again(struct exchange *x, unsigned status);
/* X waits no more. Harmless when it does not wait. */
void token_cancel(struct exchange *x);
/* It has waited for queue_timeout: answers X. */
void token_on_timeout(struct exchange *x);

#endif
