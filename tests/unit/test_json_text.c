/* SPDX-License-Identifier: Apache-2.0 */
/* own/json_text.c: each string whole and cut at each byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "own/json_text.h"

/* TEXT between quotes, cut at CUT: its meaning is OUT, or (NULL) it has none. */
static void reads_cut(struct str text, size_t cut, const struct str *out)
{
    char dst[64];
    struct json_unescape u = {0};
    size_t n = json_unescape(&u, dst, str_make(text.p, cut));
    n += json_unescape(&u, dst + n, str_from_byte(text, cut));
    bool ok = json_unescape_end(&u);
    if (ok != (out != NULL) || (ok && !str_eq(str_make(dst, n), *out)))
        fail_msg("%.*s cut at %zu: %s", STR_ARG(text), cut, u.wrong == NULL ? "taken" : u.wrong);
}

static void reads(struct str text, const struct str *out)
{
    for (size_t cut = 0; cut <= text.len; cut++)
        reads_cut(text, cut, out);
}

static void strings_that_are_read(void **state)
{
    (void)state;
    static const struct str good[][2] = {
        {STR_INIT(""), STR_INIT("")},
        {STR_INIT("abcdefghijklmnop"), STR_INIT("abcdefghijklmnop")},
        {STR_INIT("\\\"\\\\\\/\\b\\f\\n\\r\\t"), STR_INIT("\"\\/\b\f\n\r\t")},
        {STR_INIT("a\\u0000b\\u00E9\\u20ac\x7f"), STR_INIT("a\0b\xc3\xa9\xe2\x82\xac\x7f")},
        {STR_INIT("\\ud83d\\ude00!"), STR_INIT("\xf0\x9f\x98\x80!")},
        {STR_INIT("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"),
         STR_INIT("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80")},
    };
    static const struct str bad[] = {
        STR_INIT("\x01"),
        STR_INIT("a\n"),
        STR_INIT("\\x"),
        STR_INIT("\\"),
        STR_INIT("\\u12"),
        STR_INIT("\\u12g4"),
        STR_INIT("\\ud83d"),
        STR_INIT("\\ud83da"),
        STR_INIT("\\ud83d\\n"),
        STR_INIT("\\ud83d\\u0041"),
        STR_INIT("\\ude00"),
        STR_INIT("\xff"),
        STR_INIT("\xc3"),
        STR_INIT("\xc3\\n"),
        STR_INIT("\xc0\x80"),
        STR_INIT("\xe0\x80\x80"),
        STR_INIT("\xed\xa0\x80"),
        STR_INIT("\xf0\x80\x80\x80"),
        STR_INIT("\xf4\x90\x80\x80"),
        STR_INIT("abcdefghijklmnop\x80"),
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        reads(good[i][0], &good[i][1]);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        reads(bad[i], NULL);
}

/* What is written is read back, whatever the bytes. */
static void there_and_back(void **state)
{
    (void)state;
    char all[128], text[128 * JSON_ESCAPED_MAX], back[sizeof text + 4];
    for (int i = 0; i < 128; i++)
        all[i] = (char)i;
    size_t n = json_escape(text, str_make(all, sizeof all));
    struct json_unescape u = {0};
    size_t len = json_unescape(&u, back, str_make(text, n));
    assert_true(json_unescape_end(&u));
    assert_int_equal(len, sizeof all);
    assert_memory_equal(back, all, len);
    assert_int_equal(json_escape(text, STR("\x01\x1f\"\\\n/\x7f\xc3\xa9")), 22);
    assert_memory_equal(text, "\\u0001\\u001F\\\"\\\\\\n/\x7f\xc3\xa9", 22);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(strings_that_are_read),
                                       cmocka_unit_test(there_and_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
