/* SPDX-License-Identifier: Apache-2.0 */
/* How strong a handshake and its certificates must be, whatever versions and suites a rule allows.
 *
 * Suites in which the server shows no certificate (anonymous, PSK, SRP) or nothing is encrypted are
 * never offered nor taken. TLS 1.0 and 1.1, where min_version allows them, get what they cannot do
 * without, and only once the server has chosen them: signatures with SHA-1 over the key exchange,
 * and 1,024 bits of DH. A list of suites may lower the level of handshakes by "@SECLEVEL=0", and
 * raise it. Certificates keep the level that OpenSSL has been set up with, at least: neither
 * lowers that. What does is the security_level of a rule: it stands in the place of that level, for
 * handshakes and certificates, of the connections of that rule alone. */
#ifndef TLSFAN_NET_TLS_STRENGTH_H
#define TLSFAN_NET_TLS_STRENGTH_H

#include <stdbool.h>

#include "base/mem.h"
#include "conf/tls_policy.h"

struct ssl_ctx_st; /* SSL_CTX */

/* SSL is as SSL_CTX_new() made it: its level is that of certificates, unless LEVEL is another one;
 * -1: it is not. MIN_VERSION as OpenSSL writes it. */
void tls_strength_init(struct ssl_ctx_st *ssl, int min_version, int level);

/* True when the security_level of P is below the one that OpenSSL has been set up with. */
bool tls_strength_is_lowered(const struct tls_policy *p);

/* Sets the suites of TLS 1.2 and before, as OpenSSL writes them. NULL, or why LIST cannot be used;
 * static. It is an error when an element of LIST, or what is left of it in the end, holds nothing
 * but suites that are never offered; of "ALL" they are merely left out. */
MUST_CHECK const char *tls_strength_set_ciphers(struct ssl_ctx_st *ssl, const char *list);

#endif
