/* SPDX-License-Identifier: Apache-2.0 */
/* SSL_CTX of every rule, made when a snapshot is loaded, so that `-t` and a reload find faults
 * before a worker sees them.
 *
 * CAs: ca_file and ca_dir (every file in it) replace the system's store, ca_extra is added to
 * whichever it is. Each certificate of these is trusted by itself, a root or not. With crl_file the
 * leaf must be covered by a CRL; an issuer is checked where a CRL for it is there. How strong
 * handshakes and certificates must be: net/tls_strength.h. */
#ifndef TLSFAN_NET_TLS_CTX_H
#define TLSFAN_NET_TLS_CTX_H

#include "conf/conf.h"
#include "conf/conf_fault.h"

struct ssl_ctx_st; /* SSL_CTX */
struct tls_ctx;    /* immutable after it was made; shared by threads */

/* Makes rules[].tls.ctx for every rule and sets conf->on_free. Rules with equal settings share
 * one, and all share one X509_STORE a set of CAs. False with faults that name rule and file:
 * unreadable CA, CRL, certificate or key, key that does not match, bad cipher list; what was
 * made is freed with the snapshot all the same. A CA or client certificate that has expired is
 * logged as a warning. */
MUST_CHECK bool tls_ctx_make_all(struct conf *c, struct conf_faults *faults);

/* Borrowed. */
struct ssl_ctx_st *tls_ctx_ssl(const struct tls_ctx *ctx);

/* When the certificate that SSL shows of itself expires, seconds since 1970; 0: it has none. */
int64_t tls_ctx_expiry(const struct ssl_ctx_st *ssl);

#endif
