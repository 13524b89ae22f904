/* SPDX-License-Identifier: Apache-2.0 */
/* Strings of JSON: see json_text.h. Most bytes stand for themselves and are looked at once. */
#include "own/json_text.h"

/* ---- UTF-8 */

/* Eight bytes of ASCII? */
static bool is_ascii(const char *p)
{
    uint64_t w;
    memcpy(&w, p, sizeof w);
    return (w & UINT64_C(0x8080808080808080)) == 0;
}

/* The first byte of a character of more than one; its bounds keep out what is overlong, a surrogate
 * or beyond U+10FFFF (RFC 3629 §4). */
static bool begin_character(struct utf8 *u, uint8_t c)
{
    if (c < 0xc2 || c > 0xf4)
        return false;
    u->left = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
    u->low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    u->high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    return true;
}

bool utf8_take(struct utf8 *u, struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = (uint8_t)s.p[i];
        if (u->left > 0) {
            if (c < u->low || c > u->high)
                return false;
            u->left--;
            u->low = 0x80;
            u->high = 0xbf;
            continue;
        }
        while (s.len - i > 8 && is_ascii(s.p + i))
            i += 8;
        c = (uint8_t)s.p[i];
        if (c >= 0x80 && !begin_character(u, c))
            return false;
    }
    return true;
}

/* ---- out */

/* What a byte becomes behind a backslash, 'u' for \u00XX; 0: it stays. */
static const char escapes[256] = {
    [0 ... 7] = 'u', ['\b'] = 'b', ['\t'] = 't',          ['\n'] = 'n', [0x0b] = 'u',
    ['\f'] = 'f',    ['\r'] = 'r', [0x0e ... 0x1f] = 'u', ['"'] = '"',  ['\\'] = '\\',
};

static char *put_escape(char *to, uint8_t c)
{
    static const char hex[] = "0123456789ABCDEF";
    *to++ = '\\';
    *to++ = escapes[c];
    if (escapes[c] != 'u')
        return to;
    memcpy(to, "00", 2);
    to[2] = hex[c >> 4];
    to[3] = hex[c & 15];
    return to + 4;
}

size_t json_escape(char *dst, struct str s)
{
    char *to = dst;
    size_t from = 0;
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = (uint8_t)s.p[i];
        if (escapes[c] == 0)
            continue;
        memcpy(to, s.p + from, i - from);
        to = put_escape(to + (i - from), c);
        from = i + 1;
    }
    if (s.len > from)
        memcpy(to, s.p + from, s.len - from);
    return (size_t)(to - dst) + s.len - from;
}

/* ---- in */

static char *put_code(char *to, uint32_t code)
{
    if (code < 0x80) {
        *to++ = (char)code;
        return to;
    }
    if (code < 0x800) {
        *to++ = (char)(0xc0 | code >> 6);
    } else if (code < 0x10000) {
        *to++ = (char)(0xe0 | code >> 12);
        *to++ = (char)(0x80 | (code >> 6 & 0x3f));
    } else {
        *to++ = (char)(0xf0 | code >> 18);
        *to++ = (char)(0x80 | (code >> 12 & 0x3f));
        *to++ = (char)(0x80 | (code >> 6 & 0x3f));
    }
    *to++ = (char)(0x80 | (code & 0x3f));
    return to;
}

/* All four digits of \uXXXX have come. */
static char *take_code(struct json_unescape *u, char *to)
{
    uint32_t code = u->code;
    bool is_second = code >= 0xdc00 && code < 0xe000;
    if (is_second != (u->surrogate != 0)) {
        u->wrong = "half of a surrogate pair";
        return to;
    }
    if (code >= 0xd800 && code < 0xdc00) {
        u->surrogate = (uint16_t)code;
        return to;
    }
    if (is_second)
        code = 0x10000 + ((uint32_t)(u->surrogate - 0xd800) << 10) + (code - 0xdc00);
    u->surrogate = 0;
    return put_code(to, code);
}

static char *json_text_take_digit(struct json_unescape *u, char *to, char c)
{
    uint64_t digit;
    if (!str_hex_to_u64(str_make(&c, 1), &digit)) {
        u->wrong = "a \\u without four hexadecimal digits";
        return to;
    }
    u->code = (uint16_t)(u->code << 4 | digit);
    return --u->digits == 0 ? take_code(u, to) : to;
}

/* The byte behind a backslash. */
static char *take_escape(struct json_unescape *u, char *to, char c)
{
    static const char named[256] = {
        ['b'] = '\b', ['f'] = '\f', ['n'] = '\n', ['r'] = '\r',
        ['t'] = '\t', ['"'] = '"',  ['/'] = '/',  ['\\'] = '\\',
    };
    u->is_escape = false;
    if (c == 'u') {
        u->digits = 4;
        u->code = 0;
        return to;
    }
    *to = named[(uint8_t)c];
    if (*to == '\0')
        u->wrong = "an escape that JSON does not have";
    else if (u->surrogate != 0)
        u->wrong = "half of a surrogate pair";
    return to + 1;
}

/* Bytes of S up to one that does not stand for itself. */
static size_t plain_length(struct str s)
{
    size_t i = 0;
    while (i < s.len && escapes[(uint8_t)s.p[i]] == 0)
        i++;
    return i;
}

/* How much of S is UTF-8 behind what U has seen. */
static size_t utf8_length(struct utf8 u, struct str s)
{
    size_t n = 0;
    while (n < s.len && utf8_take(&u, str_make(s.p + n, 1)))
        n++;
    return n;
}

/* Bytes that stand for themselves, at least one; gives how many. */
static size_t take_plain(struct json_unescape *u, char *to, struct str s)
{
    size_t n = plain_length(s);
    struct utf8 before = u->utf8;
    if (n == 0) {
        u->wrong = "a control byte in a string";
    } else if (u->surrogate != 0) {
        u->wrong = "half of a surrogate pair";
    } else if (!utf8_take(&u->utf8, str_make(s.p, n))) {
        u->wrong = "a string that is not UTF-8";
        u->at += utf8_length(before, str_make(s.p, n));
    }
    memmove(to, s.p, n);
    return n;
}

size_t json_unescape(struct json_unescape *u, char *dst, struct str s)
{
    char *to = dst;
    while (s.len > 0 && u->wrong == NULL) {
        size_t used = 1;
        if (u->digits > 0) {
            to = json_text_take_digit(u, to, *s.p);
        } else if (u->is_escape) {
            to = take_escape(u, to, *s.p);
        } else if (*s.p == '\\') {
            u->is_escape = true;
            if (!utf8_is_whole(&u->utf8))
                u->wrong = "a string that is not UTF-8";
        } else {
            used = take_plain(u, to, s);
            to += used;
        }
        s = str_from_byte(s, used);
        if (u->wrong == NULL)
            u->at += used;
    }
    return (size_t)(to - dst);
}

bool json_unescape_end(struct json_unescape *u)
{
    if (u->wrong == NULL && u->surrogate != 0)
        u->wrong = "half of a surrogate pair";
    if (u->wrong == NULL && (u->is_escape || u->digits > 0 || !utf8_is_whole(&u->utf8)))
        u->wrong = "a string that ends inside a character";
    return u->wrong == NULL;
}
