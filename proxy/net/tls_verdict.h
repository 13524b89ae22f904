/* SPDX-License-Identifier: Apache-2.0 */
/* What a check of a certificate has found, as a sentence about that certificate. */
#ifndef TLSFAN_NET_TLS_VERDICT_H
#define TLSFAN_NET_TLS_VERDICT_H

#include <openssl/x509_vfy.h>

#include "base/fault.h"

/* Verdicts of our own, in numbers that OpenSSL does not give. */
enum {
    TLS_BAD_EXTENSION = X509_V_ERR_INVALID_EXTENSION,     /* in the certificate itself */
    TLS_NOT_PINNED = X509_V_ERR_DANE_NO_MATCH,            /* no key of the chain is in pin_sha256 */
    TLS_BAD_ISSUER = X509_V_ERR_APPLICATION_VERIFICATION, /* in its issuer's, which was shown */
};

struct tls_verdict {
    long what;              /* X509_V_ERR_... */
    STACK_OF(X509) * chain; /* the leaf first; NULL: none was made */
    int depth;              /* of the certificate that it is about, in there */
    struct str host;        /* the name that was asked for */
};

/* Fills F with FAULT_TLS_CERTIFICATE: "the certificate of HOST does not verify: it has expired
 * (notAfter 2024-01-01); subject CN=..., issuer CN=...", or "of an issuer of HOST". */
void tls_verdict_fault(struct fault *f, const struct tls_verdict *v);

/* NAME (NULL: "") as in those sentences: "CN=...,O=..." the other way round (RFC 2253), escaped. */
void tls_verdict_print(const X509_NAME *name, char *dst, size_t cap);

#endif
