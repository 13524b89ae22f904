/* SPDX-License-Identifier: Apache-2.0 */
/* TLS as a client: SNI (not for IP literals), chain and name verified, sessions resumed, and what
 * is said of an origin with which it fails. */
#ifndef TLSFAN_NET_TLS_CLIENT_H
#define TLSFAN_NET_TLS_CLIENT_H

#include "net/stream.h"
#include "net/tls_ctx.h"
#include "net/tls_sessions.h"

struct tls_peer {
    const struct tls_ctx *ctx; /* the wire has a reference of its own to the SSL_CTX */
    struct str name;           /* server name for SNI and verification, or an IP literal; copied */
    struct str where;          /* who that is in a sentence: "HOST:PORT"; copied */
    bool is_ip;
    bool verify;
    bool http2;                    /* HTTP/2 is offered besides HTTP/1.1 */
    bool fresh;                    /* sessions are kept, but none is offered */
    struct tls_sessions *sessions; /* borrowed, outlives the stream; NULL: no resumption */
};

/* Lays TLS towards PEER over S (stream_push()). on_ready() when the handshake is done; on_fault()
 * when it fails, with
 *     FAULT_TLS_CERTIFICATE  the check, the host, subject and issuer
 *     FAULT_TLS_ALERT        the peer refused, and its reason
 *     FAULT_TLS_PROTOCOL     anything else; of a port that speaks plain HTTP it says so (is_plain)
 *     FAULT_UP_CLOSED        the connection ended; is_plain when it did without a byte */
void tls_client_push(struct stream *s, const struct tls_peer *peer);

/* Of the topmost wire; of a stream on which there is no TLS client, what such a stream is. */

/* A request begins on it: the server may ask for a client certificate once more (see tls_asked.h).
 */
void tls_client_begin_request(struct stream *s);
/* True when the peer has chosen HTTP/2 (RFC 7301). */
bool tls_client_is_h2(const struct stream *s);
/* True when a session was resumed, for tests. */
bool tls_client_is_resumed(const struct stream *s);
/* True when the handshake offers a session, which may be why it fails: once it has, those sessions
 * are gone. */
bool tls_client_has_offered(const struct stream *s);
/* What an alert says of the session that S began with. */
enum tls_refusal tls_client_refusal(const struct stream *s);
/* The handshake has taken too long: the same. True when not a byte of the peer has come. */
bool tls_client_spoil(struct stream *s);
/* The certificate whose issuer is missing, where that is why the handshake has failed and it may be
 * fetched (tls.fetch_intermediates); borrowed. Else NULL. */
struct x509_st *tls_client_lacking(const struct stream *s);
/* notAfter of the peer's certificate, seconds since 1970. 0 for a plain stream, and where it cannot
 * be read. */
int64_t tls_client_expiry(const struct stream *s);
/* Whose that certificate is and who has issued it, as in sentences; both "" where there is none. */
void tls_client_names(const struct stream *s, char *subject, char *issuer, size_t cap);

#endif
