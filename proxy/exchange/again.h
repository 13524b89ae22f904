/* SPDX-License-Identifier: Apache-2.0 */
/* A request is asked once more. */
#ifndef TLSFAN_EXCHANGE_AGAIN_H
#define TLSFAN_EXCHANGE_AGAIN_H

#include "exchange/exchange.h"

/* X as far as it decides about another try. */
struct retry_case again_case(const struct exchange *x);
/* Asks X, which has no ustream, once more, if WHAT allows it. */
MUST_CHECK bool again_ask(struct exchange *x, const struct retry_case *what);
/* HEAD is a 421 on a connection that others use, too, and X is asked once more, on one of its own
 * (RFC 9110 section 15.5.20). */
MUST_CHECK bool again_is_misdirected(struct exchange *x, const struct h1_head *head);

#endif
