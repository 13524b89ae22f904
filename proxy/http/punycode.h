/* SPDX-License-Identifier: Apache-2.0 */
/* International host names as ASCII: which name a request may have meant. */
#ifndef TLSFAN_HTTP_PUNYCODE_H
#define TLSFAN_HTTP_PUNYCODE_H

#include "base/str.h"

/* The xn-- form of HOST, which has UTF-8 bytes, terminated in the CAP bytes of DST. False when it
 * is not UTF-8, or does not fit. */
bool punycode_of_host(char *dst, size_t cap, struct str host);

#endif
