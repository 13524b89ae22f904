/* SPDX-License-Identifier: Apache-2.0 */
/* upstream/outage.c: an origin that refuses is tried twice within 0.3 s, then once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/loop.h"
#include "upstream/outage.h"

enum { MS = 1000 };

static int64_t begun; /* of all tests; the real clock goes on between what it asks */

static int set_up(void **state)
{
    (void)state;
    begun = loop_now();
    return 0;
}

/* As if whoever asks had met the first refusal MS_AGO. */
static int64_t wait_after(const char *host, uint16_t port, int64_t ms_ago)
{
    int64_t first = loop_now() - ms_ago * MS;
    return outage_wait(str_from(host), port, &first);
}

static void assert_about(int64_t ms, int64_t expected)
{
    int64_t least = expected - (loop_now() - begun) / MS - 1;
    assert_in_range(ms, least > 0 ? least : 0, expected);
}

static void first_try_after_100_ms(void **state)
{
    int64_t first = 0;
    (void)state;
    assert_about(outage_wait(STR("first.test"), 443, &first), 100);
    assert_in_range(first, loop_now() - 1000 * MS, loop_now());
    assert_about(wait_after("mid.test", 443, 40), 60);
}

static void second_try_after_300_ms(void **state)
{
    (void)state;
    assert_about(wait_after("second.test", 443, 100), 200);
    assert_about(wait_after("later.test", 443, 250), 50);
}

static void then_none(void **state)
{
    (void)state;
    assert_int_equal(wait_after("none.test", 443, 300), 0);
    /* Nor for who comes while that is remembered. */
    int64_t first = 0;
    assert_int_equal(outage_wait(STR("none.test"), 443, &first), 0);
    /* It is of this port. */
    first = 0;
    assert_about(outage_wait(STR("none.test"), 444, &first), 100);
}

/* The first of those who met it counts, so that many together wait no longer than one. */
static void the_oldest_counts(void **state)
{
    int64_t first = 0;
    (void)state;
    assert_about(outage_wait(STR("oldest.test"), 443, &first), 100);
    assert_about(wait_after("oldest.test", 443, 150), 150);
    first = 0;
    assert_about(outage_wait(STR("oldest.test"), 443, &first), 150);
}

static void serving_ends_it(void **state)
{
    int64_t first = 0;
    (void)state;
    assert_int_equal(wait_after("back.test", 443, 400), 0);
    outage_end(STR("back.test"), 444);
    assert_int_equal(outage_wait(STR("back.test"), 443, &first), 0);
    outage_end(STR("back.test"), 443);
    first = 0;
    assert_about(outage_wait(STR("back.test"), 443, &first), 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_try_after_100_ms),
        cmocka_unit_test(second_try_after_300_ms),
        cmocka_unit_test(then_none),
        cmocka_unit_test(the_oldest_counts),
        cmocka_unit_test(serving_ends_it),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
