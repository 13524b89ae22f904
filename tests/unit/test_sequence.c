/* SPDX-License-Identifier: Apache-2.0 */
/* own/sequence.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "own/sequence.h"

/* The K-th target behind the walk A, B; NULL: they are none, or there is no such one. */
static const char *next_of(const char *a, const char *b, uint64_t k)
{
    static char text[4096];
    char one[2048];
    char other[2048];
    struct sequence from;
    struct sequence to;
    struct sequence_step step;
    if (!sequence_read(&from, str_from(a)) || !sequence_read(&to, str_from(b)))
        return NULL;
    size_t n = sequence_shape(&from, str_from(a), one);
    if (n != sequence_shape(&to, str_from(b), other) || memcmp(one, other, n) != 0 ||
        !sequence_step(&from, &to, &step))
        return NULL;
    assert_true(sequence_room(str_from(b)) < sizeof text);
    n = sequence_next(&to, str_from(b), &step, k, text);
    assert_true(n <= sequence_room(str_from(b)));
    text[n] = '\0';
    return n == 0 ? NULL : text;
}

static void walks(void **state)
{
    static const struct {
        const char *a, *b;
        uint64_t k;
        const char *next;
    } rows[] = {
        {"/page?n=1", "/page?n=2", 1, "/page?n=3"},
        {"/page?n=8", "/page?n=9", 1, "/page?n=10"},
        {"/page?n=9", "/page?n=10", 3, "/page?n=13"},
        {"/page?n=10", "/page?n=20", 2, "/page?n=40"},
        {"/p/1/x.html", "/p/2/x.html", 1, "/p/3/x.html"},
        {"/007", "/008", 1, "/009"},
        {"/008", "/009", 1, "/010"},
        {"/098", "/099", 2, "/101"},
        {"/98", "/99", 2, "/101"},
        {"/v2/7?page=3&per=50", "/v2/7?page=4&per=50", 1, "/v2/7?page=5&per=50"},
        {"/?offset=0&limit=10", "/?offset=10&limit=10", 1, "/?offset=20&limit=10"},
        {"/?from=0&to=99", "/?from=100&to=199", 1, "/?from=200&to=299"},
        {"/a%20b?n=1", "/a%20b?n=2", 1, "/a%20b?n=3"},
        {"/page-1-", "/page-2-", 1, "/page-3-"},
        {"/18446744073709551613", "/18446744073709551614", 1, "/18446744073709551615"},
        {"/?id=99999999999999999999999&n=1", "/?id=99999999999999999999999&n=2", 1,
         "/?id=99999999999999999999999&n=3"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_string_equal(next_of(rows[i].a, rows[i].b, rows[i].k), rows[i].next);
}

static void no_walks(void **state)
{
    static const char *const rows[][2] = {
        {"/page", "/page"},                 /* no number */
        {"/?n=2", "/?n=1"},                 /* falls */
        {"/?n=1", "/?n=1"},                 /* stays */
        {"/a%20", "/a%21"},                 /* an encoding */
        {"/a%2", "/a%3"},                   /* half of one */
        {"/?n=1&a=1&b=1", "/?n=2&a=2&b=2"}, /* three rise */
        {"/?n=1&a=5", "/?n=2&a=4"},         /* one rises, another falls */
        {"/?n=1&a=5", "/?n=2&a=05"},        /* the other is written differently */
        {"/x?n=1", "/y?n=2"},               /* not the same otherwise */
        {"/?n=1", "/?n=2&m=1"},
        {"/1/2/3/4/5/6/7/8/9/1/2/3/4/5/6/7/8", "/1/2/3/4/5/6/7/8/9/1/2/3/4/5/6/7/9"},
        {"/?n=18446744073709551614", "/?n=18446744073709551615"}, /* nothing behind it */
        {"/?n=18446744073709551616", "/?n=18446744073709551617"}, /* no number of 64 bits */
        {"", ""},
        {"%", "%"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_null(next_of(rows[i][0], rows[i][1], 1));
    assert_null(next_of("/?n=1", "/?n=9223372036854775809", 2));
    assert_null(next_of("/?n=1", "/?n=3", UINT64_MAX));
    assert_string_equal(next_of("/?n=1", "/?n=9223372036854775808", 1), "/?n=18446744073709551615");
}

static void steps(void **state)
{
    static const struct sequence_step a = {1, {{0, 5}}};
    static const struct sequence_step others[] = {
        {1, {{0, 4}}}, {1, {{1, 5}}}, {2, {{0, 5}, {1, 5}}}};
    (void)state;
    assert_true(sequence_step_is(&a, &a));
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_false(sequence_step_is(&a, &others[i]));
}

static bool is_clock(const char *a, const char *b, uint64_t now)
{
    struct sequence from;
    struct sequence to;
    struct sequence_step step;
    assert_true(sequence_read(&from, str_from(a)) && sequence_read(&to, str_from(b)));
    assert_true(sequence_step(&from, &to, &step));
    return sequence_is_clock(&to, &step, now);
}

static void clocks(void **state)
{
    (void)state;
    assert_true(is_clock("/?t=1700000000", "/?t=1700000001", 1700000001));
    assert_true(is_clock("/?t=1700000000", "/?t=1700003600", 1702000000));
    assert_true(is_clock("/?_=1700000000123", "/?_=1700000000124", 1701000000));
    assert_true(is_clock("/?n=1&_=1700000000123", "/?n=2&_=1700000000124", 1701000000));
    assert_false(is_clock("/?n=1&_=1700000000123", "/?n=2&_=1700000000123", 1701000000));
    assert_false(is_clock("/?n=1700000000", "/?n=1700000001", 1800000000));
    assert_false(is_clock("/?n=18446744073709551614", "/?n=18446744073709551615", 1700000000));
    assert_false(is_clock("/?n=9223372036854775807", "/?n=9223372036854775808", 1700000000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(walks),
        cmocka_unit_test(no_walks),
        cmocka_unit_test(steps),
        cmocka_unit_test(clocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
