/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials of a request that nobody remembers: it is routed when they have been checked. */
#ifndef TLSFAN_EXCHANGE_TRUST_H
#define TLSFAN_EXCHANGE_TRUST_H

#include "exchange/exchange.h"

/* Has the Proxy-Authorization of X checked, sets x->is_trusted and calls exchange_resume(); where
 * it is wrong X is answered with that. False with F when too many wait already. */
MUST_CHECK bool trust_start(struct exchange *x, struct fault *f);
/* Harmless when nothing has been started. */
void trust_cancel(struct exchange *x);

/* Who was authenticated for X, in its arena, at most USER_MAX bytes; empty: nobody. */
enum { USER_MAX = 200 };
struct str trust_user(struct exchange *x);

/* Who USER at PEER is where people take turns: never 0. */
uint64_t trust_person(const struct addr *peer, struct str user);

#endif
