/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates of issuers that were fetched because a server does not send them, by the URL that
 * they came from, for the whole process. They help to find a way to a root and are never trusted:
 * anybody can have written the URL, and answered there.
 *
 * So that nobody spoils a URL for another: what is kept there is given for a certificate only when
 * it has issued that very certificate, signature and all, and what has issued none that was asked
 * about is forgotten as fast as a failure.
 *
 * max_memory does not count them, for they are few: what OpenSSL makes of certificates that
 * somebody has made for that is 100 times their bytes, so 25 MiB in all, and of usual ones less
 * than 2 MiB. */
#ifndef TLSFAN_NET_TLS_ISSUERS_H
#define TLSFAN_NET_TLS_ISSUERS_H

#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

#include "net/tls_aia.h"

enum {
    TLS_ISSUERS_DEPTH = 4,          /* that may be missing in one chain */
    TLS_ISSUERS_MOST = 128,         /* URLs that are remembered */
    TLS_ISSUERS_BYTES = 256 * 1024, /* of answers that are remembered */
    TLS_ISSUERS_WHY = 200           /* bytes of a reason */
};

/* The issuer of CERT, from one of the URLs that it names: a reference, or NULL. Any thread. */
X509 *tls_issuers_find(X509 *cert);

enum tls_issuers_state {
    TLS_ISSUERS_UNKNOWN, /* nobody has asked there of late */
    TLS_ISSUERS_BAD,     /* there is nothing for CERT */
    TLS_ISSUERS_GOOD
};
/* What is known of URL for CERT; of BAD the reason is in WHY (TLS_ISSUERS_WHY bytes). */
enum tls_issuers_state tls_issuers_look(const char *url, X509 *cert, char *why);

/* URL has answered with BODY, asked for CERT: kept for 12 h, or until it ends, where the issuer of
 * CERT is in it, which is told, else for BAD_MS. */
bool tls_issuers_put(const char *url, X509 *cert, struct str body, int64_t bad_ms);
/* URL has not answered so: WHY, a clause, is kept for BAD_MS. */
void tls_issuers_fail(const char *url, const char *why, int64_t bad_ms);

/* The CHAIN, with issuers that were found, has led to no root: they are kept for a minute at most,
 * for whoever was on the way to them can have put his own there. */
void tls_issuers_doubt(STACK_OF(X509) * chain);

/* How often it was asked, with an issuer as a result and without. */
struct tls_issuers_counts {
    uint64_t good, bad;
};
struct tls_issuers_counts tls_issuers_count(void);

/* References, for who knows no OpenSSL. CERT may be NULL. */
X509 *tls_issuers_ref(X509 *cert);
void tls_issuers_unref(X509 *cert);

/* Forgets all, for tests. */
void tls_issuers_clear(void);

#endif
