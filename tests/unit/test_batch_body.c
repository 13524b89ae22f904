/* SPDX-License-Identifier: Apache-2.0 */
/* own/batch_body.c: long bodies in pieces of any size, and what is left of the element. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/mem.h"
#include "own/batch_body.h"

static struct batch_body b;
static struct batch_scan scan;

/* FIRST, N times AGAIN, LAST: long enough to be cut out. Heap. */
static struct str make(const char *first, const char *again, size_t n, const char *last)
{
    size_t len = strlen(again);
    char *text = xmalloc(strlen(first) + n * len + strlen(last) + 1), *to = stpcpy(text, first);
    for (size_t i = 0; i < n; i++)
        to = stpcpy(to, again);
    stpcpy(to, last);
    return str_from(text);
}

/* Finds the end of WHOLE and decodes its long bodies, PIECE bytes at a time. */
static void decode(struct str whole, size_t piece)
{
    unsigned steps = 1;
    free(b.bytes);
    b = (struct batch_body){0};
    batch_scan_init(&scan, 0);
    assert_true(batch_scan_step(&scan, whole, whole.len));
    for (size_t left = piece; !batch_body_step(&b, &scan, whole, &left); left = piece) {
        assert_int_equal(left, 0); /* all that it may */
        assert_true(++steps < 1000000);
    }
}

static int tear_down(void **state)
{
    (void)state;
    free(b.bytes);
    b = (struct batch_body){0};
    return 0;
}

enum { TIMES = 10000 };

/* However it is cut, and wherever its escapes are cut. */
static void what_it_means(void **state)
{
    static const struct {
        const char *first, *again, *last;
        const char *means; /* AGAIN */
        const char *rest;
    } cases[] = {
        {"{\"body\":\"", "abcd", "\",\"a\":1}", "abcd", "{\"body\":\"\",\"a\":1}"},
        {"{\"a\":1,\"body\" : \"", "\\u00e9\\n", "\"}", "\xc3\xa9\n", "{\"a\":1,\"body\" : \"\"}"},
        {"{\"body\":\"", "\\ud83d\\ude00", "\"}", "\xf0\x9f\x98\x80", "{\"body\":\"\"}"},
        {"{\"body_base64\":\"", "YWJj", "\"}", "abc", "{\"body_base64\":\"\"}"},
        {"{\"body_base64\":\"", "YW\\u004aj", "\"}", "abc", "{\"body_base64\":\"\"}"},
    };
    static const size_t pieces[] = {1, 2, 3, 5, 7, 64, 4096, SIZE_MAX};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct str whole = make(cases[i].first, cases[i].again, TIMES, cases[i].last);
        size_t len = strlen(cases[i].means);
        for (size_t k = 0; k < sizeof pieces / sizeof pieces[0]; k++) {
            decode(whole, pieces[k]);
            assert_null(b.text.wrong);
            assert_false(b.is_bad_base64);
            assert_int_equal(b.len, TIMES * len);
            for (size_t n = 0; n < TIMES; n++)
                assert_memory_equal(b.bytes + n * len, cases[i].means, len);
        }
        char *rest = batch_rest(&scan, whole);
        assert_int_equal(batch_rest_size(&scan), strlen(cases[i].rest));
        assert_memory_equal(rest, cases[i].rest, strlen(cases[i].rest));
        free(rest);
        free((char *)whole.p);
    }
}

/* A short one stays where it is. */
static void short_ones(void **state)
{
    struct str whole = STR("{\"body\":\"abc\",\"body_base64\":\"YWJj\"}");
    (void)state;
    decode(whole, SIZE_MAX);
    assert_null(b.bytes);
    assert_int_equal(batch_rest_size(&scan), whole.len);
    assert_int_equal(batch_rest_place(&scan, 9), 9);
}

static void wrong_ones(void **state)
{
    static const struct {
        const char *again, *last; /* of {"body_base64": or, for text, {"body": */
        bool is_text, is_bad_base64;
    } cases[] = {
        {"YW=j", "\"}", false, true},    {"YWJj", "Y\"}", false, true},
        {"YWJj", "YQ\"}", false, true},  {"YWJj", "YQ==\"}", false, false},
        {"abcd", "\n\"}", true, false},  {"abcd", "\xff\"}", true, false},
        {"abcd", "\\x\"}", true, false}, {"abcd", "\\ud800\"}", true, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *first = cases[i].is_text ? "{\"body\":\"" : "{\"body_base64\":\"";
        struct str whole = make(first, cases[i].again, TIMES, cases[i].last);
        for (size_t piece = 1; piece < 100000; piece *= 10) {
            decode(whole, piece);
            assert_int_equal(b.is_bad_base64, cases[i].is_bad_base64);
            assert_int_equal(b.text.wrong != NULL, cases[i].is_text);
            if (cases[i].is_text)
                assert_in_range(b.wrong_at, strlen(first) + TIMES * 4, whole.len);
        }
        free((char *)whole.p);
    }
}

/* A place in the rest is told as one in the whole, on either side of what was cut out. */
static void places(void **state)
{
    struct str whole = make("{\"body\":\"", "abcd", TIMES, "\",\"x\":?}");
    (void)state;
    decode(whole, SIZE_MAX);
    size_t question = whole.len - 2;
    assert_int_equal(batch_rest_place(&scan, 2), 2);
    assert_int_equal(batch_rest_place(&scan, question - TIMES * 4), question);
    free((char *)whole.p);
}

/* Both are given, which is refused later: neither is leaked, whichever comes first. */
static void both(void **state)
{
    struct str whole = make("{\"body\":\"", "abcd", TIMES, "\",\"body_base64\":\"");
    struct str two = make(whole.p, "YWJj", TIMES, "\"}");
    (void)state;
    decode(two, 1000);
    assert_non_null(b.bytes);
    assert_int_equal(b.len, TIMES * 3);
    assert_int_equal(batch_rest_size(&scan), strlen("{\"body\":\"\",\"body_base64\":\"\"}"));
    free((char *)whole.p);
    free((char *)two.p);
}

#define TEST(name) cmocka_unit_test_teardown(name, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(what_it_means), TEST(short_ones), TEST(wrong_ones),
                                       TEST(places), TEST(both)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
