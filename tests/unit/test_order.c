/* SPDX-License-Identifier: Apache-2.0 */
/* Who may begin and whose answer is next (RFC 9112 §9.3.2), as a table: one letter a request, s
 * safe, u unsafe. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "exchange/order.h"

enum { ITEMS = 8 };

/* Begins what may begin; gives the letters of what runs, in order. */
static void begin(struct order *o, struct order_item *items, size_t n, char *running)
{
    while (order_next(o) != NULL)
        continue;
    for (size_t i = 0; i < n; i++)
        running[i] = items[i].started ? (items[i].done ? 'd' : 'r') : '-';
    running[n] = '\0';
}

/* KINDS begin together; then those of FINISH (digits) end one after the other. */
static void check(const char *kinds, const char *finish, const char *expected)
{
    struct order o;
    struct order_item items[ITEMS];
    char running[ITEMS + 1];
    size_t n = strlen(kinds);
    order_init(&o);
    for (size_t i = 0; i < n; i++)
        order_push(&o, &items[i], kinds[i] == 's');
    begin(&o, items, n, running);
    for (; *finish != '\0'; finish++) {
        items[*finish - '0'].done = true;
        begin(&o, items, n, running);
    }
    assert_string_equal(running, expected);
}

static void test_barriers(void **state)
{
    (void)state;
    check("s", "", "r");
    check("ssss", "", "rrrr");
    check("u", "", "r");
    check("uu", "", "r-");
    check("su", "", "r-");
    check("ssuss", "", "rr---");
    check("ssuss", "0", "dr---");
    check("ssuss", "01", "ddr--");
    check("ssuss", "10", "ddr--");
    check("ssuss", "012", "dddrr");
    check("uss", "", "r--");
    check("uss", "0", "drr");
    check("usu", "0", "dr-");
    check("usu", "01", "ddr");
}

static void test_first_is_the_oldest(void **state)
{
    (void)state;
    struct order o;
    struct order_item items[3];
    order_init(&o);
    assert_null(order_first(&o));
    for (size_t i = 0; i < 3; i++)
        order_push(&o, &items[i], true);
    items[1].done = true;
    assert_ptr_equal(order_first(&o), &items[0]);
    order_remove(&o, &items[0]);
    assert_ptr_equal(order_first(&o), &items[1]);
    order_remove(&o, &items[1]);
    order_remove(&o, &items[1]);
    assert_int_equal(o.n, 1);
}

/* What is next may be taken out, what is begun by its owner is not given, and what is pushed later
 * is found. */
static void test_next_is_kept(void **state)
{
    (void)state;
    struct order o;
    struct order_item a, b, c, d;
    order_init(&o);
    assert_null(order_next(&o));
    order_push(&o, &a, false);
    assert_ptr_equal(order_next(&o), &a);
    order_push(&o, &b, true);
    order_push(&o, &c, true);
    assert_null(order_next(&o)); /* A is under way */
    order_remove(&o, &b);
    order_push(&o, &d, true);
    d.started = true;
    a.done = true;
    assert_ptr_equal(order_next(&o), &c);
    assert_null(order_next(&o));
    order_remove(&o, &a);
    order_remove(&o, &c);
    order_remove(&o, &d);
    assert_int_equal(o.n, 0);
    assert_null(order_next(&o));
    order_push(&o, &b, false);
    assert_ptr_equal(order_next(&o), &b);
}

/* An unsafe one is under way, and one behind it is begun by its owner, and done before it: what is
 * behind both still waits. */
static void test_begun_by_owner_hides_nothing(void **state)
{
    (void)state;
    for (int done = 0; done < 2; done++) {
        struct order o;
        struct order_item a, b, c;
        order_init(&o);
        order_push(&o, &a, false);
        assert_ptr_equal(order_next(&o), &a);
        order_push(&o, &b, true);
        b.started = true;
        b.done = done;
        assert_null(order_next(&o));
        order_push(&o, &c, true);
        assert_null(order_next(&o));
        a.done = true;
        order_remove(&o, &a);
        assert_ptr_equal(order_next(&o), &c);
        assert_null(order_next(&o));
    }
}

/* The last of those that wait is taken out, and the others begin. */
static void test_last_is_taken_out(void **state)
{
    (void)state;
    struct order o;
    struct order_item items[3];
    order_init(&o);
    order_push(&o, &items[0], true);
    order_push(&o, &items[1], false);
    assert_ptr_equal(order_next(&o), &items[0]);
    assert_null(order_next(&o));
    order_remove(&o, &items[1]);
    assert_null(order_next(&o));
    order_push(&o, &items[2], true);
    assert_ptr_equal(order_next(&o), &items[2]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_barriers),
        cmocka_unit_test(test_first_is_the_oldest),
        cmocka_unit_test(test_next_is_kept),
        cmocka_unit_test(test_begun_by_owner_hides_nothing),
        cmocka_unit_test(test_last_is_taken_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
