/* SPDX-License-Identifier: Apache-2.0 */
/* exchange/blind.c: which tunnels are news, in bounded memory. What is said of them is
 * test_73_run_end.py's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "exchange/blind.h"

#define S INT64_C(1000000)

static void once_an_hour(void **state)
{
    (void)state;
    assert_true(blind_is_news(STR("a:443"), 1 * S));
    assert_false(blind_is_news(STR("a:443"), 2 * S));
    assert_true(blind_is_news(STR("a:444"), 2 * S));
    assert_false(blind_is_news(STR("a:443"), (BLIND_AGAIN_S + 1) * S - 1));
    assert_true(blind_is_news(STR("a:443"), (BLIND_AGAIN_S + 1) * S));
    assert_false(blind_is_news(STR("a:443"), (BLIND_AGAIN_S + 2) * S));
}

static unsigned news(unsigned first, unsigned n, int64_t now)
{
    unsigned told = 0;
    for (unsigned i = first; i < first + n; i++) {
        char name[32];
        snprintf(name, sizeof(name), "h%u:443", i);
        told += blind_is_news(str_from(name), now);
    }
    return told;
}

/* However many names a client makes up, an hour has no more lines than there are places. */
static void many_names(void **state)
{
    const int64_t later = 10 * BLIND_AGAIN_S * S;
    (void)state;
    unsigned told = news(0, 100000, later);
    assert_in_range(told, BLIND_PLACES - 8, BLIND_PLACES);
    assert_int_equal(news(0, 100000, later + S), BLIND_PLACES - told);
    told = news(0, 100000, later + BLIND_AGAIN_S * S);
    assert_in_range(told, BLIND_PLACES - 8, BLIND_PLACES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(once_an_hour),
        cmocka_unit_test(many_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
