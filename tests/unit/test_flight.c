/* SPDX-License-Identifier: Apache-2.0 */
/* upstream/flight.c: one leads, the others are told; who leaves is not, and who leads in vain is
 * followed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "upstream/flight.h"

static struct loop loop;

struct holder {
    struct flight_ticket *ticket;
    bool leads;
    unsigned told, led;
};

static void on_flight(void *arg, bool leads)
{
    struct holder *h = arg;
    if (leads) {
        h->led++;
        return;
    }
    h->ticket = NULL;
    h->told++;
}

static struct holder join(struct holder *h, const char *key)
{
    *h = (struct holder){0};
    h->ticket = flight_join(&loop, key, &h->leads, on_flight, h);
    return *h;
}

static void turns(void)
{
    for (int i = 0; i < 3; i++)
        loop_turn(&loop, false);
}

static int begin(void **state)
{
    (void)state;
    return loop_init(&loop) ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    loop_clear(&loop);
    return 0;
}

static void one_leads(void **state)
{
    struct holder a, b, c, other;
    (void)state;
    assert_true(join(&a, "x").leads);
    assert_false(join(&b, "x").leads);
    assert_false(join(&c, "x").leads);
    assert_true(join(&other, "y").leads);
    turns();
    assert_int_equal(a.led + b.led + b.told + c.told, 0);
    flight_leave(a.ticket, true);
    assert_int_equal(b.told, 0); /* not inside the call */
    turns();
    assert_int_equal(b.told, 1);
    assert_int_equal(c.told, 1);
    assert_int_equal(a.told + b.led + c.led + other.told, 0);
    assert_true(join(&a, "x").leads);
    flight_leave(a.ticket, true);
    flight_leave(other.ticket, false);
}

static void the_next_one_follows(void **state)
{
    struct holder a, b, c;
    (void)state;
    join(&a, "x");
    join(&b, "x");
    join(&c, "x");
    flight_leave(a.ticket, false);
    turns();
    assert_int_equal(b.led, 1);
    assert_int_equal(c.led + c.told, 0);
    flight_leave(b.ticket, true);
    turns();
    assert_int_equal(c.told, 1);
}

/* Whoever leaves between being told to lead and hearing of it. */
static void a_lead_is_passed_on(void **state)
{
    struct holder a, b, c, d;
    (void)state;
    join(&a, "x");
    join(&b, "x");
    join(&c, "x");
    flight_leave(a.ticket, false);
    flight_leave(b.ticket, false);
    turns();
    assert_int_equal(b.led, 0);
    assert_int_equal(c.led, 1);
    assert_false(join(&d, "x").leads);
    flight_leave(c.ticket, false);
    flight_leave(d.ticket, false);
    turns();
    assert_true(join(&a, "x").leads);
    flight_leave(a.ticket, false);
}

static void who_leaves_hears_nothing(void **state)
{
    struct holder a, b, c;
    (void)state;
    join(&a, "x");
    join(&b, "x");
    join(&c, "x");
    flight_leave(b.ticket, false);
    flight_leave(a.ticket, true);
    flight_leave(c.ticket, false); /* it is being told */
    turns();
    assert_int_equal(b.told + b.led + c.told + c.led, 0);
}

static void they_are_bounded(void **state)
{
    struct holder all[FLIGHTS_MOST], more;
    char key[16];
    (void)state;
    for (int i = 0; i < FLIGHTS_MOST; i++) {
        snprintf(key, sizeof(key), "%d", i);
        assert_true(join(&all[i], key).leads);
    }
    assert_null(join(&more, "more").ticket);
    assert_false(more.leads);
    assert_non_null(join(&more, "0").ticket);
    flight_leave(more.ticket, false);
    for (int i = 0; i < FLIGHTS_MOST; i++)
        flight_leave(all[i].ticket, i % 2 == 0);
    assert_true(join(&more, "more").leads);
    flight_leave(more.ticket, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_leads, begin, end),
        cmocka_unit_test_setup_teardown(the_next_one_follows, begin, end),
        cmocka_unit_test_setup_teardown(a_lead_is_passed_on, begin, end),
        cmocka_unit_test_setup_teardown(who_leaves_hears_nothing, begin, end),
        cmocka_unit_test_setup_teardown(they_are_bounded, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
