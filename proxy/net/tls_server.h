/* SPDX-License-Identifier: Apache-2.0 */
/* TLS as a server: what a client asks for, before a certificate is chosen, and what is said of a
 * client with which it fails. */
#ifndef TLSFAN_NET_TLS_SERVER_H
#define TLSFAN_NET_TLS_SERVER_H

#include "net/stream.h"

struct ssl_st;     /* SSL */
struct ssl_ctx_st; /* SSL_CTX */

/* As the client wrote it, any bytes; borrowed for the call. */
struct tls_hello {
    struct str name; /* SNI (RFC 6066 section 3); empty: none */
    struct str alpn; /* ProtocolNameList (RFC 7301 section 3.1) without its length; empty: none */
};

/* Inside OpenSSL's callback for the hello of SSL's client (SSL_CTX_set_client_hello_cb()). */
struct tls_hello tls_server_asked(struct ssl_st *ssl);

enum tls_choice {
    TLS_CHOICE_MADE,
    TLS_CHOICE_LATER, /* stream_start() is to be called once more, and then choose() is, too */
    TLS_CHOICE_NONE   /* the client is refused with the alert unrecognized_name */
};

struct tls_server_want {
    /* With a certificate, unless choose() gives one; tls_server_init_ctx() has been called. The
     * wire has a reference of its own. */
    struct ssl_ctx_st *ctx;
    struct str where; /* who the client is in a sentence: "the client 192.0.2.1"; copied */
    /* The ClientHello is there: may give SSL a certificate, or another context. Called by OpenSSL,
     * before on_ready(): it must not touch the stream. NULL: CTX has all. */
    enum tls_choice (*choose)(void *arg, struct ssl_st *ssl, const struct tls_hello *hello);
    void *arg; /* borrowed, until the handshake is over */
};

/* Why TLS with a client failed: for who counts, and for advice. */
enum tls_failure {
    TLS_FAILURE_TRUST,    /* the client's alert: it does not like the certificate */
    TLS_FAILURE_ALERT,    /* another one */
    TLS_FAILURE_PROTOCOL, /* no common version or cipher, or what it sent was no good */
    TLS_FAILURE_FOREIGN,  /* its first byte was none of TLS */
    TLS_FAILURE_GONE,     /* the connection ended */
    TLS_FAILURE_TIMEOUT,  /* for users: none is made here */
    TLS_FAILURE_UNKNOWN,  /* it showed no certificate, or one that does not verify */
    TLS_FAILURES
};

/* Once for each context with which tls_server_push() is called, or that choose() gives. */
void tls_server_init_ctx(struct ssl_ctx_st *ctx);

/* Clients of CTX must show a certificate that its store has or leads to; else the handshake fails,
 * with a sentence about theirs. */
void tls_server_demand_cert(struct ssl_ctx_st *ctx);

/* Lays TLS towards a client over S (stream_push()). on_ready() when the handshake is done;
 * on_fault() when it fails, with
 *     FAULT_TLS_ALERT     the client refused, and its reason; a certificate that it does not trust
 *                         is told apart
 *     FAULT_TLS_PROTOCOL  anything else; of a client that speaks plain HTTP it says so
 *     FAULT_CLIENT_GONE   the connection ended */
void tls_server_push(struct stream *s, const struct tls_server_want *want);

/* Of S, whose topmost wire tls_server_push() has laid. After on_ready(): a session was resumed. */
bool tls_server_is_resumed(const struct stream *s);
/* After on_fault(). */
enum tls_failure tls_server_failure(const struct stream *s);
/* "trust", "alert"... */
const char *tls_failure_name(enum tls_failure failure);

#endif
