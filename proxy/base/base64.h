/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 (RFC 4648 §4). */
#ifndef TLSFAN_BASE_BASE64_H
#define TLSFAN_BASE_BASE64_H

#include "base/str.h"

/* Bytes that N bytes are when they are encoded, and at most when N digits are decoded. */
static inline size_t base64_encoded(size_t n)
{
    return (n + 2) / 3 * 4;
}
static inline size_t base64_decoded(size_t n)
{
    return n / 4 * 3 + 3;
}

/* Writes S to DST, which has room for base64_encoded(S.len); padded, no terminator. Gives the bytes
 * written. */
size_t base64_encode(char *dst, struct str s);

/* Digits that come in pieces; all zero before the first. */
struct base64 {
    unsigned value, bits;
    uint64_t n;  /* digits and padding so far */
    bool is_end; /* padding has come */
};

/* Writes the bytes of S to DST, which has room for base64_decoded(S.len); gives them in LEN. False
 * for anything that is no digit, or stands behind padding. */
MUST_CHECK bool base64_take(struct base64 *b, char *dst, struct str s, size_t *len);
/* True when the digits may end here, padded to fours. */
MUST_CHECK bool base64_is_whole(const struct base64 *b);

/* Writes the bytes of S to DST (CAP bytes) and their number to LEN. Padding may be missing. False
 * for anything that is no digit, or when it does not fit. */
MUST_CHECK bool base64_decode(char *dst, size_t cap, struct str s, size_t *len);

#endif
