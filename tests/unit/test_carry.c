/* SPDX-License-Identifier: Apache-2.0 */
/* upstream/carry.c: how many requests a connection carries: believed when seen twice, for a minute.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "upstream/carry.h"

static const int64_t MINUTE = 60 * 1000 * 1000;

/* One connection that ended early may have ended with a restart: nothing is planned for it. */
static void one_is_no_limit(void **state)
{
    struct carry c = {0};
    (void)state;
    assert_int_equal(carry_most(&c, 0), UINT32_MAX);
    carry_learn(&c, 3, 1);
    assert_int_equal(carry_most(&c, 2), UINT32_MAX);
}

static void of_two_the_larger_counts(void **state)
{
    struct carry c = {0}, d = {0};
    (void)state;
    carry_learn(&c, 3, 1);
    carry_learn(&c, 5, 2);
    assert_int_equal(carry_most(&c, 3), 5);
    carry_learn(&d, 5, 1);
    carry_learn(&d, 3, 2);
    assert_int_equal(carry_most(&d, 3), 5);
    /* Then the latest one does: what is known follows an origin that has changed. */
    carry_learn(&d, 2, 3);
    assert_int_equal(carry_most(&d, 4), 2);
}

static void zero_says_nothing(void **state)
{
    struct carry c = {0};
    (void)state;
    carry_learn(&c, 4, 1);
    carry_learn(&c, 0, 2);
    assert_int_equal(carry_most(&c, 3), UINT32_MAX);
    carry_learn(&c, 4, 4);
    carry_learn(&c, 0, 5);
    assert_int_equal(carry_most(&c, 6), 4);
}

static void forgotten_after_a_minute(void **state)
{
    struct carry c = {0};
    (void)state;
    carry_learn(&c, 4, 0);
    carry_learn(&c, 4, 10);
    assert_int_equal(carry_most(&c, 10 + MINUTE - 1), 4);
    assert_int_equal(carry_most(&c, 10 + MINUTE), UINT32_MAX);
    /* And the first one is forgotten with it. */
    carry_learn(&c, 4, 20 + MINUTE);
    assert_int_equal(carry_most(&c, 21 + MINUTE), UINT32_MAX);
}

static void confirmed_is_kept(void **state)
{
    struct carry c = {0};
    (void)state;
    carry_learn(&c, 4, 0);
    carry_learn(&c, 4, MINUTE - 1);
    carry_learn(&c, 4, 2 * MINUTE - 2);
    assert_int_equal(carry_most(&c, 3 * MINUTE - 3), 4);
}

/* More answers than are thought possible: twice as many are tried, until it is no limit. */
static void grows_with_what_is_carried(void **state)
{
    struct carry c = {0};
    (void)state;
    carry_answered(&c, 100);
    assert_int_equal(carry_most(&c, 0), UINT32_MAX);
    carry_learn(&c, 300, 0);
    carry_learn(&c, 300, 1);
    carry_answered(&c, 300);
    assert_int_equal(carry_most(&c, 2), 300);
    carry_answered(&c, 301);
    assert_int_equal(carry_most(&c, 3), 600);
    carry_answered(&c, 601);
    assert_int_equal(carry_most(&c, 4), UINT32_MAX);
}

static void a_thousand_is_no_limit(void **state)
{
    struct carry c = {0};
    (void)state;
    carry_learn(&c, 999, 0);
    carry_learn(&c, 999, 1);
    assert_int_equal(carry_most(&c, 2), 999);
    carry_learn(&c, 1000, 3);
    assert_int_equal(carry_most(&c, 4), UINT32_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_is_no_limit),        cmocka_unit_test(of_two_the_larger_counts),
        cmocka_unit_test(zero_says_nothing),      cmocka_unit_test(forgotten_after_a_minute),
        cmocka_unit_test(confirmed_is_kept),      cmocka_unit_test(grows_with_what_is_carried),
        cmocka_unit_test(a_thousand_is_no_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
