/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials that must be hashed, which takes 50 ms and more: one thread for the process does it,
 * off the loops. */
#ifndef TLSFAN_EXCHANGE_AUTH_H
#define TLSFAN_EXCHANGE_AUTH_H

#include "exchange/exchange.h"

struct auth_job; /* a token */

/* Hashes VALUE (copied), then calls FN(ARG, ok) on the loop of E. NULL when too many wait already.
 */
struct auth_job *auth_start(struct engine *e, const struct conf *c, struct str value,
                            void (*fn)(void *arg, bool ok), void *arg);
/* FN will not come. NULL is harmless. */
void auth_cancel(struct auth_job *job);
/* Ends the thread; every job must have been cancelled. */
void auth_stop(void);

#endif
