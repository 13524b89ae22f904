/* SPDX-License-Identifier: Apache-2.0 */
/* exchange/auth.c: whose turn it is, what is checked once for many and not at all, what does not
 * fit. Nothing here depends on how long a check takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <crypt.h>
#include <stdlib.h>
#include <unistd.h>

#include "conf/conf_load.h"
#include "conf/policy.h"
#include "exchange/auth.h"

enum { CALLS = AUTH_CHECKS_MAX + AUTH_PLACE_MAX };

/* One who waits for a result. */
struct call {
    struct auth_job *job;
    bool told;
    unsigned at; /* which result it was, from 1 */
    enum auth_result result;
};

static struct loop loop;
static struct conf *conf;
static struct call calls[CALLS];
static unsigned told; /* of all calls */

/* A file with a user "a" whose password is "ADAM" and a user "b" with "EVE". The salts are new each
 * time: what one test has found out is not known in the next. */
static int set_up(void **state)
{
    static unsigned n;
    char path[] = "/tmp/test_auth.XXXXXX", option[64], salt[32];
    const char *options[] = {option};
    struct conf_source src = {.options = options, .n_options = 1};
    struct conf_faults faults = {0};
    (void)state;
    int file = mkstemp(path);
    assert_true(file >= 0);
    snprintf(salt, sizeof(salt), "$5$rounds=5000$salt%u", ++n);
    assert_true(dprintf(file, "a:%s\n", crypt("ADAM", salt)) > 0);
    assert_true(dprintf(file, "b:%s\n", crypt("EVE", salt)) > 0);
    close(file);
    snprintf(option, sizeof(option), "client.auth_file=%s", path);
    conf = conf_load(&src, &faults);
    unlink(path);
    assert_non_null(conf);
    assert_true(loop_init(&loop));
    memset(calls, 0, sizeof(calls));
    told = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (unsigned i = 0; i < CALLS; i++)
        auth_cancel(calls[i].job);
    auth_stop();
    loop_turn(&loop, false);
    loop_clear(&loop);
    assert_int_equal(conf->refs, 1);
    conf_unref(&conf);
    return 0;
}

static void on_result(void *arg, enum auth_result result)
{
    struct call *c = arg;
    assert_false(c->told);
    c->job = NULL;
    c->told = true;
    c->result = result;
    c->at = ++told;
}

static void encode(char *dst, const char *pair)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t len = strlen(pair);
    for (size_t i = 0; i < len; i += 3) {
        uint32_t v = (uint32_t)(unsigned char)pair[i] << 16;
        v |= i + 1 < len ? (uint32_t)(unsigned char)pair[i + 1] << 8 : 0;
        v |= i + 2 < len ? (uint32_t)(unsigned char)pair[i + 2] : 0;
        *dst++ = digits[v >> 18];
        *dst++ = digits[v >> 12 & 63];
        *dst++ = i + 1 < len ? digits[v >> 6 & 63] : '=';
        *dst++ = i + 2 < len ? digits[v & 63] : '=';
    }
    *dst = '\0';
}

static void basic(char dst[128], const char *pair)
{
    encode(stpcpy(dst, "Basic "), pair);
}

/* Call I asks for PAIR, from IP ("unix:/x" too) over a connection. False: there was no room. */
static bool call(unsigned i, const char *ip, uint64_t connection, const char *pair)
{
    char value[128];
    struct source_side from = {.id = connection};
    struct auth_ask ask = {.conf = conf, .from = &from};
    if (!addr_parse_ip(&from.peer, str_from(ip), 1))
        assert_true(addr_parse(&from.peer, str_from(ip)));
    basic(value, pair);
    ask.value = str_from(value);
    calls[i].job = auth_start(&loop, &ask, on_result, &calls[i]);
    return calls[i].job != NULL;
}

/* The same with a wrong password that no other call has. */
static bool call_wrong(unsigned i, const char *ip, uint64_t connection)
{
    char pair[32];
    snprintf(pair, sizeof(pair), "a:wrong %u", i);
    return call(i, ip, connection, pair);
}

static void leave(unsigned i)
{
    auth_cancel(calls[i].job);
    calls[i].job = NULL;
}

static void wait_for(unsigned i)
{
    int64_t end = loop_now() + 100000000;
    while (!calls[i].told && loop_now() < end)
        loop_turn(&loop, true);
    assert_true(calls[i].told);
}

/* How many of the calls FROM to TO have their result between now and call I's. What had been
 * finished when this began does not count. */
static unsigned told_before(unsigned i, unsigned from, unsigned to)
{
    unsigned n = 0;
    loop_turn(&loop, false);
    unsigned before = told;
    wait_for(i);
    for (unsigned k = from; k < to; k++)
        n += calls[k].at > before && calls[k].at < calls[i].at;
    return n;
}

static bool is_remembered(const char *pair)
{
    char value[128];
    basic(value, pair);
    return policy_auth(conf, str_from(value)) == POLICY_AUTH_OK;
}

/* One address with 200 wrong passwords over as many connections, and one right one of another. */
static void addresses_take_turns(void **state)
{
    static const struct {
        const char *many, *one;
    } cases[] = {
        {"192.0.2.1", "192.0.2.2"},
        {"::ffff:192.0.2.1", "::ffff:192.0.2.2"},
        {"2001:db8::1", "2001:db8:0:1::1"},
        {"unix:/x", "127.0.0.1"},
        {"::1", "unix:/x"},
    };
    unsigned n = 0;
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        unsigned first = n;
        for (; n < first + 200; n++)
            assert_true(call_wrong(n, cases[i].many, n));
        assert_true(call(n, cases[i].one, n, i % 2 == 0 ? "a:ADAM" : "b:EVE"));
        assert_true(told_before(n, first, n) <= 3);
        assert_int_equal(calls[n++].result, AUTH_OK);
        for (unsigned k = first; k < n; k++)
            leave(k);
    }
}

/* IPv6 addresses of one /64 are one, and so are ::ffff: and IPv4. */
static void networks_are_one_place(void **state)
{
    char ip[64];
    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        snprintf(ip, sizeof(ip), "2001:db8::%x", i + 1);
        assert_true(call_wrong(i, ip, i + 1));
    }
    assert_true(call_wrong(100, "2001:db8:0:1::", 500));
    assert_true(call_wrong(101, "192.0.2.1", 501));
    assert_true(call_wrong(102, "::ffff:192.0.2.1", 502));
    assert_true(call_wrong(103, "192.0.2.2", 503));
    wait_for(99);
    for (unsigned i = 0; i < 104; i++)
        assert_true(calls[i].told && calls[i].result == AUTH_BAD);
}

/* Within an address, a connection with many waiting does not stand before one with none. */
static void connections_take_turns(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 100; i++)
        assert_true(call_wrong(i, "192.0.2.1", 1));
    assert_true(call(100, "192.0.2.1", 2, "a:ADAM"));
    assert_true(told_before(100, 0, 100) <= 3);
    assert_int_equal(calls[100].result, AUTH_OK);
    /* and is not kept out for ever by such as come later */
    for (unsigned i = 101; i < 200; i++)
        assert_true(call_wrong(i, "192.0.2.1", i));
    wait_for(99);
}

/* Many who ask the same wait for one check, wherever they come from; with what was wrong, too. */
static void equal_ones_are_checked_once(void **state)
{
    char ip[32];
    (void)state;
    for (unsigned i = 0; i < 50; i++)
        assert_true(call_wrong(i, "192.0.2.1", 1));
    for (unsigned i = 50; i < 1000; i++) {
        snprintf(ip, sizeof(ip), "192.0.2.%u", 1 + i % 200);
        assert_true(call(i, ip, i, "a:ADAM")); /* more than may wait of checks in one place */
    }
    assert_true(told_before(999, 0, 50) <= 3);
    for (unsigned i = 50; i < 1000; i++) {
        wait_for(i);
        assert_int_equal(calls[i].result, AUTH_OK);
    }
    assert_true(is_remembered("a:ADAM"));
    for (unsigned i = 1000; i < 1100; i++)
        assert_true(call(i, "192.0.2.9", i, "a:the same"));
    for (unsigned i = 1000; i < 1100; i++) {
        wait_for(i);
        assert_int_equal(calls[i].result, AUTH_BAD);
    }
}

/* What nobody waits for any more is not checked: a right pair is not found out. */
static void who_has_left_is_not_checked(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 20; i++)
        assert_true(call_wrong(i, "192.0.2.1", 1));
    assert_true(call(20, "192.0.2.1", 1, "b:EVE"));
    assert_true(call(21, "192.0.2.1", 2, "b:EVE"));
    leave(20);
    leave(21);
    for (unsigned i = 0; i < 20; i++)
        leave(i);
    assert_true(call_wrong(22, "192.0.2.1", 1));
    wait_for(22);
    assert_false(is_remembered("b:EVE"));
    /* one of two stays: it is */
    assert_true(call(23, "192.0.2.1", 1, "b:EVE"));
    assert_true(call(24, "192.0.2.1", 2, "b:EVE"));
    leave(23);
    wait_for(24);
    assert_int_equal(calls[24].result, AUTH_OK);
    assert_false(calls[23].told);
    assert_true(is_remembered("b:EVE"));
    assert_int_equal(told, 2);
}

/* Calls with wrong passwords over connection C until one finds no room; how many did. */
static unsigned fill(unsigned from, const char *ip, uint64_t connection, unsigned most)
{
    unsigned i = from;
    while (i < from + most && call_wrong(i, ip, connection))
        i++;
    return i - from;
}

/* A full address keeps nobody else out, nor a connection of its own that has nothing waiting. */
static void a_full_address(void **state)
{
    unsigned busy = 0;
    (void)state;
    unsigned n = fill(0, "192.0.2.1", 1, CALLS - 10);
    assert_in_range(n, AUTH_PLACE_MAX, CALLS - 11);
    assert_true(call(CALLS - 1, "192.0.2.2", 2, "a:ADAM"));
    for (unsigned i = 2; i < 8; i++) { /* often, as a check may end between the two */
        n += fill(n, "192.0.2.1", 1, CALLS - 10 - n);
        assert_true(call_wrong(CALLS - i, "192.0.2.1", i));
    }
    assert_true(call(CALLS - 8, "192.0.2.1", 8, "b:EVE"));
    assert_true(told_before(CALLS - 8, 0, n) <= 3 + 1); /* one of them made room */
    wait_for(CALLS - 1);
    assert_int_equal(calls[CALLS - 1].result, AUTH_OK);
    assert_int_equal(calls[CALLS - 8].result, AUTH_OK);
    for (unsigned i = 0; i < n; i++)
        busy += calls[i].told && calls[i].result == AUTH_BUSY;
    assert_true(busy > 0);
}

/* In all: the address that has most gives way to one that has none. */
static void a_full_queue(void **state)
{
    unsigned n = 0, busy = 0;
    char ip[32];
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        snprintf(ip, sizeof(ip), "192.0.2.%u", 1 + i);
        n += fill(n, ip, i + 1, AUTH_PLACE_MAX);
    }
    n += fill(n, "192.0.2.9", 9, CALLS - 10 - n);
    assert_true(call(CALLS - 1, "192.0.2.100", 100, "a:ADAM"));
    wait_for(CALLS - 1);
    assert_int_equal(calls[CALLS - 1].result, AUTH_OK);
    for (unsigned i = 0; i < n; i++)
        busy += calls[i].told && calls[i].result == AUTH_BUSY;
    assert_true(busy > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(addresses_take_turns, set_up, tear_down),
        cmocka_unit_test_setup_teardown(networks_are_one_place, set_up, tear_down),
        cmocka_unit_test_setup_teardown(connections_take_turns, set_up, tear_down),
        cmocka_unit_test_setup_teardown(equal_ones_are_checked_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_has_left_is_not_checked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_address, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_queue, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
