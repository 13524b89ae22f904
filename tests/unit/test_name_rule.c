/* SPDX-License-Identifier: Apache-2.0 */
/* own/name_rule.c: what a name is told before and after servers were asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "conf/parent.h"
#include "conf/rule_index.h"
#include "own/name_rule.h"

enum { TYPE_MX = 15, TYPE_HTTPS = 65, CLASS_CHAOS = 3 };

static struct rule rules[] = {{.host = "*", .connect_host = ""},
                              {.host = "exact.test", .connect_host = ""},
                              {.host = "*.plain.test", .connect_host = ""},
                              {.host = "*.led.test", .connect_host = "127.0.0.1"}};
static struct connect_to maps[] = {{.host = "mapped.test", .to_host = "127.0.0.1"},
                                   {.host = "port.test", .to_host = "", .to_port = 8443}};
static struct conf conf;
static struct name_reply r;

static int set_up(void **state)
{
    (void)state;
    name_map_open();
    conf = (struct conf){.rules = rules,
                         .n_rules = sizeof(rules) / sizeof(rules[0]),
                         .connect_to = maps,
                         .n_connect_to = sizeof(maps) / sizeof(maps[0])};
    for (unsigned i = 0; i < conf.n_rules; i++)
        rules[i].index = i;
    conf.index = rule_index_new(rules, conf.n_rules);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    name_map_close();
    rule_index_free(conf.index);
    rules[0].parent = rules[2].parent = NULL;
    return 0;
}

static struct dns_asked asks(const char *name, uint16_t type)
{
    struct dns_asked q = {.type = type, .class = DNS_CLASS_IN, .is_plain = true};
    q.name_len = (uint8_t)strlen(name);
    memcpy(q.name, name, q.name_len);
    return q;
}

static enum name_verdict judge(const char *name, uint16_t type)
{
    struct dns_asked q = asks(name, type);
    return name_rule_judge(&conf, &q, &r);
}

static const char *answer_address(void)
{
    static char text[ADDR_TEXT];
    return r.reply.address == NULL ? "" : addr_print_ip(r.reply.address, text);
}

/* The code, and that there is no record. */
static enum dns_code answer_code(const char *name, uint16_t type)
{
    assert_int_equal(judge(name, type), NAME_IS_ANSWERED);
    assert_null(r.reply.address);
    assert_int_equal(r.reply.pointer.len, 0);
    assert_in_range(r.reply.ttl, 1, 10);
    return r.reply.code;
}

static void of_this_machine(void **state)
{
    (void)state;
    assert_int_equal(judge("localhost", DNS_TYPE_A), NAME_IS_ANSWERED);
    assert_string_equal(answer_address(), "127.0.0.1");
    assert_int_equal(judge("x.localhost", DNS_TYPE_AAAA), NAME_IS_ANSWERED);
    assert_string_equal(answer_address(), "::1");
    assert_int_equal(answer_code("localhost", TYPE_MX), DNS_CODE_NOERROR);
}

static void no_names(void **state)
{
    (void)state;
    assert_int_equal(answer_code("192.0.2.1", DNS_TYPE_A), DNS_CODE_NXDOMAIN);
    assert_int_equal(answer_code("", DNS_TYPE_A), DNS_CODE_NOERROR);
    struct dns_asked q = asks("", DNS_TYPE_A);
    q.is_plain = false;
    assert_int_equal(name_rule_judge(&conf, &q, &r), NAME_IS_ANSWERED);
    assert_int_equal(r.reply.code, DNS_CODE_NXDOMAIN);
}

static void no_questions(void **state)
{
    (void)state;
    assert_int_equal(answer_code("a.test", DNS_TYPE_AXFR), DNS_CODE_REFUSED);
    assert_int_equal(answer_code("a.test", DNS_TYPE_IXFR), DNS_CODE_REFUSED);
    assert_int_equal(answer_code("a.test", DNS_TYPE_OPT), DNS_CODE_NOTIMP);
    assert_int_equal(answer_code("a.test", DNS_TYPE_TKEY), DNS_CODE_NOTIMP);
    assert_int_equal(answer_code("a.test", DNS_TYPE_MAILA), DNS_CODE_NOTIMP);
    struct dns_asked q = asks("version.bind", 16);
    q.class = CLASS_CHAOS;
    assert_int_equal(name_rule_judge(&conf, &q, &r), NAME_IS_ANSWERED);
    assert_int_equal(r.reply.code, DNS_CODE_REFUSED);
}

static void pointers(void **state)
{
    (void)state;
    static const char *const none[] = {"2.0.18.198.in-addr.arpa",    "1.0.0.127.in-addr.arpa",
                                       "0.18.198.in-addr.arpa",      "1.1.0.18.198.in-addr.arpa",
                                       "1..18.198.in-addr.arpa",     "x.0.18.198.in-addr.arpa",
                                       "1000.0.18.198.in-addr.arpa", "1.ip6.arpa"};
    struct addr a;
    assert_true(name_map_get(STR("a.test"), &a));
    assert_int_equal(judge("1.0.18.198.in-addr.arpa", DNS_TYPE_PTR), NAME_IS_ANSWERED);
    assert_string_equal(r.reply.pointer.p, "a.test");
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
        assert_int_equal(answer_code(none[i], DNS_TYPE_PTR), DNS_CODE_NXDOMAIN);
    assert_int_equal(judge("_http._tcp.a.test", DNS_TYPE_PTR), NAME_IS_ASKED);
}

static void led_elsewhere(void **state)
{
    (void)state;
    assert_int_equal(judge("exact.test", DNS_TYPE_A), NAME_EXISTS);
    assert_int_equal(judge("www.exact.test", DNS_TYPE_A), NAME_IS_ASKED);
    assert_int_equal(judge("a.plain.test", DNS_TYPE_A), NAME_IS_ASKED);
    assert_int_equal(judge("a.led.test", DNS_TYPE_AAAA), NAME_EXISTS);
    assert_int_equal(judge("led.test", DNS_TYPE_A), NAME_IS_ASKED);
    assert_int_equal(judge("mapped.test", DNS_TYPE_A), NAME_EXISTS);
    assert_int_equal(judge("port.test", DNS_TYPE_A), NAME_IS_ASKED);
    assert_int_equal(judge("other.test", DNS_TYPE_A), NAME_IS_ASKED);
    maps[1] = (struct connect_to){.host = "", .to_host = "127.0.0.1"};
    assert_int_equal(judge("other.test", DNS_TYPE_A), NAME_EXISTS);
}

/* A parent looks it up, whatever it is; not those that are reached without. */
static void left_to_a_parent(void **state)
{
    (void)state;
    static struct parent parent = {.host = "p.test"};
    rules[2].parent = &parent;
    assert_int_equal(judge("other.test", DNS_TYPE_A), NAME_IS_ASKED);
    assert_int_equal(judge("a.plain.test", DNS_TYPE_A), NAME_EXISTS);
    rules[0].parent = &parent;
    assert_int_equal(judge("other.test", DNS_TYPE_AAAA), NAME_EXISTS);
    assert_int_equal(judge("localhost", DNS_TYPE_A), NAME_IS_ANSWERED);
    static const char *direct[] = {"*.corp.test"};
    conf.upstream.no_proxy.hosts = (struct strings){direct, 1};
    conf.upstream.no_proxy.index = rule_index_of(&conf.upstream.no_proxy.hosts);
    assert_int_equal(judge("a.corp.test", DNS_TYPE_A), NAME_IS_ASKED);
    rule_index_free(conf.upstream.no_proxy.index);
}

static void a_name_that_exists(void **state)
{
    (void)state;
    static const uint16_t others[] = {DNS_TYPE_AAAA, TYPE_MX, TYPE_HTTPS, DNS_TYPE_SOA};
    struct dns_asked q = asks("a.test", DNS_TYPE_A);
    name_rule_exists(&q, &r);
    assert_string_equal(answer_address(), "198.18.0.1");
    assert_int_equal(r.reply.ttl, NAME_TTL);
    q.type = DNS_TYPE_ANY;
    name_rule_exists(&q, &r);
    assert_string_equal(answer_address(), "198.18.0.1");
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        q.type = others[i];
        name_rule_exists(&q, &r);
        assert_int_equal(r.reply.code, DNS_CODE_NOERROR);
        assert_null(r.reply.address);
    }
    name_map_close();
    q.type = DNS_TYPE_A;
    name_rule_exists(&q, &r);
    assert_int_equal(r.reply.code, DNS_CODE_SERVFAIL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(of_this_machine, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_questions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(pointers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(left_to_a_parent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(led_elsewhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_name_that_exists, set_up, tear_down)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
