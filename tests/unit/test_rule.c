/* SPDX-License-Identifier: Apache-2.0 */
/* Which rule holds: against the plain way of asking each rule in turn, and that ten thousand cost
 * what one does. */
#include "conf/rule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "conf/conf.h"
#include "conf/rule_index.h"

/* A snapshot with rules only; PATTERNS are hosts with a port, 0 for any. */
struct pattern {
    const char *host;
    uint16_t port;
};

static void make(struct conf *c, const struct pattern *patterns, unsigned n)
{
    memset(c, 0, sizeof(*c));
    c->n_rules = n + 1;
    c->rules = xcalloc(c->n_rules, sizeof(c->rules[0]));
    c->rules[0].host = "*";
    for (unsigned i = 1; i <= n; i++) {
        c->rules[i].host = patterns[i - 1].host;
        c->rules[i].match_port = patterns[i - 1].port;
        c->rules[i].index = i;
    }
    c->index = rule_index_new(c->rules, c->n_rules);
}

static void clear(struct conf *c)
{
    rule_index_free(c->index);
    free(c->rules);
}

static unsigned plain_find(const struct conf *c, struct str host, uint16_t port)
{
    for (unsigned i = 1; i < c->n_rules; i++)
        if (rule_pattern_matches(str_from(c->rules[i].host), host) &&
            (c->rules[i].match_port == 0 || c->rules[i].match_port == port))
            return i;
    return 0;
}

static void patterns_match(void **state)
{
    (void)state;
    assert_true(rule_pattern_matches(STR("a.b"), STR("a.b")));
    assert_false(rule_pattern_matches(STR("a.b"), STR("a.bc")));
    assert_true(rule_pattern_matches(STR("*.b"), STR("a.b")));
    assert_true(rule_pattern_matches(STR("*.b"), STR("x.a.b")));
    assert_false(rule_pattern_matches(STR("*.b"), STR("b")));
    assert_false(rule_pattern_matches(STR("*.b"), STR("ab")));
    assert_false(rule_pattern_matches(STR("*.b"), STR(".b")));
    assert_true(rule_pattern_matches(STR("*"), STR("anything")));
}

static void first_written_wins(void **state)
{
    (void)state;
    static const struct pattern patterns[] = {
        {"a.example.com", 8080}, {"*.example.com", 0}, {"a.example.com", 0},  {"*", 8443},
        {"b.example.org", 0},    {"*.org", 81},        {"*.example.org", 80}, {"::1", 0}};
    struct conf c;
    make(&c, patterns, sizeof(patterns) / sizeof(patterns[0]));
    static const char *const hosts[] = {"a.example.com",
                                        "example.com",
                                        "x.a.example.com",
                                        "org",
                                        "b.example.org",
                                        "c.example.org",
                                        "::1",
                                        "",
                                        ".",
                                        ".org",
                                        "x.org"};
    static const uint16_t ports[] = {443, 80, 81, 8080, 8443, 0};
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++)
        for (size_t j = 0; j < sizeof(ports) / sizeof(ports[0]); j++)
            assert_int_equal(rule_find(&c, str_from(hosts[i]), ports[j])->index,
                             plain_find(&c, str_from(hosts[i]), ports[j]));
    assert_int_equal(rule_find(&c, STR("a.example.com"), 8080)->index, 1);
    assert_int_equal(rule_find(&c, STR("a.example.com"), 443)->index, 2);
    assert_int_equal(rule_find(&c, STR("example.com"), 443)->index, 0);
    assert_int_equal(rule_find(&c, STR("example.com"), 8443)->index, 4);
    clear(&c);
}

static void long_names_are_harmless(void **state)
{
    (void)state;
    static const struct pattern patterns[] = {{"*.x", 0}};
    struct conf c;
    make(&c, patterns, 1);
    char name[5000];
    memset(name, '.', sizeof(name));
    assert_int_equal(rule_find(&c, str_make(name, sizeof(name)), 1)->index, 0);
    memset(name, 'a', sizeof(name));
    name[sizeof(name) - 2] = '.';
    name[sizeof(name) - 1] = 'x';
    assert_int_equal(rule_find(&c, str_make(name, sizeof(name)), 1)->index, 1);
    clear(&c);
}

/* A name that was found with a domain of the search list: the first that matches either. */
static void either_name(void **state)
{
    (void)state;
    static const struct pattern patterns[] = {
        {"first", 0}, {"*.corp.test", 443}, {"app", 0}, {"*", 8443}, {"deep.app.far.test", 0}};
    struct conf c;
    make(&c, patterns, sizeof(patterns) / sizeof(patterns[0]));
    static const struct {
        const char *host, *full;
        uint16_t port;
        unsigned index;
    } cases[] = {
        {"app", "", 443, 3},
        {"app", "app.corp.test", 443, 2},
        {"app", "app.corp.test", 80, 3},
        {"first", "first.corp.test", 443, 1},
        {"other", "other.corp.test", 443, 2},
        {"other", "other.corp.test", 8443, 4},
        {"other", "other.free.test", 443, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(
            rule_find_full(&c, str_from(cases[i].host), str_from(cases[i].full), cases[i].port)
                ->index,
            cases[i].index);
    assert_true(rule_knows_domain(&c, STR("corp.test")));
    assert_true(rule_knows_domain(&c, STR("ns.corp.test")));
    assert_true(rule_knows_domain(&c, STR("test")));
    assert_true(rule_knows_domain(&c, STR("far.test")));
    assert_false(rule_knows_domain(&c, STR("free.test")));
    assert_false(rule_knows_domain(&c, STR("xcorp.test")));
    assert_false(rule_knows_domain(&c, STR("")));
    clear(&c);
}

/* A name of more than one label, and one that a rule is for, lose nothing by what they are found
 * as; a word that no rule is for is what the list says. */
static void full_name_weakens_nothing(void **state)
{
    (void)state;
    static const struct pattern patterns[] = {{"*.corp.test", 0}, {"*", 8443}, {"own", 0}};
    struct conf c;
    make(&c, patterns, sizeof(patterns) / sizeof(patterns[0]));
    struct rule *full = &c.rules[1];
    char sni[] = "sni";
    int other;
    for (unsigned i = 0; i < c.n_rules; i++)
        c.rules[i].upgrade = c.rules[i].tls.verify = i != 2;
    for (int how = 0; how < 6; how++) {
        full->upgrade = how != 1;
        full->tls.verify = how != 2;
        full->tls.ctx = how == 3 ? &other : NULL;
        full->sni = how == 4 ? sni : NULL;
        full->n_edits = how == 5;
        unsigned held = how == 0 ? 1 : 0;
        assert_int_equal(rule_find_full(&c, STR("a.b"), STR("a.b.corp.test"), 443)->index, held);
        assert_int_equal(rule_find_full(&c, STR("own"), STR("own.corp.test"), 443)->index,
                         how == 0 ? 1 : 3);
        assert_int_equal(rule_find_full(&c, STR("a"), STR("a.corp.test"), 443)->index, 1);
        assert_int_equal(rule_find_full(&c, STR("a.b"), STR("a.b.corp.test"), 8443)->index, 1);
    }
    full->sni = NULL;
    clear(&c);
}

static void no_rules(void **state)
{
    (void)state;
    struct conf c;
    make(&c, NULL, 0);
    assert_ptr_equal(rule_find(&c, STR("a"), 1), &c.rules[0]);
    clear(&c);
    rule_index_free(NULL);
}

static double lookups(unsigned n)
{
    struct pattern *patterns = xcalloc(n, sizeof(*patterns));
    for (unsigned i = 0; i < n; i++)
        patterns[i].host = xasprintf(i % 2 == 0 ? "h%u.example.com" : "*.d%u.example.org", i);
    struct conf c;
    make(&c, patterns, n);
    double best = 1;
    for (int round = 0; round < 5; round++) {
        struct timespec from, to;
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
        for (unsigned i = 0; i < 20000; i++)
            assert_int_equal(rule_find(&c, STR("www.nowhere.example.net"), 443)->index, 0);
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
        double took = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
        best = took < best ? took : best;
    }
    clear(&c);
    for (unsigned i = 0; i < n; i++)
        free((char *)patterns[i].host);
    free(patterns);
    return best;
}

/* Generous: a walk over the rules would take thousands of times as long. */
static void cost_does_not_grow(void **state)
{
    (void)state;
    double one = lookups(1);
    double many = lookups(10000);
    print_message("1 rule: %.0f ns, 10000 rules: %.0f ns\n", one / 20000 * 1e9, many / 20000 * 1e9);
    assert_true(many < one * 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_match),
        cmocka_unit_test(first_written_wins),
        cmocka_unit_test(long_names_are_harmless),
        cmocka_unit_test(no_rules),
        cmocka_unit_test(either_name),
        cmocka_unit_test(full_name_weakens_nothing),
        cmocka_unit_test(cost_does_not_grow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
