/* SPDX-License-Identifier: Apache-2.0 */
/* Links: see link.h. Senders are careless, so what is between two parameters is skipped. */
#include "own/link.h"

static bool is_one_of(const char *set, char c)
{
    return c != '\0' && strchr(set, c) != NULL;
}

/* Takes the parameters of one link off REST, up to the comma behind it. True: it is the next page.
 */
static bool link_is_next(struct str *rest)
{
    bool has_rel = false;
    bool is_next = false;
    bool has_anchor = false;
    size_t i = 0;
    while (i < rest->len && rest->p[i] != ',') {
        size_t from = i;
        while (i < rest->len && !is_one_of(";,=", rest->p[i]))
            i++;
        struct str name = str_trim(str_make(rest->p + from, i - from));
        struct str value = str_make(NULL, 0);
        if (i < rest->len && rest->p[i] == '=') {
            i++;
            while (i < rest->len && str_is_blank(rest->p[i]))
                i++;
            bool is_quoted = i < rest->len && rest->p[i] == '"';
            from = i += is_quoted;
            while (i < rest->len && (is_quoted ? rest->p[i] != '"' : !is_one_of(";,", rest->p[i])))
                i += is_quoted && rest->p[i] == '\\' && i + 1 < rest->len ? 2 : 1;
            value = str_trim(str_make(rest->p + from, i - from));
            while (i < rest->len && !is_one_of(";,", rest->p[i]))
                i++;
        }
        has_anchor |= str_ieq(name, STR("anchor"));
        if (str_ieq(name, STR("rel")) && !has_rel) {
            has_rel = true;
            struct str type;
            while (str_next_part(&value, ' ', &type))
                is_next |= str_ieq(type, STR("next"));
        }
        if (i < rest->len && rest->p[i] == ';')
            i++;
    }
    *rest = str_from_byte(*rest, i);
    return is_next && !has_anchor;
}

bool link_next(struct str value, struct str *uri)
{
    while (value.len > 0) {
        value = str_from_byte(value, str_find(value, '<') + 1);
        size_t n = str_find(value, '>');
        if (n == value.len)
            return false;
        *uri = str_trim(str_make(value.p, n));
        value = str_from_byte(value, n + 1);
        if (link_is_next(&value))
            return true;
    }
    return false;
}

/* Without "." and ".." in the path PATH (RFC 3986 §5.2.4), in its own bytes; gives its length. */
static size_t without_dots(char *path, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len;) {
        size_t end = i + 1; /* PATH begins with a slash, and so does each segment */
        while (end < len && path[end] != '/')
            end++;
        struct str segment = str_make(path + i, end - i);
        bool is_dot = str_eq(segment, STR("/."));
        bool is_up = str_eq(segment, STR("/.."));
        while (is_up && n > 0 && path[--n] != '/')
            ;
        if (!is_dot && !is_up) {
            memmove(path + n, path + i, end - i);
            n += end - i;
        } else if (end == len) {
            path[n++] = '/';
        }
        i = end;
    }
    return n;
}

static bool link_is_plain(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] <= ' ' || s.p[i] > '~')
            return false;
    }
    return true;
}

bool link_resolve(struct arena *arena, struct str base, struct str ref, struct str *target)
{
    ref.len = str_find(ref, '#');
    size_t scheme = str_find(ref, ':');
    size_t path = str_find(ref, '?');
    if (ref.len == 0 || !link_is_plain(ref) || str_starts(ref, STR("//")) ||
        (scheme < path && scheme < str_find(ref, '/')) || base.len == 0 || base.p[0] != '/')
        return false;
    struct str under = str_make(base.p, str_find(base, '?'));
    if (ref.p[0] == '/')
        under.len = 0;
    while (path > 0 && under.len > 0 && under.p[under.len - 1] != '/')
        under.len--;
    struct str all = arena_printf(arena, "%.*s%.*s", STR_ARG(under), STR_ARG(ref));
    char *text = (char *)all.p;
    size_t query = str_find(all, '?');
    size_t n = path == 0 ? query : without_dots(text, query);
    if (n == 0)
        return false;
    memmove(text + n, text + query, all.len - query);
    *target = str_make(text, n + all.len - query);
    return true;
}
