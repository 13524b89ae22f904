/* SPDX-License-Identifier: Apache-2.0 */
/* Which name a certificate must hold, and which check of it failed, as a sentence. */
#ifndef TLSFAN_NET_TLS_VERIFY_H
#define TLSFAN_NET_TLS_VERIFY_H

#include <openssl/ssl.h>

#include "base/fault.h"
#include "conf/sections.h"

/* Demands a chain to a certificate that is trusted, be it a root, a CA below one, or the server's
 * own, and NAME in the leaf: a dNSName (RFC 9525; no partial wildcards, never the CN; see
 * net/tls_names.h) or, for an IP literal, an iPAddress. False when the name cannot be used. */
MUST_CHECK bool tls_verify_setup(SSL *ssl, struct str name, bool is_ip);

/* Sets how chains are verified in CTX: besides what OpenSSL checks, each CA of the chain must be
 * one that may issue for the name itself, and one of its keys among P->pins. The chain ends at a
 * root or, where there is none, at any certificate that is trusted. With P->fetch_intermediates an
 * issuer that the server does not show may be one that was fetched (net/tls_issuers.h). What is
 * used of P is copied. */
void tls_verify_init_ctx(SSL_CTX *ctx, const struct tls_policy *p);

/* After a handshake that failed at verification: fills F with FAULT_TLS_CERTIFICATE: "the
 * certificate of HOST does not verify: it has expired (notAfter 2024-01-01); subject CN=...,
 * issuer CN=...". False when verification was not what failed. */
MUST_CHECK bool tls_verify_fault(struct fault *f, SSL *ssl, struct str name);

/* After a handshake that ended well, a resumed one, too: there is a certificate of the peer, and it
 * has verified. Else false with F as above. Trusts neither the suite nor the version. */
MUST_CHECK bool tls_verify_check(struct fault *f, SSL *ssl, struct str name);

/* After a handshake that failed because an issuer is missing: the certificate whose issuer it is,
 * borrowed, where that may be fetched. Else NULL. */
X509 *tls_verify_lacking(SSL *ssl);

/* notAfter of CERT, seconds since 1970; 0 where it is NULL or cannot be read. */
int64_t tls_verify_expiry(const X509 *cert);
/* Until when the verdict of a full handshake holds, seconds since 1970: the first notAfter of the
 * verified chain or, with a crl_file, nextUpdate of a list that was looked at. 0 where there is no
 * such chain. */
int64_t tls_verify_until(SSL *ssl);

#endif
