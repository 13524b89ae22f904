/* SPDX-License-Identifier: Apache-2.0 */
/* Blind tunnels: the log says once, for each origin, what http:// or interception would give. */
#ifndef TLSFAN_EXCHANGE_BLIND_H
#define TLSFAN_EXCHANGE_BLIND_H

#include "exchange/exchange.h"

enum { BLIND_PLACES = 256, BLIND_AGAIN_S = 3600 };

/* X is a blind tunnel that has just been opened: a line at info, unless there was one for its
 * origin within BLIND_AGAIN_S, or it is the operator's word that it is one. */
void blind_tell(const struct exchange *x);

/* NAME ("host:443") was not told of within BLIND_AGAIN_S before NOW (µs), and is now. False as well
 * where BLIND_PLACES are taken by others: nobody makes more lines than that. From any thread. */
bool blind_is_news(struct str name, int64_t now);

#endif
