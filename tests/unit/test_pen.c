/* SPDX-License-Identifier: Apache-2.0 */
/* exchange/pen.c: each byte at each place of a text is escaped or not as alone, and no text goes
 * beyond the room. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "exchange/pen.h"

enum { LONGEST = 20 };

static bool is_escaped(unsigned c)
{
    return c < 0x20 || c >= 0x7f || c == '"' || c == '\\';
}

/* Byte by byte. */
static size_t expect(char *dst, const char *text, size_t n)
{
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (is_escaped(c))
            at += (size_t)snprintf(dst + at, 7, "\\u%04x", c);
        else
            dst[at++] = (char)c;
    }
    return at;
}

static void check(const char *text, size_t n)
{
    char expected[6 * LONGEST + 2], got[6 * LONGEST];
    size_t len = expect(expected, text, n);
    struct pen w = {got, got + sizeof(got), false};
    pen_escaped(&w, str_make(text, n));
    assert_int_equal(w.p - got, len);
    assert_memory_equal(got, expected, len);
}

static void test_each_byte_at_each_place(void **state)
{
    char text[LONGEST];
    (void)state;
    for (size_t n = 1; n <= LONGEST; n++) {
        for (size_t at = 0; at < n; at++) {
            for (unsigned c = 0; c < 256; c++) {
                memset(text, 'x', n);
                text[at] = (char)c;
                check(text, n);
            }
        }
    }
    check(NULL, 0);
}

/* Each pair of bytes: what one does to the next in a word. */
static void test_each_pair(void **state)
{
    char text[8] = "abcdefg!";
    (void)state;
    for (unsigned pair = 0; pair < 65536; pair++) {
        text[3] = (char)(pair >> 8);
        text[4] = (char)(pair & 255);
        check(text, sizeof(text));
    }
}

static void test_room(void **state)
{
    char got[32];
    (void)state;
    for (size_t room = 0; room < 24; room++) {
        memset(got, '#', sizeof(got));
        struct pen w = {got, got + room, false};
        pen_text(&w, "abc");
        pen_number(&w, UINT64_MAX);
        pen_escaped(&w, STR("\"")); /* "abc", 20 digits and the beginning of \u0022 */
        assert_int_equal(w.p - got, room);
        assert_memory_equal(got, "abc18446744073709551615\\", room);
        assert_int_equal(got[room], '#');
    }
}

static void test_raw(void **state)
{
    char got[8];
    struct pen w = {got, got + sizeof(got), true};
    (void)state;
    pen_part(&w, STR("a\"b"));
    assert_int_equal(w.p - got, 3);
    assert_memory_equal(got, "a\"b", 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_byte_at_each_place),
        cmocka_unit_test(test_each_pair),
        cmocka_unit_test(test_room),
        cmocka_unit_test(test_raw),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
