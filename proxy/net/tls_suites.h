/* SPDX-License-Identifier: Apache-2.0 */
/* In which order suites are offered to origins, where nobody has said so: most servers take the
 * first one that they know. Where the processor has instructions for AES, AES-128-GCM costs least
 * and ChaCha20 most, while OpenSSL offers the other way round. Which suites are offered is not
 * changed, and no suite comes before one that keeps sessions secret for longer. An order that the
 * system's openssl.cnf gives is left alone. */
#ifndef TLSFAN_NET_TLS_SUITES_H
#define TLSFAN_NET_TLS_SUITES_H

#include "base/mem.h"

struct ssl_ctx_st; /* SSL_CTX */

/* Of CTX as SSL_CTX_new() made it: the suites of TLS 1.2 and before; those of 1.3. */
void tls_suites_order_old(struct ssl_ctx_st *ctx);
void tls_suites_order_new(struct ssl_ctx_st *ctx);

/* True where the processor does AES and GCM in instructions of its own. */
bool tls_suites_aes_is_fast(void);

#endif
