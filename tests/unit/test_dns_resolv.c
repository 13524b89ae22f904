/* SPDX-License-Identifier: Apache-2.0 */
/* net/dns_resolv.c: versions of the file, and what the environment adds to it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <sys/stat.h>

#include "net/dns_resolv.h"

static void each_part_tells(void **state)
{
    const struct dns_resolv_id a = {1, 2, 3};
    struct dns_resolv_id b = a;
    (void)state;
    assert_true(dns_resolv_is_same(&a, &b));
    b.mtime++;
    assert_false(dns_resolv_is_same(&a, &b));
    b = a;
    b.inode++;
    assert_false(dns_resolv_is_same(&a, &b));
    b = a;
    b.size++;
    assert_false(dns_resolv_is_same(&a, &b));
}

static void the_file_here(void **state)
{
    struct dns_resolv_id a = dns_resolv_identify(), b = dns_resolv_identify();
    struct stat st;
    (void)state;
    assert_true(dns_resolv_is_same(&a, &b));
    if (stat("/etc/resolv.conf", &st) == 0) {
        assert_int_equal(a.inode, st.st_ino);
        assert_int_equal(a.size, st.st_size);
        assert_int_equal(a.mtime / 1000000000, st.st_mtim.tv_sec);
    } else {
        assert_int_equal(a.inode, 0);
    }
}

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
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_part_tells),
                                       cmocka_unit_test(the_file_here),
                                       cmocka_unit_test(the_environment_is_read)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
