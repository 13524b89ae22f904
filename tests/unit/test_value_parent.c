/* SPDX-License-Identifier: Apache-2.0 */
/* conf/value_parent.c: proxy and no_proxy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "conf/conf.h"
#include "conf/parent.h"
#include "conf/value.h"

static struct arena arena;
static struct conf conf;
static struct rule rule;
static char why[VALUE_ERR];

static int set_up(void **state)
{
    (void)state;
    memset(&conf, 0, sizeof(conf));
    memset(&rule, 0, sizeof(rule));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    netset_clear(&conf.upstream.no_proxy.nets);
    arena_clear(&arena);
    return 0;
}

static bool set(enum key_scope scope, const char *name, const char *text)
{
    bool in_rule = scope == KEY_RULE || strcmp(name, "upstream.proxy") == 0;
    why[0] = '\0';
    return value_set(&arena, key_find(scope, str_from(name)), in_rule ? (void *)&rule : &conf,
                     str_from(text), why);
}

static void parents(void **state)
{
    (void)state;
    assert_true(set(KEY_GLOBAL, "upstream.proxy", "http://u:p@a.test:1"));
    assert_string_equal(rule.parent->shown, "a.test:1");
    assert_true(set(KEY_RULE, "proxy", "none"));
    assert_null(rule.parent);
    assert_true(set(KEY_RULE, "proxy", "http://b.test:2"));
    assert_string_equal(rule.parent->host, "b.test");
    assert_false(set(KEY_RULE, "proxy", "http://u:s3cret@b.test"));
    assert_null(strstr(why, "s3cret"));
    assert_string_equal(rule.parent->host, "b.test");
    assert_true(set(KEY_GLOBAL, "upstream.proxy", ""));
    assert_null(rule.parent);
}

static void hosts_without(void **state)
{
    (void)state;
    static const char *const texts[] = {"private",   "10.0.0.0/8", "fd00::/8",     "192.0.2.1",
                                        "A.Example", "*.b.test",   "[2001:db8::1]"};
    static const char *const wrong[] = {"http://a.test", "a.test:80", ".a.test", "10.0.0.0/33", "",
                                        "a b",           "*a.test"};
    struct bypass *b = &conf.upstream.no_proxy;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_true(set(KEY_GLOBAL, "upstream.no_proxy", texts[i]));
    assert_int_equal(b->hosts.n, 3);
    assert_string_equal(b->hosts.v[0], "a.example");
    assert_string_equal(b->hosts.v[1], "*.b.test");
    assert_string_equal(b->hosts.v[2], "2001:db8::1");
    assert_true(b->nets.n >= 6);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        if (set(KEY_GLOBAL, "upstream.no_proxy", wrong[i]))
            fail_msg("\"%s\" is taken", wrong[i]);
        assert_non_null(strstr(why, "is neither a host"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(parents, set_up, tear_down),
        cmocka_unit_test_setup_teardown(hosts_without, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
