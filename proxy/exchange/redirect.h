/* SPDX-License-Identifier: Apache-2.0 */
/* Origins that speak TLS only to send everybody back to http://. What asks them in http:// is
 * upgraded again and goes round for ever, where a browser would end in plain HTTP. */
#ifndef TLSFAN_EXCHANGE_REDIRECT_H
#define TLSFAN_EXCHANGE_REDIRECT_H

#include "exchange/exchange.h"

/* HEAD has come for X and is as the origin wrote it: where it sends an upgraded request to the very
 * http:// URL that it was for, that is warned of, once a minute and host. */
void redirect_watch(struct exchange *x, const struct h1_head *head);

#endif
