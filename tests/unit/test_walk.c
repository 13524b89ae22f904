/* SPDX-License-Identifier: Apache-2.0 */
/* own/walk.c: GETs of one group, and which of them are walks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "own/walk.h"

static struct walk_group group;

static int set_up(void **state)
{
    (void)state;
    memset(&group, 0, sizeof group);
    list_init(&group.walks);
    return 0;
}

static int tear_down(void **state)
{
    struct list *it;
    (void)state;
    while ((it = list_first(&group.walks)) != NULL)
        walk_free(container_of(it, struct walk, link));
    assert_int_equal(group.n_walks, 0);
    return 0;
}

/* A GET of "/N": a step of a walk, whose place it gives; -1: the beginning of one; 0: neither. */
static int64_t get(uint64_t n)
{
    char text[32] = "/";
    struct str target = str_make(text, 1 + str_put_u64(text + 1, n));
    struct sequence numbers;
    struct sequence_step step;
    struct walk *w = walk_find(&group, target);
    if (w != NULL)
        return (int64_t)++w->at;
    assert_true(sequence_read(&numbers, target));
    if (!walk_note(&group, &numbers, &step))
        return 0;
    walk_new(&group, target, &numbers, &step);
    return -1;
}

/* One by one, DONE pages were asked for since what is too old now was fetched. */
static void slow(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= 3; n++)
        (void)get(n);
    struct walk *w = container_of(list_first(&group.walks), struct walk, link);
    w->window = 2;
    w->most = 16;
    for (uint64_t place = 1; place < 40; place++)
        walk_goes(w, place, place > 1, 16);
    assert_int_equal(w->window, 16);
    assert_true(walk_slows(w, 29)); /* ten */
    assert_true(walk_slows(w, 20)); /* that of another says no more */
    walk_goes(w, 40, true, 16);
    assert_int_equal(w->window, 10);
    w->front = 49;
    assert_true(walk_is_hungry(w));
    w->front = 50; /* though some of them are lost */
    assert_int_equal(w->n_fetches, 0);
    assert_false(walk_is_hungry(w));
    for (uint64_t place = 41; place <= 64; place++)
        walk_goes(w, place, true, 16);
    assert_int_equal(w->window, 11);
    assert_false(walk_slows(w, 64));
}

/* Slower than an answer grows old, from the beginning: nothing more is fetched. */
static void too_slow(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= 3; n++)
        (void)get(n);
    struct walk *w = container_of(list_first(&group.walks), struct walk, link);
    w->window = 2;
    w->most = 16;
    assert_true(walk_slows(w, 0));
    for (uint64_t place = 1; place < 64; place++) {
        walk_goes(w, place, false, 16);
        assert_false(walk_is_hungry(w));
    }
    walk_goes(w, 64, false, 16);
    assert_true(walk_is_hungry(w));
}

static void one_walk(void **state)
{
    (void)state;
    assert_int_equal(get(1), 0);
    assert_int_equal(get(2), 0);
    assert_int_equal(get(3), -1);
    assert_int_equal(get(4), 1);
    assert_int_equal(get(5), 2);
    assert_int_equal(get(5), 0); /* once more: no step */
    assert_int_equal(get(7), 0);
    assert_int_equal(get(6), 3);
}

/* In step, one behind the other, and with other pages between: each is its own. */
static void two_walks(void **state)
{
    (void)state;
    for (uint64_t n = 1; n < 3; n++) {
        assert_int_equal(get(n), 0);
        assert_int_equal(get(n), 0);
    }
    assert_int_equal(get(3), -1);
    assert_int_equal(get(3), -1);
    assert_int_equal(group.n_walks, 2);
    for (int64_t n = 1; n < 5; n++) {
        assert_int_equal(get((uint64_t)(3 + n)), n);
        assert_int_equal(get((uint64_t)(3 + n)), n);
    }
    static const uint64_t mixed[] = {100, 300, 101, 302};
    for (size_t i = 0; i < sizeof mixed / sizeof mixed[0]; i++)
        assert_int_equal(get(mixed[i]), 0);
    assert_int_equal(get(102), -1);
    assert_int_equal(get(304), -1);
    assert_int_equal(get(103), 1);
    assert_int_equal(get(306), 1);
}

static void no_walk(void **state)
{
    static const uint64_t numbers[] = {1, 2, 4, 8, 16, 8, 4, 2, 1, 1, 1000, 500, 250, 3, 2, 1};
    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        assert_int_equal(get(numbers[i]), 0);
}

/* What came before too many others is forgotten. */
static void forgotten(void **state)
{
    (void)state;
    assert_int_equal(get(1000), 0);
    assert_int_equal(get(1001), 0);
    for (uint64_t i = 0; i < WALK_SEEN; i++)
        assert_int_equal(get(UINT64_C(1) << (20 - i)), 0);
    assert_int_equal(get(1002), 0);
}

static void targets(void **state)
{
    char text[WALK_TARGET + 64];
    (void)state;
    get(10);
    get(20);
    assert_int_equal(get(30), -1);
    const struct walk *w = container_of(list_first(&group.walks), struct walk, link);
    assert_int_equal(walk_target(w, 0, text), 3);
    assert_int_equal(walk_target(w, 8, text), 4);
    assert_memory_equal(text, "/110", 4);
    assert_int_equal(walk_target(w, UINT64_MAX, text), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(slow),    TEST(too_slow),  TEST(one_walk), TEST(two_walks),
        TEST(no_walk), TEST(forgotten), TEST(targets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
