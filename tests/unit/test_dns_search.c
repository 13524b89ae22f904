/* SPDX-License-Identifier: Apache-2.0 */
/* net/dns_search.c: what resolv.conf and the environment say, and the names that follow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "net/dns_search.h"

struct search_case {
    const char *file, *localdomain, *res_options, *host_name;
    const char *host;
    const char *names; /* as they come, a space between */
};

static const struct search_case cases[] = {
    {"", NULL, NULL, NULL, "a", "a"},
    {"", NULL, NULL, "box.home.test", "a", "a.home.test a"},
    {"", NULL, NULL, "box", "a", "a"},
    {"search x.test", NULL, NULL, "box.home.test", "a", "a.x.test a"},
    {"search x.test", NULL, NULL, NULL, "a.b", "a.b a.b.x.test"},
    {"search x.test y.test\noptions ndots:2", NULL, NULL, NULL, "a.b", "a.b.x.test a.b.y.test a.b"},
    {"search x.test y.test\noptions rotate ndots:2 timeout:1\n", NULL, NULL, NULL, "a.b.c",
     "a.b.c a.b.c.x.test a.b.c.y.test"},
    {"options ndots:0\nsearch x.test", NULL, NULL, NULL, "a", "a a.x.test"},
    {"options ndots:\nsearch x.test", NULL, NULL, NULL, "a", "a a.x.test"},
    {"options ndots:99999999999999999999\nsearch x.test", NULL, NULL, NULL, "a.b",
     "a.b.x.test a.b"},
    {"search x.test", NULL, "ndots:3", NULL, "a.b", "a.b.x.test a.b"},
    {"search x.test\noptions ndots:3", NULL, "ndots:1", NULL, "a.b", "a.b a.b.x.test"},
    /* A dot at the end is that name alone. */
    {"search x.test\noptions ndots:5", NULL, NULL, NULL, "a.b.", "a.b"},
    {"search x.test", NULL, NULL, NULL, "a.", "a"},
    /* The root is the name as it is, once. */
    {"search .", NULL, NULL, NULL, "a", "a"},
    {"search .\noptions ndots:5", NULL, NULL, NULL, "a.b", "a.b"},
    {"search . x.test", NULL, NULL, NULL, "a", "a a.x.test"},
    {"search x.test .", NULL, NULL, NULL, "a.b", "a.b a.b.x.test"},
    {"search .. x.test", NULL, NULL, NULL, "a", "a a.x.test"},
    {"search x.test x.test X.Test. .x.test", NULL, NULL, NULL, "a", "a.x.test a"},
    /* The last line holds; keys begin a line, and want a value. */
    {"search x.test\ndomain y.test z.test\n", NULL, NULL, NULL, "a", "a.y.test a"},
    {"domain y.test\nsearch\tx.test \t z.test", NULL, NULL, NULL, "a", "a.x.test a.z.test a"},
    {"search x.test\nsearch\nsearch  \n searching y.test\n#search y.test", NULL, NULL, NULL, "a",
     "a.x.test a"},
    /* The environment's list is instead of the file's. */
    {"search x.test", "y.test z.test", NULL, "box.home.test", "a", "a.y.test a.z.test a"},
    {"search x.test", "", NULL, "box.home.test", "a", "a"},
    {"search x.test\noptions no-tld-query", NULL, NULL, NULL, "a", "a.x.test"},
    {"search x.test\noptions no-tld-query", NULL, NULL, NULL, "a.b", "a.b a.b.x.test"},
    {"options no-tld-query", NULL, NULL, NULL, "a", "a"},
};

static void check(const struct search_case *c)
{
    struct dns_search s = {.n = 0};
    struct dns_search_source from = {.file = str_from(c->file),
                                     .localdomain = c->localdomain,
                                     .res_options = c->res_options,
                                     .host_name = c->host_name};
    char *names[DNS_NAMES_MAX], all[1024] = "";
    dns_search_read(&s, &from);
    unsigned n = dns_search_names(&s, str_from(c->host), names);
    for (unsigned i = 0, at = 0; i < n; i++) {
        at += (unsigned)snprintf(all + at, sizeof(all) - at, "%s%s", i > 0 ? " " : "", names[i]);
        free(names[i]);
    }
    if (strcmp(all, c->names) != 0)
        fail_msg("\"%s\" with \"%s\": %s, not %s", c->host, c->file, all, c->names);
    dns_search_clear(&s);
    assert_int_equal(s.n, 0);
}

static void test_names(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        check(&cases[i]);
}

static bool are_equal(const char *one, const char *two)
{
    struct dns_search a = {.n = 0}, b = {.n = 0};
    dns_search_read(&a, &(struct dns_search_source){.file = str_from(one)});
    dns_search_read(&b, &(struct dns_search_source){.file = str_from(two)});
    bool is_equal = dns_search_equal(&a, &b);
    dns_search_clear(&a);
    dns_search_clear(&b);
    return is_equal;
}

static void test_equal(void **state)
{
    (void)state;
    assert_true(are_equal("", "nameserver ::1"));
    assert_true(are_equal("search x y\noptions ndots:2", "options ndots:2\nsearch x y"));
    assert_false(are_equal("search x y", "search y x"));
    assert_false(are_equal("search x y", "search x"));
    assert_false(are_equal("search x", "search x\noptions ndots:2"));
    assert_false(are_equal("search x", "search x\noptions no-tld-query"));
}

static void check_servers(const char *file, const char *servers)
{
    struct dns_search s = {.n = 0};
    dns_search_read(&s, &(struct dns_search_source){.file = str_from(file)});
    if (servers == NULL)
        assert_null(s.servers);
    else
        assert_string_equal(s.servers, servers);
    dns_search_clear(&s);
    assert_null(s.servers);
}

static void test_servers(void **state)
{
    (void)state;
    check_servers("search nameserver\n#nameserver 192.0.2.9\nnameserver\nnameserver \n", NULL);
    check_servers("nameserver 192.0.2.1\nsearch x\nnameserver\t::1 # the other", "192.0.2.1, ::1");
}

/* Neither a long list nor a long name is more than there is room for. */
static void test_bounds(void **state)
{
    (void)state;
    char file[4000] = "search", host[DNS_NAME_MAX + 2];
    char *names[DNS_NAMES_MAX];
    struct dns_search s = {.n = 0};
    for (unsigned i = 0, at = 6; i < 100; i++)
        at += (unsigned)snprintf(file + at, sizeof(file) - at, " d%u.test", i);
    struct dns_search_source from = {.file = str_from(file)};
    dns_search_read(&s, &from);
    assert_int_equal(s.n, DNS_DOMAINS_MAX);
    unsigned n = dns_search_names(&s, STR("a"), names);
    assert_int_equal(n, DNS_NAMES_MAX);
    assert_string_equal(names[n - 1], "a");
    for (unsigned i = 0; i < n; i++)
        free(names[i]);
    memset(host, 'a', DNS_NAME_MAX);
    host[DNS_NAME_MAX] = '.';
    for (size_t len = DNS_NAME_MAX - 10; len <= DNS_NAME_MAX + 1; len++) {
        n = dns_search_names(&s, str_make(host, len), names);
        assert_true(n >= 1);
        for (unsigned i = 0; i < n; i++) {
            assert_in_range(strlen(names[i]), 1, DNS_NAME_MAX);
            free(names[i]);
        }
    }
    dns_search_clear(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_servers),
        cmocka_unit_test(test_equal),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
