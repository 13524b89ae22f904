/* SPDX-License-Identifier: Apache-2.0 */
/* What all who read PEM of the operator's with OpenSSL need. */
#ifndef TLSFAN_NET_TLS_PEM_H
#define TLSFAN_NET_TLS_PEM_H

#include <openssl/ssl.h>

#include "conf/files.h"

/* What OpenSSL says of the last error of this thread. Never NULL; static. */
const char *tls_pem_reason(void);

/* A pem_password_cb: a key that wants a password is a fault, not a question on the terminal. */
int tls_pem_no_password(char *buf, int size, int rwflag, void *arg);

/* A file of the configuration, read at once and whole: its end is its end, not a fault of the disk,
 * and no other thing than a file is waited for. */
struct tls_pem {
    char *text; /* NULL: it could not be read */
    size_t len;
    BIO *bio;
};

/* Notes PATH in FILES and reads it. False with errno, and nothing to close. */
MUST_CHECK bool tls_pem_open(struct tls_pem *pem, struct conf_file **files, const char *path);
/* And wipes it, for it may have been a key. */
void tls_pem_close(struct tls_pem *pem);
/* True when reading stopped at the end of the file, not at something broken, of which
 * tls_pem_reason() tells. */
bool tls_pem_at_end(void);

/* What CTX shows of itself: the first certificate is its own, those behind it are its issuers. Both
 * give false with tls_pem_reason(); where tls_pem_is_other_key() the key is none that goes with the
 * certificate, which SSL_CTX_check_private_key() says as well. */
MUST_CHECK bool tls_pem_use_chain(SSL_CTX *ctx, const struct tls_pem *pem);
MUST_CHECK bool tls_pem_use_key(SSL_CTX *ctx, const struct tls_pem *pem);
bool tls_pem_is_other_key(void);
/* Why there was no key to be read; static. */
const char *tls_pem_key_reason(void);

/* A line in the log where CERT, of the file PATH, has expired. */
void tls_pem_warn_expired(const X509 *cert, const char *path);
/* The same of a revocation list, which makes certificates of its issuer fail. */
void tls_pem_warn_old_list(const X509_CRL *crl, const char *path);

#endif
