/* SPDX-License-Identifier: Apache-2.0 */
/* net/dns_hosts.c: no name that is in the file is passed over; test_32_search.py has the file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "net/dns_hosts.h"

static struct dns_hosts hosts;

static bool has(const char *name)
{
    return dns_hosts_has(&hosts, str_from(name));
}

static void each_word_counts(void **state)
{
    (void)state;
    assert_false(has("a"));
    dns_hosts_read(&hosts,
                   STR("127.0.0.1 one\ttwo.test#three\n#::1 four\r\n\n 0.0.0.0\v FIVE.Test "));
    static const char *const there[] = {"one", "two.test", "three", "four", "five.test", "::1"};
    for (size_t i = 0; i < sizeof(there) / sizeof(there[0]); i++)
        assert_true(has(there[i]));
    static const char *const not_there[] = {"on", "one.", "two", "test", "", "six"};
    for (size_t i = 0; i < sizeof(not_there) / sizeof(not_there[0]); i++)
        assert_false(has(not_there[i]));
    dns_hosts_read(&hosts, STR("::1 six"));
    assert_true(has("six"));
    assert_false(has("one"));
    dns_hosts_read(&hosts, STR(""));
    assert_false(has("six"));
}

static void many_and_long(void **state)
{
    enum { LONGEST = 254, N = 100000 };
    char *text = xmalloc(N * 8 + 2 * LONGEST + 8), name[LONGEST + 2];
    size_t at = 0;
    (void)state;
    memset(name, 'x', sizeof(name));
    for (unsigned i = 0; i < N; i++)
        at += (size_t)snprintf(text + at, 9, "n%u\n", i);
    memcpy(text + at, name, LONGEST);
    memcpy(text + at + LONGEST, " ", 1);
    memcpy(text + at + LONGEST + 1, name, LONGEST + 1);
    dns_hosts_read(&hosts, str_make(text, at + 2 * LONGEST + 2));
    assert_int_equal(hosts.n, N + 1);
    assert_true(has("n0") && has("n77777") && has("n99999"));
    assert_false(has("n100000"));
    assert_true(dns_hosts_has(&hosts, str_make(name, LONGEST)));
    assert_false(dns_hosts_has(&hosts, str_make(name, LONGEST + 1)));
    free(text);
    dns_hosts_clear(&hosts);
    assert_int_equal(hosts.n, 0);
}

/* The machine's own, which has it, or there is none. */
static void the_file(void **state)
{
    (void)state;
    dns_hosts_may_have(&hosts, STR("localhost"));
    assert_true(hosts.is_read);
    assert_false(dns_hosts_may_have(&hosts, STR("no-such-name.invalid")));
    const uint32_t *marks = hosts.marks;
    dns_hosts_may_have(&hosts, STR("localhost"));
    assert_ptr_equal(hosts.marks, marks);
    hosts.id.size++; /* it has changed */
    hosts.n = 0;
    dns_hosts_may_have(&hosts, STR("localhost"));
    assert_true(hosts.n > 0 || hosts.marks == NULL);
    dns_hosts_clear(&hosts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_word_counts),
                                       cmocka_unit_test(many_and_long), cmocka_unit_test(the_file)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
