/* SPDX-License-Identifier: Apache-2.0 */
/* The URL of a parent. No message repeats more of it than host and port, for the rest may be a
 * secret. */
#include "conf/parent.h"

#include <ctype.h>
#include <stdlib.h>

#include "base/base64.h"
#include "conf/value.h"

static const struct str scheme = STR_INIT("http://");

/* Cuts "user:password@" off REST, at its last "@": a password and a path may have others. */
static bool take_userinfo(struct str *rest, struct str *info)
{
    size_t at = rest->len;
    while (at > 0 && rest->p[at - 1] != '@')
        at--;
    if (at == 0)
        return false;
    *info = str_make(rest->p, at - 1);
    *rest = str_from_byte(*rest, at);
    return true;
}

static void split_userinfo(struct str info, struct str *user, struct str *password)
{
    size_t colon = str_find(info, ':');
    *user = str_make(info.p, colon);
    *password = str_from_byte(info, colon + 1);
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decoded, in ARENA; false where that gives no text. */
static bool parent_decode(struct arena *arena, struct str text, struct str *to)
{
    char *p = arena_alloc(arena, text.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.p[i];
        if (c == '%') {
            int high = i + 2 < text.len ? digit_of(text.p[i + 1]) : -1;
            int low = i + 2 < text.len ? digit_of(text.p[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = (char)(high << 4 | low);
            i += 2;
        }
        if ((unsigned char)c < ' ' || c == 0x7f)
            return false;
        p[n++] = c;
    }
    p[n] = '\0';
    *to = str_make(p, n);
    return true;
}

static const struct str basic = STR_INIT("Basic ");

static size_t auth_size(const char *user, const char *password)
{
    return basic.len + base64_encoded(strlen(user) + 1 + strlen(password));
}

/* The value of the field (RFC 7617), terminated. */
static void write_auth(char *dst, const char *user, const char *password)
{
    char *pair = xasprintf("%s:%s", user, password);
    memcpy(dst, basic.p, basic.len);
    dst[basic.len + base64_encode(dst + basic.len, str_from(pair))] = '\0';
    secret_free(pair);
}

/* PASSWORD is one reference and nothing else; it is T. */
static bool is_reference(struct arena *arena, struct str password, struct secret_text *t)
{
    return secret_text_parse(t, arena, password) == NULL && t->n == 1 &&
           (t->parts[0].kind == SECRET_FILE || t->parts[0].kind == SECRET_ENV);
}

static bool is_begun(struct str password)
{
    return str_starts(password, secret_text_begin(SECRET_FILE)) ||
           str_starts(password, secret_text_begin(SECRET_ENV)) ||
           str_starts(password, secret_text_begin(SECRET_OAUTH));
}

static bool parse_userinfo(struct arena *arena, struct str info, struct parent *p, char *err)
{
    struct str user, password, plain;
    split_userinfo(info, &user, &password);
    if (!parent_decode(arena, user, &user) || user.len == 0 || str_find(user, ':') < user.len)
        return value_fail(err, "has no user that can be sent before its \"@\": one is "
                               "percent-encoded where it has special bytes, and has no colon");
    p->user = user.p;
    if (is_reference(arena, password, &p->password))
        return true;
    p->password = (struct secret_text){0};
    if (is_begun(password))
        return value_fail(err, "has something beside {file:PATH} or {env:NAME} in the place of its "
                               "password: a \"{\" that is the password's own is written %%7B");
    if (!parent_decode(arena, password, &plain))
        return value_fail(err, "has a password that is not percent-encoded, or has a control byte "
                               "in it: a \"%%\" is written %%25");
    char *auth = arena_alloc(arena, auth_size(user.p, plain.p) + 1);
    write_auth(auth, user.p, plain.p);
    p->auth = auth;
    return true;
}

bool parent_parse(struct arena *arena, struct str text, struct parent *p, char *err)
{
    struct str info, host, port;
    *p = (struct parent){0};
    if (str_istarts(text, STR("https://")))
        return value_fail(err, "is an https:// URL: TLS to a parent proxy is not spoken, write "
                               "http://HOST:PORT (what goes to origins is TLS all the same)");
    if (!str_istarts(text, scheme))
        return value_fail(err, "is not http://[USER:PASSWORD@]HOST:PORT");
    struct str rest = str_from_byte(text, scheme.len);
    bool has_info = take_userinfo(&rest, &info);
    if (rest.len > 0 && rest.p[rest.len - 1] == '/')
        rest.len--;
    if (!value_split(rest, &host, &port) || port.len == 0 || !value_port(port, &p->port, NULL) ||
        !value_target(arena, host, &p->host, NULL))
        return value_fail(err, "is not http://[USER:PASSWORD@]HOST:PORT");
    bool is_v6 = strchr(p->host, ':') != NULL;
    p->shown = arena_printf(arena, is_v6 ? "[%s]:%u" : "%s:%u", p->host, (unsigned)p->port).p;
    return !has_info || parse_userinfo(arena, info, p, err);
}

void parent_finish(struct parent *p, const char *password, struct secret_store *store)
{
    struct secret_bytes *auth = secret_room(store, auth_size(p->user, password));
    write_auth(auth->text, p->user, password);
    p->auth = auth->text;
}

/* A password that stands elsewhere is no secret here. */
static bool is_elsewhere(struct str info)
{
    struct arena arena;
    struct secret_text ref;
    struct str user, password;
    arena_init(&arena, NULL, 0);
    split_userinfo(info, &user, &password);
    bool is = is_reference(&arena, password, &ref);
    arena_clear(&arena);
    return is;
}

char *parent_mask(struct str text)
{
    struct str rest = text, info;
    if (str_istarts(text, scheme))
        rest = str_from_byte(text, scheme.len);
    if (!take_userinfo(&rest, &info) || is_elsewhere(info))
        return xstrndup(text.p, text.len);
    return xasprintf("%.*s********@%.*s", (int)(info.p - text.p), text.p, STR_ARG(rest));
}
