/* SPDX-License-Identifier: Apache-2.0 */
/* base/str.c: comparison, comma lists, numbers, escaping. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/str.h"

static void assert_str(struct str s, const char *expected)
{
    assert_int_equal(s.len, strlen(expected));
    if (s.len > 0)
        assert_memory_equal(s.p, expected, s.len);
}

static void test_compare(void **state)
{
    (void)state;
    assert_true(str_eq(STR("abc"), STR("abc")));
    assert_false(str_eq(STR("abc"), STR("abC")));
    assert_true(str_eq(str_from(NULL), STR("")));
    assert_true(str_ieq(STR("Host"), STR("hOST")));
    assert_false(str_ieq(STR("Host"), STR("Hosts")));
    assert_false(str_ieq(STR("@"), STR("`"))); /* they differ in the bit that letters differ in */
    assert_true(str_starts(STR("unix:/x"), STR("unix:")));
    assert_false(str_starts(STR("uni"), STR("unix:")));
    assert_true(str_istarts(STR("HTTP://x"), STR("http://")));
    assert_true(str_iends(STR("www.Example.COM"), STR(".example.com")));
    assert_false(str_iends(STR("com"), STR(".example.com")));
}

static void test_parts(void **state)
{
    (void)state;
    assert_str(str_from_byte(STR("abc"), 1), "bc");
    assert_str(str_from_byte(STR("abc"), 4), "");
    assert_int_equal(str_find(STR("a:b"), ':'), 1);
    assert_int_equal(str_find(STR("ab"), ':'), 2);
    assert_int_equal(str_find(str_from(NULL), ':'), 0);
    assert_str(str_trim(STR(" \t a b\t ")), "a b");
    assert_str(str_trim(STR(" \t")), "");
}

static void test_list(void **state)
{
    struct str list = STR(" a ,, \"x,\\\",y\" , c;q=\"1,2\",\t");
    struct str item;
    (void)state;
    assert_true(str_next_item(&list, &item));
    assert_str(item, "a");
    assert_true(str_next_item(&list, &item));
    assert_str(item, "\"x,\\\",y\"");
    assert_true(str_next_item(&list, &item));
    assert_str(item, "c;q=\"1,2\"");
    assert_false(str_next_item(&list, &item));
    list = STR("a; \"never closed; b");
    assert_true(str_next_part(&list, ';', &item));
    assert_true(str_next_part(&list, ';', &item));
    assert_str(item, "\"never closed; b");
    assert_false(str_next_part(&list, ';', &item));
    list = STR("\"ends in a backslash\\");
    assert_true(str_next_item(&list, &item));
    assert_int_equal(item.len, 21);
}

static void test_token(void **state)
{
    (void)state;
    assert_true(str_has_token(STR("keep-alive, Upgrade"), STR("upgrade")));
    assert_false(str_has_token(STR("keep-alive, Upgrades"), STR("upgrade")));
    assert_false(str_has_token(STR("\"a, close\""), STR("close")));
    assert_false(str_has_token(STR(""), STR("close")));
}

static void test_numbers(void **state)
{
    uint64_t v = 7;
    (void)state;
    assert_true(str_to_u64(STR("18446744073709551615"), &v));
    assert_true(v == UINT64_MAX);
    assert_true(str_to_u64(STR("000"), &v));
    assert_true(v == 0);
    static const char *const bad[] = {
        "", "18446744073709551616", "99999999999999999999", "+1", "-1", " 1", "1 ", "0x1", "1_0"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(str_to_u64(str_from(bad[i]), &v));
    assert_true(str_hex_to_u64(STR("fFfFffffffffffff"), &v));
    assert_true(v == UINT64_MAX);
    assert_true(str_hex_to_u64(STR("00000000000000000001a"), &v));
    assert_true(v == 26);
    static const char *const bad_hex[] = {"", "10000000000000000", "0x1", "g", "1;", "-1", "@"};
    for (size_t i = 0; i < sizeof(bad_hex) / sizeof(bad_hex[0]); i++)
        assert_false(str_hex_to_u64(str_from(bad_hex[i]), &v));
}

static void test_put(void **state)
{
    char out[20];
    (void)state;
    assert_str(str_make(out, str_put_u64(out, 0)), "0");
    assert_str(str_make(out, str_put_u64(out, UINT64_MAX)), "18446744073709551615");
    assert_str(str_make(out, str_put_hex(out, 0)), "0");
    assert_str(str_make(out, str_put_hex(out, UINT64_MAX)), "ffffffffffffffff");
    assert_str(str_lower(out, STR("ABC-Z[9")), "abc-z[9");
}

static void test_escape(void **state)
{
    char out[1024];
    char small[6];
    char many[300];
    (void)state;
    assert_string_equal(str_escape(out, sizeof(out), STR("a\r\n\"\\\x7f\xc3")),
                        "a\\x0d\\x0a\\x22\\x5c\\x7f\\xc3");
    assert_string_equal(str_escape(small, sizeof(small), STR("abcdefg")), "abcde");
    assert_string_equal(str_escape(small, sizeof(small), STR("ab\ncd")), "ab");
    memset(many, 'x', sizeof(many));
    assert_int_equal(strlen(str_escape(out, sizeof(out), str_make(many, sizeof(many)))), 200);
    assert_string_equal(str_escape(out, sizeof(out), str_from(NULL)), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compare), cmocka_unit_test(test_parts),   cmocka_unit_test(test_list),
        cmocka_unit_test(test_token),   cmocka_unit_test(test_numbers), cmocka_unit_test(test_put),
        cmocka_unit_test(test_escape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
