/* SPDX-License-Identifier: Apache-2.0 */
/* Who talks with the worker: bytes as they are, or TLS, and inside HTTP/1.1 or, of an origin,
 * HTTP/2. To the script all look alike. */
#ifndef TLSFAN_TESTS_PEER_H
#define TLSFAN_TESTS_PEER_H

#include "fake.h"

struct peer_tls;

struct peer {
    struct fake_sock *sock; /* borrowed */
    struct peer_tls *tls;   /* NULL: plain */
};

/* The one of S, made when it is first asked for. */
struct peer *peer_of(struct fake_sock *s);
/* It is a TLS server from now on, with HTTP/2 when IS_H2. */
void peer_secure(struct peer *p, bool is_h2);

/* It is a TLS client from now on; the next N bytes of its hello go out. */
void peer_shake(struct peer *p, size_t n);
/* False of a client whose TLS has not ended properly. */
bool peer_is_whole(const struct peer *p);

void peer_send(struct peer *p, const char *text, size_t n);
void peer_end(struct peer *p);
/* What has come and was not taken. By HTTP/2: the oldest request, as HTTP/1.1 would have it. */
struct str peer_got(struct peer *p);
void peer_take(struct peer *p, size_t n);
/* What only HTTP/2 has. False where VERB is nothing of it. */
bool peer_plays(struct peer *p, const char *verb, const char *rest);

/* All that speak TLS act on what has come. True where something had. */
bool peers_turn(void);
void peers_clear(void);

#endif
