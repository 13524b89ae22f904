/* SPDX-License-Identifier: Apache-2.0 */
/* Request targets, authorities, references in field values, and the paths that climb. */
#include "http/uri.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define EACH(i, table)                    \
    size_t i = 0;                         \
    i < sizeof(table) / sizeof(table[0]); \
    i++

/* A copy in memory of just that size, so that a sanitizer sees a read behind its end. */
static struct str exact(struct arena *arena, const char *text)
{
    char *copy = arena_alloc(arena, strlen(text));
    memcpy(copy, text, strlen(text));
    return str_make(copy, strlen(text));
}

static const struct host_case {
    const char *raw;
    const char *name;   /* NULL: refused */
    const char *detail; /* a part of why, when refused */
    unsigned port;
    bool is_ip, is_ip6;
} host_cases[] = {
    {"example.com", "example.com", NULL, 0, false, false},
    {"EXAMPLE.com.:8080", "example.com", NULL, 8080, false, false},
    {"a", "a", NULL, 0, false, false},
    {"a:", "a", NULL, 0, false, false},
    {"a_b.example:65535", "a_b.example", NULL, 65535, false, false},
    {"127.0.0.1:00080", "127.0.0.1", NULL, 80, true, false},
    {"127.0.0.1.", "127.0.0.1", NULL, 0, true, false},
    {"[::1]", "::1", NULL, 0, true, true},
    {"[::1]:443", "::1", NULL, 443, true, true},
    {"[0:0::0:1]:", "::1", NULL, 0, true, true},
    {"[2001:DB8::A]", "2001:db8::a", NULL, 0, true, true},
    {"1.example", "1.example", NULL, 0, false, false},
    {"0xg", "0xg", NULL, 0, false, false},
    {"", NULL, "empty", 0, false, false},
    {".", NULL, "empty", 0, false, false},
    {"..", NULL, "dot", 0, false, false},
    {"h..:80", NULL, "dot", 0, false, false},
    {":80", NULL, "empty", 0, false, false},
    {"a:0", NULL, "port", 0, false, false},
    {"a:65536", NULL, "port", 0, false, false},
    {"a:99999999999999999999", NULL, "port", 0, false, false},
    {"a:80x", NULL, "port", 0, false, false},
    {"a:+80", NULL, "port", 0, false, false},
    {"a:80:80", NULL, "port", 0, false, false},
    {"::1", NULL, "empty", 0, false, false},
    {"user@host", NULL, "user information", 0, false, false},
    {"user:pw@host", NULL, "user information", 0, false, false},
    {"a b", NULL, "no host name has", 0, false, false},
    {"a/b", NULL, "no host name has", 0, false, false},
    {"a\\b", NULL, "no host name has", 0, false, false},
    {"/a?q=secret:80", NULL, "the host /a has a byte", 0, false, false},
    {"a\tb", NULL, "no host name has", 0, false, false},
    {"a,\x7f", NULL, "no host name has", 0, false, false},
    {"b\xc3\xbc"
     "cher.example",
     NULL, "xn--bcher-kva.example", 0, false, false},
    {"B\xc3\x9c"
     "CHER.example:80",
     NULL, "xn--bcher-kva.example", 0, false, false},
    {"b\xfc"
     "cher.example",
     NULL, "no host name has", 0, false, false},
    {"127.1", NULL, "IPv4", 0, false, false},
    {"1.2.3", NULL, "IPv4", 0, false, false},
    {"1.2.3.4.5", NULL, "IPv4", 0, false, false},
    {"256.1.1.1", NULL, "IPv4", 0, false, false},
    {"2130706433", NULL, "IPv4", 0, false, false},
    {"0x7f000001", NULL, "IPv4", 0, false, false},
    {"0x", NULL, "IPv4", 0, false, false},
    {"foo.0x1f", NULL, "IPv4", 0, false, false},
    {"foo.123", NULL, "IPv4", 0, false, false},
    {"[::1", NULL, "not closed", 0, false, false},
    {"[", NULL, "not closed", 0, false, false},
    {"[]", NULL, "IPv6", 0, false, false},
    {"[127.0.0.1]", NULL, "IPv6", 0, false, false},
    {"[fe80::1%25eth0]", NULL, "has a zone", 0, false, false},
    {"[fe80::1%eth0]:80", NULL, "has a zone", 0, false, false},
    {"[%]", NULL, "has a zone", 0, false, false},
    {"[::1]x", NULL, "behind the bracket", 0, false, false},
    {"[::1]:x", NULL, "port", 0, false, false},
};

static void test_hosts(void **state)
{
    (void)state;
    for (EACH(i, host_cases)) {
        const struct host_case *c = &host_cases[i];
        struct arena arena;
        struct uri_host h;
        const char *why = NULL;
        arena_init(&arena, NULL, 0);
        bool ok = uri_parse_host(&h, &arena, exact(&arena, c->raw), &why);
        if (ok != (c->name != NULL))
            fail_msg("%s: %s", c->raw, ok ? "taken" : why);
        if (!ok && strstr(why, c->detail) == NULL)
            fail_msg("%s: %s", c->raw, why);
        if (ok && (!str_eq(h.name, str_from(c->name)) || h.port != c->port || h.is_ip != c->is_ip ||
                   h.is_ip6 != c->is_ip6))
            fail_msg("%s: %.*s %u", c->raw, STR_ARG(h.name), h.port);
        size_t len = str_find(str_from(c->raw), ':');
        if (ok && h.is_rooted != (!h.is_ip && len > 0 && c->raw[len - 1] == '.'))
            fail_msg("%s: %s", c->raw, h.is_rooted ? "rooted" : "not rooted");
        arena_clear(&arena);
    }
}

static void test_long_host(void **state)
{
    char name[257];
    struct arena arena;
    struct uri_host h;
    const char *why;
    (void)state;
    memset(name, 'a', sizeof(name));
    for (size_t i = 63; i < sizeof(name); i += 64)
        name[i] = '.';
    arena_init(&arena, NULL, 0);
    assert_true(uri_parse_host(&h, &arena, str_make(name, 253), &why));
    assert_false(uri_parse_host(&h, &arena, str_make(name, 254), &why));
    assert_non_null(strstr(why, "longer than 253 bytes"));
    name[253] = '.';
    assert_true(uri_parse_host(&h, &arena, str_make(name, 254), &why));
    assert_int_equal(h.name.len, 253);
    /* And one label, wherever it stands. */
    memset(name, 'a', sizeof(name));
    assert_true(uri_parse_host(&h, &arena, str_make(name, 63), &why));
    assert_false(uri_parse_host(&h, &arena, str_make(name, 64), &why));
    assert_non_null(strstr(why, "more than 63 bytes"));
    for (size_t dot = 1; dot <= 65; dot++) {
        name[dot] = '.';
        bool fits = dot <= 63;
        if (uri_parse_host(&h, &arena, str_make(name, dot + 65), &why))
            fail_msg("a label of 64 bytes behind %zu", dot);
        if (uri_parse_host(&h, &arena, str_make(name, dot + 64), &why) != fits)
            fail_msg("a label of 63 bytes behind %zu", dot);
        name[dot] = 'a';
    }
    memset(name, 0xc3, sizeof(name));
    assert_false(uri_parse_host(&h, &arena, str_make(name, 256), &why));
    arena_clear(&arena);
}

static const struct target_case {
    const char *raw;
    bool is_connect;
    int form; /* -1: refused */
    enum uri_scheme scheme;
    const char *host;
    unsigned port;
    const char *path; /* or a part of why */
} target_cases[] = {
    {"/", false, TARGET_ORIGIN, SCHEME_NONE, "", 0, "/"},
    {"/a?b=c%20d", false, TARGET_ORIGIN, SCHEME_NONE, "", 0, "/a?b=c%20d"},
    {"/a?b#frag", false, TARGET_ORIGIN, SCHEME_NONE, "", 0, "/a?b"},
    {"//host/p", false, TARGET_ORIGIN, SCHEME_NONE, "", 0, "//host/p"},
    {"/http://x@y", false, TARGET_ORIGIN, SCHEME_NONE, "", 0, "/http://x@y"},
    {"*", false, TARGET_ASTERISK, SCHEME_NONE, "", 0, "*"},
    {"http://h", false, TARGET_ABSOLUTE, SCHEME_HTTP, "h", 0, "/"},
    {"http://h/", false, TARGET_ABSOLUTE, SCHEME_HTTP, "h", 0, "/"},
    {"HTTP://H:81/A", false, TARGET_ABSOLUTE, SCHEME_HTTP, "h", 81, "/A"},
    {"https://h?q", false, TARGET_ABSOLUTE, SCHEME_HTTPS, "h", 0, "/?q"},
    {"http://h#f", false, TARGET_ABSOLUTE, SCHEME_HTTP, "h", 0, "/"},
    {"http://h?a#f?g", false, TARGET_ABSOLUTE, SCHEME_HTTP, "h", 0, "/?a"},
    {"http://[::1]:8/x@y", false, TARGET_ABSOLUTE, SCHEME_HTTP, "::1", 8, "/x@y"},
    {"http://h/../%2e\"<>\\^`{|}", false, TARGET_ABSOLUTE, SCHEME_HTTP, "h", 0,
     "/../%2e\"<>\\^`{|}"},
    {"ftp://h/p@q", false, TARGET_ABSOLUTE, SCHEME_OTHER, "", 0, "h/p@q"},
    {"ftp://u:p@h/p", false, TARGET_ABSOLUTE, SCHEME_OTHER, "", 0, "h/p"},
    {"ftp://u:p@", false, TARGET_ABSOLUTE, SCHEME_OTHER, "", 0, ""},
    {"ws://h/p", false, TARGET_ABSOLUTE, SCHEME_HTTP, "h", 0, "/p"},
    {"WSS://h:81?q", false, TARGET_ABSOLUTE, SCHEME_HTTPS, "h", 81, "/?q"},
    {"wsx://h/p", false, TARGET_ABSOLUTE, SCHEME_OTHER, "", 0, "h/p"},
    {"h2+x-y.z://", false, TARGET_ABSOLUTE, SCHEME_OTHER, "", 0, ""},
    {"http://", false, -1, 0, "", 0, "empty"},
    {"http:///p", false, -1, 0, "", 0, "empty"},
    {"http://u:p@h:81/x@y", false, TARGET_ABSOLUTE, SCHEME_HTTP, "h", 81, "/x@y"},
    {"https://u:p@[::1]?q", false, TARGET_ABSOLUTE, SCHEME_HTTPS, "::1", 0, "/?q"},
    {"http://@h", false, TARGET_ABSOLUTE, SCHEME_HTTP, "h", 0, "/"},
    {"http://u:p@", false, -1, 0, "", 0, "empty"},
    {"http://u:p@h@i/", false, -1, 0, "", 0, "%40"},
    {"http://u:p@s%40h/", false, -1, 0, "", 0, "%40"},
    {"http://h\\@evil/", false, -1, 0, "", 0, "%5C"},
    {"http://u:%0d%0aX@h/", false, -1, 0, "", 0, "control byte"},
    {"http://u:\xc3\xa4@h/", false, -1, 0, "", 0, "percent-encoded"},
    {"http://u:q/@h/", false, -1, 0, "", 0, "%2F"},
    {"http://u%40:q%3A?w@h/", false, -1, 0, "", 0, "%3F"},
    {"http://h:port/p", false, -1, 0, "", 0, "65535"},
    {"http:/h", false, -1, 0, "", 0, "neither"},
    {"http:h", false, -1, 0, "", 0, "neither"},
    {"h:443", false, -1, 0, "", 0, "neither"},
    {"example.com", false, -1, 0, "", 0, "neither"},
    {"1http://h/", false, -1, 0, "", 0, "neither"},
    {"{http://h/", false, -1, 0, "", 0, "neither"},
    {"", false, -1, 0, "", 0, "neither"},
    {"**", false, -1, 0, "", 0, "neither"},
    {"http://h/\xc3\xa4", false, -1, 0, "", 0, "percent-encoded"},
    {"/\xc3\xa4", false, -1, 0, "", 0, "percent-encoded"},
    {"http://h/#\xc3\xa4", false, -1, 0, "", 0, "percent-encoded"},
    {"http://\xc3\xa4.de/", false, -1, 0, "", 0, "xn--4ca.de"},
    {"h:443", true, TARGET_AUTHORITY, SCHEME_NONE, "h", 443, ""},
    {"[::1]:443", true, TARGET_AUTHORITY, SCHEME_NONE, "::1", 443, ""},
    {"h", true, -1, 0, "", 0, "HOST:PORT"},
    {"h:", true, -1, 0, "", 0, "HOST:PORT"},
    {"http://h:443", true, -1, 0, "", 0, "port"},
    {"u@h:443", true, -1, 0, "", 0, "user information"},
    {"h:443/", true, -1, 0, "", 0, "port"},
    {"*", true, -1, 0, "", 0, "HOST:PORT"},
};

static void test_targets(void **state)
{
    (void)state;
    for (EACH(i, target_cases)) {
        const struct target_case *c = &target_cases[i];
        struct arena arena;
        struct target t;
        const char *why = NULL;
        arena_init(&arena, NULL, 0);
        bool ok = uri_parse_target(&t, &arena, exact(&arena, c->raw), c->is_connect, &why);
        if (ok != (c->form >= 0))
            fail_msg("%s: %s", c->raw, ok ? "taken" : why);
        if (!ok && strstr(why, c->path) == NULL)
            fail_msg("%s: %s", c->raw, why);
        if (ok && ((int)t.form != c->form || t.scheme != c->scheme || t.host.port != c->port ||
                   !str_eq(t.host.name, str_from(c->host)) || !str_eq(t.path, str_from(c->path))))
            fail_msg("%s: %d %.*s %.*s", c->raw, (int)t.form, STR_ARG(t.host.name),
                     STR_ARG(t.path));
        if (ok)
            assert_int_equal(t.has_fragment, strchr(c->raw, '#') != NULL);
        arena_clear(&arena);
    }
}

static void test_without_userinfo(void **state)
{
    static const char *const cases[][2] = {
        {"http://u:p@h/x@y#@", "http://h/x@y#@"},
        {"https://a@b:p@h:81?x@y", "https://h:81?x@y"},
        {"x-app://u@h", "x-app://h"},
        {"//u@h/", "//h/"},
        {"http://@", "http://"},
        {"http://h/x@y", NULL},
        {"/x?http://u@h/", NULL},
        {"x?http://u@h/", NULL},
        {"mailto:u@h", NULL},
        {"null", NULL},
        {"@", NULL},
        {"", NULL},
    };
    (void)state;
    for (EACH(i, cases)) {
        struct arena arena;
        arena_init(&arena, NULL, 0);
        struct str url = exact(&arena, cases[i][0]);
        struct str got = uri_without_userinfo(&arena, url);
        if (cases[i][1] == NULL)
            assert_ptr_equal(got.p, url.p);
        assert_true(str_eq(got, str_from(cases[i][cases[i][1] != NULL])));
        arena_clear(&arena);
    }
}

static void test_refs(void **state)
{
    static const struct {
        const char *url;
        int scheme; /* -1: none */
        const char *host, *authority, *rest;
    } cases[] = {
        {"http://h/p?q#f", SCHEME_HTTP, "h", "h", "/p?q#f"},
        {"HTTPS://H:8443", SCHEME_HTTPS, "h", "H:8443", ""},
        {"https://u:p@h:1?x", SCHEME_HTTPS, "h", "h:1", "?x"},
        {"https://[::1]#x", SCHEME_HTTPS, "::1", "[::1]", "#x"},
        {"/p", -1, "", "", ""},
        {"//h/p", -1, "", "", ""},
        {"ftp://h/p", -1, "", "", ""},
        {"https:/h/p", -1, "", "", ""},
        {"https://", -1, "", "", ""},
        {"https://h:0/", -1, "", "", ""},
        {"https://h\\x/", -1, "", "", ""},
        {"", -1, "", "", ""},
    };
    (void)state;
    for (EACH(i, cases)) {
        struct arena arena;
        struct uri_ref r;
        arena_init(&arena, NULL, 0);
        bool ok = uri_parse_ref(&r, &arena, exact(&arena, cases[i].url));
        assert_int_equal(ok, cases[i].scheme >= 0);
        if (ok) {
            assert_int_equal(r.scheme, cases[i].scheme);
            assert_true(str_eq(r.host.name, str_from(cases[i].host)));
            assert_true(str_eq(r.authority, str_from(cases[i].authority)));
            assert_true(str_eq(r.rest, str_from(cases[i].rest)));
        }
        arena_clear(&arena);
    }
}

static void test_authority(void **state)
{
    struct arena arena;
    (void)state;
    arena_init(&arena, NULL, 0);
    assert_true(str_eq(uri_authority(&arena, STR("h"), 0, 443), STR("h")));
    assert_true(str_eq(uri_authority(&arena, STR("h"), 443, 443), STR("h")));
    assert_true(str_eq(uri_authority(&arena, STR("h"), 65535, 443), STR("h:65535")));
    assert_true(str_eq(uri_authority(&arena, STR("::1"), 0, 80), STR("[::1]")));
    assert_true(str_eq(uri_authority(&arena, STR("::1"), 81, 80), STR("[::1]:81")));
    arena_clear(&arena);
}

static void test_leaves_root(void **state)
{
    static const struct {
        const char *path;
        bool leaves;
    } cases[] = {
        {"/", false},           {"", false},
        {"/a/b", false},        {"/a/../b", false},
        {"/a/..", false},       {"/./a/./..", false},
        {"/...", false},        {"/..a/../..b", false},
        {"/a?/../..", false},   {"/a%2fb", false},
        {"/..", true},          {"/../", true},
        {"/a/../../b", true},   {"/%2e%2E/b", true},
        {"/.%2e", true},        {"/a/./../..", true},
        {"/a//../..", true},    {"/a/..;x=y/..;", true},
        {"/..%2fb", true},      {"/a%2f..%2F..", true},
        {"/a%2fb/../..", true}, {"/a\\..\\..", true},
        {"/..%5cb", true},
    };
    (void)state;
    for (EACH(i, cases)) {
        if (uri_path_leaves_root(str_from(cases[i].path)) != cases[i].leaves)
            fail_msg("%s", cases[i].path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_long_host),
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_refs),
        cmocka_unit_test(test_without_userinfo),
        cmocka_unit_test(test_authority),
        cmocka_unit_test(test_leaves_root),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
