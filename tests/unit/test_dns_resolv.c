/* SPDX-License-Identifier: Apache-2.0 */
/* net/dns_resolv.c: what the environment adds to the file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "net/dns_resolv.h"

/* Whatever the file says: the environment has the last word, and what was there goes. */
static void the_environment_is_read(void **state)
{
    struct dns_search s = {.n = 0};
    (void)state;
    setenv("LOCALDOMAIN", "a.test b.test", 1);
    setenv("RES_OPTIONS", "ndots:7", 1);
    dns_resolv_read(&s);
    assert_int_equal(s.n, 2);
    assert_string_equal(s.domains[0], "a.test");
    assert_string_equal(s.domains[1], "b.test");
    assert_int_equal(s.ndots, 7);
    setenv("LOCALDOMAIN", "c.test", 1);
    dns_resolv_read(&s);
    assert_int_equal(s.n, 1);
    assert_string_equal(s.domains[0], "c.test");
    dns_search_clear(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_environment_is_read)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
