/* SPDX-License-Identifier: Apache-2.0 */
/* conf/value_net.c: values that name listeners, hosts, URLs and fields, in their normal form, and
 * why others are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/mem.h"
#include "conf/conf.h"
#include "conf/value.h"

static struct arena arena;
static struct conf conf;
static struct rule rule;
static struct forward forward;
static char why[VALUE_ERR];

static int tear_down(void **state)
{
    (void)state;
    arena_clear(&arena);
    return 0;
}

/* Writes TEXT to a key that has not been written yet. */
static bool set(enum key_scope scope, const char *name, const char *text)
{
    void *const bases[KEY_SCOPES] = {&conf, &rule, &forward};
    memset(&conf, 0, sizeof(conf));
    memset(&rule, 0, sizeof(rule));
    memset(&forward, 0, sizeof(forward));
    why[0] = '\0';
    return value_set(&arena, key_find(scope, str_from(name)), bases[scope], str_from(text), why);
}

static void refused(enum key_scope scope, const char *name, const char *text, const char *reason)
{
    assert_false(set(scope, name, text));
    if (strstr(why, reason) == NULL)
        fail_msg("%s = %s: \"%s\" is not in \"%s\"", name, text, reason, why);
}

static void listeners(void **state)
{
    (void)state;
    assert_true(set(KEY_GLOBAL, "listen", "[::1]:3128"));
    assert_int_equal(conf.n_listeners, 1);
    assert_int_equal(addr_port(&conf.listeners[0].addr), 3128);
    assert_int_equal(conf.listeners[0].kind, LISTENER_PROXY);
    assert_true(set(KEY_GLOBAL, "listen", "unix:/run/x"));
    assert_true(set(KEY_GLOBAL, "service", "127.0.0.1:0"));
    assert_true(conf.n_listeners == 1 && conf.listeners[0].kind == LISTENER_SERVICE);
    assert_true(set(KEY_GLOBAL, "service", "off"));
    assert_int_equal(conf.n_listeners, 0);
    refused(KEY_GLOBAL, "listen", "localhost:1", "is no listener");
    assert_true(set(KEY_GLOBAL, "listen", "TLS:127.0.0.1:1"));
    assert_true(conf.n_listeners == 1 && conf.listeners[0].kind == LISTENER_PROXY);
    assert_true(conf.listeners[0].tls && addr_port(&conf.listeners[0].addr) == 1);
    refused(KEY_GLOBAL, "listen", "tls:unix:/run/x", "write it without tls:");
    refused(KEY_GLOBAL, "listen", "tls:transparent:127.0.0.1:1", "is no listener");
    refused(KEY_GLOBAL, "listen", "transparent:tls:127.0.0.1:1", "is no listener");
    refused(KEY_GLOBAL, "service", "tls:127.0.0.1:1", "is no service listener");
    refused(KEY_GLOBAL, "service", "unix:/run/x", "is no service listener");
    assert_true(set(KEY_GLOBAL, "listen", "Transparent:[::1]:3180"));
    assert_int_equal(conf.listeners[0].kind, LISTENER_TRANSPARENT);
    assert_int_equal(addr_port(&conf.listeners[0].addr), 3180);
    refused(KEY_GLOBAL, "listen", "transparent:127.0.0.1",
            "tls:ADDR:PORT or transparent:ADDR:PORT");
    refused(KEY_GLOBAL, "listen", "transparent:", "is no listener");
    refused(KEY_GLOBAL, "listen", "transparent:unix:/run/x", "nothing is turned to a Unix socket");
    refused(KEY_GLOBAL, "service", "transparent:127.0.0.1:1", "is no service listener");
}

static void where_to_connect(void **state)
{
    (void)state;
    assert_true(set(KEY_GLOBAL, "connect_to", "A.test:443:[::1]:8443"));
    assert_string_equal(conf.connect_to[0].host, "a.test");
    assert_string_equal(conf.connect_to[0].to_host, "::1");
    assert_true(conf.connect_to[0].port == 443 && conf.connect_to[0].to_port == 8443);
    assert_true(set(KEY_GLOBAL, "connect_to", "::b.test.:"));
    assert_string_equal(conf.connect_to[0].host, "");
    assert_string_equal(conf.connect_to[0].to_host, "b.test."); /* looked up as it stands */
    assert_true(conf.connect_to[0].port == 0 && conf.connect_to[0].to_port == 0);
    refused(KEY_GLOBAL, "connect_to", "a:1:b", "is not HOST:PORT:ADDR:PORT");
    refused(KEY_GLOBAL, "connect_to", "a:1:b:2:3", "is not HOST:PORT:ADDR:PORT");
    refused(KEY_GLOBAL, "connect_to", "a:70000:b:1", "");
    assert_true(set(KEY_RULE, "connect_to", "[::1]:1"));
    assert_string_equal(rule.connect_host, "::1");
    assert_true(set(KEY_RULE, "connect_to", ""));
    assert_string_equal(rule.connect_host, "");
    refused(KEY_RULE, "connect_to", "h", "is not HOST:PORT");
    assert_true(set(KEY_GLOBAL, "upstream.bind", "::1, 127.0.0.1"));
    assert_true(conf.upstream.bind4.len > 0 && conf.upstream.bind6.len > 0);
    refused(KEY_GLOBAL, "upstream.bind", "127.0.0.1,127.0.0.2",
            "is a second address of its family");
    refused(KEY_GLOBAL, "upstream.bind", "h", "is no IP address");
    assert_true(set(KEY_GLOBAL, "dns.servers", "127.0.0.1:5353"));
    assert_string_equal(conf.dns.servers.v[0], "127.0.0.1:5353");
    refused(KEY_GLOBAL, "dns.servers", "127.0.0.1:0", "is no address");
    refused(KEY_GLOBAL, "dns.servers", "ns.test", "is no address");
}

static void urls(void **state)
{
    (void)state;
    assert_true(set(KEY_FORWARD, "to", "HTTPS://A.test./v2/"));
    assert_true(forward.tls && forward.is_rooted && forward.port == 443);
    assert_string_equal(forward.host, "a.test");
    assert_string_equal(forward.path, "/v2");
    assert_true(set(KEY_FORWARD, "to", "http://[::1]:8080"));
    assert_true(!forward.tls && !forward.is_rooted && forward.port == 8080);
    assert_string_equal(forward.host, "::1");
    assert_string_equal(forward.path, "");
    static const char *const dots[] = {"/a//b", "/./a", "/a/..", "/%2E%2e/a", "/.%2e"};
    for (size_t i = 0; i < sizeof(dots) / sizeof(dots[0]); i++) {
        char *url = xasprintf("https://h%s", dots[i]);
        refused(KEY_FORWARD, "to", url, "has an empty or a dot segment");
        free(url);
    }
    refused(KEY_FORWARD, "to", "https://h/?q", "has a query or a fragment");
    refused(KEY_FORWARD, "to", "ftp://h", "is not http(s)://");
    refused(KEY_FORWARD, "to", "https://u@h", "is not http(s)://");
    refused(KEY_FORWARD, "to", "https://h/a b", "is not http(s)://");
    refused(KEY_FORWARD, "to", "https://b\xc3\xbc/", "write the host in its xn-- form");
    assert_true(set(KEY_FORWARD, "origins", "http://A.test:80/"));
    assert_string_equal(forward.origins.v[0], "http://a.test");
    assert_true(set(KEY_FORWARD, "origins", "https://[::1]:80"));
    assert_string_equal(forward.origins.v[0], "https://[::1]:80");
    refused(KEY_FORWARD, "origins", "http://a.test/x", "is no origin");
}

static void edits_of_fields(void **state)
{
    (void)state;
    assert_true(set(KEY_RULE, "request_header", "X-Key:  a: b\t"));
    assert_string_equal(rule.edits[0].name, "X-Key");
    assert_string_equal(rule.edits[0].value, "a: b");
    assert_true(set(KEY_RULE, "request_header", "X-Key:"));
    assert_null(rule.edits[0].value);
    refused(KEY_RULE, "request_header", "s3cret", "is neither \"Name: value\" nor \"Name:\"");
    refused(KEY_RULE, "request_header", "X Key: s3cret", "is neither");
    refused(KEY_RULE, "request_header", "host: s3cret", "host cannot be changed");
    refused(KEY_RULE, "request_header", "Proxy-X: s3cret", "Proxy-X cannot be changed");
    refused(KEY_RULE, "request_header", "X: s3cret\n", "has a control byte in it");
    refused(KEY_RULE, "request_header", "X: s3cret{env:A", "has a brace that is not closed");
    assert_true(set(KEY_RULE, "request_header", "X-Key: {{env:A} {b}"));
    assert_string_equal(rule.edits[0].value, "{env:A} {b}");
    assert_true(set(KEY_RULE, "request_header", "X-Key: a{file:/x}"));
    assert_null(rule.edits[0].value);
    assert_true(rule.edits[0].text.is_secret);
    assert_null(strstr(why, "s3cret"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(listeners, tear_down),
        cmocka_unit_test_teardown(where_to_connect, tear_down),
        cmocka_unit_test_teardown(urls, tear_down),
        cmocka_unit_test_teardown(edits_of_fields, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
