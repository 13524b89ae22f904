/* SPDX-License-Identifier: Apache-2.0 */
/* Leaves that a CA of the operator's signs for the hosts that are intercepted: made when first
 * asked for, by one thread for the process, off the loops, and kept for the next client. All of
 * them have one of two keys, which live as long as the mint: P-256, and RSA for clients without
 * ECDSA. */
#ifndef TLSFAN_NET_TLS_MINT_H
#define TLSFAN_NET_TLS_MINT_H

#include "base/loop.h"
#include "conf/conf.h"
#include "conf/conf_fault.h"
#include "net/tls_ca.h"

struct ssl_ctx_st; /* SSL_CTX */

enum {
    MINT_KEPT_MAX = 1000,       /* leaves; the one that was not used for longest gives way */
    MINT_VALID = 7 * 24 * 3600, /* seconds, but no longer than the CA */
    MINT_RENEW = 24 * 3600      /* one that ends sooner is made anew */
};

struct tls_mint; /* a CA and what it has signed; shared by threads, counted */
struct mint_job; /* a token */

/* Which leaf. */
struct mint_want {
    const char *name; /* lower case: a host without a dot at its end, or an IP literal */
    bool is_ecdsa;
};

/* Takes over CA. MIN_VERSION as in the protocol, 0x0301 to 0x0304: below TLS 1.2 what this context
 * takes is weak (OpenSSL's security level 0), for clients that know nothing better, and it is this
 * context alone. Never NULL; one reference. */
struct tls_mint *tls_mint_new(struct tls_ca *ca, int min_version);
struct tls_mint *tls_mint_ref(struct tls_mint *mint);
/* The last one frees it, on whichever thread. NULL is harmless. */
void tls_mint_unref(struct tls_mint *mint);

/* Makes C's mint, where it has a CA: that of the run, or from files; then conf->on_free gives it
 * back. False with faults about the files. */
MUST_CHECK bool tls_mint_make(struct conf *c, struct conf_faults *faults);

/* When its CA expires, seconds since 1970. */
int64_t tls_mint_expiry(const struct tls_mint *mint);

/* The server's context: versions, tickets, ALPN for http/1.1 (RFC 7301). Borrowed. */
struct ssl_ctx_st *tls_mint_ssl(const struct tls_mint *mint);

/* What a client's first flight asks for, while it is looked at (SSL_CTX_set_client_hello_cb): true
 * when it can verify ECDSA with P-256 (RFC 8422, RFC 8446 section 4.2.3). */
bool tls_mint_takes_ecdsa(struct ssl_st *ssl);

/* SSL shows the leaf, if there is one. */
bool tls_mint_use(struct tls_mint *mint, struct ssl_st *ssl, const struct mint_want *want);

/* Has one made, then calls FN(ARG) on LOOP, whose thread calls this: tls_mint_use() then finds it,
 * but for a thousand others that came in between. NULL, logged, when there can be no thread. */
struct mint_job *tls_mint_start(struct tls_mint *mint, struct loop *loop,
                                const struct mint_want *want, void (*fn)(void *arg), void *arg);
/* FN will not come. NULL is harmless; not after FN was called. */
void tls_mint_cancel(struct mint_job *job);
/* Ends the thread; every job must have been cancelled. */
void tls_mint_stop(void);

#endif
