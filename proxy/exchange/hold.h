/* SPDX-License-Identifier: Apache-2.0 */
/* What an exchange holds in max_memory, and whether another one may begin. Bodies that wait are
 * counted where they wait. */
#ifndef TLSFAN_EXCHANGE_HOLD_H
#define TLSFAN_EXCHANGE_HOLD_H

#include "exchange/exchange.h"

/* Counts X with its heads; and, while it is under way, with what it may always hold, so that it
 * goes on when memory is full. To be called when these have changed; the end of X takes it back. */
void exchange_count(struct exchange *x);

/* Counts X, which is about to begin. False with F when memory is full, although idle connections to
 * origins were given up. */
MUST_CHECK bool exchange_admit(struct exchange *x, struct fault *f);

/* Gives up idle connections to origins. False with F when memory is full all the same. */
MUST_CHECK bool engine_make_room(struct engine *e, struct fault *f);
/* The same question as exchange_admit() before there is an exchange. */
MUST_CHECK static inline bool engine_has_room(struct engine *e, struct fault *f)
{
    return !budget_is_tight(e->budget) || engine_make_room(e, f);
}

#endif
