/* SPDX-License-Identifier: Apache-2.0 */
/* What somebody reads who has opened the address of a proxy listener instead of using it as a
 * proxy: the 400 of "GET /". Programs get one sentence, browsers a small page. */
#ifndef TLSFAN_EXCHANGE_WELCOME_H
#define TLSFAN_EXCHANGE_WELCOME_H

#include "exchange/exchange.h"

/* Sets F to FAULT_NO_URL with the sentence for X. False, always. */
bool welcome_refuse(const struct exchange *x, struct fault *f);

/* The client of X, which fails with F, reads HTML. */
bool welcome_is_page(const struct exchange *x, const struct fault *f);
/* The page, in X's arena. Of what the client sent it has the Host, where that is a plain one. */
struct str welcome_page(struct exchange *x);
/* Content-Security-Policy of it. */
extern const char welcome_policy[];

#endif
