/* SPDX-License-Identifier: Apache-2.0 */
/* Names whose rule depends on the search list: they are looked up before the request is routed, so
 * that a rule for the full name holds for who writes the short one. */
#ifndef TLSFAN_EXCHANGE_NAME_H
#define TLSFAN_EXCHANGE_NAME_H

#include "exchange/exchange.h"

/* True when the host of X, with some domain of the search list, has another rule than as it was
 * written. Names that may not be asked for are none of these. */
bool name_matters(const struct exchange *x);

/* Looks the host of X up, fills x->full and x->is_named, and calls exchange_resume(). What cannot
 * be found is told by the dial later on. */
void name_start(struct exchange *x);
/* Harmless when nothing has been started. */
void name_cancel(struct exchange *x);

#endif
