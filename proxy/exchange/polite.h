/* SPDX-License-Identifier: Apache-2.0 */
/* Under a rule with `retry_after`: an origin that answers 429 or 503 with Retry-After is left alone
 * for so long, by all requests, and a safe request is then asked once more. Its answer is set aside
 * meanwhile, for it is the client's when there is no other within upstream.queue_timeout; one that
 * is too large for that is given on as it came.
 *
 *     polite_take()     the head of an answer has come: it is set aside, if it is to be
 *     polite_give()     X has waited for its turn too long: the answer that was set aside
 */
#ifndef TLSFAN_EXCHANGE_POLITE_H
#define TLSFAN_EXCHANGE_POLITE_H

#include "exchange/exchange.h"

/* How long HEAD, of an origin at WHERE, asks to wait where the rule obeys that and queue_timeout is
 * as long: ms, and all requests of that origin wait for it. 0: it is an answer like any other. */
int64_t polite_pause(struct engine *e, const struct up_where *where, const struct h1_head *head);

/* From inside on_head() of its ustream: the answer to X that begins with HEAD and BODY is put off,
 * and what comes of it is set aside. False: it is X's. */
MUST_CHECK bool polite_take(struct exchange *x, const struct h1_head *head,
                            const struct h1_body *body);
/* X, which waits no more, is answered by what was set aside. False: nothing was. */
MUST_CHECK bool polite_give(struct exchange *x);
/* Forgets what was set aside. */
void polite_end(struct exchange *x);

#endif
