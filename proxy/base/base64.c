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

/* The value of each digit and one more; 0: it is none. */
static const uint8_t values[256] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
    ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
    ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63, ['/'] = 64,
};

static int value_of(char c)
{
    return values[(uint8_t)c] - 1;
}

bool base64_take(struct base64 *b, char *dst, struct str s, size_t *len)
{
    char *to = dst;
    b->n += s.len;
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] == '=') {
            b->is_end = true;
            continue;
        }
        int digit = value_of(s.p[i]);
        if (digit < 0 || b->is_end)
            return false;
        b->value = (b->value << 6 | (unsigned)digit) & 0xffff;
        b->bits += 6;
        if (b->bits < 8)
            continue;
        b->bits -= 8;
        *to++ = (char)(b->value >> b->bits & 0xff);
    }
    *len = (size_t)(to - dst);
    return true;
}

bool base64_is_whole(const struct base64 *b)
{
    return b->n % 4 == 0 && b->bits < 6;
}

bool base64_decode(char *dst, size_t cap, struct str s, size_t *len)
{
    struct base64 b = {0};
    while (s.len > 0 && s.p[s.len - 1] == '=')
        s.len--;
    *len = 0;
    /* A digit alone is no byte. */
    return s.len / 4 * 3 + s.len % 4 * 3 / 4 <= cap && base64_take(&b, dst, s, len) && b.bits < 6;
}
