/* SPDX-License-Identifier: Apache-2.0 */
/* Values that say where to listen, where to connect, and what to change: listeners, connect_to,
 * URLs, servers, origins, request fields. The field of a compound type is its first one; the struct
 * is found from it. */
#include <ctype.h>

#include "conf/conf.h"
#include "conf/oauth.h"
#include "conf/value.h"

#define OWNER(field, type, member) ((type *)((char *)(field)-offsetof(type, member)))

static bool net_fail_at(char *err, struct str text, const char *reason)
{
    char shown[160];
    return value_fail(err, "\"%s\" %s", str_escape(shown, sizeof(shown), text), reason);
}

static bool is_printable(struct str text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.p[i] <= ' ' || text.p[i] >= 0x7f)
            return false;
    return true;
}

static void strings_add(struct arena *arena, struct strings *list, const char *text)
{
    list->v = arena_grow(arena, list->v, list->n, sizeof(list->v[0]));
    list->v[list->n++] = text;
}

/* Says what to write where ADDR is an address or a port alone, or has a name in front. False: it is
 * another thing. */
static bool advise_listener(char *err, struct str text, struct str addr)
{
    uint16_t port;
    char shown[160];
    struct addr ip;
    struct str prefix = str_make(text.p, text.len - addr.len); /* "tls:" */
    if (prefix.len == 0 && addr_parse_ip(&ip, addr, 3128)) {
        char whole[ADDR_TEXT];
        (void)value_fail(err, "\"%s\" is no listener: its port is missing, write %s",
                         str_escape(shown, sizeof(shown), text), addr_print(&ip, whole));
        return true;
    }
    size_t colon = str_find(addr, ':');
    struct str number = colon == addr.len ? addr : str_from_byte(addr, colon + 1);
    if (!value_port(number, &port, NULL))
        return false;
    bool has_name = colon > 0 && colon < addr.len && addr.p[0] != '*';
    (void)value_fail(
        err,
        "\"%s\" is no listener: %s, write %.*s127.0.0.1:%u, or %.*s0.0.0.0:%u for all addresses",
        str_escape(shown, sizeof(shown), text),
        has_name ? "a name is no address" : "its address is missing", STR_ARG(prefix), port,
        STR_ARG(prefix), port);
    return true;
}

bool value_set_listen(const struct assign *a, struct str text)
{
    struct conf *c = OWNER(a->field, struct conf, listeners);
    struct listener l = {0};
    struct str addr = text;
    l.tls = str_istarts(text, STR("tls:"));
    if (l.tls) {
        addr = str_from_byte(text, sizeof "tls:" - 1);
    } else if (str_istarts(text, STR("transparent:"))) {
        l.kind = LISTENER_TRANSPARENT;
        addr = str_from_byte(text, sizeof "transparent:" - 1);
    }
    if (!addr_parse(&l.addr, addr))
        return !advise_listener(a->err, text, addr) &&
               net_fail_at(a->err, text,
                           "is no listener: write ADDR:PORT, [::1]:3128, unix:/path, "
                           "tls:ADDR:PORT or transparent:ADDR:PORT");
    if (l.tls && addr_family(&l.addr) == AF_UNIX)
        return net_fail_at(a->err, text,
                           "cannot be: what goes to a socket of a file stays on this machine; "
                           "write it without tls:");
    if (l.kind == LISTENER_TRANSPARENT && addr_family(&l.addr) == AF_UNIX)
        return net_fail_at(a->err, text,
                           "cannot be: nothing is turned to a Unix socket; write "
                           "transparent:ADDR:PORT");
    l.text = arena_dup(a->arena, text).p;
    c->listeners = arena_grow(a->arena, c->listeners, c->n_listeners, sizeof(l));
    c->listeners[c->n_listeners++] = l;
    return true;
}

bool value_set_service(const struct assign *a, struct str text)
{
    struct conf *c = OWNER(a->field, struct conf, listeners);
    struct addr ip;
    if (str_eq(text, STR("off")))
        return true;
    if (!addr_parse(&ip, text) || addr_family(&ip) == AF_UNIX)
        return !advise_listener(a->err, text, text) &&
               net_fail_at(a->err, text, "is no service listener: write ADDR:PORT or off");
    if (!value_set_listen(a, text))
        return false;
    c->listeners[c->n_listeners - 1].kind = LISTENER_SERVICE;
    return true;
}

/* Takes "HOST:" or "[v6]:" off REST, at the end without its colon. */
static bool take_host(struct str *rest, struct str *host)
{
    size_t end = str_find(*rest, ':');
    if (rest->len > 0 && rest->p[0] == '[') {
        size_t close = str_find(*rest, ']');
        end = close == rest->len ? close : close + 1;
    }
    if (end < rest->len && rest->p[end] != ':')
        return false;
    *host = str_make(rest->p, end);
    bool is_whole = end < rest->len;
    *rest = str_from_byte(*rest, end + 1);
    return is_whole;
}

static bool is_rooted(struct str host)
{
    struct addr a;
    return host.len > 1 && host.p[host.len - 1] == '.' &&
           !addr_parse_ip(&a, str_make(host.p, host.len - 1), 0);
}

bool value_target(struct arena *arena, struct str text, const char **host, char *err)
{
    if (!value_host(arena, text, host, err))
        return false;
    if (is_rooted(text))
        *host = arena_printf(arena, "%s.", *host).p;
    return true;
}

/* "" stays ""; else the normal form. */
static bool host_or_empty(struct arena *arena, struct str text, const char **host, char *err)
{
    *host = "";
    return text.len == 0 || value_host(arena, text, host, err);
}

static bool port_or_zero(struct str text, uint16_t *port, char *err)
{
    *port = 0;
    return text.len == 0 || value_port(text, port, err);
}

bool value_set_connect_to(const struct assign *a, struct str text)
{
    struct conf *c = OWNER(a->field, struct conf, connect_to);
    struct str rest = text, host, port, to_host;
    if (!take_host(&rest, &host) || !take_host(&rest, &port) || !take_host(&rest, &to_host) ||
        str_find(rest, ':') != rest.len)
        return net_fail_at(a->err, text, "is not HOST:PORT:ADDR:PORT");
    struct connect_to to = {.to_host = ""};
    if (!port_or_zero(port, &to.port, a->err) || !port_or_zero(rest, &to.to_port, a->err))
        return false;
    if (!host_or_empty(a->arena, host, &to.host, a->err))
        return false;
    if (to_host.len > 0 && !value_target(a->arena, to_host, &to.to_host, a->err))
        return false;
    c->connect_to = arena_grow(a->arena, c->connect_to, c->n_connect_to, sizeof(to));
    c->connect_to[c->n_connect_to++] = to;
    return true;
}

bool value_set_connect(const struct assign *a, struct str text)
{
    struct rule *r = OWNER(a->field, struct rule, connect_host);
    struct str host, port;
    if (text.len == 0) {
        r->connect_host = "";
        r->connect_port = 0;
        return true;
    }
    if (!value_split(text, &host, &port) || port.len == 0)
        return net_fail_at(a->err, text, "is not HOST:PORT");
    return value_port(port, &r->connect_port, a->err) &&
           value_target(a->arena, host, &r->connect_host, a->err);
}

bool value_set_bind(const struct assign *a, struct str text)
{
    struct upstream_conf *u = a->field;
    struct str rest = text, item;
    while (str_next_item(&rest, &item)) {
        struct addr ip;
        if (!addr_parse_ip(&ip, item, 0))
            return net_fail_at(a->err, item, "is no IP address");
        struct addr *to = addr_family(&ip) == AF_INET ? &u->bind4 : &u->bind6;
        if (to->len != 0)
            return net_fail_at(a->err, item, "is a second address of its family");
        *to = ip;
    }
    return true;
}

/* PATH must stay where it is: an empty, "." or ".." segment would be resolved by the next reader.
 * */
static bool is_plain_path(struct str path)
{
    struct str rest = path;
    while (rest.len > 0) {
        rest = str_from_byte(rest, 1); /* the slash */
        size_t n = str_find(rest, '/');
        struct str segment = str_make(rest.p, n);
        if (n == 0 || str_eq(segment, STR(".")) || str_eq(segment, STR("..")) ||
            str_ieq(segment, STR("%2e")) || str_ieq(segment, STR("%2e%2e")) ||
            str_ieq(segment, STR(".%2e")) || str_ieq(segment, STR("%2e.")))
            return false;
        rest = str_from_byte(rest, n);
    }
    return true;
}

/* "http://HOST[:PORT][REST]"; the port is the scheme's where none is written. */
struct url {
    bool is_tls;
    struct str host; /* as written, for value_host() */
    uint16_t port;
    struct str rest;
};

static bool split_url(struct str url, struct url *u)
{
    static const struct str schemes[2] = {STR_INIT("http://"), STR_INIT("https://")};
    u->is_tls = str_istarts(url, schemes[1]);
    if (!is_printable(url) || !str_istarts(url, schemes[u->is_tls]))
        return false;
    struct str authority = str_from_byte(url, schemes[u->is_tls].len);
    size_t n = 0;
    while (n < authority.len && strchr("/?#", authority.p[n]) == NULL)
        n++;
    u->rest = str_from_byte(authority, n);
    authority.len = n;
    struct str number;
    if (!value_split(authority, &u->host, &number))
        return false;
    u->port = u->is_tls ? 443 : 80;
    return number.len == 0 || value_port(number, &u->port, NULL);
}

bool value_set_to(const struct assign *a, struct str text)
{
    struct forward *f = OWNER(a->field, struct forward, host);
    struct url u;
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.p[i] >= 0x80)
            return net_fail_at(a->err, text,
                               "has a byte that no URL has: write the host in its xn-- form");
    if (!split_url(text, &u) || !value_host(a->arena, u.host, &f->host, NULL))
        return net_fail_at(a->err, text, "is not http(s)://HOST[:PORT][/PATH]");
    f->is_rooted = is_rooted(u.host);
    f->tls = u.is_tls;
    f->port = u.port;
    struct str path = u.rest;
    if (str_find(path, '?') != path.len || str_find(path, '#') != path.len)
        return net_fail_at(a->err, text, "has a query or a fragment");
    if (path.len > 0 && path.p[path.len - 1] == '/')
        path.len--;
    if (!is_plain_path(path))
        return net_fail_at(a->err, text, "has an empty or a dot segment in its path");
    f->path = arena_dup(a->arena, path).p;
    return true;
}

bool value_set_token(const struct assign *a, struct str text)
{
    struct oauth_conf *o = OWNER(a->field, struct oauth_conf, url);
    struct url u;
    if (!split_url(text, &u) || !u.is_tls || !value_host(a->arena, u.host, &o->host, NULL) ||
        str_find(u.rest, '#') != u.rest.len)
        /* Who puts credentials there is not to see them repeated. */
        return value_fail(a->err, "is not https://HOST[:PORT]/PATH");
    o->url = arena_dup(a->arena, text).p;
    o->port = u.port;
    return true;
}

bool value_set_servers(const struct assign *a, struct str text)
{
    struct addr ip;
    bool is_server = addr_parse_ip(&ip, text, 53) || (addr_parse(&ip, text) && addr_port(&ip) != 0);
    if (!is_server || addr_family(&ip) == AF_UNIX)
        return net_fail_at(a->err, text, "is no address: write ADDR or ADDR:PORT");
    strings_add(a->arena, a->field, arena_dup(a->arena, text).p);
    return true;
}

bool value_set_origins(const struct assign *a, struct str text)
{
    const char *host;
    struct url u;
    if (!split_url(text, &u) || !value_host(a->arena, u.host, &host, NULL) ||
        (u.rest.len > 0 && !str_eq(u.rest, STR("/"))))
        return net_fail_at(a->err, text, "is no origin: write http://name or https://name:port");
    /* As a browser writes it: brackets around IPv6, no port where it is the scheme's. */
    bool is_v6 = strchr(host, ':') != NULL;
    char number[8] = "";
    if (u.port != (u.is_tls ? 443 : 80)) {
        number[0] = ':';
        number[1 + str_put_u64(number + 1, u.port)] = '\0';
    }
    struct str origin = arena_printf(a->arena, "%s://%s%s%s%s", u.is_tls ? "https" : "http",
                                     is_v6 ? "[" : "", host, is_v6 ? "]" : "", number);
    strings_add(a->arena, a->field, origin.p);
    return true;
}

static bool is_token(struct str name)
{
    for (size_t i = 0; i < name.len; i++)
        if (!isalnum((unsigned char)name.p[i]) && strchr("!#$%&'*+-.^_`|~", name.p[i]) == NULL)
            return false;
    return name.len > 0;
}

/* Fields that frame the message or belong to one connection: changing them would break either. */
static bool is_reserved(struct str name)
{
    static const char *const names[] = {
        "Host", "Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive",
        "TE",   "Trailer",        "Upgrade",           "Expect",     "Via"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (str_ieq(name, str_from(names[i])))
            return true;
    return str_istarts(name, STR("Proxy-"));
}

/* The text may be a secret: no message repeats it. */
bool value_set_edits(const struct assign *a, struct str text)
{
    struct rule *r = OWNER(a->field, struct rule, edits);
    size_t colon = str_find(text, ':');
    struct str name = str_make(text.p, colon);
    struct str value = str_trim(str_from_byte(text, colon + 1));
    if (colon == text.len || !is_token(name))
        return value_fail(a->err, "is neither \"Name: value\" nor \"Name:\"");
    if (is_reserved(name))
        return value_fail(a->err, "%.*s cannot be changed: the proxy makes it itself",
                          STR_ARG(name));
    for (size_t i = 0; i < value.len; i++)
        if (((unsigned char)value.p[i] < ' ' && value.p[i] != '\t') || value.p[i] == 0x7f)
            return value_fail(a->err, "the value of %.*s has a control byte in it", STR_ARG(name));
    struct header_edit edit = {.name = arena_dup(a->arena, name).p};
    const char *why = secret_text_parse(&edit.text, a->arena, value);
    if (why != NULL)
        return value_fail(a->err, "the value of %.*s %s", STR_ARG(name), why);
    /* What {file:} and the like stand for comes when all is there: secrets_load(). */
    if (value.len > 0 && !edit.text.is_secret)
        edit.value = secret_text_plain(&edit.text, a->arena);
    r->edits = arena_grow(a->arena, r->edits, r->n_edits, sizeof(edit));
    r->edits[r->n_edits++] = edit;
    return true;
}
