/* SPDX-License-Identifier: Apache-2.0 */
/* International host names as ASCII (RFC 3492), for error texts: no normalization, and lower case
 * of a few scripts alone. */
#include "http/punycode.h"

enum {
    MAX_LABEL = 128, /* code points */
    PUNY_BASE = 36,
    PUNY_TMIN = 1,
    PUNY_TMAX = 26,
    PUNY_SKEW = 38,
    PUNY_DAMP = 700
};

/* Takes one code point off S; false when it is not UTF-8. */
static bool take_utf8(struct str *s, uint32_t *code)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t c = (uint8_t)s->p[0];
    size_t n = c < 0x80 ? 1 : c < 0xc0 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf8 ? 4 : 0;
    if (n == 0 || n > s->len)
        return false;
    *code = n == 1 ? c : c & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if (((uint8_t)s->p[i] & 0xc0) != 0x80)
            return false;
        *code = *code << 6 | ((uint8_t)s->p[i] & 0x3f);
    }
    *s = str_from_byte(*s, n);
    return *code >= least[n] && *code <= 0x10ffff && (*code < 0xd800 || *code > 0xdfff);
}

/* Lower case of Latin-1, Greek and Cyrillic letters: enough for a hint. */
static uint32_t lower_code(uint32_t c)
{
    if ((c >= 'A' && c <= 'Z') || (c >= 0xc0 && c <= 0xde && c != 0xd7) ||
        (c >= 0x391 && c <= 0x3a9) || (c >= 0x410 && c <= 0x42f))
        return c + 32;
    return c >= 0x400 && c <= 0x40f ? c + 80 : c;
}

/* The full stops of East Asian input methods stand between labels, too (RFC 3490 section 3.1). */
static bool is_dot(uint32_t c)
{
    return c == '.' || c == 0x3002 || c == 0xff0e || c == 0xff61;
}

/* RFC 3492 §6.1. */
static uint32_t adapt_bias(uint32_t delta, uint32_t points, bool is_first)
{
    uint32_t k = 0;
    delta = is_first ? delta / PUNY_DAMP : delta / 2;
    delta += delta / points;
    for (; delta > (PUNY_BASE - PUNY_TMIN) * PUNY_TMAX / 2; k += PUNY_BASE)
        delta /= PUNY_BASE - PUNY_TMIN;
    return k + (PUNY_BASE - PUNY_TMIN + 1) * delta / (delta + PUNY_SKEW);
}

/* Writes DELTA as a generalized variable-length integer (§3.3); the bytes written, 0 when they do
 * not fit. */
static size_t put_delta(char *dst, size_t cap, uint32_t delta, uint32_t bias)
{
    size_t n = 0;
    for (uint32_t k = PUNY_BASE; n < cap; k += PUNY_BASE) {
        uint32_t t = k <= bias ? PUNY_TMIN : k >= bias + PUNY_TMAX ? PUNY_TMAX : k - bias;
        uint32_t digit = delta < t ? delta : t + (delta - t) % (PUNY_BASE - t);
        dst[n++] = (char)(digit < 26 ? 'a' + digit : '0' + digit - 26);
        if (delta < t)
            return n;
        delta = (delta - t) / (PUNY_BASE - t);
    }
    return 0;
}

/* The code points of a label as "xn--…" (§6.3); the bytes written, 0 when they do not fit. */
static size_t put_label(char *dst, size_t cap, const uint32_t *v, uint32_t len)
{
    size_t n = 4;
    uint32_t done = 0, basic, delta = 0, bias = 72, code = 0x80;
    if (cap < n + len + 1)
        return 0;
    memcpy(dst, "xn--", 4);
    for (uint32_t i = 0; i < len; i++) {
        if (v[i] < 0x80)
            dst[n++] = (char)v[i], done++;
    }
    basic = done;
    if (basic > 0)
        dst[n++] = '-';
    for (; done < len; delta++, code++) {
        uint32_t next = UINT32_MAX;
        for (uint32_t i = 0; i < len; i++)
            next = v[i] >= code && v[i] < next ? v[i] : next;
        delta += (next - code) * (done + 1);
        code = next;
        for (uint32_t i = 0; i < len; i++) {
            delta += v[i] < code;
            if (v[i] != code)
                continue;
            size_t put = put_delta(dst + n, cap - n, delta, bias);
            if (put == 0)
                return 0;
            n += put;
            bias = adapt_bias(delta, done + 1, done == basic);
            delta = 0;
            done++;
        }
    }
    return n;
}

bool punycode_of_host(char *dst, size_t cap, struct str host)
{
    size_t n = 0;
    while (host.len > 0) {
        uint32_t v[MAX_LABEL], len = 0;
        bool is_ascii = true, has_dot = false;
        while (host.len > 0) {
            if (len == MAX_LABEL || !take_utf8(&host, &v[len]))
                return false;
            has_dot = is_dot(v[len]);
            if (has_dot)
                break;
            v[len] = lower_code(v[len]);
            is_ascii = is_ascii && v[len] < 0x80;
            len++;
        }
        if (cap - n < len + 2)
            return false;
        for (uint32_t i = 0; is_ascii && i < len; i++)
            dst[n + i] = (char)v[i];
        size_t put = is_ascii ? len : put_label(dst + n, cap - n - 2, v, len);
        if (put == 0 && len > 0)
            return false;
        n += put;
        if (has_dot)
            dst[n++] = '.';
    }
    if (n == cap)
        return false;
    dst[n] = '\0';
    return true;
}
