/* SPDX-License-Identifier: Apache-2.0 */
/* Keys for session tickets that change (RFC 5077 section 5.5). OpenSSL's own are made with the
 * context and then stay: whoever reads them in a process that has run for months could decrypt all
 * of TLS 1.2 that it has recorded meanwhile. */
#ifndef TLSFAN_NET_TLS_TICKETS_H
#define TLSFAN_NET_TLS_TICKETS_H

#include <stdint.h>

struct ssl_ctx_st; /* SSL_CTX */

/* A key seals tickets for so long, and opens them for as long again. At least what a session may
 * last (SSL_CTX_set_timeout()). */
enum { TLS_TICKETS_S = 2 * 3600 };

/* Tickets of CTX are sealed with such keys, by all threads that use it. Once, before it is used. */
void tls_tickets_init_ctx(struct ssl_ctx_st *ctx);
/* For tests: the keys of CTX were made SECONDS earlier. */
void tls_tickets_age(struct ssl_ctx_st *ctx, int64_t seconds);

#endif
