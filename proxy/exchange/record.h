/* SPDX-License-Identifier: Apache-2.0 */
/* The finished exchange as a line of the access log, json or common. */
#ifndef TLSFAN_EXCHANGE_RECORD_H
#define TLSFAN_EXCHANGE_RECORD_H

#include "exchange/exchange.h"

/* Writes the line of X, once, to the engine's log buffer. Credentials are never in it, query
 * strings only with log.query. */
void record_write(struct exchange *x);

#endif
