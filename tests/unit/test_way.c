/* SPDX-License-Identifier: Apache-2.0 */
/* upstream/way.c: connect_to and the parent, and what is judged of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "conf/rule_index.h"
#include "upstream/way.h"

enum { BASE, OWN, NONE, MAPPED };

static struct parent parent = {.host = "p.test.", .port = 3128, .shown = "p.test.:3128"};
static struct parent other = {.host = "::1", .port = 1, .shown = "[::1]:1"};
static struct rule rules[] = {
    [BASE] = {.host = "*", .connect_host = "", .parent = &parent},
    [OWN] = {.host = "own", .connect_host = "", .parent = &other},
    [NONE] = {.host = "none", .connect_host = ""},
    [MAPPED] = {.host = "m", .connect_host = "10.0.0.7", .connect_port = 99, .parent = &parent}};
static struct connect_to maps[] = {
    {.host = "map.test", .to_host = "to.test."},
    {.host = "port.test", .to_host = "", .to_port = 8443},
};
static const char *bypassed[] = {"direct.test", "*.corp.test", "to.direct"};
static struct conf conf;
static struct up_where where;
static struct way way;

static int set_up(void **state)
{
    (void)state;
    conf = (struct conf){.rules = rules, .n_rules = 4, .connect_to = maps, .n_connect_to = 2};
    conf.upstream.no_proxy.hosts = (struct strings){bypassed, 3};
    conf.upstream.no_proxy.index = rule_index_of(&conf.upstream.no_proxy.hosts);
    assert_true(netset_add(&conf.upstream.no_proxy.nets, STR("192.0.2.0/24")));
    assert_true(netset_add(&conf.destination.deny, STR("linklocal")));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    way_clear(&way);
    rule_index_free(conf.upstream.no_proxy.index);
    netset_clear(&conf.upstream.no_proxy.nets);
    netset_clear(&conf.destination.deny);
    return 0;
}

/* The way to HOST under rules[RULE]. */
static const struct way *to(const char *host, int rule)
{
    way_clear(&way);
    where = (struct up_where){.conf = &conf,
                              .rule = &rules[rule],
                              .host = str_from(host),
                              .port = 443,
                              .tls = true,
                              .is_local = true};
    way_init(&way, &where);
    return &way;
}

static void which_parent(void **state)
{
    (void)state;
    assert_ptr_equal(to("a.test", BASE)->parent, &parent);
    assert_null(to("direct.test", BASE)->parent);
    assert_null(to("x.y.corp.test", BASE)->parent);
    assert_ptr_equal(to("corp.test", BASE)->parent, &parent);
    assert_null(to("192.0.2.255", BASE)->parent);
    assert_ptr_equal(to("192.0.3.0", BASE)->parent, &parent);
    assert_ptr_equal(to("direct.test", OWN)->parent, &other);
    assert_ptr_equal(to("192.0.2.1", OWN)->parent, &other);
    assert_null(to("a.test", NONE)->parent);
    /* What is connected to counts, too. */
    rules[MAPPED].connect_host = "192.0.2.9";
    assert_null(to("a.test", MAPPED)->parent);
    rules[MAPPED].connect_host = "to.direct.";
    assert_null(to("a.test", MAPPED)->parent);
    rules[MAPPED].connect_host = "10.0.0.7";
    assert_ptr_equal(to("a.test", MAPPED)->parent, &parent);
    assert_false(way_is_direct(&where));
    where.is_direct = true;
    assert_null(way_parent(&where));
    assert_false(way_is_direct(&where)); /* connect_to */
    to("a.test", BASE);
    assert_false(way_is_direct(&where)); /* a parent */
    to("port.test", NONE);
    assert_false(way_is_direct(&where)); /* another port */
    to("a.test", NONE);
    assert_true(way_is_direct(&where));
}

static void what_is_asked(void **state)
{
    (void)state;
    char text[WAY_TEXT];
    assert_string_equal(way_authority(to("a.test", BASE), text), "a.test:443");
    assert_string_equal(way_authority(to("2001:db8::1", BASE), text), "[2001:db8::1]:443");
    assert_string_equal(way_authority(to("map.test", BASE), text), "to.test:443");
    assert_string_equal(way_authority(to("port.test", BASE), text), "port.test:8443");
    assert_string_equal(way_authority(to("a.test", MAPPED), text), "10.0.0.7:99");
    assert_string_equal(
        way_print(&way, text),
        "10.0.0.7:99 (connect_to for a.test) (through the parent proxy p.test.:3128)");
    assert_string_equal(way_first_host(&way), "p.test.");
    assert_int_equal(way_first_port(&way), 3128);
    to("a.test", NONE);
    assert_string_equal(way_print(&way, text), "a.test:443");
    assert_string_equal(way_first_host(&way), "a.test");
    assert_int_equal(way_first_port(&way), 443);
    where.is_rooted = true;
    way_clear(&way);
    way_init(&way, &where);
    assert_string_equal(way.connect, "a.test.");
    assert_string_equal(way_authority(&way, text), "a.test:443");
    assert_string_equal(way.host, "a.test");
}

static void who_reads_requests(void **state)
{
    (void)state;
    to("a.test", BASE);
    assert_null(way_asked(&where));
    where.tls = false;
    assert_ptr_equal(way_asked(&where), &parent);
    where.is_tunnel = true;
    assert_null(way_asked(&where));
    static const struct {
        const char *host;
        int rule;
    } none[] = {{"direct.test", BASE},
                {"map.test", BASE},
                {"port.test", BASE},
                {"a.test", NONE},
                {"a.test", MAPPED}};
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        to(none[i].host, none[i].rule);
        where.tls = false;
        assert_null(way_asked(&where));
    }
}

static void what_may_be_asked(void **state)
{
    (void)state;
    struct fault f;
    assert_true(way_may(to("_a-b.c.test.", BASE), &f));
    assert_true(way_may(to("%61.test", NONE), &f));
    assert_false(way_may(to("%61.test", BASE), &f));
    assert_false(way_may(to(".test", BASE), &f));
    assert_false(way_may(to("a..test", BASE), &f));
    assert_int_equal(f.code, FAULT_DENIED);
    assert_true(way_may(to("a.test", BASE), &f));
    assert_false(way_may(to("169.254.169.254", BASE), &f));
    assert_int_equal(f.code, FAULT_ADDRESS_DENIED);
    assert_false(way_may(to("fe80::1", BASE), &f));
    assert_false(way_may(to("::ffff:169.254.0.1", BASE), &f));
    /* It is judged when it is tried, where there is no parent. */
    assert_true(way_may(to("169.254.169.254", NONE), &f));
    rules[MAPPED].connect_host = "169.254.0.1";
    assert_true(way_may(to("a.test", MAPPED), &f));
    rules[MAPPED].connect_host = "10.0.0.7";
    /* A name for loopback is no other than its address. */
    assert_true(way_may(to("localhost", BASE), &f));
    where.is_local = false;
    way_clear(&way);
    way_init(&way, &where);
    assert_false(way_may(&way, &f));
    struct bound own = {.kind = LISTENER_PROXY};
    assert_true(addr_parse(&own.addr, STR("127.0.0.1:443")));
    bound_set(&own, 1);
    assert_false(way_may(to("localhost", BASE), &f));
    rules[MAPPED].connect_host = "127.0.0.1";
    rules[MAPPED].connect_port = 443;
    assert_false(way_may(to("a.test", MAPPED), &f));
    rules[MAPPED].connect_port = 99;
    rules[MAPPED].connect_host = "10.0.0.7";
    bound_set(&own, 0);
    /* The search list is for names that are looked up here. */
    assert_true(way_may_be(to("a", BASE), STR("a.corp.test"), &f));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(which_parent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_asked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_reads_requests, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_may_be_asked, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
