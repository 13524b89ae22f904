/* SPDX-License-Identifier: Apache-2.0 */
/* upstream/up_h2_window.c: how a window grows with what passes, and is taken back. A stream made by
 * hand on a session that nobody reads from; time is what the test says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "upstream/up_h2_stream_impl.h"

enum { NEAR = 256 * 1024, TRIP = 50000, MANY = 1 << 30 };

static struct loop loop;
static struct up_h2 conn;
static struct up_h2_stream stream;
static struct budget budget;

static void flush(void *arg)
{
    (void)arg;
}

/* All that waits in the session is out. */
static void send_all(void)
{
    const uint8_t *p;
    while (nghttp2_session_mem_send(conn.session, &p) > 0)
        continue;
}

static int begin(void **state)
{
    nghttp2_session_callbacks *callbacks;
    nghttp2_nv get = {(uint8_t *)":method", (uint8_t *)"GET", 7, 3, NGHTTP2_NV_FLAG_NONE};
    (void)state;
    if (!loop_init(&loop))
        return -1;
    budget = (struct budget){.max = MANY};
    conn = (struct up_h2){.loop = &loop, .budget = &budget, .now = 1000000};
    post_init(&conn.flush, flush, NULL);
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_client_new(&conn.session, callbacks, &conn);
    nghttp2_session_callbacks_del(callbacks);
    stream = (struct up_h2_stream){.c = &conn,
                                   .loop = &loop,
                                   .share.budget = &budget,
                                   .in.share.budget = &budget,
                                   .state = UP_H2_ACTIVE,
                                   .window.size = UP_H2_WINDOW,
                                   .left = UINT64_MAX};
    stream.id = nghttp2_submit_request(conn.session, NULL, &get, 1, NULL, &stream);
    send_all();
    up_h2_path_init(&conn.path, &budget, NEAR, TRIP);
    conn.path.is_sure = true;
    return stream.id > 0 ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    loop_unpost(&conn.flush);
    nghttp2_session_del(conn.session);
    loop_clear(&loop);
    return 0;
}

static int32_t told(void)
{
    send_all();
    return nghttp2_session_get_stream_local_window_size(conn.session, stream.id);
}

/* N bytes have come, and the reader has taken them: at once, or when they had WAITED. */
static void pass(int32_t n, bool waited)
{
    stream.window.unread += n;
    up_h2_window_give(&stream, (size_t)n, waited);
}

static void a_path_begins(void **state)
{
    struct up_h2_path p = {.first = 0};
    (void)state;
    up_h2_path_init(&p, NULL, 1 << 30, 7);
    assert_int_equal(p.first, UP_H2_WINDOW);
    assert_int_equal(p.near, UP_H2_WINDOW_MOST);
    assert_int_equal(p.trip, 7);
    budget_add(&budget, MANY);
    up_h2_path_init(&p, &budget, 1000, 7);
    assert_int_equal(p.first, 16384);
    assert_int_equal(p.near, 1000);
}

/* The acknowledgement of our settings took a round trip at least, once. */
static void the_shorter_trip_counts(void **state)
{
    struct up_h2_path p = {.trip = 500, .begun = 1000};
    (void)state;
    up_h2_path_acked(&p, 1700);
    assert_int_equal(p.trip, 500);
    p.begun = 1000;
    up_h2_path_acked(&p, 1400);
    assert_int_equal(p.trip, 400);
    up_h2_path_acked(&p, 1401);
    assert_int_equal(p.trip, 400);
}

static void half_of_it_makes_it_larger(void **state)
{
    (void)state;
    pass(UP_H2_WINDOW / 2 - 1, false);
    assert_int_equal(stream.window.size, UP_H2_WINDOW);
    pass(2, false);
    assert_int_equal(stream.window.size, NEAR);
    assert_int_equal(told(), NEAR);
    /* From there on it is the round trip: half of it within one doubles it. */
    stream.window.passed = 0;
    stream.window.since = conn.now;
    conn.now += TRIP;
    pass(NEAR / 2, false);
    assert_int_equal(stream.window.size, 2 * NEAR);
    assert_int_equal(conn.path.reached, 2 * NEAR);
    assert_int_equal(told(), 2 * NEAR);
    assert_true(budget_used(&budget) >= 2 * NEAR);
}

/* As much in more than a round trip: the way is not what holds it up. */
static void a_slow_origin_gets_no_more(void **state)
{
    (void)state;
    stream.window.size = NEAR;
    stream.window.since = conn.now;
    pass(NEAR / 4, false);
    conn.now += TRIP + 1;
    pass(NEAR / 4, false);
    assert_int_equal(stream.window.size, NEAR);
    assert_int_equal(stream.window.passed, NEAR / 4);
}

static void what_has_waited_says_nothing(void **state)
{
    (void)state;
    pass(UP_H2_WINDOW, true);
    assert_int_equal(stream.window.size, UP_H2_WINDOW);
}

/* Nor is a window worth it for the little that is still to come. */
static void the_end_is_near(void **state)
{
    (void)state;
    stream.left = UP_H2_WINDOW / 2;
    pass(UP_H2_WINDOW / 2 + 1, false);
    assert_int_equal(stream.window.size, UP_H2_WINDOW);
}

static void no_more_than_16_MiB(void **state)
{
    (void)state;
    stream.window.size = UP_H2_WINDOW_MOST;
    stream.window.since = conn.now;
    pass(UP_H2_WINDOW_MOST / 2, false);
    assert_int_equal(stream.window.size, UP_H2_WINDOW_MOST);
}

/* What one stream of a connection has reached is half given to the next, if it has a use for it: a
 * byte more than its body is long. */
static void a_long_body_begins_with_more(void **state)
{
    (void)state;
    conn.path.reached = 8 * NEAR;
    up_h2_window_begin(&stream, NEAR - 1);
    assert_int_equal(stream.window.size, UP_H2_WINDOW);
    up_h2_window_begin(&stream, 3 * NEAR - 1);
    assert_int_equal(stream.window.size, 3 * NEAR);
    up_h2_window_begin(&stream, UINT64_MAX);
    assert_int_equal(stream.window.size, 4 * NEAR);
    assert_int_equal(told(), 4 * NEAR);
}

/* Beyond client.buffer it takes an eighth of what is left of memory, below that all of it. */
static void memory_bounds_it(void **state)
{
    (void)state;
    conn.path.reached = 8 * NEAR;
    budget_add(&budget, MANY / 2 - 8 * NEAR);
    up_h2_window_begin(&stream, 2 * NEAR);
    assert_int_equal(stream.window.size, UP_H2_WINDOW);
    up_h2_window_begin(&stream, NEAR + UP_H2_WINDOW / 2 - 1);
    assert_int_equal(stream.window.size, NEAR + UP_H2_WINDOW / 2);
    /* And when it is short, a window shrinks with what is read, down to the first. */
    budget_add(&budget, MANY);
    pass(1000, true);
    assert_int_equal(stream.window.size, NEAR + UP_H2_WINDOW / 2 - 1000);
    pass(NEAR + UP_H2_WINDOW / 2 - 1000, true);
    assert_int_equal(stream.window.size, conn.path.first);
}

static void who_stands_still_loses_it(void **state)
{
    (void)state;
    stream.window.size = 4 * NEAR;
    up_h2_window_pause(&stream, true);
    int64_t stood_at = stream.window.stood_at;
    assert_true(stood_at > 0);
    up_h2_window_pause(&stream, true);
    assert_int_equal(stream.window.stood_at, stood_at);
    up_h2_window_pause(&stream, false);
    assert_false(stream.window.is_slow);
    up_h2_window_pause(&stream, true);
    stream.window.stood_at -= 300000;
    up_h2_window_pause(&stream, false);
    assert_int_equal(stream.window.stood_at, 0);
    assert_true(stream.window.is_slow);
    pass(NEAR, true);
    assert_int_equal(stream.window.size, 3 * NEAR);
    pass(3 * NEAR, true);
    assert_int_equal(stream.window.size, NEAR);
    /* A byte that did not wait: the reader is quick again. */
    pass(1, false);
    assert_false(stream.window.is_slow);
}

/* A small window is not missed. */
static void who_has_little_keeps_it(void **state)
{
    (void)state;
    stream.window.size = NEAR;
    up_h2_window_pause(&stream, true);
    assert_int_equal(stream.window.stood_at, 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_path_begins),
        CASE(the_shorter_trip_counts),
        CASE(half_of_it_makes_it_larger),
        CASE(a_slow_origin_gets_no_more),
        CASE(what_has_waited_says_nothing),
        CASE(the_end_is_near),
        CASE(no_more_than_16_MiB),
        CASE(a_long_body_begins_with_more),
        CASE(memory_bounds_it),
        CASE(who_stands_still_loses_it),
        CASE(who_has_little_keeps_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
