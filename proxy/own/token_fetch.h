/* SPDX-License-Identifier: Apache-2.0 */
/* An access token that is fetched (RFC 6749 §4.4): an exchange like any other, over verified TLS,
 * whose answer goes into the store of exchange/token_store.h. */
#ifndef TLSFAN_OWN_TOKEN_FETCH_H
#define TLSFAN_OWN_TOKEN_FETCH_H

#include "exchange/engine.h"
#include "exchange/token_store.h"

/* What JOB says; its reference is taken over. */
void token_fetch_start(struct engine *e, const struct token_job *job);
/* All that E has under way comes to nothing. */
void token_fetch_close_all(struct engine *e);

#endif
