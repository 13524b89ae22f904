/* SPDX-License-Identifier: Apache-2.0 */
/* User information in a request target: see userinfo.h. */
#include "http/userinfo.h"

#include "base/base64.h"
#include "http/chars.h"

struct str userinfo_take(struct str *authority)
{
    const char *at = authority->len == 0 ? NULL : memrchr(authority->p, '@', authority->len);
    if (at == NULL)
        return str_make(NULL, 0);
    struct str userinfo = str_make(authority->p, (size_t)(at - authority->p));
    *authority = str_from_byte(*authority, userinfo.len + 1);
    return userinfo;
}

/* The byte at the front of S, which has one, decoded; -1: a "%" without two digits. */
static int userinfo_take_byte(struct str *s)
{
    uint64_t value;
    char c = s->p[0];
    if (c != '%') {
        *s = str_from_byte(*s, 1);
        return (uint8_t)c;
    }
    if (s->len < 3 || !chars_is(s->p[1], CHAR_HEX) || !chars_is(s->p[2], CHAR_HEX) ||
        !str_hex_to_u64(str_make(s->p + 1, 2), &value))
        return -1;
    *s = str_from_byte(*s, 3);
    return (int)value;
}

/* What is wrong at the front of S, of which the byte there is taken off; NULL: nothing. */
static const char *take_checked(struct str *s, bool is_name)
{
    char raw = s->p[0];
    if (raw == '@')
        return "the user information before the host has an @ in it, which must be written as %40";
    if (raw == '\\')
        return "the user information before the host has a backslash in it, which must be written "
               "as %5C";
    if (!chars_is(raw, CHAR_TARGET))
        return "the user information before the host has a byte in it that is not printable ASCII: "
               "it must be percent-encoded";
    int c = userinfo_take_byte(s);
    if (c < 0)
        return "the user information before the host has a percent sign in it that no two "
               "hexadecimal digits follow: it must be written as %25";
    if (c < ' ' || c == 0x7f)
        return "the user information before the host has a control byte in it";
    if (is_name && c == ':')
        return "the user name before the host has a colon in it (%3A), which Basic credentials "
               "cannot carry";
    return NULL;
}

bool userinfo_check(struct str raw, const char **why)
{
    bool is_name = true;
    *why = NULL;
    if (raw.len > USERINFO_MAX)
        *why = "the user information before the host is longer than 8192 bytes";
    while (raw.len > 0 && *why == NULL) {
        bool is_colon = raw.p[0] == ':';
        *why = take_checked(&raw, is_name && !is_colon);
        is_name = is_name && !is_colon;
    }
    return *why == NULL;
}

/* RAW decoded, in ARENA, with room for one byte more. */
static struct str decode(struct arena *arena, struct str raw)
{
    char *text = arena_alloc(arena, raw.len + 1);
    size_t n = 0;
    while (raw.len > 0)
        text[n++] = (char)userinfo_take_byte(&raw);
    return str_make(text, n);
}

struct str userinfo_basic(struct arena *arena, struct str raw)
{
    if (raw.len == 0)
        return str_make(NULL, 0);
    bool has_password = str_find(raw, ':') < raw.len;
    struct str pair = decode(arena, raw);
    if (!has_password)
        ((char *)pair.p)[pair.len++] = ':';
    char *text = arena_alloc(arena, strlen("Basic ") + base64_encoded(pair.len));
    memcpy(text, "Basic ", strlen("Basic "));
    return str_make(text, strlen("Basic ") + base64_encode(text + strlen("Basic "), pair));
}

/* True when LATIN is TEXT, of whose letters that Latin-1 has each became one byte. */
static bool is_latin_of(struct str text, struct str latin)
{
    while (text.len > 0 && latin.len > 0) {
        uint8_t c = (uint8_t)text.p[0], length = 1;
        if ((c == 0xc2 || c == 0xc3) && text.len > 1) {
            c = (uint8_t)(c << 6 | ((uint8_t)text.p[1] & 0x3f));
            length = 2;
        }
        if (c != (uint8_t)latin.p[0])
            return false;
        text = str_from_byte(text, length);
        latin = str_from_byte(latin, 1);
    }
    return text.len == 0 && latin.len == 0;
}

bool userinfo_is_same(struct arena *arena, struct str raw, struct str other)
{
    if (str_eq(raw, other))
        return true;
    struct str text = decode(arena, raw);
    return str_eq(text, other) || is_latin_of(text, other);
}
