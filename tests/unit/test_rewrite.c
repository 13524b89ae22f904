/* SPDX-License-Identifier: Apache-2.0 */
/* http/rewrite.c: section "Making the upgrade invisible" of the manual, a case a sentence and
 * more. Each case is one field line before and after; OUT NULL: the field goes; OUT equal to IN:
 * the very same bytes stay. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "conf/rule_index.h"
#include "http/rewrite.h"

struct rewrite_case {
    const char *in, *out;
};

static char star[] = "*", plain[] = "plain.example", half[] = "half.example",
            half_pattern[] = "half.example:8080", tls_host[] = "api.example.com", prefix[] = "/v2",
            no_path[] = "", v6_host[] = "2001:db8::1";

/* All is upgraded but plain.example and port 8080 of half.example. */
static struct rule rules[] = {
    {.pattern = star, .host = star, .upgrade = true},
    {.pattern = plain, .host = plain, .index = 1},
    {.pattern = half_pattern, .host = half, .match_port = 8080, .index = 2},
};

static struct conf conf = {
    .rewrite = {true, true, true, true, true, true}, .rules = rules, .n_rules = 3};

static const struct forward to_prefix = {
    .host = tls_host, .path = prefix, .port = 443, .tls = true};
static const struct forward to_root = {
    .host = tls_host, .path = no_path, .port = 8443, .tls = true};
static const struct forward to_plain = {.host = v6_host, .path = prefix, .port = 80};
static const struct forward to_client_host = {
    .host = tls_host, .path = no_path, .port = 443, .tls = true, .host_is_client = true};

static void check(const struct rewrite_case *c, const struct rewrite *r, bool is_request)
{
    struct arena arena;
    arena_init(&arena, NULL, 0);
    struct fields fields;
    fields_init(&fields, &arena, NULL, 0);
    struct str line = str_from(c->in);
    size_t colon = str_find(line, ':');
    struct str value = str_trim(str_from_byte(line, colon + 1));
    fields_put(&fields, str_make(line.p, colon), value);
    if (is_request)
        rewrite_request(&fields, r);
    else
        rewrite_response(&fields, r);
    const struct field *f = &fields.v[0];
    struct str out = STR("");
    if (f->name.p != NULL)
        out = arena_printf(&arena, "%.*s: %.*s", STR_ARG(f->name), STR_ARG(f->value));
    if (!str_eq(out, str_from(c->out)))
        fail_msg("%s: got \"%.*s\"", c->in, STR_ARG(out));
    if (c->out != NULL && strcmp(c->in, c->out) == 0 && f->value.p != value.p)
        fail_msg("%s: copied without need", c->in);
    assert_int_equal(fields.n, 1);
    arena_clear(&arena);
}

static void check_all(const struct rewrite_case *c, const struct rewrite *r, bool is_request)
{
    for (; c->in != NULL; c++)
        check(c, r, is_request);
}

static const struct rewrite proxy = {.conf = &conf, .is_upgraded = true};

#define SAME(text) \
    {              \
        text, text \
    }

static const struct rewrite_case location_cases[] = {
    {"Location: https://a.example/x?y#z", "Location: http://a.example/x?y#z"},
    {"Location: https://a.example", "Location: http://a.example"},
    {"Location: https://a.example:443/x", "Location: http://a.example/x"},
    {"Location: https://a.example:8443/x", "Location: http://a.example:8443/x"},
    {"Location: HTTPS://A.Example/X%2f", "Location: http://A.Example/X%2f"},
    {"Location: https://[2001:db8::1]/", "Location: http://[2001:db8::1]/"},
    {"Location: https://[2001:db8::1]:443/", "Location: http://[2001:db8::1]/"},
    {"Location: https://[2001:db8::1]:8443/", "Location: http://[2001:db8::1]:8443/"},
    {"Location: https://a.example/?u=https://b/:443",
     "Location: http://a.example/?u=https://b/:443"},
    /* http://a.example:80 would lead to 443. */
    SAME("Location: https://a.example:80/x"),
    /* Only where that host would be upgraded again. */
    SAME("Location: https://plain.example/"),
    SAME("Location: https://PLAIN.example./"),
    SAME("Location: https://half.example:8080/"),
    {"Location: https://half.example/", "Location: http://half.example/"},
    SAME("Location: http://a.example/"),
    SAME("Location: /login?next=https://a.example/"),
    SAME("Location: //a.example/x"),
    SAME("Location: login"),
    SAME("Location: https:/a"),
    SAME("Location: https://"),
    SAME("Location: httpsx://a.example/"),
    SAME("Location: ftp://a.example/"),
    SAME("Location: "),
    {"Content-Location: https://a.example/x", "Content-Location: http://a.example/x"},
    SAME("X-Location: https://a.example/x"),
    {"Refresh: 5; url=https://a.example/x", "Refresh: 5; url=http://a.example/x"},
    {"Refresh: 0;URL=HTTPS://a.example:443/x", "Refresh: 0;URL=http://a.example/x"},
    {"Refresh: 5; Url = 'https://a.example/x' y", "Refresh: 5; Url = 'http://a.example/x' y"},
    {"Refresh: 5;url=\"https://a.example/x\"", "Refresh: 5;url=\"http://a.example/x\""},
    {"Refresh: 5,https://a.example/", "Refresh: 5,http://a.example/"},
    {"Refresh: 5 url=https://a.example/", "Refresh: 5 url=http://a.example/"},
    SAME("Refresh: 5"),
    SAME("Refresh: 5; url="),
    SAME("Refresh: 5; url='"),
    SAME("Refresh: 5; url"),
    SAME("Refresh: 5; url=/x"),
    SAME("Refresh: 5; url=https://plain.example/"),
    {NULL, NULL},
};

static const struct rewrite_case link_cases[] = {
    {"Link: <https://a.example/2>; rel=\"next\"", "Link: <http://a.example/2>; rel=\"next\""},
    {"Link: <https://a.example/2>; rel=next, </x>, <https://plain.example/>,<https://b:443>;rel=x",
     "Link: <http://a.example/2>; rel=next, </x>, <https://plain.example/>,<http://b>;rel=x"},
    {"Link: </a>; title=\"<https://q/> \\\" <https://q/>\", <https://b/>; anchor=\"https://c/\"",
     "Link: </a>; title=\"<https://q/> \\\" <https://q/>\", <http://b/>; anchor=\"https://c/\""},
    SAME("Link: </2>; rel=next"),
    SAME("Link: <https://a.example/2"),
    SAME("Link: \"<https://a.example/2>"),
    SAME("Link: \"\\"),
    SAME("Link: <>"),
    SAME("Link: https://a.example/2"),
    {"WWW-Authenticate: Bearer realm=\"https://auth.example/token\",service=\"https://b/\"",
     "WWW-Authenticate: Bearer realm=\"http://auth.example/token\",service=\"https://b/\""},
    {"WWW-Authenticate: Basic  REALM = \"https://a:443/\"",
     "WWW-Authenticate: Basic  REALM = \"http://a/\""},
    {"WWW-Authenticate: Bearer scope=\"a, realm=\\\"x\", realm=\"https://a/\", error=x",
     "WWW-Authenticate: Bearer scope=\"a, realm=\\\"x\", realm=\"http://a/\", error=x"},
    {"WWW-Authenticate: Negotiate, Basic realm=\"https://a/\", Bearer realm=\"https://b/\"",
     "WWW-Authenticate: Negotiate, Basic realm=\"http://a/\", Bearer realm=\"http://b/\""},
    /* Digest hashes its realm. */
    {"WWW-Authenticate: Digest nonce=\"x\", realm=\"https://a/\", Basic realm=\"https://a/\"",
     "WWW-Authenticate: Digest nonce=\"x\", realm=\"https://a/\", Basic realm=\"http://a/\""},
    SAME("WWW-Authenticate: Digest realm=\"https://a/\""),
    SAME("WWW-Authenticate: Basic realm=\"see https://a/\""),
    SAME("WWW-Authenticate: Basic realm=\"https://plain.example/\""),
    SAME("WWW-Authenticate: Basic realm=\"https://a/"),
    SAME("WWW-Authenticate: Basic realm="),
    SAME("WWW-Authenticate: Basic realm"),
    SAME("WWW-Authenticate: Negotiate"),
    SAME("WWW-Authenticate: Bearer xrealm=\"https://a/\""),
    {NULL, NULL},
};

static const struct rewrite_case cookie_cases[] = {
    {"Set-Cookie: a=b; Secure", "Set-Cookie: a=b"},
    {"Set-Cookie: a=b; Path=/; secure; HttpOnly", "Set-Cookie: a=b; Path=/; HttpOnly"},
    {"Set-Cookie: a=b;SECURE;HttpOnly", "Set-Cookie: a=b;HttpOnly"},
    {"Set-Cookie: a=b ;  Secure  ; Path=/", "Set-Cookie: a=b ; Path=/"},
    {"Set-Cookie: a=b; Secure=1", "Set-Cookie: a=b"},
    {"Set-Cookie: a=b; SameSite=None; Secure", "Set-Cookie: a=b"},
    {"Set-Cookie: a=b; samesite = none ;Secure; Partitioned; Max-Age=5",
     "Set-Cookie: a=b; Max-Age=5"},
    {"Set-Cookie: a=b; SameSite=Lax; Secure", "Set-Cookie: a=b; SameSite=Lax"},
    {"Set-Cookie: __Host-a=b; Secure; Path=/", "Set-Cookie: __Host-a=b; Path=/"},
    {"Set-Cookie: Secure; Secure", "Set-Cookie: Secure"},
    {"Set-Cookie: a=\"x; Secure; y\"", "Set-Cookie: a=\"x; y\""},
    SAME("Set-Cookie: Secure=1; Path=/"),
    SAME("Set-Cookie: a=b; SameSite=Strict"),
    SAME("Set-Cookie: a=b; Domain=example.com; Securely; NotPartitioned"),
    SAME("Set-Cookie: a=b; SameSite=Nonesuch"),
    SAME("Set-Cookie: a=b; Expires=Wed, 21 Oct 2026 07:28:00 GMT;"),
    SAME("Set-Cookie: a"),
    SAME("Set-Cookie: ;"),
    SAME("Set-Cookie2: a=b; Secure"),
    {NULL, NULL},
};

static const struct rewrite_case hsts_cases[] = {
    {"Strict-Transport-Security: max-age=1", NULL},
    {"strict-transport-security: ", NULL},
    {"Alt-Svc: h3=\":443\"", NULL},
    {"Content-Security-Policy: upgrade-insecure-requests", NULL},
    {"Content-Security-Policy: Upgrade-Insecure-Requests;", NULL},
    {"Content-Security-Policy: default-src 'self' https:; upgrade-insecure-requests",
     "Content-Security-Policy: default-src 'self' https:"},
    {"Content-Security-Policy: upgrade-insecure-requests; img-src  *",
     "Content-Security-Policy: img-src  *"},
    {"Content-Security-Policy: a b;upgrade-insecure-requests ;c",
     "Content-Security-Policy: a b; c"},
    {"Content-Security-Policy: upgrade-insecure-requests, a b; c",
     "Content-Security-Policy: a b; c"},
    {"Content-Security-Policy: a; upgrade-insecure-requests, c", "Content-Security-Policy: a, c"},
    SAME("Content-Security-Policy: default-src 'self';  img-src *;"),
    SAME("Content-Security-Policy: x-upgrade-insecure-requests"),
    SAME("Content-Security-Policy: "),
    SAME("Content-Security-Policy-Report-Only: upgrade-insecure-requests"),
    {NULL, NULL},
};

static const struct rewrite_case cors_cases[] = {
    {"Access-Control-Allow-Origin: https://a.example",
     "Access-Control-Allow-Origin: http://a.example"},
    {"Access-Control-Allow-Origin: https://a:8443", "Access-Control-Allow-Origin: http://a:8443"},
    SAME("Access-Control-Allow-Origin: *"),
    SAME("Access-Control-Allow-Origin: null"),
    SAME("Access-Control-Allow-Origin: https://plain.example"),
    SAME("Access-Control-Allow-Origin: http://a.example"),
    {NULL, NULL},
};

static const struct rewrite_case request_cases[] = {
    {"Origin: http://a.example", "Origin: https://a.example"},
    {"Origin: http://a.example:80", "Origin: https://a.example"},
    {"Origin: http://a.example:443", "Origin: https://a.example"},
    {"Origin: http://a.example:8443", "Origin: https://a.example:8443"},
    {"Origin: http://[::1]:80", "Origin: https://[::1]"},
    {"Origin: http://half.example", "Origin: https://half.example"},
    SAME("Origin: http://plain.example"),
    SAME("Origin: http://half.example:8080"),
    SAME("Origin: null"),
    SAME("Origin: https://a.example"),
    SAME("Origin: moz-extension://a"),
    SAME("Origin: "),
    {"Referer: http://a.example/x?y=http://b", "Referer: https://a.example/x?y=http://b"},
    {"referer: HTTP://A.example:80/x", "referer: https://A.example/x"},
    SAME("Referer: http://plain.example/x"),
    SAME("Referer: about:blank"),
    SAME("Referer: /x"),
    {"Destination: http://a.example/dav/b%20c", "Destination: https://a.example/dav/b%20c"},
    SAME("Destination: /dav/b"),
    {"If: <http://a.example/x> (<opaquelocktoken:1>)",
     "If: <https://a.example/x> (<opaquelocktoken:1>)"},
    {"If: <http://a.example:80/x>([\"a)<http://a.example/>\"]) (Not <http://a.example/t)>) "
     "<http://b.example:8443/> (Not <DAV:no-lock> [W/\"\\\"]) <https://a.example/y> (<t:1>) "
     "<http://plain.example/> (<t:2>)<http://half.example/>(<t:3>)",
     "If: <https://a.example/x>([\"a)<http://a.example/>\"]) (Not <http://a.example/t)>) "
     "<https://b.example:8443/> (Not <DAV:no-lock> [W/\"\\\"]) <https://a.example/y> (<t:1>) "
     "<http://plain.example/> (<t:2>)<https://half.example/>(<t:3>)"},
    {"If: <http://u:p@a.example/x@y> (<urn:1@2>) <http://u@plain.example/> (<http://u@a.example/>)",
     "If: <https://a.example/x@y> (<urn:1@2>) <http://plain.example/> (<http://u@a.example/>)"},
    SAME("If: <http://u@a.example/x"),
    SAME("If: (<http://a.example/token>) ([\"etag\"])"),
    SAME("If: (<http://a.example/token"),
    SAME("If: (\"http://a.example/) <http://a.example/> (<t:1>)"),
    SAME("If: <http://a.example/x"),
    SAME("If: </x> (<http://a.example/token>)"),
    SAME("If: <"),
    SAME("If: "),
    SAME("If-Match: <http://a.example/>"),
    {"X-Forwarded-Proto: http", "X-Forwarded-Proto: https"},
    {"X-Forwarded-Proto: HTTP", "X-Forwarded-Proto: https"},
    SAME("X-Forwarded-Proto: https"),
    SAME("X-Forwarded-Host: http://a.example"),
    SAME("Cookie: a=http://a.example"),
    {NULL, NULL},
};

static void test_proxy(void **state)
{
    (void)state;
    check_all(location_cases, &proxy, false);
    check_all(link_cases, &proxy, false);
    check_all(cookie_cases, &proxy, false);
    check_all(hsts_cases, &proxy, false);
    check_all(cors_cases, &proxy, false);
    check_all(request_cases, &proxy, true);
}

/* Whatever the value, userinfo never changes. */
static void test_userinfo(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, NULL, 0);
    struct fields fields;
    fields_init(&fields, &arena, NULL, 0);
    fields_put(&fields, STR("Location"), STR("https://u:443@a.example:443/x@y"));
    rewrite_response(&fields, &proxy);
    struct str out = fields.v[0].value;
    assert_true(str_eq(out, STR("http://u:443@a.example/x@y")) ||
                str_eq(out, STR("https://u:443@a.example:443/x@y")));
    arena_clear(&arena);
}

static void check_same(const struct rewrite_case *c, const struct rewrite *r, bool is_request)
{
    for (; c->in != NULL; c++) {
        const struct rewrite_case same = SAME(c->in);
        check(&same, r, is_request);
    }
}

/* Nothing is touched for a request that was not upgraded, nor by a key that is off; the other
 * keys still work. */
static void test_keys(void **state)
{
    (void)state;
    static const struct {
        const struct rewrite_case *cases;
        size_t key;
        bool is_request;
    } keys[] = {
        {location_cases, offsetof(struct rewrite_conf, location), false},
        {link_cases, offsetof(struct rewrite_conf, links), false},
        {cookie_cases, offsetof(struct rewrite_conf, cookies), false},
        {hsts_cases, offsetof(struct rewrite_conf, hsts), false},
        {cors_cases, offsetof(struct rewrite_conf, cors), false},
        {request_cases, offsetof(struct rewrite_conf, origin), true},
    };
    const struct rewrite not_upgraded = {.conf = &conf};
    for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
        check_same(keys[i].cases, &not_upgraded, keys[i].is_request);
        bool *on = (bool *)((char *)&conf.rewrite + keys[i].key);
        *on = false;
        check_same(keys[i].cases, &proxy, keys[i].is_request);
        *on = true;
        const struct rewrite_conf all_on = conf.rewrite;
        conf.rewrite = (struct rewrite_conf){0};
        *on = true;
        check_all(keys[i].cases, &proxy, keys[i].is_request);
        conf.rewrite = all_on;
    }
}

static const struct rewrite_case prefix_responses[] = {
    {"Location: https://api.example.com/v2/x?y", "Location: http://gw:9001/x?y"},
    {"Location: HTTPS://API.example.com:443/v2/x", "Location: http://gw:9001/x"},
    {"Location: https://api.example.com/v2", "Location: http://gw:9001/"},
    {"Location: https://api.example.com/v2?q", "Location: http://gw:9001/?q"},
    {"Location: https://api.example.com/v2#f", "Location: http://gw:9001/#f"},
    {"Location: //api.example.com/v2/x", "Location: http://gw:9001/x"},
    {"Location: /v2/x", "Location: /x"},
    {"Location: /v2", "Location: /"},
    {"Content-Location: https://api.example.com/v2/x", "Content-Location: http://gw:9001/x"},
    {"Refresh: 1; url=https://api.example.com/v2/x", "Refresh: 1; url=http://gw:9001/x"},
    {"Link: <https://api.example.com/v2/x>; rel=next, </v2/y>, <https://b/>",
     "Link: <http://gw:9001/x>; rel=next, </y>, <https://b/>"},
    {"WWW-Authenticate: Bearer realm=\"https://api.example.com/v2/t\"",
     "WWW-Authenticate: Bearer realm=\"http://gw:9001/t\""},
    {"Access-Control-Allow-Origin: https://api.example.com",
     "Access-Control-Allow-Origin: http://gw:9001"},
    {"Set-Cookie: a=b; domain = .example.com ; Secure; Path=/v2", "Set-Cookie: a=b; Path=/v2"},
    {"Strict-Transport-Security: max-age=1", NULL},
    {"Content-Security-Policy: upgrade-insecure-requests", NULL},
    /* Not below `to`, another port or scheme, another host: the client does not reach these
     * through us. */
    SAME("Location: https://api.example.com/v20/x"),
    SAME("Location: https://api.example.com/"),
    SAME("Location: https://api.example.com/v2/../x"),
    SAME("Location: https://api.example.com/v2/%2e%2E/x"),
    SAME("Location: https://api.example.com:8443/v2/x"),
    SAME("Location: http://api.example.com/v2/x"),
    SAME("Location: https://u@api.example.com/v2/x"),
    SAME("Location: https://other.example/v2/x"),
    SAME("Location: //other.example/v2/x"),
    SAME("Location: /other"),
    SAME("Location: x"),
    SAME("Access-Control-Allow-Origin: https://other.example"),
    {NULL, NULL},
};

static const struct rewrite_case prefix_requests[] = {
    {"Origin: http://gw:9001", "Origin: https://api.example.com"},
    {"Origin: http://GW:9001", "Origin: https://api.example.com"},
    {"Referer: http://gw:9001/x?y", "Referer: https://api.example.com/v2/x?y"},
    {"Destination: http://gw:9001/b", "Destination: https://api.example.com/v2/b"},
    {"Destination: /b", "Destination: /v2/b"},
    {"If: <http://gw:9001/b> (<http://gw:9001/t>) </c> ([\"e\"]) <http://other/d> (<t:1>)",
     "If: <https://api.example.com/v2/b> (<http://gw:9001/t>) </v2/c> ([\"e\"]) <http://other/d> "
     "(<t:1>)"},
    SAME("If: <http://gw:9001/../b> (<t:1>)"),
    {"X-Forwarded-Proto: http", "X-Forwarded-Proto: https"},
    SAME("Origin: http://gw"),
    SAME("Origin: https://gw:9001"),
    SAME("Origin: http://other.example"),
    SAME("Origin: null"),
    SAME("Referer: http://other.example/x"),
    SAME("Destination: http://gw:9001/../b"),
    SAME("Destination: /../b"),
    {NULL, NULL},
};

static const struct rewrite_case root_cases[] = {
    {"Location: https://api.example.com:8443/v2/x", "Location: http://[::1]:9001/v2/x"},
    {"Location: https://api.example.com:8443", "Location: http://[::1]:9001"},
    SAME("Location: https://api.example.com/v2/x"),
    SAME("Location: /v2/x"),
    {"Link: </a>, <https://api.example.com:8443/>", "Link: </a>, <http://[::1]:9001/>"},
    {NULL, NULL},
};

static const struct rewrite_case root_requests[] = {
    {"Origin: http://[::1]:9001", "Origin: https://api.example.com:8443"},
    {"Referer: http://[::1]:9001", "Referer: https://api.example.com:8443"},
    SAME("Destination: /b"),
    {NULL, NULL},
};

/* `to` without TLS: only the mapping. */
static const struct rewrite_case plain_responses[] = {
    {"Location: http://[2001:db8::1]/v2/x", "Location: http://gw/x"},
    {"Location: //[2001:DB8::1]:80/v2/x", "Location: http://gw/x"},
    {"Set-Cookie: a=b; Secure; Domain=x; SameSite=None", "Set-Cookie: a=b; Secure; SameSite=None"},
    {"Set-Cookie: a=b; Domain", "Set-Cookie: a=b"},
    SAME("Location: https://[2001:db8::1]/v2/x"),
    SAME("Strict-Transport-Security: max-age=1"),
    SAME("Alt-Svc: h3=\":443\""),
    SAME("Content-Security-Policy: upgrade-insecure-requests"),
    {NULL, NULL},
};

static const struct rewrite_case plain_requests[] = {
    {"Origin: http://gw", "Origin: http://[2001:db8::1]"},
    {"Origin: http://gw:80", "Origin: http://[2001:db8::1]"},
    {"Referer: http://gw/x", "Referer: http://[2001:db8::1]/v2/x"},
    SAME("X-Forwarded-Proto: http"),
    {NULL, NULL},
};

/* host = client: the origin knows the listener's name and makes its URLs of it. */
static const struct rewrite_case client_host_responses[] = {
    {"Location: https://gw:9001/x", "Location: http://gw:9001/x"},
    {"Location: https://api.example.com/x", "Location: http://gw:9001/x"},
    {"Access-Control-Allow-Origin: https://gw:9001", "Access-Control-Allow-Origin: http://gw:9001"},
    SAME("Location: https://gw/x"),
    SAME("Location: https://other.example/x"),
    {NULL, NULL},
};

static const struct rewrite_case client_host_requests[] = {
    {"Origin: http://gw:9001", "Origin: https://gw:9001"},
    {"Referer: http://gw:9001/x", "Referer: https://gw:9001/x"},
    {NULL, NULL},
};

/* A listener that speaks TLS itself: what is https stays so, but not for the listener's host. */
static const struct rewrite_case tls_responses[] = {
    {"Location: https://api.example.com/v2/x", "Location: https://gw:9001/x"},
    {"Set-Cookie: a=b; Secure; Domain=x; SameSite=None", "Set-Cookie: a=b; Secure; SameSite=None"},
    {"Strict-Transport-Security: max-age=1", NULL},
    {"Alt-Svc: h3=\":443\"", NULL},
    {"Access-Control-Allow-Origin: https://api.example.com",
     "Access-Control-Allow-Origin: https://gw:9001"},
    SAME("Location: https://other.example/v2/x"),
    SAME("Location: http://api.example.com/v2/x"),
    SAME("Content-Security-Policy: upgrade-insecure-requests"),
    {NULL, NULL},
};

static const struct rewrite_case tls_requests[] = {
    {"Origin: https://gw:9001", "Origin: https://api.example.com"},
    {"Referer: https://gw:9001/x", "Referer: https://api.example.com/v2/x"},
    SAME("Origin: http://gw:9001"),
    SAME("Origin: https://gw"),
    {NULL, NULL},
};

static void test_forward(void **state)
{
    (void)state;
    const struct rewrite by_prefix = {&conf, &to_prefix, STR("gw:9001"), true};
    check_all(prefix_responses, &by_prefix, false);
    check_all(prefix_requests, &by_prefix, true);
    const struct rewrite by_root = {&conf, &to_root, STR("[::1]:9001"), true};
    check_all(root_cases, &by_root, false);
    check_all(root_requests, &by_root, true);
    const struct rewrite by_plain = {&conf, &to_plain, STR("gw"), false};
    check_all(plain_responses, &by_plain, false);
    check_all(plain_requests, &by_plain, true);
    const struct rewrite by_client_host = {&conf, &to_client_host, STR("gw:9001"), true};
    check_all(client_host_responses, &by_client_host, false);
    check_all(client_host_requests, &by_client_host, true);
    struct forward secured = to_prefix;
    secured.client_tls = true;
    const struct rewrite by_tls = {&conf, &secured, STR("gw:9001"), false};
    check_all(tls_responses, &by_tls, false);
    check_all(tls_requests, &by_tls, true);
}

static void test_would_upgrade(void **state)
{
    (void)state;
    assert_true(rewrite_would_upgrade(&conf, STR("a.example"), 0));
    assert_true(rewrite_would_upgrade(&conf, STR("a.example"), 80));
    assert_false(rewrite_would_upgrade(&conf, STR("plain.example"), 0));
    assert_false(rewrite_would_upgrade(&conf, STR("plain.example"), 8443));
    assert_false(rewrite_would_upgrade(&conf, STR("half.example"), 8080));
    assert_true(rewrite_would_upgrade(&conf, STR("half.example"), 80));
}

/* Every field of a name is looked at, and thousands of links cost memory in proportion. */
static void test_many(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, NULL, 0);
    struct fields fields;
    fields_init(&fields, &arena, NULL, 0);
    fields_put(&fields, STR("Set-Cookie"), STR("a=b; Secure"));
    fields_put(&fields, STR("Alt-Svc"), STR("x"));
    fields_put(&fields, STR("set-cookie"), STR("c=d; Secure"));
    fields_put(&fields, STR("Alt-Svc"), STR("y"));
    enum { N = 10000 };
    static const char one[] = "<https://api.example.com/v2/>,";
    char *many = arena_alloc(&arena, N * sizeof(one));
    size_t len = 0;
    for (unsigned i = 0; i < N; i++, len += sizeof(one) - 1)
        memcpy(many + len, one, sizeof(one) - 1);
    fields_put(&fields, STR("Link"), str_make(many, len));
    size_t before = arena.total;
    const struct rewrite r = {&conf, &to_prefix, STR("gateway.with-a-long-name.internal:9001"),
                              true};
    rewrite_response(&fields, &r);
    assert_true(str_eq(fields.v[0].value, STR("a=b")));
    assert_null(fields.v[1].name.p);
    assert_true(str_eq(fields.v[2].value, STR("c=d")));
    assert_null(fields.v[3].name.p);
    assert_int_equal(fields.v[4].value.len,
                     N * strlen("<http://gateway.with-a-long-name.internal:9001/>,"));
    assert_true(arena.total - before < 20 * len);
    arena_clear(&arena);
}

static void test_edits(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, NULL, 0);
    struct fields fields;
    fields_init(&fields, &arena, NULL, 0);
    fields_put(&fields, STR("x-key"), STR("1"));
    fields_put(&fields, STR("Cookie"), STR("a=b"));
    fields_put(&fields, STR("X-KEY"), STR("2"));
    char key[] = "X-Key", secret[] = "s", cookie[] = "cookie", agent[] = "User-Agent",
         curl[] = "curl", gone[] = "X-Gone";
    const struct header_edit edits[] = {{.name = key, .value = secret, .text.is_secret = true},
                                        {.name = cookie},
                                        {.name = agent, .value = curl},
                                        {.name = gone}};
    rewrite_edits(&fields, edits, 4, REWRITE_ALL);
    assert_int_equal(fields.n, 4);
    assert_true(field_is_secret(&fields.v[0]) && field_is_secret(&fields.v[3]));
    assert_true(str_eq(fields.v[0].name, STR("x-key")));
    assert_true(str_eq(fields.v[0].value, STR("s")));
    assert_null(fields.v[1].name.p);
    assert_null(fields.v[2].name.p);
    assert_true(str_eq(fields.v[3].name, STR("User-Agent")));
    assert_true(str_eq(fields.v[3].value, STR("curl")));
    rewrite_edits(&fields, edits, 4, REWRITE_PLAIN);
    assert_null(fields.v[0].name.p);
    assert_true(str_eq(fields.v[3].value, STR("curl")));
    rewrite_edits(&fields, edits, 4, REWRITE_NONE);
    for (unsigned i = 0; i < fields.n; i++)
        assert_null(fields.v[i].name.p);
    arena_clear(&arena);
}

static int set_up(void **state)
{
    (void)state;
    conf.index = rule_index_new(rules, conf.n_rules);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    rule_index_free(conf.index);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_proxy),         cmocka_unit_test(test_userinfo),
        cmocka_unit_test(test_keys),          cmocka_unit_test(test_forward),
        cmocka_unit_test(test_would_upgrade), cmocka_unit_test(test_many),
        cmocka_unit_test(test_edits),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
