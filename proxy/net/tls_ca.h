/* SPDX-License-Identifier: Apache-2.0 */
/* A certificate authority of the operator's own, whose certificate its clients trust: what
 * interception signs with. Made by `tlsfan --make-ca`, or for one run, or anybody else's.
 *
 * Profile: RFC 5280. A CA that is made here has an RSA key, for there are clients to whom ECDSA
 * means nothing, may sign leaves only, and where names are given these alone (section 4.2.1.10). */
#ifndef TLSFAN_NET_TLS_CA_H
#define TLSFAN_NET_TLS_CA_H

#include "base/mem.h"

struct evp_pkey_st; /* EVP_PKEY */
struct ssl_st;      /* SSL */
struct x509_st;     /* X509 */
struct tls_ca;      /* immutable once it is made; counted; any thread may use it */

/* Reads CERT (PEM: the CA, then what leads from it to a root) and KEY (PEM, which others must not
 * be able to read). NULL with a sentence about one of them in WHY: heap, caller-owned; KEY_FAULT
 * tells which. */
struct tls_ca *tls_ca_load(const char *cert, const char *key, char **why, bool *key_fault);
/* A new one, valid for DAYS. NAMES: hosts and addresses that it may sign for, a host with all below
 * it; none = any. NULL with a sentence in WHY: a name that is neither. */
struct tls_ca *tls_ca_make(const char *const *names, unsigned n_names, int days, char **why);
struct tls_ca *tls_ca_ref(struct tls_ca *ca);
/* The last one frees it. NULL is harmless. */
void tls_ca_unref(struct tls_ca *ca);

/* PEM, terminated. Heap, caller-owned; the key's is to be wiped. */
char *tls_ca_cert_pem(const struct tls_ca *ca);
char *tls_ca_key_pem(const struct tls_ca *ca);

/* Seconds since the epoch from which on CA signs nothing that holds. */
int64_t tls_ca_not_after(const struct tls_ca *ca);

/* A new key: P-256, or RSA of 2,048 bits, which takes some 100 ms. Caller-owned. */
struct evp_pkey_st *tls_ca_new_key(bool is_rsa);
/* A certificate of KEY for NAME, a host name without a dot at its end or an IP literal; from an
 * hour ago, for clients whose clocks are late, until UNTIL (seconds since the epoch).
 * Caller-owned. */
struct x509_st *tls_ca_sign(const struct tls_ca *ca, struct evp_pkey_st *key, const char *name,
                            int64_t until);
/* SSL shows LEAF and what leads from it to the root, which is left out. False where OpenSSL does
 * not take it. */
bool tls_ca_use(const struct tls_ca *ca, struct ssl_st *ssl, struct x509_st *leaf,
                struct evp_pkey_st *key);

#endif
