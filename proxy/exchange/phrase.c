/* SPDX-License-Identifier: Apache-2.0 */
/* Reason phrases: see phrase.h. */
#include "exchange/phrase.h"

static const char slot[] = "%s";

static bool is_host_byte(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '.' ||
           c == '-' || c == '_' || c == ':';
}

/* HOST, as it may be shown. */
static struct str shown_host(struct str host)
{
    for (size_t i = 0; i < host.len; i++) {
        if (!is_host_byte(host.p[i]))
            host.len = 0;
    }
    return host.len == 0 ? STR("the host") : host;
}

static size_t phrase_put(char *dst, size_t at, struct str s)
{
    size_t n = s.len < PHRASE_MAX - at ? s.len : PHRASE_MAX - at;
    if (n > 0)
        memcpy(dst + at, s.p, n);
    return at + n;
}

/* HOST, or the end of it where it has more than ROOM bytes. */
static size_t put_host(char *dst, size_t at, struct str host, size_t room)
{
    struct str dots = STR("...");
    if (host.len <= room)
        return phrase_put(dst, at, host);
    if (room <= dots.len)
        return at;
    return phrase_put(dst, phrase_put(dst, at, dots),
                      str_from_byte(host, host.len - (room - dots.len)));
}

static bool is_stop(char c)
{
    return c == ',' || c == ':' || c == ';';
}

/* What was too long ends with a clause, or at least with a word. */
static size_t end_early(const char *dst, size_t n)
{
    size_t word = n;
    while (word > PHRASE_MAX / 2 && dst[word - 1] != ' ')
        word--;
    size_t clause = word;
    while (clause > PHRASE_MAX / 2 && !(dst[clause - 1] == ' ' && is_stop(dst[clause - 2])))
        clause--;
    n = clause > PHRASE_MAX / 2 ? clause : word;
    while (n > 0 && (dst[n - 1] == ' ' || is_stop(dst[n - 1])))
        n--;
    return n;
}

struct str phrase_make(char *dst, const struct fault *f, struct str host)
{
    struct str text = str_from(f->phrase != NULL ? f->phrase : fault_info(f->code)->phrase);
    const char *at = strstr(text.p, slot);
    struct str before = at == NULL ? text : str_make(text.p, (size_t)(at - text.p));
    struct str after = at == NULL ? STR("") : str_from(at + strlen(slot));
    size_t fixed = before.len + after.len;
    size_t n = phrase_put(dst, 0, before);
    if (at != NULL)
        n = put_host(dst, n, shown_host(host), fixed < PHRASE_MAX ? PHRASE_MAX - fixed : 0);
    n = phrase_put(dst, n, after);
    if (fixed > PHRASE_MAX)
        n = end_early(dst, n);
    for (size_t i = 0; i < n; i++) {
        if (dst[i] < 0x20 || dst[i] > 0x7e)
            dst[i] = '?';
    }
    if (n > 0 && dst[0] >= 'a' && dst[0] <= 'z')
        dst[0] = (char)(dst[0] - 'a' + 'A');
    return str_make(dst, n);
}
