/* SPDX-License-Identifier: Apache-2.0 */
/* Values that say where to listen, where to connect, and what to change: listeners, connect_to,
 * URLs, servers, origins, request fields. The field of a compound type is its first one; the struct
 * is found from it. */
#include <ctype.h>
#include <stdlib.h>

#include "conf/conf.h"
#include "conf/value.h"

#define OWNER(field, type, member) ((type *)((char *)(field)-offsetof(type, member)))

static bool fail_at(char *err, struct str text, const char *reason)
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

static void strings_add(struct strings *list, char *text)
{
    list->v = xgrow(list->v, list->n, sizeof(list->v[0]));
    list->v[list->n++] = text;
}

bool value_set_listen(const struct key *k, void *field, struct str text, char *err)
{
    (void)k;
    struct conf *c = OWNER(field, struct conf, listeners);
    struct listener l = {0};
    if (str_istarts(text, STR("tls:")))
        return fail_at(err, text, "cannot be opened: this version has no tls: listeners");
    if (!addr_parse(&l.addr, text))
        return fail_at(err, text, "is no listener: write ADDR:PORT, [::1]:3128 or unix:/path");
    l.text = xstrndup(text.p, text.len);
    c->listeners = xgrow(c->listeners, c->n_listeners, sizeof(l));
    c->listeners[c->n_listeners++] = l;
    return true;
}

bool value_set_service(const struct key *k, void *field, struct str text, char *err)
{
    struct conf *c = OWNER(field, struct conf, listeners);
    struct addr a;
    if (str_eq(text, STR("off")))
        return true;
    if (!addr_parse(&a, text) || addr_family(&a) == AF_UNIX)
        return fail_at(err, text, "is no service listener: write ADDR:PORT or off");
    if (!value_set_listen(k, field, text, err))
        return false;
    c->listeners[c->n_listeners - 1].is_service = true;
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

/* A name to connect to: the normal form, but a dot at its end stays, for it says how the name is
 * looked up. */
static bool value_target(struct str text, char **host, char *err)
{
    if (!value_host(text, host, err))
        return false;
    if (is_rooted(text)) {
        char *dotted = xasprintf("%s.", *host);
        free(*host);
        *host = dotted;
    }
    return true;
}

/* "" stays ""; else the normal form. */
static bool host_or_empty(struct str text, char **host, char *err)
{
    *host = NULL;
    if (text.len > 0)
        return value_host(text, host, err);
    *host = xstrdup("");
    return true;
}

static bool port_or_zero(struct str text, uint16_t *port, char *err)
{
    *port = 0;
    return text.len == 0 || value_port(text, port, err);
}

bool value_set_connect_to(const struct key *k, void *field, struct str text, char *err)
{
    (void)k;
    struct conf *c = OWNER(field, struct conf, connect_to);
    struct str rest = text, host, port, to_host;
    if (!take_host(&rest, &host) || !take_host(&rest, &port) || !take_host(&rest, &to_host) ||
        str_find(rest, ':') != rest.len)
        return fail_at(err, text, "is not HOST:PORT:ADDR:PORT");
    struct connect_to to;
    if (!port_or_zero(port, &to.port, err) || !port_or_zero(rest, &to.to_port, err))
        return false;
    if (!host_or_empty(host, &to.host, err))
        return false;
    to.to_host = NULL;
    if (to_host.len == 0) {
        to.to_host = xstrdup("");
    } else if (!value_target(to_host, &to.to_host, err)) {
        free(to.host);
        return false;
    }
    c->connect_to = xgrow(c->connect_to, c->n_connect_to, sizeof(to));
    c->connect_to[c->n_connect_to++] = to;
    return true;
}

bool value_set_connect(const struct key *k, void *field, struct str text, char *err)
{
    (void)k;
    struct rule *r = OWNER(field, struct rule, connect_host);
    struct str host, port;
    if (text.len == 0) {
        free(r->connect_host);
        r->connect_host = xstrdup("");
        r->connect_port = 0;
        return true;
    }
    if (!value_split(text, &host, &port) || port.len == 0)
        return fail_at(err, text, "is not HOST:PORT");
    return value_port(port, &r->connect_port, err) && value_target(host, &r->connect_host, err);
}

bool value_set_bind(const struct key *k, void *field, struct str text, char *err)
{
    (void)k;
    struct upstream_conf *u = field;
    struct str rest = text, item;
    while (str_next_item(&rest, &item)) {
        struct addr a;
        if (!addr_parse_ip(&a, item, 0))
            return fail_at(err, item, "is no IP address");
        struct addr *to = addr_family(&a) == AF_INET ? &u->bind4 : &u->bind6;
        if (to->len != 0)
            return fail_at(err, item, "is a second address of its family");
        *to = a;
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

/* Takes the dot off that value_target() left; false when there is none. */
static bool cut_dot(char *host)
{
    size_t len = strlen(host);
    bool has_dot = len > 0 && host[len - 1] == '.';
    if (has_dot)
        host[len - 1] = '\0';
    return has_dot;
}

/* Splits "http://HOST[:PORT][REST]", HOST as value_target() has it; the port is the scheme's where
 * none is written. */
static bool split_url(struct str url, bool *is_tls, char **host, uint16_t *port, struct str *rest)
{
    static const struct str schemes[2] = {STR_INIT("http://"), STR_INIT("https://")};
    *is_tls = str_istarts(url, schemes[1]);
    if (!is_printable(url) || !str_istarts(url, schemes[*is_tls]))
        return false;
    struct str authority = str_from_byte(url, schemes[*is_tls].len);
    size_t n = 0;
    while (n < authority.len && strchr("/?#", authority.p[n]) == NULL)
        n++;
    *rest = str_from_byte(authority, n);
    authority.len = n;
    struct str name, number;
    if (!value_split(authority, &name, &number))
        return false;
    *port = *is_tls ? 443 : 80;
    if (number.len > 0 && !value_port(number, port, NULL))
        return false;
    return value_target(name, host, NULL);
}

bool value_set_to(const struct key *k, void *field, struct str text, char *err)
{
    (void)k;
    struct forward *f = OWNER(field, struct forward, host);
    struct str path;
    if (!split_url(text, &f->tls, &f->host, &f->port, &path))
        return fail_at(err, text, "is not http(s)://HOST[:PORT][/PATH]");
    f->is_rooted = cut_dot(f->host);
    if (str_find(path, '?') != path.len || str_find(path, '#') != path.len)
        return fail_at(err, text, "has a query or a fragment");
    if (path.len > 0 && path.p[path.len - 1] == '/')
        path.len--;
    if (!is_plain_path(path))
        return fail_at(err, text, "has an empty or a dot segment in its path");
    free(f->path);
    f->path = xstrndup(path.len == 0 ? "" : path.p, path.len);
    return true;
}

bool value_set_servers(const struct key *k, void *field, struct str text, char *err)
{
    (void)k;
    struct addr a;
    bool is_server = addr_parse_ip(&a, text, 53) || (addr_parse(&a, text) && addr_port(&a) != 0);
    if (!is_server || addr_family(&a) == AF_UNIX)
        return fail_at(err, text, "is no address: write ADDR or ADDR:PORT");
    strings_add(field, xstrndup(text.p, text.len));
    return true;
}

bool value_set_origins(const struct key *k, void *field, struct str text, char *err)
{
    (void)k;
    bool is_tls;
    char *host = NULL;
    uint16_t port;
    struct str rest;
    if (!split_url(text, &is_tls, &host, &port, &rest) ||
        (rest.len > 0 && !str_eq(rest, STR("/")))) {
        free(host);
        return fail_at(err, text, "is no origin: write http://name or https://name:port");
    }
    (void)cut_dot(host);
    /* As a browser writes it: brackets around IPv6, no port where it is the scheme's. */
    bool is_v6 = strchr(host, ':') != NULL;
    char number[8] = "";
    if (port != (is_tls ? 443 : 80)) {
        number[0] = ':';
        number[1 + str_put_u64(number + 1, port)] = '\0';
    }
    strings_add(field, xasprintf("%s://%s%s%s%s", is_tls ? "https" : "http", is_v6 ? "[" : "", host,
                                 is_v6 ? "]" : "", number));
    free(host);
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

/* Where VALUE holds NEEDLE. */
static bool contains(struct str value, struct str needle)
{
    for (size_t i = 0; i + needle.len <= value.len; i++)
        if (str_starts(str_from_byte(value, i), needle))
            return true;
    return false;
}

/* The text may be a secret: no message repeats it. */
bool value_set_edits(const struct key *k, void *field, struct str text, char *err)
{
    (void)k;
    struct rule *r = OWNER(field, struct rule, edits);
    size_t colon = str_find(text, ':');
    struct str name = str_make(text.p, colon);
    struct str value = str_trim(str_from_byte(text, colon + 1));
    if (colon == text.len || !is_token(name))
        return value_fail(err, "is neither \"Name: value\" nor \"Name:\"");
    if (is_reserved(name))
        return value_fail(err, "%.*s cannot be changed: the proxy makes it itself", STR_ARG(name));
    for (size_t i = 0; i < value.len; i++)
        if (((unsigned char)value.p[i] < ' ' && value.p[i] != '\t') || value.p[i] == 0x7f)
            return value_fail(err, "the value of %.*s has a control byte in it", STR_ARG(name));
    if (contains(value, STR("{file:")) || contains(value, STR("{env:")))
        return value_fail(err,
                          "the value of %.*s has {file:} or {env:}, which this version "
                          "does not know",
                          STR_ARG(name));
    struct header_edit edit = {.name = xstrndup(name.p, name.len)};
    if (value.len > 0)
        edit.value = xstrndup(value.p, value.len);
    r->edits = xgrow(r->edits, r->n_edits, sizeof(edit));
    r->edits[r->n_edits++] = edit;
    return true;
}
