/* SPDX-License-Identifier: Apache-2.0 */
/* base/addr.c: parsing and printing, IPv4 inside IPv6, network sets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <cmocka.h>

#include "base/addr.h"

static struct addr ip(const char *text)
{
    struct addr a;
    assert_true(addr_parse_ip(&a, str_from(text), 443));
    return a;
}

static void test_parse_print(void **state)
{
    static const char *const good[] = {"1.2.3.4:80", "[::1]:80", "[2001:db8::1]:65535", "0.0.0.0:0",
                                       "unix:/run/x.sock"};
    char text[ADDR_TEXT];
    struct addr a;
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(addr_parse(&a, str_from(good[i])));
        assert_string_equal(addr_print(&a, text), good[i]);
    }
    a = ip("2001:DB8::1");
    assert_string_equal(addr_print_ip(&a, text), "2001:db8::1");
    assert_int_equal(addr_port(&a), 443);
    addr_set_port(&a, 8443);
    assert_string_equal(addr_print(&a, text), "[2001:db8::1]:8443");
}

static void test_every_octet(void **state)
{
    char text[ADDR_TEXT], expected[INET_ADDRSTRLEN];
    (void)state;
    for (unsigned i = 0; i < 256 * 4; i++) {
        struct addr a = ip("10.200.3.40");
        uint8_t *bytes = (uint8_t *)&a.in4.sin_addr;
        bytes[i / 256] = (uint8_t)i;
        assert_non_null(inet_ntop(AF_INET, bytes, expected, sizeof(expected)));
        assert_string_equal(addr_print_ip(&a, text), expected);
    }
}

static void test_parse_refuses(void **state)
{
    static const char *const bad[] = {"",
                                      "1.2.3.4",
                                      "1.2.3.4:",
                                      "1.2.3.4:65536",
                                      "1.2.3.4:8x",
                                      "1.2.3:80",
                                      "::1:80",
                                      "[::1]",
                                      "[::1:80",
                                      "[1.2.3.4]:80",
                                      "[::1]80",
                                      "host:80",
                                      ":80",
                                      "unix:",
                                      "unix:name",
                                      "01.2.3.4.5:1",
                                      "[fe80::1%1]:1",
                                      "1.2.3.4:99999999999999999999"};
    char path[300] = "unix:/";
    struct addr a;
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(addr_parse(&a, str_from(bad[i])));
    memset(path + 6, 'x', 200);
    assert_false(addr_parse(&a, str_from(path)));
    assert_false(addr_parse_ip(&a, str_make("1.2.3.4\0", 8), 1));
}

static void test_equal(void **state)
{
    struct addr a = ip("1.2.3.4");
    struct addr b = ip("1.2.3.4");
    struct addr c = ip("::1");
    struct addr none;
    char text[ADDR_TEXT];
    (void)state;
    assert_true(addr_equal(&a, &b));
    addr_set_port(&b, 1);
    assert_false(addr_equal(&a, &b));
    assert_true(addr_same_ip(&a, &b));
    assert_false(addr_same_ip(&a, &c));
    addr_from_sockaddr(&b, &a.sa, a.len);
    assert_true(addr_equal(&a, &b));
    addr_from_sockaddr(&none, NULL, 0);
    assert_string_equal(addr_print(&none, text), "-");
    assert_false(addr_is_loopback(&none));
    struct sockaddr_un nameless = {.sun_family = AF_UNIX};
    addr_from_sockaddr(&none, (struct sockaddr *)&nameless, sizeof(sa_family_t));
    assert_string_equal(addr_print(&none, text), "unix:");
    assert_true(addr_is_loopback(&none));
}

/* The plain form, then the readings besides the address itself. */
static const char *const inner_forms[][6] = {
    {"::ffff:10.0.0.1", "10.0.0.1:443", "10.0.0.1"},
    {"::10.0.0.1", "[::10.0.0.1]:443", "10.0.0.1"},
    {"::2", "[::2]:443", "0.0.0.2"},
    {"::1", "[::1]:443"},
    {"::", "[::]:443"},
    {"::ffff:0:7f00:1", "[::ffff:0:7f00:1]:443", "127.0.0.1"},
    {"64:ff9b::a9fe:a9fe", "[64:ff9b::a9fe:a9fe]:443", "169.254.169.254"},
    {"64:ff9b:1::a9fe:a9fe", "[64:ff9b:1::a9fe:a9fe]:443", "169.254.169.254"},
    {"64:ff9b:1:abcd::7f00:1", "[64:ff9b:1:abcd::7f00:1]:443", "127.0.0.1", "171.205.0.0",
     "205.0.0.0"},
    {"64:ff9b:1:a9fe:a9:fe00::", "[64:ff9b:1:a9fe:a9:fe00::]:443", "169.254.169.254",
     "254.169.254.0", "169.254.0.0"},
    {"64:ff9b:1::", "[64:ff9b:1::]:443", "0.0.0.0"},
    {"64:ff9b:2::1", "[64:ff9b:2::1]:443"},
    {"2002:7f00:1::", "[2002:7f00:1::]:443", "127.0.0.1"},
    {"2001:db8::1", "[2001:db8::1]:443"},
    {"192.0.2.1", "192.0.2.1:443"},
};

static void test_inner_ip4(void **state)
{
    char text[ADDR_TEXT];
    (void)state;
    for (size_t i = 0; i < sizeof(inner_forms) / sizeof(inner_forms[0]); i++) {
        struct addr a = ip(inner_forms[i][0]);
        struct addr plain = addr_plain(&a);
        struct addr readings[ADDR_READINGS];
        assert_string_equal(addr_print(&plain, text), inner_forms[i][1]);
        unsigned n = addr_readings(&a, readings);
        assert_true(addr_equal(&readings[0], &a));
        for (unsigned k = 1; k < n; k++) {
            assert_non_null(inner_forms[i][k + 1]);
            assert_string_equal(addr_print_ip(&readings[k], text), inner_forms[i][k + 1]);
            assert_int_equal(addr_port(&readings[k]), 443);
        }
        assert_true(n == ADDR_READINGS || inner_forms[i][n + 1] == NULL);
    }
}

static void test_loopback_any(void **state)
{
    static const char *const loopback[] = {"127.0.0.1", "127.255.0.1", "::1", "::ffff:127.0.0.1"};
    (void)state;
    for (size_t i = 0; i < sizeof(loopback) / sizeof(loopback[0]); i++) {
        struct addr a = ip(loopback[i]);
        assert_true(addr_is_loopback(&a));
        assert_false(addr_is_any(&a));
    }
    /* Anybody may have these: they say nothing of who that is. */
    static const char *const elsewhere[] = {"2002:7f00:1::1",    "64:ff9b::7f00:1", "::127.0.0.1",
                                            "64:ff9b:1::7f00:1", "64:ff9b::",       "2002::"};
    for (size_t i = 0; i < sizeof(elsewhere) / sizeof(elsewhere[0]); i++) {
        struct addr a = ip(elsewhere[i]);
        assert_false(addr_is_loopback(&a));
        assert_false(addr_is_any(&a));
    }
    struct addr zero4 = ip("0.0.0.0");
    struct addr zero6 = ip("::");
    struct addr mapped = ip("::ffff:0.0.0.0");
    struct addr other = ip("128.0.0.1");
    assert_true(addr_is_any(&zero4));
    assert_true(addr_is_any(&zero6));
    assert_true(addr_is_any(&mapped));
    assert_false(addr_is_loopback(&other));
}

static void add_all(struct netset *s, const char *list)
{
    struct str rest = str_from(list);
    struct str item;
    while (str_next_item(&rest, &item))
        assert_true(netset_add(s, item));
}

/* Every address of HELD is in the networks LIST by HAS, none of FREE is. */
static void check_by(bool (*has)(const struct netset *s, const struct addr *a), const char *list,
                     const char *held, const char *free_list)
{
    struct netset s = {0};
    struct str rest = str_from(held);
    struct str item;
    struct addr a;
    add_all(&s, list);
    while (str_next_item(&rest, &item)) {
        assert_true(addr_parse_ip(&a, item, 1));
        assert_true(has(&s, &a));
    }
    rest = str_from(free_list);
    while (str_next_item(&rest, &item)) {
        assert_true(addr_parse_ip(&a, item, 1));
        assert_false(has(&s, &a));
    }
    netset_clear(&s);
    assert_null(s.nets);
}

/* Whatever is asked. */
static void check_set(const char *list, const char *held, const char *free_list)
{
    check_by(netset_has, list, held, free_list);
    check_by(netset_touches, list, held, free_list);
}

static void test_sets(void **state)
{
    (void)state;
    check_set("", "", "1.2.3.4, ::1");
    check_set("loopback", "127.0.0.1, 127.9.9.9, ::1, ::ffff:127.0.0.1", "128.0.0.1, ::2");
    check_set("private", "10.1.1.1, 172.16.0.1, 172.31.255.255, 192.168.0.1, fd00::1",
              "172.32.0.0, 172.15.255.255, 11.0.0.1, fe00::1");
    check_set("LinkLocal", "169.254.1.1, fe80::1, febf::1, ::ffff:169.254.1.1", "fec0::1");
    check_set("any", "0.0.0.0, 255.255.255.255, ::, 2001:db8::1", "");
    check_set("192.0.2.77/25, 2001:db8::/33, 198.51.100.7",
              "192.0.2.0, 192.0.2.127, 2001:db8:7fff::1, 198.51.100.7, ::ffff:198.51.100.7",
              "192.0.2.128, 2001:db8:8000::, 198.51.100.6");
    check_set("::ffff:0:0/96, 64:ff9b::/96", "::ffff:1.2.3.4, 64:ff9b::1.2.3.4", "1.2.3.4");
    check_set("::ffff:192.0.2.0/121, ::ffff:203.0.113.9",
              "192.0.2.1, ::ffff:192.0.2.127, 203.0.113.9", "192.0.2.128, 203.0.113.8");
    check_by(netset_touches, "0.0.0.0/8",
             "::ffff:0.0.0.1, 64:ff9b:1::", "64:ff9b:1::8.8.8.8, 64:ff9b:1:808:8:800::, ::1, ::");
}

/* What leads to a network is refused with it, and not allowed with it. */
static void test_sets_two_questions(void **state)
{
    (void)state;
    static const struct {
        const char *list, *inside;
    } cases[] = {
        {"private", "2002:a00:1::, 2002:c0a8:101::1, 64:ff9b::10.0.0.1, ::10.0.0.1"},
        {"loopback", "2002:7f00:1::1, 64:ff9b::7f00:1, ::127.0.0.1, 64:ff9b:1::127.0.0.1"},
        {"linklocal", "64:ff9b::169.254.169.254, 2002:a9fe:a9fe::1"},
        /* A translator may read 64:ff9b:1::/48 in any of four ways. */
        {"169.254.0.0/16", "64:ff9b:1:a9fe:a9:fe00:808:808, 64:ff9b:1:a9:fe:a9fe:808:808,"
                           "64:ff9b:1:1:a9:fea9:fe08:808, 64:ff9b:1:1:1:1:a9fe:a9fe"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        check_by(netset_touches, cases[i].list, cases[i].inside, "64:ff9b:1::8.8.8.8");
        check_by(netset_has, cases[i].list, "", cases[i].inside);
    }
}

static void test_set_refuses(void **state)
{
    static const char *const bad[] = {
        "",         "/8",         "1.2.3.4/33", "::/129", "1.2.3",
        "1.2.3.4/", "1.2.3.4/8x", "localhost",  ",",      "10.0.0.0/8,::1"};
    struct netset s = {0};
    struct addr a;
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(netset_add(&s, str_from(bad[i])));
    add_all(&s, "any");
    assert_true(addr_parse(&a, STR("unix:/x")));
    assert_false(netset_has(&s, &a));
    netset_clear(&s);
}

static bool is_one_host(const char *a, const char *b)
{
    struct addr one, two;
    uint8_t keys[2][ADDR_HOST_KEY];
    assert_true(addr_parse_ip(&one, str_from(a), 1) || addr_parse(&one, str_from(a)));
    assert_true(addr_parse_ip(&two, str_from(b), 2) || addr_parse(&two, str_from(b)));
    addr_host_key(&one, keys[0]);
    addr_host_key(&two, keys[1]);
    return memcmp(keys[0], keys[1], ADDR_HOST_KEY) == 0;
}

static void test_hosts(void **state)
{
    (void)state;
    assert_true(is_one_host("192.0.2.1", "::ffff:192.0.2.1"));
    assert_true(is_one_host("2001:db8::1", "2001:db8::2:3"));
    assert_true(is_one_host("unix:/a", "unix:/b"));
    assert_false(is_one_host("192.0.2.1", "192.0.2.2"));
    assert_false(is_one_host("::ffff:192.0.2.1", "::ffff:192.0.2.2"));
    assert_false(is_one_host("2001:db8::1", "2001:db8:0:1::1"));
    assert_false(is_one_host("::1", "unix:/a"));
    assert_false(is_one_host("::1", "127.0.0.1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_parse_print),
        cmocka_unit_test(test_every_octet),
        cmocka_unit_test(test_parse_refuses),
        cmocka_unit_test(test_equal),
        cmocka_unit_test(test_inner_ip4),
        cmocka_unit_test(test_loopback_any),
        cmocka_unit_test(test_sets),
        cmocka_unit_test(test_sets_two_questions),
        cmocka_unit_test(test_set_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
