/* SPDX-License-Identifier: Apache-2.0 */
/* upstream/queue.c: people take turns, connections of one person take turns, within one connection
 * it is first come, first served, and what is made ahead comes last. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "upstream/queue.h"

enum { MANY = 1000 };

static struct queue queue;

/* Adds a waiter for each pair of PERSONS and CLIENTS. */
static void add(struct pool_wait *waits, const uint64_t (*who)[2], unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        waits[i] = (struct pool_wait){.how = {.person = who[i][0], .client = who[i][1]}};
        list_init(&waits[i].link);
        queue_add(&queue, &waits[i]);
    }
}

static int set_up(void **state)
{
    (void)state;
    queue_init(&queue);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    assert_true(queue_is_empty(&queue));
    assert_null(queue.by_id);
    assert_null(queue.by_client);
    return 0;
}

static void connections_take_turns(void **state)
{
    (void)state;
    static const uint64_t who[][2] = {{7, 1}, {7, 1}, {7, 1}, {7, 2}, {7, 2}, {7, 3}};
    static const unsigned order[] = {0, 3, 5, 1, 4, 2};
    struct pool_wait waits[6];
    add(waits, who, 6);
    for (int i = 0; i < 6; i++)
        assert_ptr_equal(queue_next(&queue), &waits[order[i]]);
    assert_null(queue_next(&queue));
    add(waits, who, 2);
    queue_remove(&queue, &waits[0]);
    assert_null(waits[0].group);
    queue_remove(&queue, &waits[0]);
    assert_ptr_equal(queue_next(&queue), &waits[1]);
}

static void people_take_turns(void **state)
{
    (void)state;
    /* Whose connection has the same number is another one all the same. */
    static const uint64_t who[][2] = {{7, 1}, {7, 2}, {7, 3}, {7, 4}, {8, 1}, {8, 1}, {9, 5}};
    static const unsigned order[] = {0, 4, 6, 1, 5, 2, 3};
    struct pool_wait waits[7];
    add(waits, who, 7);
    for (int i = 0; i < 7; i++)
        assert_ptr_equal(queue_next(&queue), &waits[order[i]]);
}

/* A thousand connections of one person, and one of another: it is next but one at most. */
static void many_connections_are_one_person(void **state)
{
    (void)state;
    static struct pool_wait waits[MANY + 1];
    static uint64_t who[MANY + 1][2];
    for (unsigned i = 0; i < MANY; i++) {
        who[i][0] = 7;
        who[i][1] = i;
    }
    who[MANY][0] = 8;
    who[MANY][1] = MANY;
    add(waits, (const uint64_t(*)[2])who, MANY + 1);
    assert_ptr_equal(queue_next(&queue), &waits[0]);
    assert_ptr_equal(queue_next(&queue), &waits[MANY]);
    for (unsigned i = 1; i < MANY; i++)
        assert_ptr_equal(queue_next(&queue), &waits[i]);
}

static void what_is_made_ahead_is_last(void **state)
{
    (void)state;
    struct pool_wait waits[2];
    struct pool_wait ahead[2] = {{.how = {.person = 7, .is_ahead = true}},
                                 {.how = {.person = 7, .is_ahead = true}}};
    static const uint64_t who[][2] = {{7, 1}, {7, 1}};
    for (int i = 0; i < 2; i++) {
        list_init(&ahead[i].link);
        queue_add(&queue, &ahead[i]);
    }
    assert_true(queue_is_ahead(&queue));
    assert_false(queue_is_empty(&queue));
    add(waits, who, 2);
    assert_false(queue_is_ahead(&queue));
    assert_ptr_equal(queue_next(&queue), &waits[0]);
    /* Somebody asks for it. */
    queue_remove(&queue, &ahead[1]);
    ahead[1].how.is_ahead = false;
    queue_add(&queue, &ahead[1]);
    assert_ptr_equal(queue_next(&queue), &waits[1]);
    assert_ptr_equal(queue_next(&queue), &ahead[1]);
    assert_ptr_equal(queue_next(&queue), &ahead[0]);
}

/* Several tries that come back in any order stand as their requests were asked for. */
static void another_try_has_its_old_place(void **state)
{
    (void)state;
    static const uint64_t numbers[] = {5, 6, 2, 9, 1, 3, 8};
    static const unsigned order[] = {4, 2, 5, 0, 1, 6, 3};
    struct pool_wait other = {.how = {.person = 8, .client = 1, .number = 4}};
    struct pool_wait waits[7];
    for (int i = 0; i < 7; i++) {
        waits[i] = (struct pool_wait){.how = {.person = 7, .client = 1, .number = numbers[i]}};
        list_init(&waits[i].link);
        queue_add(&queue, &waits[i]);
    }
    list_init(&other.link);
    queue_add(&queue, &other);
    for (int i = 0; i < 7; i++) {
        assert_ptr_equal(queue_next(&queue), &waits[order[i]]);
        if (i == 0)
            assert_ptr_equal(queue_next(&queue), &other);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(connections_take_turns, set_up, tear_down),
        cmocka_unit_test_setup_teardown(people_take_turns, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_connections_are_one_person, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_made_ahead_is_last, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_try_has_its_old_place, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
