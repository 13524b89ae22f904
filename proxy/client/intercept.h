/* SPDX-License-Identifier: Apache-2.0 */
/* CONNECT that is intercepted: TLS is laid over the client's stream, with a leaf for the name that
 * it asks for (SNI, RFC 6066 section 3) or else the host of its CONNECT. What the handshake needs
 * lives as long as CLIENT_SHAKES lasts. */
#ifndef TLSFAN_CLIENT_INTERCEPT_H
#define TLSFAN_CLIENT_INTERCEPT_H

#include "base/fault.h"

struct client;
struct tls_mint;

/* C, which client_become() has made one of c->from.fixed, has been told that its CONNECT is
 * answered, by bytes that may be on their way still. What comes next is its handshake, then it is
 * in CLIENT_HEAD; or it is closed, with a line in the log. Calls nobody back. */
void intercept_begin(struct client *c, struct tls_mint *mint);

/* C has reached the end of the handshake or its own. Idempotent. */
void intercept_end(struct client *c);

/* TLS with C, which has sent no request inside, has failed with F: says so, counts it, and tells
 * the operator the way out. */
void intercept_failed(const struct client *c, const struct fault *f);

/* For tests: the name for the leaf in DST, of INTERCEPT_NAME bytes: SNI in lower case and without a
 * dot at its end, if it is one that a host may have; else HOST. Terminated. */
enum { INTERCEPT_NAME = 256 };
void intercept_name(char *dst, struct str sni, struct str host);

#endif
