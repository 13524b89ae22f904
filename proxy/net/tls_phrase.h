/* SPDX-License-Identifier: Apache-2.0 */
/* A certificate that does not verify, in the few words of a reason phrase. */
#ifndef TLSFAN_NET_TLS_PHRASE_H
#define TLSFAN_NET_TLS_PHRASE_H

#include <stdbool.h>

/* For struct fault: what the verdict WHAT (X509_V_ERR_...) says of the server's certificate, or of
 * one above it. */
const char *tls_phrase(long what, bool is_above);

#endif
