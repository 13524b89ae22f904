/* SPDX-License-Identifier: Apache-2.0 */
/* CONNECT that is intercepted, from its answer to the end of the client's handshake: for the files
 * of this folder alone. What that needs lives as long as CLIENT_SHAKES lasts. */
#ifndef TLSFAN_CLIENT_INTERCEPT_IMPL_H
#define TLSFAN_CLIENT_INTERCEPT_IMPL_H

#include "base/fault.h"

struct client;
struct tls_mint;

enum { INTERCEPT_NAME = 256 }; /* bytes of a host, terminated */

/* C, which client_become() has made one of c->from.fixed, has been told that its CONNECT is
 * answered, by bytes that may be on their way still. TLS is laid over its stream behind them, with
 * a leaf of MINT. Then it is in CLIENT_HEAD; or closed, with a line in the log. Calls nobody back.
 */
void intercept_begin(struct client *c, struct tls_mint *mint);
/* A drain: C, in CLIENT_SHAKES, gets GRACE_MS to begin its handshake. */
void intercept_drain(struct client *c, int64_t grace_ms);
/* C has reached the end of the handshake or its own. Idempotent. */
void intercept_end(struct client *c);
/* TLS with C, which has sent no request inside, has failed with F: says so, counts it, and tells
 * the operator the way out. */
void intercept_failed(const struct client *c, const struct fault *f);
/* What C has sent inside, before any request, is none: says so, and the way out. */
void intercept_unread(const struct client *c);
/* C has ended the connection without having sent a request inside. */
void intercept_left(const struct client *c);
/* The name of the leaf, terminated in DST, of INTERCEPT_NAME bytes: SNI (RFC 6066 section 3) in
 * lower case and without a dot at its end, where it is what a host may be called; else HOST. */
void intercept_name(char *dst, struct str sni, struct str host);

#endif
