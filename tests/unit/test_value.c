/* SPDX-License-Identifier: Apache-2.0 */
/* conf/value.c: each simple type with its edges, and why a text is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/mem.h"
#include "conf/conf.h"
#include "conf/value.h"

/* What a value may be written to. */
union target {
    bool flag;
    size_t size;
    int64_t duration;
    unsigned number;
    uint16_t port;
    int choice;
    const char *text;
    struct netset nets;
    struct list_of_ports ports;
    struct strings hosts;
};

static const struct choice colours[] = {{"red", 3}, {"dark-blue", 7}, {NULL, 0}};
static struct arena arena;
static union target got;
static char why[VALUE_ERR];

static bool set_in(enum key_type type, const char *text, int64_t min, int64_t max)
{
    struct key k = {.name = "k", .type = type, .min = min, .max = max, .choices = colours};
    why[0] = '\0';
    return value_set(&arena, &k, &got, str_from(text), why);
}

static bool set(enum key_type type, const char *text)
{
    memset(&got, 0, sizeof(got));
    return set_in(type, text, 0, INT64_MAX);
}

static void refused(enum key_type type, const char *text, const char *reason)
{
    assert_false(set(type, text));
    assert_string_equal(why, reason);
}

static void booleans(void **state)
{
    static const char *const on[] = {"on", "true", "yes", "ON", "Yes"};
    static const char *const off[] = {"off", "false", "no", "OFF"};
    (void)state;
    for (size_t i = 0; i < sizeof(on) / sizeof(on[0]); i++) {
        assert_true(set(KEY_BOOL, on[i]));
        assert_true(got.flag);
    }
    for (size_t i = 0; i < sizeof(off) / sizeof(off[0]); i++) {
        got.flag = true;
        assert_true(set_in(KEY_BOOL, off[i], 0, 1));
        assert_false(got.flag);
    }
    refused(KEY_BOOL, "1", "\"1\" is neither on nor off");
    refused(KEY_BOOL, "", "\"\" is neither on nor off");
}

static void size_is(const char *text, size_t n)
{
    assert_true(set(KEY_SIZE, text));
    assert_true(got.size == n);
}

static void sizes(void **state)
{
    (void)state;
    size_is("0", 0);
    size_is("65536", 65536);
    size_is("64k", 65536);
    size_is("3M", (size_t)3 << 20);
    size_is("2g", (size_t)2 << 30);
    size_is("9223372036854775807", INT64_MAX);
    refused(KEY_SIZE, "", "\"\" is no size: write bytes, or a number with k, m or g");
    refused(KEY_SIZE, "k", "\"k\" is no size: write bytes, or a number with k, m or g");
    refused(KEY_SIZE, "-1", "\"-1\" is no size: write bytes, or a number with k, m or g");
    refused(KEY_SIZE, "1kb", "\"1kb\" is no size: write bytes, or a number with k, m or g");
    refused(KEY_SIZE, "1t", "\"1t\" is no size: its unit must be k, m or g");
    refused(KEY_SIZE, "9223372036854775808", "must be 0 to 9223372036854775807 bytes");
    refused(KEY_SIZE, "8589934592g", "must be 0 to 9223372036854775807 bytes");
    refused(KEY_SIZE, "18014398509481984k", "must be 0 to 9223372036854775807 bytes");
    assert_true(set_in(KEY_SIZE, "1k", 1024, 1024));
    assert_false(set_in(KEY_SIZE, "1023", 1024, 1024));
    assert_false(set_in(KEY_SIZE, "1025", 1024, 1024));
    assert_string_equal(why, "must be 1024 to 1024 bytes");
}

static void duration_is(const char *text, int64_t ms)
{
    assert_true(set(KEY_DURATION, text));
    assert_true(got.duration == ms);
}

static void durations(void **state)
{
    (void)state;
    duration_is("0", 0);
    duration_is("0h", 0);
    duration_is("500ms", 500);
    duration_is("10s", 10000);
    duration_is("2m", 120000);
    duration_is("1h", 3600000);
    refused(KEY_DURATION, "10", "\"10\" lacks a unit: ms, s, m or h");
    refused(KEY_DURATION, "10S", "\"10S\" is no duration: its unit must be ms, s, m or h");
    refused(KEY_DURATION, "1d", "\"1d\" is no duration: its unit must be ms, s, m or h");
    refused(KEY_DURATION, "s", "\"s\" is no duration: write 500ms, 10s, 2m, 1h or 0");
    refused(KEY_DURATION, "1.5s", "\"1.5s\" is no duration: its unit must be ms, s, m or h");
    assert_true(set_in(KEY_DURATION, "24h", 0, 86400000));
    assert_false(set_in(KEY_DURATION, "86400001ms", 0, 86400000));
    assert_string_equal(why, "must be at most 24h");
    assert_false(set_in(KEY_DURATION, "5124095576031h", 0, 86400000));
}

static void numbers(void **state)
{
    (void)state;
    assert_true(set_in(KEY_NUMBER, "7", 7, 9));
    assert_int_equal(got.number, 7);
    assert_true(set_in(KEY_NUMBER, "9", 7, 9));
    assert_false(set_in(KEY_NUMBER, "6", 7, 9));
    assert_false(set_in(KEY_NUMBER, "10", 7, 9));
    assert_string_equal(why, "must be 7 to 9");
    assert_int_equal(got.number, 9);
    refused(KEY_NUMBER, "7x", "\"7x\" is no number");
    refused(KEY_NUMBER, "", "\"\" is no number");
    assert_true(set_in(KEY_PORT, "65535", 0, 65535));
    assert_int_equal(got.port, 65535);
    assert_false(set_in(KEY_PORT, "65536", 0, 65535));
    assert_true(set(KEY_WORKERS, "Auto"));
    assert_true(got.number > 0);
    assert_true(set(KEY_WORKERS, "3"));
    assert_int_equal(got.number, 3);
}

static void words(void **state)
{
    (void)state;
    assert_true(set(KEY_CHOICE, "Dark-Blue"));
    assert_int_equal(got.choice, 7);
    assert_true(set(KEY_FLAG, "red"));
    assert_true(got.flag);
    refused(KEY_CHOICE, "blue", "\"blue\" is none of red, dark-blue");
    refused(KEY_FLAG, "", "\"\" is none of red, dark-blue");
}

static void texts(void **state)
{
    (void)state;
    assert_true(set(KEY_TEXT, "a b\"\xc3\xa9"));
    assert_string_equal(got.text, "a b\"\xc3\xa9");
    /* Instead of what was there. */
    assert_true(set_in(KEY_TEXT, "", 0, 0));
    assert_string_equal(got.text, "");
    refused(KEY_TEXT, "a\tb", "has a control byte in it");
    refused(KEY_TEXT, "a\x7f", "has a control byte in it");
    assert_null(got.text);
}

static void host_is(const char *text, const char *host)
{
    assert_true(set(KEY_HOST, text));
    assert_string_equal(got.text, host);
}

static void hosts(void **state)
{
    (void)state;
    host_is("", "");
    host_is("WWW.Example.COM.", "www.example.com");
    host_is("a_b-c", "a_b-c");
    host_is("192.0.2.1", "192.0.2.1");
    host_is("::0001", "::1");
    host_is("[2001:DB8:0:0::1]", "2001:db8::1");
    refused(KEY_HOST, ".", "\".\" is no host name");
    refused(KEY_HOST, ".a", "\".a\" is no host name");
    refused(KEY_HOST, "a..b", "\"a..b\" is no host name");
    refused(KEY_HOST, "a b", "\"a b\" is no host name");
    refused(KEY_HOST, "a:1", "\"a:1\" is no host name");
    refused(KEY_HOST, "[192.0.2.1]", "\"[192.0.2.1]\" is no host name");
    assert_false(set(KEY_HOST, "m\xc3\xbcller.de"));
    assert_non_null(strstr(why, "is no host name: write its xn-- form"));
}

static void the_longest_host(void **state)
{
    char name[256];
    (void)state;
    memset(name, 'a', sizeof(name));
    name[253] = '\0';
    host_is(name, name);
    name[253] = 'a';
    name[254] = '\0';
    assert_false(set(KEY_HOST, name));
    /* A dot at its end is not counted. */
    name[253] = '.';
    assert_true(set(KEY_HOST, name));
    assert_int_equal(strlen(got.text), 253);
}

static void lists(void **state)
{
    (void)state;
    assert_true(set(KEY_PORTS, "443"));
    assert_true(set_in(KEY_PORTS, "1", 0, 0));
    assert_int_equal(got.ports.n, 2);
    assert_int_equal(got.ports.v[0], 443);
    assert_int_equal(got.ports.v[1], 1);
    refused(KEY_PORTS, "0", "\"0\" is no port: 1 to 65535");
    refused(KEY_PORTS, "65536", "\"65536\" is no port: 1 to 65535");
    assert_true(set(KEY_HOSTS, "*"));
    assert_true(set_in(KEY_HOSTS, "*.Example.COM", 0, 0));
    assert_true(set_in(KEY_HOSTS, "[::1]", 0, 0));
    assert_false(set_in(KEY_HOSTS, "*.", 0, 0));
    assert_false(set_in(KEY_HOSTS, "*.*", 0, 0));
    assert_false(set_in(KEY_HOSTS, "a*", 0, 0));
    assert_int_equal(got.hosts.n, 3);
    assert_string_equal(got.hosts.v[0], "*");
    assert_string_equal(got.hosts.v[1], "*.example.com");
    assert_string_equal(got.hosts.v[2], "::1");
    refused(KEY_HOSTS, "https://a/",
            "\"https://a/\" is no host name: write it without scheme, port and path");
    refused(KEY_HOSTS, "*.a:8443",
            "\"*.a:8443\" is no host name: write it without scheme, port and path");
    assert_true(set(KEY_NETS, "10.0.0.0/8"));
    assert_int_equal(got.nets.n, 1);
    netset_clear(&got.nets);
    refused(KEY_NETS, "10.0.0.0/33",
            "\"10.0.0.0/33\" is no network: write 10.0.0.0/8, fd00::/8, an address, or loopback, "
            "private, linklocal, any");
}

static void splits(const char *text, const char *host, const char *port)
{
    struct str h, p;
    assert_true(value_split(str_from(text), &h, &p));
    assert_true(str_eq(h, str_from(host)));
    assert_true(str_eq(p, str_from(port)));
}

static void hosts_with_ports(void **state)
{
    static const char *const bad[] = {"", ":1", "a:", "[::1", "[::1]1", "[::1]:", "[a]:1", "[]"};
    struct str host, port;
    (void)state;
    splits("a.test", "a.test", "");
    splits("a.test:443", "a.test", "443");
    splits("192.0.2.1:8", "192.0.2.1", "8");
    splits("::1", "::1", "");
    splits("[::1]", "::1", "");
    splits("[::1]:443", "::1", "443");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(value_split(str_from(bad[i]), &host, &port));
}

/* A reason is cut where it would not fit, and made printable. */
static void reasons(void **state)
{
    char text[1000];
    (void)state;
    memset(text, '\n', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    assert_false(set(KEY_NUMBER, text));
    assert_true(strlen(why) < VALUE_ERR);
    assert_null(strchr(why, '\n'));
    /* Who asks may not want to know. */
    assert_false(value_fail(NULL, "%d", 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(booleans),  cmocka_unit_test(sizes),
        cmocka_unit_test(durations), cmocka_unit_test(numbers),
        cmocka_unit_test(words),     cmocka_unit_test(texts),
        cmocka_unit_test(hosts),     cmocka_unit_test(the_longest_host),
        cmocka_unit_test(lists),     cmocka_unit_test(hosts_with_ports),
        cmocka_unit_test(reasons),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
