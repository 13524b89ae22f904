/* SPDX-License-Identifier: Apache-2.0 */
/* Request targets and authorities. Strict where two readers could see two hosts: a second "@",
 * bytes outside ASCII, and numbers that are an address to some resolvers only ("127.1",
 * "0x7f000001") are refused. */
#include "http/uri.h"

#include "base/addr.h"
#include "http/chars.h"
#include "http/punycode.h"
#include "http/userinfo.h"

/* Bytes of a host without the dot at its end, and of a label, as many as the DNS has room for (RFC
 * 1035 section 2.3.4); H1_HOST_MAX leaves room for the first. */
enum { MAX_NAME = 253, MAX_LABEL = 63 };

/* WHY is NULL where nobody reads the sentence. */
static bool uri_fail(const char **why, const char *sentence)
{
    if (why != NULL)
        *why = sentence;
    return false;
}

static bool all_of(struct str s, unsigned classes)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!chars_is(s.p[i], classes))
            return false;
    }
    return true;
}

/* The host has a byte that no reg-name may have: says which name was meant when it is an
 * international one. A query, which is kept out of logs, is not repeated. */
static bool uri_fail_name(struct str name, struct arena *arena, const char **why)
{
    char ascii[MAX_NAME + 1], shown[MAX_NAME + 1];
    bool is_ascii = true;
    if (why == NULL)
        return false;
    name.len = str_find(name, '?');
    for (size_t i = 0; i < name.len; i++)
        is_ascii = is_ascii && (uint8_t)name.p[i] < 0x80;
    if (!is_ascii && punycode_of_host(ascii, sizeof(ascii), name)) {
        str_escape(shown, sizeof(shown), str_from(ascii));
        *why = arena_printf(arena, "the host must be written in ASCII: %s", shown).p;
    } else {
        str_escape(shown, sizeof(shown), name);
        *why = arena_printf(arena, "the host %s has a byte that no host name has", shown).p;
    }
    return false;
}

bool uri_ends_in_number(struct str name)
{
    size_t i = name.len;
    while (i > 0 && name.p[i - 1] != '.')
        i--;
    struct str last = str_from_byte(name, i);
    if (last.len >= 2 && last.p[0] == '0' && (last.p[1] | 0x20) == 'x')
        return all_of(str_from_byte(last, 2), CHAR_HEX);
    return last.len > 0 && all_of(last, CHAR_DIGIT);
}

/* NAME in lower case: itself when it is. */
static struct str uri_lower(struct arena *arena, struct str name)
{
    for (size_t i = 0; i < name.len; i++) {
        if (name.p[i] >= 'A' && name.p[i] <= 'Z')
            return str_lower(arena_alloc(arena, name.len), name);
    }
    return name;
}

static bool has_long_label(struct str name)
{
    while (name.len > MAX_LABEL) {
        size_t n = str_find(name, '.');
        if (n > MAX_LABEL)
            return true;
        name = str_from_byte(name, n + 1);
    }
    return false;
}

static bool parse_name(struct uri_host *h, struct arena *arena, struct str name, const char **why)
{
    if (!all_of(name, CHAR_HOST))
        return uri_fail_name(name, arena, why);
    h->is_rooted = name.len > 0 && name.p[name.len - 1] == '.';
    if (h->is_rooted)
        name.len--;
    if (name.len == 0)
        return uri_fail(why, "the host is empty");
    if (name.p[name.len - 1] == '.')
        return uri_fail(why, "the host ends in more than one dot");
    if (name.len > MAX_NAME)
        return uri_fail(why, "the host name is longer than 253 bytes");
    if (has_long_label(name))
        return uri_fail(why, "the host name has a part between dots of more than 63 bytes");
    struct addr addr;
    h->name = uri_lower(arena, name);
    h->is_ip = uri_ends_in_number(name);
    h->is_rooted = h->is_rooted && !h->is_ip;
    if (h->is_ip && !addr_parse_ip(&addr, name, 0))
        return uri_fail(why, "the host is a number but no IPv4 address of four decimal parts");
    return true;
}

/* What is between the brackets. One spelling of an address becomes one name, so that rules see the
 * same as the socket. */
static bool parse_ip6(struct uri_host *h, struct arena *arena, struct str ip, const char **why)
{
    struct addr addr;
    char text[ADDR_TEXT];
    if (str_find(ip, '%') < ip.len)
        return uri_fail(why, "the IPv6 address has a zone, which is an interface of the client's "
                             "own: the proxy cannot reach it, leave the zone out");
    if (ip.len >= ADDR_TEXT || memchr(ip.p, ':', ip.len) == NULL || !addr_parse_ip(&addr, ip, 0))
        return uri_fail(why, "the host in brackets is no IPv6 address");
    struct str name = str_from(addr_print_ip(&addr, text));
    h->name = str_eq(name, ip) ? ip : arena_dup(arena, name);
    h->is_ip = h->is_ip6 = true;
    return true;
}

static const char bad_port[] = "the port is not a number from 1 to 65535";

/* ":8443", ":" or nothing. */
static bool parse_port(struct uri_host *h, struct str rest, const char **why)
{
    uint64_t port = 0;
    if (rest.len == 0)
        return true;
    if (rest.p[0] != ':')
        return uri_fail(why, "there are bytes behind the bracket of the host");
    if (rest.len == 1)
        return true;
    if (!str_to_u64(str_from_byte(rest, 1), &port) || port == 0 || port > UINT16_MAX)
        return uri_fail(why, bad_port);
    h->port = (uint16_t)port;
    return true;
}

/* Of an authority without "@". H is all zero. */
static bool parse_host(struct uri_host *h, struct arena *arena, struct str raw, const char **why)
{
    if (raw.len == 0)
        return uri_fail(why, "the host is empty");
    if (raw.p[0] == '[') {
        size_t end = str_find(raw, ']');
        if (end == raw.len)
            return uri_fail(why, "the bracket of the IPv6 address is not closed");
        return parse_ip6(h, arena, str_make(raw.p + 1, end - 1), why) &&
               parse_port(h, str_from_byte(raw, end + 1), why);
    }
    size_t colon = str_find(raw, ':');
    return parse_name(h, arena, str_make(raw.p, colon), why) &&
           parse_port(h, str_from_byte(raw, colon), why);
}

bool uri_parse_host(struct uri_host *h, struct arena *arena, struct str raw, const char **why)
{
    *h = (struct uri_host){.port = 0};
    if (str_find(raw, '@') < raw.len)
        return uri_fail(why,
                        "there is user information before the host: credentials belong into an "
                        "Authorization field");
    return parse_host(h, arena, raw, why);
}

static enum uri_scheme scheme_of(struct str name)
{
    if (str_ieq(name, STR("http")))
        return SCHEME_HTTP;
    return str_ieq(name, STR("https")) ? SCHEME_HTTPS : SCHEME_OTHER;
}

/* Of a target: WebSocket clients name the scheme that their request turns into (RFC 6455 §3). */
static enum uri_scheme target_scheme(struct str name)
{
    enum uri_scheme scheme = scheme_of(name);
    if (scheme == SCHEME_OTHER && str_ieq(name, STR("ws")))
        return SCHEME_HTTP;
    return scheme == SCHEME_OTHER && str_ieq(name, STR("wss")) ? SCHEME_HTTPS : scheme;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_scheme_byte(char c)
{
    return is_letter(c) || chars_is(c, CHAR_DIGIT) || c == '+' || c == '-' || c == '.';
}

/* Takes "scheme://" off S; false when it does not begin so. */
static bool take_scheme(struct str *s, struct str *scheme)
{
    size_t i = 0;
    while (i < s->len && is_scheme_byte(s->p[i]))
        i++;
    *scheme = str_make(s->p, i);
    if (i == 0 || !is_letter(s->p[0]) || !str_starts(str_from_byte(*s, i), STR("://")))
        return false;
    *s = str_from_byte(*s, i + 3);
    return true;
}

/* Takes the authority off S: all up to "/", "?" or "#". */
static struct str take_authority(struct str *s)
{
    size_t i = 0;
    while (i < s->len && s->p[i] != '/' && s->p[i] != '?' && s->p[i] != '#')
        i++;
    struct str authority = str_make(s->p, i);
    *s = str_from_byte(*s, i);
    return authority;
}

/* Behind the scheme of a target, before REST. A "%" would be legal in the host, but behind userinfo
 * it is what clients make of an "@" that was too many, and the host would show a piece of the
 * password. */
static bool parse_authority(struct target *t, struct arena *arena, struct str authority,
                            struct str rest, const char **why)
{
    t->userinfo = userinfo_take(&authority);
    if (t->userinfo.p != NULL && !userinfo_check(t->userinfo, why))
        return false;
    if (t->userinfo.p != NULL && str_find(authority, '%') < authority.len)
        return uri_fail(why,
                        "the host behind the user information has a percent sign in it: an @ in a "
                        "password must be written as %40");
    t->authority = authority;
    if (parse_host(&t->host, arena, authority, why))
        return true;
    if (*why == bad_port && str_find(rest, '@') < rest.len) /* wget undoes %2F */
        *why = "the port is not a number from 1 to 65535; if a password stands before the host, a "
               "slash in it must be written as %2F, a ? as %3F and a # as %23";
    return false;
}

/* Path and query at the front of RAW, up to a fragment. */
static struct str take_path(struct target *t, struct str raw)
{
    size_t end = str_find(raw, '#');
    t->has_fragment = end < raw.len;
    return str_make(raw.p, end);
}

static bool parse_absolute(struct target *t, struct arena *arena, struct str raw, const char **why)
{
    t->form = TARGET_ABSOLUTE;
    if (!take_scheme(&raw, &t->scheme_name))
        return uri_fail(why, "the request target is neither a path nor an absolute URL");
    t->scheme = target_scheme(t->scheme_name);
    struct str rest = raw, authority = take_authority(&raw);
    if (t->scheme == SCHEME_OTHER) {
        struct str userinfo = userinfo_take(&authority);
        t->path = userinfo.p == NULL ? rest : str_from_byte(rest, userinfo.len + 1);
        return true;
    }
    if (!parse_authority(t, arena, authority, raw, why))
        return false;
    t->path = take_path(t, raw);
    if (t->path.len == 0)
        t->path = STR("/");
    else if (t->path.p[0] == '?')
        t->path = arena_printf(arena, "/%.*s", STR_ARG(t->path));
    return true;
}

bool uri_parse_target(struct target *t, struct arena *arena, struct str raw, bool is_connect,
                      const char **why)
{
    *t = (struct target){.form = TARGET_ORIGIN};
    if (is_connect) {
        t->form = TARGET_AUTHORITY;
        if (!uri_parse_host(&t->host, arena, raw, why))
            return false;
        return t->host.port != 0 ? true : uri_fail(why, "CONNECT needs HOST:PORT as its target");
    }
    if (str_eq(raw, STR("*"))) {
        t->form = TARGET_ASTERISK;
        t->path = raw;
        return true;
    }
    bool is_path = raw.len > 0 && raw.p[0] == '/';
    if (is_path)
        t->path = take_path(t, raw);
    else if (!parse_absolute(t, arena, raw, why))
        return false;
    if (!all_of(raw, CHAR_TARGET))
        return uri_fail(why,
                        "the request target has a byte that is not printable ASCII: it must be "
                        "percent-encoded");
    return true;
}

bool uri_parse_ref(struct uri_ref *r, struct arena *arena, struct str url)
{
    struct str scheme = {NULL, 0};
    if (!take_scheme(&url, &scheme) || scheme_of(scheme) == SCHEME_OTHER)
        return false;
    r->scheme = scheme_of(scheme);
    r->authority = take_authority(&url);
    r->rest = url;
    (void)userinfo_take(&r->authority);
    return uri_parse_host(&r->host, arena, r->authority, NULL);
}

struct str uri_without_userinfo(struct arena *arena, struct str url)
{
    struct str rest = url, scheme;
    if (str_find(url, '@') == url.len)
        return url;
    if (str_starts(url, STR("//")))
        rest = str_from_byte(url, 2);
    else if (!take_scheme(&rest, &scheme))
        return url;
    struct str before = str_make(url.p, url.len - rest.len);
    struct str authority = take_authority(&rest);
    if (userinfo_take(&authority).p == NULL)
        return url;
    return arena_printf(arena, "%.*s%.*s%.*s", STR_ARG(before), STR_ARG(authority), STR_ARG(rest));
}

struct str uri_authority(struct arena *arena, struct str host, uint16_t port, uint16_t default_port)
{
    bool is_ip6 = str_find(host, ':') < host.len;
    char *text = arena_alloc(arena, host.len + sizeof("[]:65535"));
    size_t n = 0;
    if (is_ip6)
        text[n++] = '[';
    memcpy(text + n, host.p, host.len);
    n += host.len;
    if (is_ip6)
        text[n++] = ']';
    if (port != 0 && port != default_port) {
        text[n++] = ':';
        n += str_put_u64(text + n, port);
    }
    text[n] = '\0';
    return str_make(text, n);
}

/* True when S begins with what is one "%XX" of the two hex digits HEX (lower case). */
static bool is_escape(struct str s, const char *hex)
{
    return s.len >= 3 && s.p[0] == '%' && s.p[1] == hex[0] && (s.p[2] | 0x20) == hex[1];
}

/* Bytes of S up to a separator of segments, as some server may see one. */
static size_t piece_length(struct str s)
{
    size_t i = 0;
    while (i < s.len && s.p[i] != '/' && s.p[i] != '\\' && !is_escape(str_from_byte(s, i), "2f") &&
           !is_escape(str_from_byte(s, i), "5c"))
        i++;
    return i;
}

/* The dots that PIECE is made of, up to ";" (a path parameter, which some servers cut); 0 when it
 * has anything else. */
static unsigned count_dots(struct str piece)
{
    unsigned dots = 0;
    while (piece.len > 0 && piece.p[0] != ';') {
        if (piece.p[0] != '.' && !is_escape(piece, "2e"))
            return 0;
        piece = str_from_byte(piece, piece.p[0] == '.' ? 1 : 3);
        dots++;
    }
    return dots;
}

bool uri_is_loopback_name(struct str name)
{
    return str_ieq(name, STR("localhost")) || str_iends(name, STR(".localhost"));
}

bool uri_is_internal_name(struct str name)
{
    return str_eq(name, STR("tlsfan.internal"));
}

bool uri_is_own_name(struct str name)
{
    return uri_is_internal_name(name) || str_eq(name, STR("tlsfan.localhost"));
}

/* The depth is the least that any reading gives: "%2f" and "\" separate for "..", but only "/"
 * makes a segment that counts, and an empty one does not. */
bool uri_path_leaves_root(struct str path)
{
    int depth = 0;
    bool is_counted = false;
    path = str_make(path.p, str_find(path, '?'));
    while (path.len > 0) {
        struct str piece = str_make(path.p, piece_length(path));
        unsigned dots = count_dots(piece);
        if (dots == 2)
            depth--;
        else if (dots != 1 && piece.len > 0 && !is_counted) {
            depth++;
            is_counted = true;
        }
        if (depth < 0)
            return true;
        path = str_from_byte(path, piece.len);
        if (path.len > 0 && path.p[0] == '/')
            is_counted = false;
        path = str_from_byte(path, path.len > 0 && path.p[0] == '%' ? 3 : 1);
    }
    return false;
}
