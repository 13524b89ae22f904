/* SPDX-License-Identifier: Apache-2.0 */
/* How long an upstream is waited for: response_timeout for the head of its response, read_timeout
 * between two parts of a body, in either direction. */
#ifndef TLSFAN_EXCHANGE_TIMEOUT_H
#define TLSFAN_EXCHANGE_TIMEOUT_H

#include "exchange/exchange.h"

void exchange_init_timeout(struct exchange *x);

/* The time that now counts: the response head's, or that between two reads of the body; none while
 * the source is slow, nor where no rule says one. An upstream that takes no more request body is
 * given as long as one that sends no more. */
void exchange_arm(struct exchange *x);
/* The same, it being NOW. */
void exchange_arm_at(struct exchange *x, int64_t now);
/* The same, where that has not been done in this turn of the loop yet. */
static inline void exchange_arm_again(struct exchange *x)
{
    if (x->armed_in != x->engine->loop->turn)
        exchange_arm(x);
}

/* X is performed again in MS milliseconds. Until then it holds nothing upstream. */
void exchange_begin_later(struct exchange *x, unsigned ms);
/* That wait is over, if there was one; it counts as time in the queue. */
void exchange_end_later(struct exchange *x);

#endif
