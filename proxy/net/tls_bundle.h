/* SPDX-License-Identifier: Apache-2.0 */
/* Stores of trusted certificates for other programs, as the files that they read. */
#ifndef TLSFAN_NET_TLS_BUNDLE_H
#define TLSFAN_NET_TLS_BUNDLE_H

#include <stdio.h>

#include "base/mem.h"

/* Where OpenSSL looks for the certificates of this machine: the file that SSL_CERT_FILE names, or
 * the first there is of those that distributions have. NULL where there is none. Not copied. */
const char *tls_bundle_system(void);

/* Writes to TO the certificates in PEM, LEN bytes, one behind the other; nothing else that stands
 * there, such as a key. */
void tls_bundle_copy(FILE *to, const char *pem, size_t len);

/* The certificates in PEM, LEN bytes, for a Java program: a key store of the kind JKS under
 * PASSWORD, which any Java reads. What is no certificate is left out. Heap, caller-owned; OUT_LEN
 * gets its length. */
char *tls_bundle_jks(const char *pem, size_t len, const char *password, size_t *out_len);

#endif
