/* SPDX-License-Identifier: Apache-2.0 */
/* conf/parent.c: URLs, what is told of a wrong one, passwords that are elsewhere, masks. */
#include "conf/parent.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "conf/value.h"

static struct arena arena;
static char err[VALUE_ERR];

static int open_arena(void **state)
{
    (void)state;
    arena_init(&arena, NULL, 0);
    return 0;
}

static int clear_arena(void **state)
{
    (void)state;
    arena_clear(&arena);
    return 0;
}

static void test_urls(void **state)
{
    (void)state;
    static const struct {
        const char *url, *host, *shown, *auth;
        uint16_t port;
    } cases[] = {
        {"http://proxy.test:3128", "proxy.test", "proxy.test:3128", NULL, 3128},
        {"HTTP://Proxy.Test:80/", "proxy.test", "proxy.test:80", NULL, 80},
        {"http://proxy.test.:1", "proxy.test.", "proxy.test.:1", NULL, 1},
        {"http://10.0.0.1:8080", "10.0.0.1", "10.0.0.1:8080", NULL, 8080},
        {"http://[::0001]:8080", "::1", "[::1]:8080", NULL, 8080},
        {"http://a:b@p:1", "p", "p:1", "Basic YTpi", 1},
        {"http://a:@p:1", "p", "p:1", "Basic YTo=", 1},
        {"http://a@p:1", "p", "p:1", "Basic YTo=", 1},
        {"http://a:b:c@p:1", "p", "p:1", "Basic YTpiOmM=", 1},
        {"http://a:%40%3a%25@p:1", "p", "p:1", "Basic YTpAOiU=", 1},
        {"http://a:/@#@p:1", "p", "p:1", "Basic YTovQCM=", 1},
        {"http://%61:\xc3\xa9@p:1", "p", "p:1", "Basic YTrDqQ==", 1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct parent p;
        if (!parent_parse(&arena, str_from(cases[i].url), &p, err))
            fail_msg("%s: %s", cases[i].url, err);
        assert_string_equal(p.host, cases[i].host);
        assert_string_equal(p.shown, cases[i].shown);
        assert_int_equal(p.port, cases[i].port);
        if (cases[i].auth == NULL)
            assert_null(p.auth);
        else
            assert_string_equal(p.auth, cases[i].auth);
    }
}

static void test_wrong_urls(void **state)
{
    (void)state;
    static const struct {
        const char *url, *reason;
    } cases[] = {
        {"https://u:s3cret@p:1", "TLS to a parent proxy is not spoken"},
        {"p:3128", "is not http://"},
        {"socks5://u:s3cret@p:1", "is not http://"},
        {"http://p", "is not http://"},
        {"http://u:s3cret@p", "is not http://"},
        {"http://u:s3cret@p:0", "is not http://"},
        {"http://u:s3cret@p:65536", "is not http://"},
        {"http://u:s3cret@p:x", "is not http://"},
        {"http://u:s3cret@p:1/path", "is not http://"},
        {"http://u:s3cret@:1", "is not http://"},
        {"http://", "is not http://"},
        {"http://u:s3cret@", "is not http://"},
        {"http://u:s3cret@a b:1", "is not http://"},
        {"http://u:s3cret@::1:1", "is not http://"},
        {"http://u:s3cret%@p:1", "%25"},
        {"http://u:s3cret%4@p:1", "%25"},
        {"http://u:s3cret%0d@p:1", "control byte"},
        {"http://u:s3cret%00@p:1", "control byte"},
        {"http://u:{file:/x@p:1", "%7B"},
        {"http://u:{env:A}s3cret@p:1", "%7B"},
        {"http://u:{file:}@p:1", "%7B"},
        {"http://u:{env:A}}@p:1", "%7B"},
        {"http://u:{oauth:a}@p:1", "%7B"},
        {"http://:s3cret@p:1", "has no user"},
        {"http://@p:1", "has no user"},
        {"http://u%3a:s3cret@p:1", "has no user"},
        {"http://u%:s3cret@p:1", "has no user"},
        {"http://u\n:s3cret@p:1", "has no user"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct parent p;
        err[0] = '\0';
        if (parent_parse(&arena, str_from(cases[i].url), &p, err))
            fail_msg("%s is taken", cases[i].url);
        if (strstr(err, cases[i].reason) == NULL || strstr(err, "s3cret") != NULL)
            fail_msg("%s: \"%s\"", cases[i].url, err);
    }
}

static void test_elsewhere(void **state)
{
    (void)state;
    struct parent p;
    struct secret_store store = {0};
    assert_true(parent_parse(&arena, STR("http://a%40:{file:/b@c:d}@p:1"), &p, err));
    assert_null(p.auth);
    assert_int_equal(p.password.n, 1);
    assert_int_equal(p.password.parts[0].kind, SECRET_FILE);
    assert_string_equal(p.password.parts[0].text, "/b@c:d");
    parent_finish(&p, "%41:@", &store);
    assert_string_equal(p.auth, "Basic YUA6JTQxOkA="); /* taken as it is */
    assert_true(parent_parse(&arena, STR("http://a:{env:TEST_PARENT}@p:1"), &p, err));
    assert_int_equal(p.password.parts[0].kind, SECRET_ENV);
    assert_string_equal(p.password.parts[0].text, "TEST_PARENT");
    parent_finish(&p, "b", &store);
    assert_string_equal(p.auth, "Basic YTpi");
    assert_true(parent_parse(&arena, STR("http://a:{{file:/b}@p:1"), &p, err));
    assert_int_equal(p.password.n, 0); /* it is the password */
    assert_string_equal(p.auth, "Basic YTp7e2ZpbGU6L2J9");
    secret_store_clear(&store);
}

static void test_mask(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"http://p:1", "http://p:1"},
        {"", ""},
        {"none", "none"},
        {"http://u:s3cret@p:1", "http://********@p:1"},
        {"http://u:s3@cret@p:1", "http://********@p:1"},
        {"HTTP://s3cret@p:1", "HTTP://********@p:1"},
        {"u:s3cret@p:1", "********@p:1"},
        {"http://u:{file:/a@b}@p:1", "http://u:{file:/a@b}@p:1"},
        {"http://u:{env:A}@p:1", "http://u:{env:A}@p:1"},
        {"http://u:{env:A}s3cret@p:1", "http://********@p:1"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *masked = parent_mask(str_from(cases[i][0]));
        assert_string_equal(masked, cases[i][1]);
        free(masked);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_urls, open_arena, clear_arena),
        cmocka_unit_test_setup_teardown(test_wrong_urls, open_arena, clear_arena),
        cmocka_unit_test_setup_teardown(test_elsewhere, open_arena, clear_arena),
        cmocka_unit_test(test_mask),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
