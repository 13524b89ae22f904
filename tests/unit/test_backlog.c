/* SPDX-License-Identifier: Apache-2.0 */
/* base/backlog.c: bytes come out in order, are counted whatever changed them, and leave no memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/backlog.h"

static struct budget budget;
static struct backlog b;

static int set_up(void **state)
{
    (void)state;
    budget = (struct budget){.max = 1 << 20};
    backlog_init(&b, &budget);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    backlog_clear(&b);
    backlog_clear(&b);
    assert_int_equal(budget.used, 0);
    return b.bytes == NULL ? 0 : -1;
}

static void waits(size_t n)
{
    assert_int_equal(backlog_len(&b), n);
    assert_int_equal(budget.used, n);
    assert_int_equal(b.bytes != NULL, n > 0);
}

static void is(struct str s, const char *expected)
{
    assert_int_equal(s.len, strlen(expected));
    assert_memory_equal(s.len == 0 ? "" : s.p, expected, s.len);
}

static void nothing(void **state)
{
    char c;
    (void)state;
    backlog_add(&b, STR(""));
    waits(0);
    is(backlog_first(&b), "");
    is(backlog_all(&b), "");
    backlog_drain(&b, 0);
    assert_int_equal(backlog_take(&b, &c, 1), 0);
    assert_int_equal(backlog_move(&b, NULL, 1), 0);
    waits(0);
}

static void in_order(void **state)
{
    char got[8];
    (void)state;
    backlog_add(&b, STR("one"));
    backlog_add(&b, STR("two"));
    waits(6);
    is(backlog_all(&b), "onetwo");
    backlog_drain(&b, 2);
    waits(4);
    is(backlog_first(&b), "etwo");
    assert_int_equal(backlog_take(&b, got, 1), 1);
    waits(3);
    assert_int_equal(backlog_take(&b, got, sizeof got), 3);
    assert_memory_equal(got, "two", 3);
    waits(0);
}

/* More than one piece of it: the first, then the others. */
static void pieces(void **state)
{
    char large[10000];
    size_t seen = 0;
    (void)state;
    memset(large, 'x', sizeof large);
    for (int i = 0; i < 5; i++)
        backlog_add(&b, str_make(large, sizeof large));
    waits(5 * sizeof large);
    assert_true(backlog_first(&b).len < 5 * sizeof large);
    while (backlog_len(&b) > 0) {
        size_t n = backlog_first(&b).len;
        backlog_drain(&b, n);
        seen += n;
        waits(5 * sizeof large - seen);
    }
    assert_int_equal(seen, 5 * sizeof large);
}

/* What others do with the buffer is counted, too. */
static void behind_its_back(void **state)
{
    struct evbuffer *other = evbuffer_new();
    (void)state;
    evbuffer_add_printf(backlog_buffer(&b), "%d bytes", 12345);
    waits(11);
    evbuffer_remove_buffer(b.bytes, other, 4);
    waits(7);
    evbuffer_add_buffer(b.bytes, other);
    waits(11);
    assert_int_equal(backlog_move(&b, other, 7), 7);
    waits(4);
    assert_int_equal(backlog_move(&b, other, 100), 4);
    waits(0);
    assert_memory_equal(evbuffer_pullup(other, -1), "5 bytes1234", 11);
    evbuffer_free(other);
}

static void promised(void **state)
{
    (void)state;
    backlog_promise(&b, 10);
    assert_int_equal(budget.used, 10);
    backlog_add(&b, STR("one"));
    assert_int_equal(budget.used, 10);
    backlog_add(&b, STR("twothreefour"));
    assert_int_equal(budget.used, 15);
    backlog_drain(&b, 15);
    assert_int_equal(budget.used, 10);
    backlog_add(&b, STR("one"));
    backlog_promise(&b, 0);
    waits(3);
    backlog_promise(&b, 7);
}

static void not_counted(void **state)
{
    struct backlog free_of_charge;
    (void)state;
    backlog_init(&free_of_charge, NULL);
    backlog_promise(&free_of_charge, 100);
    backlog_add(&free_of_charge, STR("one"));
    is(backlog_all(&free_of_charge), "one");
    backlog_clear(&free_of_charge);
    assert_int_equal(budget.used, 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing),         TEST(in_order), TEST(pieces),
        TEST(behind_its_back), TEST(promised), TEST(not_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
