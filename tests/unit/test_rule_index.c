/* SPDX-License-Identifier: Apache-2.0 */
/* conf/rule_index.c: lists of patterns without rules, names of any length, and which of two that
 * match is the first. That it finds what asking one by one finds is in test_rule. */
#include "conf/rule_index.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"

static void a_list_says_whether_one_matches(void **state)
{
    (void)state;
    const char *v[] = {"a.test", "*.b.test", "::1"};
    struct rule_index *index = rule_index_of(&(struct strings){v, 3});
    static const char *const yes[] = {"a.test", "x.b.test", "x.y.b.test", "::1"};
    static const char *const no[] = {"",         "b.test", ".b.test", "xb.test", "a.tes",
                                     "x.a.test", ".",      "a.test.", "..",      "*"};
    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
        assert_true(rule_index_has(index, str_from(yes[i])));
    for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
        if (rule_index_has(index, str_from(no[i])))
            fail_msg("\"%s\" is found", no[i]);
    rule_index_free(index);
    const char *all[] = {"*"};
    index = rule_index_of(&(struct strings){all, 1});
    assert_true(rule_index_has(index, STR("anything")) && rule_index_has(index, STR("")));
    rule_index_free(index);
    index = rule_index_of(&(struct strings){0});
    assert_false(rule_index_has(index, STR("a")));
    rule_index_free(index);
}

static void the_first_that_was_written_is_found(void **state)
{
    (void)state;
    struct rule rules[] = {{.host = "*"},
                           {.host = "a.test", .match_port = 443, .index = 1},
                           {.host = "*.test", .index = 2},
                           {.host = "a.test", .index = 3},
                           {.host = "", .index = 4},
                           {.host = "*", .match_port = 80, .index = 5}};
    struct rule_index *index = rule_index_new(rules, 6);
    assert_int_equal(rule_index_find(index, STR("a.test"), 443), 1);
    assert_int_equal(rule_index_find(index, STR("a.test"), 80), 2);
    assert_int_equal(rule_index_find(index, STR("test"), 80), 5);
    assert_int_equal(rule_index_find(index, STR("test"), 81), RULE_NONE);
    rule_index_free(index);
}

static void names_of_any_length(void **state)
{
    (void)state;
    char name[400];
    const char *v[] = {name};
    memset(name, 'a', sizeof(name));
    for (size_t len = 1; len < sizeof(name); len++) {
        name[len] = '\0';
        struct rule_index *index = rule_index_of(&(struct strings){v, 1});
        assert_int_equal(rule_index_has(index, str_make(name, len)), len <= 254);
        assert_false(rule_index_has(index, str_make(name, len - 1)));
        rule_index_free(index);
        name[len] = 'a';
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_says_whether_one_matches),
        cmocka_unit_test(the_first_that_was_written_is_found),
        cmocka_unit_test(names_of_any_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
