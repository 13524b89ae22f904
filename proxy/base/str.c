/* SPDX-License-Identifier: Apache-2.0 */
/* Borrowed byte strings. Only ASCII letters have a case here, whatever the locale says. */
#include "base/str.h"

enum { ESCAPE_MAX = 200 }; /* bytes of a peer's text that are ever shown */

static char char_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static bool same_letters(const char *a, const char *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (a[i] != b[i] && char_lower(a[i]) != char_lower(b[i]))
            return false;
    }
    return true;
}

bool str_ieq(struct str a, struct str b)
{
    return a.len == b.len && same_letters(a.p, b.p, a.len);
}

bool str_starts(struct str s, struct str prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.p, prefix.p, prefix.len) == 0);
}

bool str_istarts(struct str s, struct str prefix)
{
    return s.len >= prefix.len && same_letters(s.p, prefix.p, prefix.len);
}

bool str_iends(struct str s, struct str suffix)
{
    return s.len >= suffix.len && str_ieq(str_from_byte(s, s.len - suffix.len), suffix);
}

struct str str_from_byte(struct str s, size_t from)
{
    if (from >= s.len)
        return str_make(s.p == NULL ? NULL : s.p + s.len, 0);
    return str_make(s.p + from, s.len - from);
}

size_t str_find(struct str s, char c)
{
    const char *at = s.len == 0 ? NULL : memchr(s.p, c, s.len);
    return at == NULL ? s.len : (size_t)(at - s.p);
}

/* OWS of RFC 9110 §5.6.3 */
struct str str_trim(struct str s)
{
    while (s.len > 0 && str_is_blank(s.p[0])) {
        s.p++;
        s.len--;
    }
    while (s.len > 0 && str_is_blank(s.p[s.len - 1]))
        s.len--;
    return s;
}

/* Length of the first element of LIST. A quote that is never closed reaches to the end. */
static size_t part_length(struct str list, char separator)
{
    bool quoted = false;
    for (size_t i = 0; i < list.len; i++) {
        char c = list.p[i];
        if (c == '"')
            quoted = !quoted;
        else if (quoted && c == '\\')
            i++;
        else if (!quoted && c == separator)
            return i;
    }
    return list.len;
}

bool str_next_part(struct str *list, char separator, struct str *item)
{
    while (list->len > 0) {
        size_t n = part_length(*list, separator);
        *item = str_trim(str_make(list->p, n));
        *list = str_from_byte(*list, n + 1);
        if (item->len > 0)
            return true;
    }
    return false;
}

bool str_next_item(struct str *list, struct str *item)
{
    return str_next_part(list, ',', item);
}

bool str_has_token(struct str list, struct str token)
{
    struct str item;
    while (str_next_item(&list, &item)) {
        if (str_ieq(item, token))
            return true;
    }
    return false;
}

bool str_to_u64(struct str s, uint64_t *out)
{
    uint64_t v = 0;
    if (s.len == 0)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        unsigned digit = (unsigned)(unsigned char)s.p[i] - '0';
        if (digit > 9 || v > (UINT64_MAX - digit) / 10) /* the next one would overflow */
            return false;
        v = v * 10 + digit;
    }
    *out = v;
    return true;
}

/* The value of a hexadecimal digit, or 16. */
static unsigned hex_digit(char c)
{
    char l = char_lower(c);
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    return l >= 'a' && l <= 'f' ? (unsigned)(l - 'a') + 10 : 16;
}

bool str_hex_to_u64(struct str s, uint64_t *out)
{
    uint64_t v = 0; /* leading zeros do not count against the 16 digits */
    if (s.len == 0)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        unsigned digit = hex_digit(s.p[i]);
        if (digit > 15 || v >> 60 != 0)
            return false;
        v = v << 4 | digit;
    }
    *out = v;
    return true;
}

static const char hex_digits[] = "0123456789abcdef";

/* Digits of V in decimal. */
static size_t count_digits(uint64_t v)
{
    for (size_t n = 1;; n += 4, v /= 10000) {
        if (v < 10)
            return n;
        if (v < 100)
            return n + 1;
        if (v < 1000)
            return n + 2;
        if (v < 10000)
            return n + 3;
    }
}

/* Two digits at a time, in their place at once: there are a dozen numbers in the line of each
 * request. */
size_t str_put_u64(char *dst, uint64_t v)
{
    static const char pairs[] = "00010203040506070809101112131415161718192021222324"
                                "25262728293031323334353637383940414243444546474849"
                                "50515253545556575859606162636465666768697071727374"
                                "75767778798081828384858687888990919293949596979899";
    size_t n = count_digits(v);
    for (char *p = dst + n; p - dst >= 2; v /= 100) {
        p -= 2;
        memcpy(p, pairs + 2 * (v % 100), 2);
    }
    if (n % 2 == 1)
        dst[0] = (char)('0' + v);
    return n;
}

size_t str_put_hex(char *dst, uint64_t v)
{
    size_t n = (size_t)(67 - __builtin_clzll(v | 1)) / 4;
    for (size_t i = n; i-- > 0; v >>= 4)
        dst[i] = hex_digits[v & 15];
    return n;
}

struct str str_lower(char *dst, struct str src)
{
    for (size_t i = 0; i < src.len; i++)
        dst[i] = char_lower(src.p[i]);
    return str_make(dst, src.len);
}

const char *str_escape(char *dst, size_t cap, struct str src)
{
    size_t n = 0;
    for (size_t i = 0; i < src.len && i < ESCAPE_MAX; i++) {
        unsigned char c = (unsigned char)src.p[i];
        bool plain = c >= 0x20 && c <= 0x7e && c != '"' && c != '\\';
        if (n + (plain ? 1 : 4) >= cap) /* an escape is shown whole or not at all */
            break;
        if (plain) {
            dst[n++] = (char)c;
            continue;
        }
        dst[n++] = '\\';
        dst[n++] = 'x';
        dst[n++] = hex_digits[c >> 4];
        dst[n++] = hex_digits[c & 15];
    }
    dst[n] = '\0';
    return dst;
}
