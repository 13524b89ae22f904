/* SPDX-License-Identifier: Apache-2.0 */
/* Origins that speak plain HTTP where an http:// request went out over TLS: what allows it, in the
 * words that whoever has started tlsfan can paste. */
#ifndef TLSFAN_EXCHANGE_PLAIN_H
#define TLSFAN_EXCHANGE_PLAIN_H

#include "exchange/exchange.h"

/* X fails by F before it has had a connection. Where that is, or may be, because its origin speaks
 * plain HTTP (struct fault's is_plain, or nobody is at port 443), adds to the sentence what would
 * let it: under `tlsfan run` an option and a variable, else the rule and the file, at a forward its
 * `to`. Any other F stays as it is. */
void plain_advise(const struct exchange *x, struct fault *f);

#endif
