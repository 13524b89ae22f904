/* SPDX-License-Identifier: Apache-2.0 */
/* upstream/pool_dial.c: who may wait for what a dial turns out to be, and how many; what comes of
 * dials is in test_pool.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "conf/conf.h"
#include "upstream/pool_impl.h"

static struct rule rule;
static struct origin origin;
static struct pool_wait waits[2];
static struct pool_dial dials[2];

static int begin(void **state)
{
    (void)state;
    rule = (struct rule){.http2 = true};
    origin = (struct origin){.tls = true};
    list_init(&origin.dials);
    for (int i = 0; i < 2; i++)
        dials[i] = (struct pool_dial){.origin = &origin, .offers_h2 = true};
    return 0;
}

static void add(int i)
{
    list_push_back(&origin.dials, &dials[i].link);
}

/* By HTTP/2 alone one connection serves many. */
static void who_may_share(void **state)
{
    struct pool_wait w = {.where = {.rule = &rule}};
    (void)state;
    assert_true(pool_dial_suits(&origin, &w));
    origin.speaks = ORIGIN_SPEAKS_H2;
    assert_true(pool_dial_suits(&origin, &w));
    origin.speaks = ORIGIN_SPEAKS_H1;
    assert_false(pool_dial_suits(&origin, &w));
    origin.speaks = ORIGIN_SPEAKS_H2;
    w.how.h1_only = true;
    assert_false(pool_dial_suits(&origin, &w));
    w.how = (struct up_how){.is_alone = true};
    assert_false(pool_dial_suits(&origin, &w));
    w.how.is_alone = false;
    origin.tls = false;
    assert_false(pool_dial_suits(&origin, &w));
    origin.tls = true;
    rule.http2 = false;
    assert_false(pool_dial_suits(&origin, &w));
    rule.http2 = true;
    origin_want_h1(&origin);
    assert_false(pool_dial_suits(&origin, &w));
}

/* While nobody knows what an origin speaks, all wait for the first handshake. */
static void all_wait_for_the_first(void **state)
{
    (void)state;
    assert_int_equal(pool_dial_room(&origin), 0);
    add(0);
    assert_int_equal(pool_dial_room(&origin), UINT32_MAX);
    dials[0].offers_h2 = false;
    assert_int_equal(pool_dial_room(&origin), 0);
}

/* Its streams, less the one of who has begun the dial. */
static void so_many_streams(void **state)
{
    (void)state;
    origin.speaks = ORIGIN_SPEAKS_H2;
    origin.streams = 10;
    assert_int_equal(pool_dial_room(&origin), 0);
    add(0);
    assert_int_equal(pool_dial_room(&origin), 10);
    dials[0].wait = &waits[0];
    assert_int_equal(pool_dial_room(&origin), 9);
    add(1);
    assert_int_equal(pool_dial_room(&origin), 19);
    dials[1].offers_h2 = false;
    assert_int_equal(pool_dial_room(&origin), 9);
}

static void or_as_many_as_are_carried(void **state)
{
    (void)state;
    origin.speaks = ORIGIN_SPEAKS_H2;
    origin.streams = 10;
    carry_learn(&origin.carry, 3, loop_now());
    carry_learn(&origin.carry, 3, loop_now());
    add(0);
    assert_int_equal(pool_dial_room(&origin), 3);
    origin.streams = 2;
    assert_int_equal(pool_dial_room(&origin), 2);
}

/* One that has yet to say how many it takes is waited for, unless little is carried. */
static void a_settling_one(void **state)
{
    (void)state;
    origin.n_settling = 1;
    assert_int_equal(pool_dial_room(&origin), UINT32_MAX);
    origin.speaks = ORIGIN_SPEAKS_H2;
    origin.streams = 10;
    assert_int_equal(pool_dial_room(&origin), UINT32_MAX);
    carry_learn(&origin.carry, 3, loop_now());
    carry_learn(&origin.carry, 3, loop_now());
    assert_int_equal(pool_dial_room(&origin), 0);
}

/* What one who waits is told to wait for. */
static void how_far_it_is(void **state)
{
    struct up_progress p;
    struct pool_wait w = {.state = WAIT_QUEUED, .queued_us = 5};
    (void)state;
    pool_progress(&w, &p);
    assert_int_equal(p.step, UP_STEP_QUEUE);
    assert_int_equal(p.queued_us, 5);
    assert_non_null(strstr(p.doing, "max_per_host"));
    w.was_timed = true;
    pool_progress(&w, &p);
    assert_non_null(strstr(p.doing, "rate"));
    w = (struct pool_wait){.state = WAIT_UNDIALLED};
    pool_progress(&w, &p);
    assert_non_null(strstr(p.doing, "connection"));
    w.is_hungry = true;
    pool_progress(&w, &p);
    assert_non_null(strstr(p.doing, "descriptor"));
    w = (struct pool_wait){.state = WAIT_DIALLED, .dial = &dials[0]};
    pool_progress(&w, &p);
    assert_int_equal(p.step, UP_STEP_TLS);
    assert_non_null(strstr(p.doing, "issuer"));
}

#define CASE(f) cmocka_unit_test_setup(f, begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(who_may_share),   CASE(all_wait_for_the_first),
        CASE(so_many_streams), CASE(or_as_many_as_are_carried),
        CASE(a_settling_one),  CASE(how_far_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
