/* SPDX-License-Identifier: Apache-2.0 */
/* base/claim.h: a second claim, and giving up what was not claimed, end the process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "abort_fixture.h"
#include "base/claim.h"

static struct claim claim;

static void twice(void)
{
    claim_take(&claim, "the thing");
    claim_take(&claim, "the thing");
}

static void unclaimed(void)
{
    claim_give(&claim, "the thing");
}

static void test_in_turn(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        claim_take(&claim, "the thing");
        assert_true(claim.is_held);
        claim_give(&claim, "the thing");
        assert_false(claim.is_held);
    }
}

static void test_breaking(void **state)
{
    char text[512];
    (void)state;
    assert_true(aborts(twice, text, sizeof(text)));
    assert_non_null(strstr(text, "the thing is claimed while it is in use"));
    assert_true(aborts(unclaimed, text, sizeof(text)));
    assert_non_null(strstr(text, "the thing is given up but was not claimed"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_turn),
        cmocka_unit_test(test_breaking),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
