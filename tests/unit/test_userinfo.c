/* SPDX-License-Identifier: Apache-2.0 */
/* User information: what is refused, what it becomes, and what a Host may repeat. */
#include "http/userinfo.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define EACH(i, table)                    \
    size_t i = 0;                         \
    i < sizeof(table) / sizeof(table[0]); \
    i++

static void test_take(void **state)
{
    static const char *const cases[][3] = {
        {"h", NULL, "h"},      {"", NULL, ""},  {"@h", "", "h"}, {"u:p@h:80", "u:p", "h:80"},
        {"a@b@h", "a@b", "h"}, {"u@", "u", ""}, {"@", "", ""},
    };
    (void)state;
    for (EACH(i, cases)) {
        struct str authority = str_from(cases[i][0]);
        struct str userinfo = userinfo_take(&authority);
        assert_int_equal(userinfo.p != NULL, cases[i][1] != NULL);
        if (userinfo.p != NULL)
            assert_true(str_eq(userinfo, str_from(cases[i][1])));
        assert_true(str_eq(authority, str_from(cases[i][2])));
    }
}

static void test_basic(void **state)
{
    static const char *const cases[][2] = {
        {"user:pw", "Basic dXNlcjpwdw=="},
        {"user", "Basic dXNlcjo="},
        {"user:", "Basic dXNlcjo="},
        {":pw", "Basic OnB3"},
        {":", "Basic Og=="},
        {"", NULL},
        {"u:p:q", "Basic dTpwOnE="},
        {"u:p%3aq", "Basic dTpwOnE="},
        {"%75:%70%40%2F%25", "Basic dTpwQC8l"},
        {"u:p%C3%A4", "Basic dTpww6Q="},
        {"u:%ff", "Basic dTr/"},
        {"DOM%5Cu:p^w{}|\"", "Basic RE9NXHU6cF53e318Ig=="},
    };
    (void)state;
    for (EACH(i, cases)) {
        struct arena arena;
        const char *why;
        arena_init(&arena, NULL, 0);
        struct str raw = arena_dup(&arena, str_from(cases[i][0]));
        assert_true(userinfo_check(raw, &why));
        struct str basic = userinfo_basic(&arena, raw);
        assert_int_equal(basic.p != NULL, cases[i][1] != NULL);
        if (basic.p != NULL && !str_eq(basic, str_from(cases[i][1])))
            fail_msg("%s: %.*s", cases[i][0], STR_ARG(basic));
        arena_clear(&arena);
    }
}

static void test_refused(void **state)
{
    static const char *const cases[][2] = {
        {"se@cret", "%40"},
        {"se%cret:", "%25"},
        {"secret%4", "%25"},
        {"secret%", "%25"},
        {"secret%+1", "%25"},
        {"secret%00", "control byte"},
        {"u:secret%0d", "control"},
        {"u:secret%0A%0Ax", "control"},
        {"u:secret%1f", "control"},
        {"u:secret%7F", "control"},
        {"u:sec\tret", "printable"},
        {"u:sec ret", "printable"},
        {"u:sec\x7fret", "printable"},
        {"u:secret\xc3\xa4", "printable"},
        {"sec\\ret:p", "%5C"},
        {"secret%3Ax:p", "colon"},
        {"secret%3a", "colon"},
    };
    static char lots[USERINFO_MAX + 1];
    const char *why;
    (void)state;
    for (EACH(i, cases)) {
        if (userinfo_check(str_from(cases[i][0]), &why))
            fail_msg("%s was taken", cases[i][0]);
        if (strstr(why, cases[i][1]) == NULL || strstr(why, "secret") != NULL)
            fail_msg("%s: %s", cases[i][0], why);
    }
    memset(lots, 'a', sizeof(lots));
    assert_true(userinfo_check(str_make(lots, USERINFO_MAX), &why));
    assert_false(userinfo_check(str_make(lots, USERINFO_MAX + 1), &why));
    assert_non_null(strstr(why, "8192"));
}

static void test_same(void **state)
{
    static const struct {
        const char *raw, *other;
        bool is_same;
    } cases[] = {
        {"u:p", "u:p", true},
        {"u:p%40w", "u:p%40w", true},
        {"u:p%40w", "u:p@w", true},
        {"u:p%20w", "u:p w", true},
        {"u:%C3%A4x", "u:\xc3\xa4x", true},
        {"u:%C3%A4x", "u:\xe4x", true},
        {"u:%C2%A9", "u:\xa9", true},
        {"", "", true},
        {"u:p", "u:q", false},
        {"u:p", "u", false},
        {"u", "u:p", false},
        {"u", "", false},
        {"", "u", false},
        {"u:%C3", "u:\xc0", false},
        {"u:%E2%82%AC", "u:\x80", false},
        {"u:p", "u:%70", false},
    };
    (void)state;
    for (EACH(i, cases)) {
        struct arena arena;
        arena_init(&arena, NULL, 0);
        bool same = userinfo_is_same(&arena, str_from(cases[i].raw), str_from(cases[i].other));
        if (same != cases[i].is_same)
            fail_msg("%s and %s", cases[i].raw, cases[i].other);
        arena_clear(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_take),
        cmocka_unit_test(test_basic),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
