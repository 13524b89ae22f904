/* SPDX-License-Identifier: Apache-2.0 */
/* A client certificate that a server asks for when the connection is open already, because of what
 * the request is for: by TLS 1.3 with a CertificateRequest (RFC 8446 section 4.6.2), by TLS 1.2
 * with a renegotiation, if it is the secure one of RFC 5746. Only where there is a certificate to
 * show, over HTTP/1.1 (RFC 8740 and RFC 9113 section 9.2.1 forbid it by HTTP/2), and once a
 * request. Whatever else would be renegotiated is declined, and the connection goes on. */
#ifndef TLSFAN_NET_TLS_ASKED_H
#define TLSFAN_NET_TLS_ASKED_H

#include <openssl/ssl.h>

#include "base/fault.h"

/* Why a connection has failed. */
enum tls_asked_why {
    TLS_ASKED_WELL, /* it has not */
    TLS_ASKED_BY_H2,
    TLS_ASKED_TWICE,
    TLS_ASKED_EARLY, /* OpenSSL cannot answer while a record is half written */
    TLS_ASKED_ANEW   /* and showed another certificate itself */
};

/* Of one connection. Embedded in its wire; zero-initialised. */
struct tls_asked {
    bool has_cert; /* else all of this is nothing */
    bool is_open;  /* the handshake is done */
    bool by_h2;
    bool may_renegotiate;
    bool is_used;           /* asked within this request */
    const bool *is_writing; /* borrowed: a record is half written */
    bool is_shaking; /* renegotiates: nothing may be written, nothing that came is to be used */
    enum tls_asked_why why;
    X509 *leaf;  /* the server's certificate, a reference */
    long rounds; /* renegotiations so far */
};

/* Before the handshake of SSL, for which A is to stay until tls_asked_clear(). IS_WRITING tells,
 * until then, whether a record is half written. */
void tls_asked_init(struct tls_asked *a, SSL *ssl, const bool *is_writing);
void tls_asked_clear(struct tls_asked *a);
/* The handshake is done. */
void tls_asked_open(struct tls_asked *a, SSL *ssl);
/* A request begins: once more. */
void tls_asked_allow(struct tls_asked *a, SSL *ssl);

/* After each SSL_read(). FAULT: the connection must not be used any more. DONE: a renegotiation has
 * ended with the certificate that was there before; it is for the caller to look at the verdict. */
enum tls_asked_step { TLS_ASKED_NOTHING, TLS_ASKED_DONE, TLS_ASKED_FAULT };
enum tls_asked_step tls_asked_look(struct tls_asked *a, SSL *ssl);
/* Why the connection has failed, if it is for something of this; "HOST:PORT" is WHERE. */
MUST_CHECK bool tls_asked_fault(const struct tls_asked *a, struct fault *f, const char *where);

#endif
