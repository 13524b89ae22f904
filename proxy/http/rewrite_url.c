/* SPDX-License-Identifier: Apache-2.0 */
/* URLs through the upgrade. Only the scheme, the authority and, for a forward listener, the head
 * of the path are ever replaced; every other byte is copied as it came. */
#include "http/rewrite_url.h"

#include "conf/rule.h"
#include "http/uri.h"

/* PARTS one behind the other, in ARENA. */
static struct str url_join(struct arena *arena, const struct str *parts, size_t n)
{
    size_t len = 0;
    for (size_t i = 0; i < n; i++)
        len += parts[i].len;
    char *p = arena_alloc(arena, len + 1);
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (parts[i].len > 0)
            memcpy(p + at, parts[i].p, parts[i].len);
        at += parts[i].len;
    }
    return str_make(p, len);
}

#define JOIN(arena, ...)                               \
    url_join(arena, (const struct str[]){__VA_ARGS__}, \
             sizeof((const struct str[]){__VA_ARGS__}) / sizeof(struct str))

/* The port that http://HOST:PORT leads to when no rule names another. */
static uint16_t reached_port(uint16_t port)
{
    return port == 0 || port == 80 ? 443 : port;
}

bool rewrite_would_upgrade(const struct conf *c, struct str host, uint16_t port)
{
    return rule_find(c, host, reached_port(port))->upgrade;
}

static uint16_t default_port(enum uri_scheme scheme)
{
    return scheme == SCHEME_HTTPS ? 443 : 80;
}

/* Where the ":port" of AUTHORITY begins, or its length. */
static size_t port_position(struct str authority)
{
    size_t i = authority.len;
    while (i > 0 && authority.p[i - 1] >= '0' && authority.p[i - 1] <= '9')
        i--;
    return i > 0 && authority.p[i - 1] == ':' ? i - 1 : authority.len;
}

/* URL with another scheme, and without its port when CUT_PORT; userinfo stays. */
static struct str swap_scheme(struct arena *arena, struct str url, const struct uri_ref *ref,
                              struct str scheme, bool cut_port)
{
    size_t colon = str_find(url, ':');
    size_t end = (size_t)(ref->authority.p - url.p);
    end += cut_port ? port_position(ref->authority) : ref->authority.len;
    return JOIN(arena, scheme, str_make(url.p + colon, end - colon), ref->rest);
}

static bool has_userinfo(struct str url, const struct uri_ref *ref)
{
    return ref->authority.p != url.p + str_find(url, ':') + strlen("://");
}

static bool is_absolute_path(struct str url)
{
    return url.len > 0 && url.p[0] == '/' && !(url.len > 1 && url.p[1] == '/');
}

/* Where a forward leads: its key `to`. */

static enum uri_scheme to_scheme(const struct forward *f)
{
    return f->tls ? SCHEME_HTTPS : SCHEME_HTTP;
}

static struct str to_scheme_text(const struct forward *f)
{
    return f->tls ? STR("https://") : STR("http://");
}

/* True when A and B name the same port, 0 standing for the default of a scheme. */
static bool is_same_port(uint16_t a, uint16_t a_default, uint16_t b, uint16_t b_default)
{
    return (a == a_default ? 0 : a) == (b == b_default ? 0 : b);
}

/* How clients speak to the listener. */
static enum uri_scheme self_scheme(const struct forward *f)
{
    return f->client_tls ? SCHEME_HTTPS : SCHEME_HTTP;
}

/* True when REF, a URL of a client's, or what an origin made of its Host, names the
 * listener. */
static bool is_self(const struct rewrite *r, struct arena *arena, const struct uri_ref *ref)
{
    struct uri_host self;
    /* Too long to be that host, a dot and a port: the cheap look first. */
    if (r->self.len > 0 && r->self.p[0] != '[' &&
        r->self.len > ref->host.name.len + strlen(".:65535"))
        return false;
    if (!uri_parse_host(&self, arena, r->self, NULL))
        return false;
    return str_eq(ref->host.name, self.name) &&
           is_same_port(ref->host.port, default_port(ref->scheme), self.port,
                        default_port(self_scheme(r->forward)));
}

static bool is_to(const struct rewrite *r, struct arena *arena, const struct uri_ref *ref)
{
    const struct forward *f = r->forward;
    if (ref->scheme != to_scheme(f))
        return false;
    uint16_t port = ref->host.port == 0 ? default_port(ref->scheme) : ref->host.port;
    if (str_eq(ref->host.name, str_from(f->host)) && port == f->port)
        return true;
    return f->host_is_client && is_self(r, arena, ref);
}

/* The path of `to` taken off REST (path, query and fragment): false when REST is not below it. */
static bool cut_prefix(const struct forward *f, struct arena *arena, struct str rest,
                       struct str *tail)
{
    struct str prefix = str_from(f->path);
    *tail = rest;
    if (prefix.len == 0)
        return true;
    if (!str_starts(rest, prefix))
        return false;
    *tail = str_from_byte(rest, prefix.len);
    if (tail->len == 0 || tail->p[0] == '?' || tail->p[0] == '#') {
        *tail = JOIN(arena, STR("/"), *tail);
        return true;
    }
    return tail->p[0] == '/' && !uri_path_leaves_root(*tail);
}

static bool to_listener(const struct rewrite *r, struct arena *arena, struct str *url,
                        bool is_origin)
{
    const struct forward *f = r->forward;
    struct str tail;
    if (is_absolute_path(*url)) {
        bool is_below = f->path[0] != '\0' && !is_origin && cut_prefix(f, arena, *url, &tail);
        if (is_below)
            *url = tail;
        return is_below;
    }
    struct str full = *url;
    if (str_starts(full, STR("//")))
        full = JOIN(arena, f->tls ? STR("https:") : STR("http:"), full);
    struct uri_ref ref;
    if (!uri_parse_ref(&ref, arena, full) || has_userinfo(full, &ref) || !is_to(r, arena, &ref))
        return false;
    if (is_origin)
        tail = ref.rest;
    else if (!cut_prefix(f, arena, ref.rest, &tail))
        return false;
    *url = JOIN(arena, f->client_tls ? STR("https://") : STR("http://"), r->self, tail);
    return true;
}

static bool to_target(const struct rewrite *r, struct arena *arena, struct str *url, bool is_origin)
{
    const struct forward *f = r->forward;
    struct str prefix = is_origin ? STR("") : str_from(f->path);
    if (is_absolute_path(*url)) {
        if (prefix.len == 0 || uri_path_leaves_root(*url))
            return false;
        *url = JOIN(arena, prefix, *url);
        return true;
    }
    struct uri_ref ref;
    if (!uri_parse_ref(&ref, arena, *url) || ref.scheme != self_scheme(f) ||
        has_userinfo(*url, &ref) || !is_self(r, arena, &ref))
        return false;
    if (prefix.len > 0 && uri_path_leaves_root(ref.rest))
        return false;
    struct str seen = r->self;
    if (!f->host_is_client)
        seen = uri_authority(arena, str_from(f->host), f->port, default_port(to_scheme(f)));
    *url = JOIN(arena, to_scheme_text(f), seen, prefix, ref.rest);
    return true;
}

bool rewrite_url_to_client(const struct rewrite *r, struct arena *arena, struct str *url,
                           bool is_origin)
{
    if (r->forward != NULL)
        return to_listener(r, arena, url, is_origin);
    struct uri_ref ref;
    if (!uri_parse_ref(&ref, arena, *url) || ref.scheme != SCHEME_HTTPS || ref.host.port == 80)
        return false;
    if (!rewrite_would_upgrade(r->conf, ref.host.name, ref.host.port))
        return false;
    *url = swap_scheme(arena, *url, &ref, STR("http"), ref.host.port == 443);
    return true;
}

bool rewrite_url_to_origin(const struct rewrite *r, struct arena *arena, struct str *url,
                           bool is_origin)
{
    if (r->forward != NULL)
        return to_target(r, arena, url, is_origin);
    struct uri_ref ref;
    if (!uri_parse_ref(&ref, arena, *url) || ref.scheme != SCHEME_HTTP)
        return false;
    if (!rewrite_would_upgrade(r->conf, ref.host.name, ref.host.port))
        return false;
    bool is_default = ref.host.port == 80 || ref.host.port == 443;
    *url = swap_scheme(arena, *url, &ref, STR("https"), is_default);
    return true;
}
