/* SPDX-License-Identifier: Apache-2.0 */
/* upstream/pace.c: when requests may begin, by a clock of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "base/loop.h"
#include "upstream/pace.h"

enum { SEATS = 3, MS = 1000 };
#define S (INT64_C(1000) * MS)

static char host[] = "a.test";
static struct pace *pace;
static struct pace_seat seats[SEATS];
static int64_t begin; /* µs */

static void rate(unsigned generation, int64_t interval_ns)
{
    pace_set_rate(pace, generation, interval_ns);
}

static unsigned generation;

/* In a new configuration; 0: no rate. */
static void use(int64_t interval_ns)
{
    rate(++generation, interval_ns);
    for (int i = 0; i < SEATS; i++) {
        pace_leave(&seats[i]);
        seats[i] = (struct pace_seat){.is_spaced = interval_ns > 0, .obeys = true};
        pace_seat_init(&seats[i], pace, PACE_TURN);
    }
}

static int set_up(void **state)
{
    (void)state;
    host[0]++; /* what the test before has left is of another */
    pace = pace_get(str_from(host), 443);
    begin = loop_now();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (int i = 0; i < SEATS; i++)
        pace_leave(&seats[i]);
    pace_put(pace);
    return 0;
}

static bool go(int seat, int64_t at, int64_t *when)
{
    bool goes = pace_go(&seats[seat], begin + at, when);
    *when -= begin;
    return goes;
}

static void goes(int seat, int64_t at)
{
    int64_t when;
    assert_true(go(seat, at, &when));
}

static void waits(int seat, int64_t at, int64_t until)
{
    int64_t when;
    assert_false(go(seat, at, &when));
    assert_int_equal(when, until);
}

/* Ten a second: a hundred milliseconds apart, however long nobody came before. */
static void no_burst(void **state)
{
    (void)state;
    use(100 * MS * 1000);
    goes(0, 10 * S);
    for (int i = 1; i < 50; i++) {
        waits(0, 10 * S + (i - 1) * 100 * MS + 1, 10 * S + i * 100 * MS);
        waits(0, 10 * S + i * 100 * MS - 1, 10 * S + i * 100 * MS);
        goes(0, 10 * S + i * 100 * MS);
    }
}

static void workers_take_turns(void **state)
{
    (void)state;
    use(1000 * MS * INT64_C(1000));
    goes(0, 0);
    waits(0, 0, 1 * S);
    waits(1, 0, 2 * S);
    waits(2, 0, 3 * S);
    waits(1, 1 * S, 2 * S);
    goes(0, 1 * S);
    waits(0, 1 * S, 4 * S);
    goes(1, 2 * S);
    goes(2, 3 * S);
    goes(0, 4 * S);
}

/* Nothing is lost with who leaves, and who does not go when it could holds nobody. */
static void who_leaves_and_who_sleeps(void **state)
{
    (void)state;
    use(1000 * MS * INT64_C(1000));
    goes(0, 0);
    waits(0, 0, 1 * S);
    waits(1, 0, 2 * S);
    pace_leave(&seats[0]);
    pace_leave(&seats[0]);
    waits(1, 0, 1 * S);
    waits(2, 0, 2 * S);
    goes(2, 2 * S);
    waits(1, 2 * S, 3 * S);
    goes(1, 3 * S);
    goes(0, 4 * S);
    pace_back(&seats[0]);
    goes(1, 4 * S);
}

/* Timers are late: a thousand a second are a thousand all the same, and three never more. */
static void late_timers(void **state)
{
    (void)state;
    unsigned n = 0;
    int64_t when;
    use(1000 * 1000);
    for (int64_t at = 0; at < 1 * S; at += 1700) {
        while (go(0, at, &when))
            n++;
    }
    assert_in_range(n, 990, 1006);
    use(333333334);
    n = 0;
    for (int64_t at = 10 * S; at < 110 * S; at += 1 * MS)
        n += go(1, at, &when);
    assert_in_range(n, 299, 301);
}

static void pauses(void **state)
{
    (void)state;
    use(0);
    goes(0, 0);
    goes(0, 0);
    pace_pause(pace, begin + 3 * S);
    pace_pause(pace, begin + 2 * S);
    waits(0, 0, 3 * S);
    seats[1].obeys = false;
    goes(1, 0);
    goes(0, 3 * S);
    use(100 * MS * 1000);
    waits(0, 1 * S, 3 * S);
    goes(0, 3 * S + 100 * MS);
    waits(1, 3 * S + 100 * MS, 3 * S + 200 * MS);
}

/* A thousand have waited for the end of a pause: some begin, and what they are told may be another
 * pause before all have asked. */
static void nobody_rushes_in(void **state)
{
    (void)state;
    unsigned n = 0;
    int64_t when;
    use(0);
    pace_pause(pace, begin + 3 * S);
    waits(0, 0, 3 * S);
    for (int64_t at = 3 * S; at < 4 * S; at += 1 * MS) {
        for (int i = 0; i < SEATS; i++)
            n += go(i, at, &when);
    }
    assert_in_range(n, 98, 102);
    for (int i = 0; i < 1000; i++)
        goes(i % SEATS, 4 * S);
    pace_pause(pace, begin + 5 * S);
    goes(0, 5 * S);
    waits(0, 5 * S, 5 * S + 6 * MS); /* a timer may be late */
    waits(1, 5 * S, 5 * S + 16 * MS);
    pace_pause(pace, begin + 6 * S);
    waits(0, 5 * S + 6 * MS, 6 * S);
    seats[2].obeys = false;
    for (int i = 0; i < 100; i++)
        goes(2, 5 * S);
}

/* The rate of the newest configuration holds at once, for those who wait by an older one, too; of
 * two in one configuration the slower one. */
static void another_rate(void **state)
{
    (void)state;
    use(3600 * S * 1000);
    goes(0, 0);
    waits(0, 0, 3600 * S);
    waits(1, 0, 7200 * S);
    rate(generation + 1, 100 * MS * 1000);
    rate(generation, 3600 * S * 1000);
    waits(1, 0, 200 * MS);
    goes(0, 100 * MS);
    rate(generation + 1, 200 * MS * 1000);
    rate(generation + 1, 50 * MS * 1000);
    waits(1, 200 * MS, 300 * MS);
    goes(1, 300 * MS);
    rate(generation + 2, 3600 * S * 1000);
    waits(0, 400 * MS, 3600 * S + 300 * MS);
    generation += 2;
}

/* Remembered while it holds somebody; and a bounded number of those. */
static void forgets(void **state)
{
    (void)state;
    char name[32];
    use(3600 * S * 1000);
    goes(0, 0);
    struct pace *other = pace_get(str_from(host), 444);
    assert_ptr_not_equal(other, pace);
    pace_put(other);
    unsigned n = pace_count();
    pace_put(pace);
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "%d.test", i);
        pace_put(pace_get(str_from(name), 443));
    }
    assert_in_range(pace_count(), 1, n + 5);
    pace = pace_get(str_from(host), 443);
    use(3600 * S * 1000);
    waits(0, 1 * S, 3600 * S);
    for (int i = 0; i < 12000; i++) {
        snprintf(name, sizeof name, "%d.test", i);
        struct pace *p = pace_get(str_from(name), 443);
        struct pace_seat seat = {.is_spaced = true};
        int64_t when;
        pace_set_rate(p, generation, 3600 * S * 1000);
        pace_seat_init(&seat, p, PACE_TURN);
        assert_true(pace_go(&seat, loop_now(), &when));
        pace_put(p);
    }
    assert_in_range(pace_count(), 10000, 10005);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(no_burst, set_up, tear_down),
        cmocka_unit_test_setup_teardown(workers_take_turns, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_leaves_and_who_sleeps, set_up, tear_down),
        cmocka_unit_test_setup_teardown(late_timers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(pauses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_rushes_in, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_rate, set_up, tear_down),
        cmocka_unit_test_setup_teardown(forgets, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
