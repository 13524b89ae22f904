/* SPDX-License-Identifier: Apache-2.0 */
/* What peers wrote is nearly always plain: it is looked at by the word, and copied in one piece. */
#include "exchange/pen.h"

static bool pen_is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* The same of the eight bytes of V: the highest bit of a byte is set below where it is not plain. A
 * difference may borrow from the byte above, but only where the answer is no already. */
static bool are_plain(uint64_t v)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), high = ones << 7;
    uint64_t control = v - ones * 0x20;
    uint64_t quote = (v ^ ones * '"') - ones;
    uint64_t backslash = (v ^ ones * '\\') - ones;
    uint64_t not_ascii = v | (v + ones); /* and DEL */
    return ((((control | quote | backslash) & ~v) | not_ascii) & high) == 0;
}

/* N bytes at P, 2 to 8 of them, as a word in which some may stand twice. */
static uint64_t short_word(const char *p, size_t n)
{
    uint32_t first, last;
    uint16_t a, b;
    if (n >= 4) {
        memcpy(&first, p, 4);
        memcpy(&last, p + n - 4, 4);
    } else {
        memcpy(&a, p, 2);
        memcpy(&b, p + n - 2, 2);
        first = last = (uint32_t)a << 16 | b;
    }
    return (uint64_t)first << 32 | last;
}

/* How many bytes at the beginning of S are plain. */
static size_t plain_bytes(struct str s)
{
    size_t i = 0;
    for (uint64_t v; s.len - i >= sizeof v; i += sizeof v) {
        memcpy(&v, s.p + i, sizeof v);
        if (!are_plain(v))
            break;
    }
    size_t left = s.len - i;
    if (left >= 2 && left < 8 && are_plain(short_word(s.p + i, left)))
        return s.len;
    while (i < s.len && pen_is_plain((unsigned char)s.p[i]))
        i++;
    return i;
}

void pen_put_escaped(struct pen *w, struct str s)
{
    static const char hex[] = "0123456789abcdef";
    for (;;) {
        size_t n = plain_bytes(s);
        pen_bytes(w, s.p, n);
        if (n == s.len)
            return;
        unsigned char c = (unsigned char)s.p[n];
        char u[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
        pen_bytes(w, u, sizeof u);
        s = str_from_byte(s, n + 1);
    }
}
