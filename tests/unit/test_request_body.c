/* SPDX-License-Identifier: Apache-2.0 */
/* exchange/request_body.c: every move, what a try is given, bounds that follow the budget, and that
 * no byte stays counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "exchange/request_body.h"

enum { MOST = 1000, MAX = 1 << 20 };

static struct budget budget;
static struct arena arena;
static struct rbody b;
static char large[20000];

static int set_up(void **state)
{
    (void)state;
    budget.used = 0;
    budget.max = MAX;
    arena_init(&arena, NULL, 0);
    rbody_init(&b, &budget, MOST);
    memset(large, 'x', sizeof large);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    rbody_drop(&b);
    arena_clear(&arena);
    assert_int_equal(budget.used, 0);
    return 0;
}

static void is(enum rbody_state state, int64_t counted)
{
    assert_int_equal(b.state, state);
    assert_int_equal(budget.used, counted);
    assert_int_equal(rbody_has_begun(&b), state != RBODY_NONE);
    assert_int_equal(rbody_is_replayable(&b), state != RBODY_LOST);
}

/* Gives what there is; it is EXPECTED. */
static void give(bool keeps, bool is_whole, const char *expected)
{
    struct rbody_try how = {keeps, is_whole, &arena};
    struct str got = rbody_give(&b, &how);
    assert_int_equal(got.len, strlen(expected));
    assert_memory_equal(got.len == 0 ? "" : got.p, expected, got.len);
    rbody_given(&b);
}

static void nothing(void **state)
{
    (void)state;
    rbody_lend(&b, STR(""));
    rbody_settle(&b);
    is(RBODY_NONE, 0);
    give(false, true, "");
    is(RBODY_NONE, 0);
    rbody_again(&b);
    give(true, false, "");
    is(RBODY_NONE, 0);
    rbody_drop(&b);
    is(RBODY_NONE, 0);
}

/* To a connection that is there at once, while the source's bytes last. */
static void lent(void **state)
{
    static const struct {
        bool keeps, is_whole;
        enum rbody_state then;
        int64_t counted;
    } cases[] = {
        {false, false, RBODY_LOST, 0},
        {false, true, RBODY_LOST, 0},
        {true, false, RBODY_KEPT, 3},
        {true, true, RBODY_COPIED, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char bytes[] = "one";
        set_up(state);
        rbody_lend(&b, str_from(bytes));
        is(RBODY_LENT, 0);
        give(cases[i].keeps, cases[i].is_whole, "one");
        is(cases[i].then, cases[i].counted);
        memset(bytes, '-', 3);
        rbody_settle(&b);
        is(cases[i].then, cases[i].counted);
        if (rbody_is_replayable(&b)) {
            rbody_again(&b);
            give(true, cases[i].is_whole, "one");
        }
        is(cases[i].then, cases[i].counted);
        tear_down(state);
    }
}

/* Until there is a connection; and the same from there. */
static void waiting(void **state)
{
    static const enum rbody_state then[2][2] = {{RBODY_LOST, RBODY_LOST},
                                                {RBODY_KEPT, RBODY_COPIED}};
    for (int i = 0; i < 8; i++) {
        bool keeps = i & 1, is_whole = i & 2, is_lent = i & 4;
        char bytes[] = "one";
        set_up(state);
        if (is_lent) {
            rbody_lend(&b, str_from(bytes));
            rbody_settle(&b);
        } else {
            assert_true(rbody_add(&b, str_from(bytes)));
        }
        memset(bytes, '-', 3);
        is(RBODY_WAITING, 3);
        assert_true(rbody_add(&b, STR("two")));
        is(RBODY_WAITING, 6);
        give(keeps, is_whole, "onetwo");
        is(then[keeps][is_whole], keeps && !is_whole ? 6 : 0);
        assert_int_equal(b.buffer.bytes != NULL, keeps && !is_whole);
        tear_down(state);
    }
}

/* Bytes that a new connection is given are not copied, but last while it starts. */
static void given_away(void **state)
{
    struct rbody_try how = {false, false, &arena};
    (void)state;
    (void)rbody_add(&b, STR("one"));
    struct str got = rbody_give(&b, &how);
    is(RBODY_LOST, 3);
    assert_memory_equal(got.p, "one", 3);
    rbody_given(&b);
    is(RBODY_LOST, 0);
    assert_null(b.buffer.bytes);
}

/* Kept over two tries, with what came between, and lost by the third, which keeps nothing. */
static void again(void **state)
{
    (void)state;
    give(true, false, "");
    rbody_pass(&b, STR("one"), true);
    is(RBODY_KEPT, 3);
    rbody_again(&b);
    is(RBODY_WAITING, 3);
    assert_true(rbody_add(&b, STR("two")));
    give(true, false, "onetwo");
    is(RBODY_KEPT, 6);
    rbody_pass(&b, STR("three"), true);
    rbody_again(&b);
    give(false, true, "onetwothree");
    is(RBODY_LOST, 0);
}

/* What is copied is good for any number of tries, of any kind. */
static void copied(void **state)
{
    (void)state;
    rbody_lend(&b, STR("one"));
    give(true, true, "one");
    for (int i = 0; i < 4; i++) {
        rbody_again(&b);
        give(i & 1, true, "one");
        is(RBODY_COPIED, 0);
    }
    rbody_drop(&b);
    is(RBODY_LOST, 0);
}

/* Whole but large: kept, not copied. */
static void copied_or_kept(void **state)
{
    struct rbody_try how = {true, true, &arena};
    (void)state;
    rbody_lend(&b, str_make(large, sizeof large));
    assert_int_equal(rbody_give(&b, &how).len, sizeof large);
    rbody_given(&b);
    is(RBODY_KEPT, sizeof large);
}

/* A connection that had not been used, and one whose answer has begun, keep nothing. */
static void passed_on(void **state)
{
    (void)state;
    rbody_pass(&b, STR("one"), false);
    is(RBODY_LOST, 0);
    rbody_pass(&b, STR("two"), false);
    is(RBODY_LOST, 0);
    rbody_pass(&b, STR("three"), true);
    is(RBODY_LOST, 0);
    set_up(state);
    rbody_pass(&b, STR("one"), true);
    rbody_drop(&b);
    is(RBODY_LOST, 0);
    rbody_pass(&b, STR("two"), false);
    is(RBODY_LOST, 0);
}

/* Twice client.buffer is kept; the first part in any case. */
static void kept_bound(void **state)
{
    (void)state;
    rbody_pass(&b, str_make(large, MOST), true);
    rbody_pass(&b, str_make(large, MOST), true);
    is(RBODY_KEPT, 2 * MOST);
    rbody_pass(&b, STR("x"), true);
    is(RBODY_LOST, 0);
    set_up(state);
    rbody_pass(&b, str_make(large, sizeof large), true);
    is(RBODY_KEPT, sizeof large);
    rbody_pass(&b, STR("x"), true);
    is(RBODY_LOST, 0);
}

/* What is used up of max_memory makes both bounds narrower; a first part is kept even so. */
static void budget_bounds(void **state)
{
    (void)state;
    assert_true(rbody_add(&b, str_make(large, MOST - 1)));
    assert_false(rbody_add(&b, STR("x")));
    is(RBODY_WAITING, MOST);
    rbody_drop(&b);
    rbody_init(&b, &budget, MOST);
    budget.used = MAX;
    assert_false(rbody_add(&b, STR("x")));
    give(true, false, "x");
    is(RBODY_KEPT, MAX + 1);
    rbody_pass(&b, STR("x"), true);
    is(RBODY_LOST, MAX);
    rbody_init(&b, &budget, MOST);
    rbody_pass(&b, STR("x"), true);
    is(RBODY_KEPT, MAX + 1);
    rbody_pass(&b, STR("x"), true);
    is(RBODY_LOST, MAX);
    budget.used = 0;
}

/* The end of an exchange, in each state. */
static void dropped(void **state)
{
    (void)state;
    rbody_lend(&b, STR("one"));
    rbody_drop(&b);
    is(RBODY_LOST, 0);
    rbody_settle(&b);
    is(RBODY_LOST, 0);
    set_up(state);
    (void)rbody_add(&b, STR("one"));
    rbody_drop(&b);
    is(RBODY_LOST, 0);
    rbody_drop(&b);
    is(RBODY_LOST, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing),    TEST(lent),    TEST(waiting),        TEST(given_away),
        TEST(again),      TEST(copied),  TEST(copied_or_kept), TEST(passed_on),
        TEST(kept_bound), TEST(dropped), TEST(budget_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
