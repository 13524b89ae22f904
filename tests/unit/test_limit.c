/* SPDX-License-Identifier: Apache-2.0 */
/* upstream/limit.c: how many requests may be under way to an origin, and whose turn is next. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/mem.h"
#include "upstream/limit.h"

enum { LOG = 16 };

/* Two workers' members, on one loop so that the order of calls is known. */
static struct loop loop;
static struct limit_member members[2];
static struct limit_seat seats[2];
static const struct limit_seat *told[LOG];
static unsigned n_told;

static void on_turn(void *arg, struct limit_seat *seat)
{
    assert_ptr_equal(arg, seat->member);
    assert_true(n_told < LOG);
    told[n_told++] = seat;
}

static int begin(void **state)
{
    (void)state;
    if (!loop_init(&loop))
        return -1;
    for (int i = 0; i < 2; i++) {
        limit_join(&members[i], &loop, on_turn, &members[i]);
        seats[i] = (struct limit_seat){.limit = NULL};
    }
    n_told = 0;
    return 0;
}

static int end(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        limit_leave(&seats[i]);
        limit_part(&members[i]);
    }
    loop_turn(&loop, false);
    loop_clear(&loop);
    return 0;
}

/* One origin is host, port and TLS; all references to it are one limit. */
static void who_shares_one(void **state)
{
    (void)state;
    struct limit *a = limit_get(STR("a.test"), 443, true);
    struct limit *same = limit_get(STR("a.test"), 443, true);
    struct limit *host = limit_get(STR("b.test"), 443, true);
    struct limit *port = limit_get(STR("a.test"), 444, true);
    struct limit *plain = limit_get(STR("a.test"), 443, false);
    assert_ptr_equal(a, same);
    assert_ptr_not_equal(a, host);
    assert_ptr_not_equal(a, port);
    assert_ptr_not_equal(a, plain);
    assert_true(limit_take(a, 1));
    limit_put(same);
    /* Kept while there is one reference. */
    assert_ptr_equal(limit_get(STR("a.test"), 443, true), a);
    assert_int_equal(limit_in_use(a), 1);
    limit_put(a);
    limit_put(a);
    limit_put(host);
    limit_put(port);
    limit_put(plain);
    a = limit_get(STR("a.test"), 443, true);
    assert_int_equal(limit_in_use(a), 0);
    limit_put(a);
}

static void no_more_than_max(void **state)
{
    (void)state;
    struct limit *l = limit_get(STR("max.test"), 443, true);
    assert_true(limit_take(l, 2));
    assert_true(limit_take(l, 2));
    assert_false(limit_take(l, 2));
    /* Another configuration may have another number, and none. */
    assert_true(limit_take(l, 3));
    assert_true(limit_take(l, 0));
    assert_int_equal(limit_in_use(l), 4);
    for (int i = 0; i < 4; i++)
        assert_null(limit_give(l, &members[0]));
    assert_int_equal(limit_in_use(l), 0);
    limit_put(l);
}

/* Who gives back hears at once that it is its own turn; another member hears by its loop. */
static void whose_turn(void **state)
{
    (void)state;
    struct limit *l = limit_get(STR("turn.test"), 443, true);
    assert_true(limit_take(l, 1));
    limit_wait(l, &seats[0], &members[0], 1);
    limit_wait(l, &seats[1], &members[1], 1);
    limit_wait(l, &seats[1], &members[1], 1); /* sits already */
    assert_ptr_equal(limit_give(l, &members[0]), &seats[0]);
    assert_true(limit_take(l, 1));
    assert_null(limit_give(l, &members[0]));
    assert_int_equal(n_told, 0);
    loop_turn(&loop, false);
    assert_int_equal(n_told, 1);
    assert_ptr_equal(told[0], &seats[1]);
    /* Nobody takes its slot away meanwhile. */
    assert_int_equal(limit_in_use(l), 1);
    assert_false(limit_take(l, 1));
    assert_false(limit_take_turn(&seats[0], l, 1));
    assert_true(limit_take_turn(&seats[1], l, 1));
    assert_false(limit_take_turn(&seats[1], l, 1));
    assert_int_equal(limit_in_use(l), 1);
    /* In turns: the first one's again. */
    assert_ptr_equal(limit_give(l, &members[0]), &seats[0]);
    limit_leave(&seats[0]);
    limit_leave(&seats[1]);
    limit_leave(&seats[1]);
    limit_put(l);
}

static void nobody_waits(void **state)
{
    (void)state;
    struct limit *l = limit_get(STR("left.test"), 443, true);
    assert_true(limit_take(l, 1));
    limit_wait(l, &seats[1], &members[1], 1);
    limit_leave(&seats[1]);
    assert_null(limit_give(l, &members[0]));
    loop_turn(&loop, false);
    assert_int_equal(n_told, 0);
    limit_put(l);
}

/* A turn given to a seat that leaves before it hears of it goes to the next one. */
static void a_turn_is_not_lost(void **state)
{
    (void)state;
    struct limit *l = limit_get(STR("lost.test"), 443, true);
    assert_true(limit_take(l, 1));
    limit_wait(l, &seats[0], &members[0], 1);
    limit_wait(l, &seats[1], &members[1], 1);
    assert_null(limit_give(l, NULL));
    limit_leave(&seats[0]);
    loop_turn(&loop, false);
    assert_int_equal(n_told, 1);
    assert_ptr_equal(told[0], &seats[1]);
    assert_int_equal(limit_in_use(l), 1);
    limit_leave(&seats[1]);
    assert_int_equal(limit_in_use(l), 0); /* what was kept for nobody is free */
    limit_put(l);
}

/* A member that has parted is not called, though its turn is on the way. */
static void parted_is_not_called(void **state)
{
    (void)state;
    struct limit *l = limit_get(STR("parted.test"), 443, true);
    assert_true(limit_take(l, 1));
    limit_wait(l, &seats[1], &members[1], 1);
    assert_null(limit_give(l, &members[0]));
    limit_leave(&seats[1]);
    limit_part(&members[1]);
    loop_turn(&loop, false);
    assert_int_equal(n_told, 0);
    limit_join(&members[1], &loop, on_turn, &members[1]);
    limit_put(l);
}

/* Two turns of one seat before it hears of the first: it is told once. */
static void told_once(void **state)
{
    (void)state;
    struct limit *l = limit_get(STR("once.test"), 443, true);
    assert_true(limit_take(l, 2));
    assert_true(limit_take(l, 2));
    limit_wait(l, &seats[1], &members[1], 2);
    assert_null(limit_give(l, &members[0]));
    assert_null(limit_give(l, &members[0]));
    loop_turn(&loop, false);
    assert_int_equal(n_told, 1);
    limit_leave(&seats[1]);
    limit_put(l);
}

/* Whose own number does not allow it another one is passed over: its turn would be nobody's. */
static void by_another_number(void **state)
{
    (void)state;
    struct limit *l = limit_get(STR("number.test"), 443, true);
    for (int i = 0; i < 3; i++)
        assert_true(limit_take(l, 3));
    limit_wait(l, &seats[0], &members[0], 1);
    limit_wait(l, &seats[1], &members[1], 3);
    assert_ptr_equal(limit_give(l, &members[1]), &seats[1]);
    assert_ptr_equal(limit_give(l, &members[1]), &seats[1]);
    assert_null(limit_give(l, &members[1]));
    loop_turn(&loop, false);
    assert_int_equal(n_told, 1);
    assert_ptr_equal(told[0], &seats[0]);
    limit_leave(&seats[0]);
    limit_leave(&seats[1]);
    limit_put(l);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(who_shares_one), CASE(no_more_than_max),   CASE(whose_turn),
        CASE(nobody_waits),   CASE(a_turn_is_not_lost), CASE(parted_is_not_called),
        CASE(told_once),      CASE(by_another_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
