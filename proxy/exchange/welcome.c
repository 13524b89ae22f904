/* SPDX-License-Identifier: Apache-2.0 */
/* The page has no style and no script, so that its policy can forbid both. */
#include "exchange/welcome.h"

#include <stdio.h>

#include "conf/bound.h"

enum { URL_ROOM = ADDR_TEXT + 16 };

const char welcome_policy[] =
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/* What a name, an address and a port are made of. Nothing else is shown: it stands in HTML, and in
 * a line that people copy into a shell. */
static bool welcome_is_plain(struct str host)
{
    for (size_t i = 0; i < host.len; i++) {
        char c = host.p[i];
        bool is_word = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
        if (!is_word && (c == '\0' || strchr(".-_:[]", c) == NULL))
            return false;
    }
    return host.len > 0;
}

/* The address that the client used. */
static struct str welcome_host(const struct exchange *x)
{
    const struct field *f = fields_find(&x->head.fields, FIELD_HOST, NULL);
    return f != NULL && welcome_is_plain(f->value) ? f->value : STR("ADDRESS:PORT");
}

/* Where the live page is, for the client of X: "http://127.0.0.1:3129/" in DST of URL_ROOM bytes.
 * False: there is none, or none that it can reach. */
static bool welcome_live(const struct exchange *x, char *dst)
{
    struct addr a;
    char text[ADDR_TEXT];
    if (!bound_service(&a) || (addr_is_loopback(&a) && !x->from->is_local))
        return false;
    if (addr_is_any(&a) && !x->from->is_local)
        return false; /* it may have any address, and a name would have to be in service_hosts */
    snprintf(dst, URL_ROOM, "http://%s/", bound_shown(&a, text));
    return true;
}

bool welcome_refuse(const struct exchange *x, struct fault *f)
{
    static const char text[] =
        "this is a proxy: send the whole URL (GET http://host/path), or set http_proxy to this "
        "address; a listener for one origin is made with --forward";
    char url[URL_ROOM];
    bool is_live = welcome_live(x, url);
    fault_set(f, FAULT_NO_URL, is_live ? "%s; live page: %s" : "%s", text, url);
    f->phrase = text;
    return false;
}

bool welcome_is_page(const struct exchange *x, const struct fault *f)
{
    return f->code == FAULT_NO_URL && fields_accept(&x->head.fields, STR("text/html"));
}

static struct str welcome_watch(struct exchange *x)
{
    char url[URL_ROOM];
    struct addr a;
    if (welcome_live(x, url))
        return arena_printf(&x->arena,
                            "<p>Requests as they happen are on the live page: "
                            "<a href=\"%s\">%s</a></p>\n",
                            url, url);
    if (bound_service(&a))
        return arena_printf(&x->arena,
                            "<p>Requests as they happen are on the live page, at "
                            "port %u of its service listener.</p>\n",
                            addr_port(&a));
    return STR("<p>There is no live page: <code>-s 127.0.0.1:3129</code> opens one.</p>\n");
}

struct str welcome_page(struct exchange *x)
{
    struct str host = welcome_host(x);
    const char *scheme = x->from->by_tls ? "https" : "http";
    return arena_printf(
        &x->arena,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width\">\n"
        "<meta name=\"color-scheme\" content=\"light dark\">\n"
        "<title>tlsfan: this is a proxy</title>\n</head>\n<body>\n"
        "<h1>This is tlsfan, a proxy</h1>\n"
        "<p>It works. It is for programs, and has no pages of its own at this address: they send "
        "their <code>http://</code> URLs here, and tlsfan makes every request as a verified TLS "
        "request, many at once.</p>\n"
        "<h2>Point a program at it</h2>\n"
        "<pre>export http_proxy=%s://%.*s\ncurl http://example.com/</pre>\n"
        "<p>Leave the program its <code>http://</code> URLs. <code>https://</code> URLs pass "
        "through as they are.</p>\n"
        "<h2>Watch it</h2>\n%.*s</body>\n</html>\n",
        scheme, STR_ARG(host), STR_ARG(welcome_watch(x)));
}
