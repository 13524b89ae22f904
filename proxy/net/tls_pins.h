/* SPDX-License-Identifier: Apache-2.0 */
/* Keys that the operator has written down: one of the verified chain's must be among them (as HTTP
 * clients do it, RFC 7469 section 2.4). A lock behind verification, never instead of it. */
#ifndef TLSFAN_NET_TLS_PINS_H
#define TLSFAN_NET_TLS_PINS_H

#include <openssl/x509.h>
#include <stdbool.h>

#include "conf/sections.h"

/* True when the key of any certificate of CHAIN is in PINS, and when there are none. */
bool tls_pins_hold(const struct list_of_pins *pins, STACK_OF(X509) * chain);
/* The pins that CHAIN has, the leaf's first, as they are written in the configuration: "A, B", as
 * many as fit. They are no secret: the server shows the keys to everybody. */
void tls_pins_print(STACK_OF(X509) * chain, char *dst, size_t cap);

#endif
