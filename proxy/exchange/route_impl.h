/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of a route share with each other, and with nobody else. */
#ifndef TLSFAN_EXCHANGE_ROUTE_IMPL_H
#define TLSFAN_EXCHANGE_ROUTE_IMPL_H

#include "exchange/route.h"

/* Sets F to TEXT; false, always. */
bool route_refuse(struct fault *f, enum fault_code code, const char *text);

/* HOST is that of the Host field, empty where HTTP/1.0 has none. RFC 9112 §3.2: exactly one
 * well-formed Host in HTTP/1.1, whatever form the target has. False with F. */
MUST_CHECK bool route_host_field(struct exchange *x, struct uri_host *host, struct fault *f);

/* Credentials in the URL of the page that led here are for nobody to see (RFC 9110 §10.1.3), and a
 * Destination is held against the URL that is left of the target. */
void route_hide_userinfo(struct exchange *x);

#endif
