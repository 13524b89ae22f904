/* SPDX-License-Identifier: Apache-2.0 */
/* Base64: see base64.h. */
#include "base/base64.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t base64_encode(char *dst, struct str s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    char *to = dst;
    for (size_t i = 0; i < s.len; i += 3) {
        size_t n = s.len - i;
        unsigned v = (unsigned)p[i] << 16 | (n > 1 ? (unsigned)p[i + 1] << 8 : 0) |
                     (n > 2 ? (unsigned)p[i + 2] : 0);
        *to++ = digits[v >> 18];
        *to++ = digits[v >> 12 & 63];
        *to++ = n > 1 ? digits[v >> 6 & 63] : '=';
        *to++ = n > 2 ? digits[v & 63] : '=';
    }
    return (size_t)(to - dst);
}

static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool base64_decode(char *dst, size_t cap, struct str s, size_t *len)
{
    while (s.len > 0 && s.p[s.len - 1] == '=')
        s.len--;
    unsigned bits = 0, value = 0;
    *len = 0;
    for (size_t i = 0; i < s.len; i++) {
        int digit = value_of(s.p[i]);
        if (digit < 0)
            return false;
        value = (value << 6 | (unsigned)digit) & 0xffff;
        bits += 6;
        if (bits < 8)
            continue;
        if (*len == cap)
            return false;
        bits -= 8;
        dst[(*len)++] = (char)(value >> bits & 0xff);
    }
    return bits < 6; /* a digit alone is no byte */
}
