/* SPDX-License-Identifier: Apache-2.0 */
/* Answers that tlsfan makes itself, told to the source as if they came from upstream. */
#ifndef TLSFAN_EXCHANGE_ANSWER_H
#define TLSFAN_EXCHANGE_ANSWER_H

#include "exchange/exchange.h"

/* Status, phrase and sentence of F with Proxy-Status (RFC 9209), Proxy-Authenticate or Retry-After
 * where it belongs. The exchange is DONE afterwards (or closed by the source). */
void answer_fault(struct exchange *x, const struct fault *f);

/* 200 without body and with Allow. */
void answer_options(struct exchange *x);

/* 200 message/http: the request as it came, without credentials and cookies (RFC 9110 §9.3.8). */
void answer_trace(struct exchange *x);

/* The whole answer where there is no exchange (too many connections, the service listener): bytes
 * for the wire, without the sentence when it answers a HEAD. DST holds ANSWER_RAW bytes. */
enum { ANSWER_RAW = 3072 };
size_t answer_raw(char *dst, const struct fault *f, bool is_head);

#endif
