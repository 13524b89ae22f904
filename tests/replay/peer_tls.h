/* SPDX-License-Identifier: Apache-2.0 */
/* Who speaks TLS, by OpenSSL over a faked socket: an origin, HTTP/2 inside by nghttp2, or a client
 * of a tls: listener. */
#ifndef TLSFAN_TESTS_PEER_TLS_H
#define TLSFAN_TESTS_PEER_TLS_H

#include "fake.h"

struct peer_tls;

/* A file with the certificate of most origins, which is good for *.ca.safe, and with a root: below
 * it is that of names below .lacks.safe, which is shown without its issuer. */
const char *peer_tls_ca(void);
/* The key of the first one. */
const char *peer_tls_key(void);
/* That issuer, as DER; or one with its name and key that is below no root. */
struct str peer_tls_issuer(bool is_forged);

struct peer_tls *peer_tls_new(struct fake_sock *s, bool is_h2);
/* A client, which verifies nothing. */
struct peer_tls *peer_tls_new_client(struct fake_sock *s);
/* Of its hello the next N bytes. */
void peer_tls_shake(struct peer_tls *t, size_t n);
/* What has come may be all: of a client, that close_notify has. */
bool peer_tls_is_whole(const struct peer_tls *t);
void peer_tls_free(struct peer_tls *t); /* NULL is harmless */
/* By HTTP/2, TEXT is an answer as HTTP/1.1 has it: to the oldest request that has none. */
void peer_tls_send(struct peer_tls *t, const char *text, size_t n);
void peer_tls_end(struct peer_tls *t);
struct str peer_tls_got(struct peer_tls *t);
void peer_tls_take(struct peer_tls *t, size_t n);
bool peer_tls_plays(struct peer_tls *t, const char *verb, const char *rest);
/* True where something had come. */
bool peer_tls_turn(struct peer_tls *t);

#endif
