/* SPDX-License-Identifier: Apache-2.0 */
/* Which name a certificate must hold, and which check of it failed, as a sentence. */
#ifndef TLSFAN_NET_TLS_VERIFY_H
#define TLSFAN_NET_TLS_VERIFY_H

#include <openssl/ssl.h>

#include "base/fault.h"

/* Demands a chain to a trusted CA and NAME in the leaf: a dNSName (RFC 9525; no partial
 * wildcards, never the CN) or, for an IP literal, an iPAddress. False when the name cannot be
 * used. */
MUST_CHECK bool tls_verify_setup(SSL *ssl, struct str name, bool is_ip);

/* After a handshake that failed at verification: fills F with FAULT_TLS_CERTIFICATE: "the
 * certificate of HOST does not verify: it has expired (notAfter 2024-01-01); subject CN=...,
 * issuer CN=...". False when verification was not what failed. */
MUST_CHECK bool tls_verify_fault(struct fault *f, SSL *ssl, struct str name);

#endif
