/* SPDX-License-Identifier: Apache-2.0 */
/* Expect: 100-continue (RFC 9110 §10.1.1) and what else comes before the answer. The field goes to
 * the origin and its 100 to the client. Many origins never send one, and many clients never send
 * their body without: where EXPECT_MS after the head went up neither 100 nor an answer has come,
 * the source is told 100 all the same, and from then on at once where that origin is asked, until
 * it does send one. Whoever says it, a source is told 100 once at most. */
#ifndef TLSFAN_EXCHANGE_EXPECT_H
#define TLSFAN_EXCHANGE_EXPECT_H

#include "exchange/exchange.h"

enum { EXPECT_MS = 250 };

/* X, which is about to begin, has a field Expect. */
void expect_init(struct exchange *x);

/* The head of X, which expects 100, has gone up; on another try, too. The source may be told. */
void expect_begin(struct exchange *x);

/* Nobody waits any more. */
static inline void expect_end(struct exchange *x)
{
    if (x->expects_continue)
        timeout_clear(&x->patience);
}

/* ustream_events.on_info: what of it the source is told. */
void expect_on_info(void *arg, struct h1_head *head);

/* X was told to wait for 100 before it sends its body, has not sent any, and was told nothing. */
static inline bool expect_is_waiting(const struct exchange *x)
{
    return x->expects_continue && !x->is_continued && !rbody_has_begun(&x->rbody);
}

#endif
