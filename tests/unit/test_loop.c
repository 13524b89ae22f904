/* SPDX-License-Identifier: Apache-2.0 */
/* base/loop.c: order inside a turn, removal while called, deadlines, calls from other threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "abort_fixture.h"
#include "base/loop.h"
#include "base/mem.h"

static struct loop loop;
static char trace[256]; /* a letter for each call */

#define LETTER(c) ((void *)(intptr_t)(c))

static void note(void *arg)
{
    size_t n = strlen(trace);
    assert_true(n + 1 < sizeof(trace));
    trace[n] = (char)(intptr_t)arg;
    trace[n + 1] = '\0';
}

static int set_up(void **state)
{
    (void)state;
    trace[0] = '\0';
    return loop_init(&loop) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    loop_clear(&loop);
    return 0;
}

struct thing {
    struct post post;
    struct post second;
    struct turn turn;
    struct reap reap;
    struct deadline deadline;
    int calls;
    bool freed;
};

static void mark_freed(void *object)
{
    struct thing *t = object;
    t->freed = true;
    note(LETTER('f'));
}

static void post_second(void *arg)
{
    struct thing *t = arg;
    note(LETTER('p'));
    loop_post(&loop, &t->second);
    loop_reap(&loop, &t->reap, mark_freed, t);
}

static void test_order_of_a_turn(void **state)
{
    struct thing t = {0};
    (void)state;
    post_init(&t.post, post_second, &t);
    post_init(&t.second, note, LETTER('s'));
    loop_add_turn(&loop, &t.turn, note, LETTER('t'));
    loop_send(&loop, note, LETTER('e'));
    loop_post(&loop, &t.post);
    loop_post(&loop, &t.post); /* twice is once */
    assert_string_equal(trace, "");
    loop_turn(&loop, true);
    assert_string_equal(trace, "epstf");
    assert_true(t.freed);
    loop_turn(&loop, false);
    assert_string_equal(trace, "epstft");
    loop_remove_turn(&t.turn);
    loop_turn(&loop, false);
    assert_string_equal(trace, "epstft");
}

static void unpost_other(void *arg)
{
    struct thing *t = arg;
    t->calls++;
    loop_unpost(&t->second);
    loop_remove_turn(&t->turn);
}

static void test_removal_while_called(void **state)
{
    struct thing t = {0};
    struct turn other;
    (void)state;
    post_init(&t.post, unpost_other, &t);
    post_init(&t.second, note, LETTER('s'));
    loop_post(&loop, &t.post);
    loop_post(&loop, &t.second);
    loop_add_turn(&loop, &t.turn, note, LETTER('t'));
    loop_turn(&loop, false);
    assert_int_equal(t.calls, 1);
    assert_string_equal(trace, "");
    loop_add_turn(&loop, &t.turn, unpost_other, &t); /* removes itself */
    loop_add_turn(&loop, &other, note, LETTER('o'));
    loop_turn(&loop, false);
    loop_turn(&loop, false);
    assert_int_equal(t.calls, 2);
    assert_string_equal(trace, "oo");
    loop_remove_turn(&other);
}

static void post_again(void *arg)
{
    struct thing *t = arg;
    t->calls++;
    loop_post(&loop, &t->post);
}

/* A post without end neither keeps the turn from ending nor the next one from coming. */
static void test_endless_posts(void **state)
{
    struct thing t = {0};
    (void)state;
    post_init(&t.post, post_again, &t);
    loop_post(&loop, &t.post);
    loop_turn(&loop, true);
    int first = t.calls;
    assert_true(first >= 1);
    loop_turn(&loop, true);
    assert_int_equal(t.calls, 2 * first);
    loop_unpost(&t.post);
}

static void count_call(void *arg)
{
    struct thing *t = arg;
    t->calls++;
}

static void turn_until_called(struct thing *t, int64_t limit_us)
{
    int64_t end = loop_now() + limit_us;
    while (t->calls == 0 && loop_now() < end)
        loop_turn(&loop, true);
}

static void test_deadline_is_never_early(void **state)
{
    struct thing t = {0};
    (void)state;
    deadline_init(&t.deadline, &loop, count_call, &t);
    for (int ms = 1; ms <= 20; ms += 3) {
        int64_t begin = loop_now();
        t.calls = 0;
        deadline_set(&t.deadline, ms);
        assert_true(deadline_is_set(&t.deadline));
        turn_until_called(&t, 5000000);
        assert_int_equal(t.calls, 1);
        assert_true(loop_now() - begin >= ms * 1000);
        assert_false(deadline_is_set(&t.deadline));
    }
    deadline_close(&t.deadline);
}

static void test_deadline_moves(void **state)
{
    struct thing t = {0};
    struct thing guard = {0};
    (void)state;
    deadline_init(&t.deadline, &loop, count_call, &t);
    deadline_init(&guard.deadline, &loop, count_call, &guard);
    deadline_set(&t.deadline, 3600000);
    deadline_set(&t.deadline, 5); /* earlier: the timer is armed anew */
    turn_until_called(&t, 5000000);
    assert_int_equal(t.calls, 1);

    deadline_set(&t.deadline, 5);
    deadline_set(&t.deadline, 3600000); /* later: the timer fires in vain */
    deadline_set(&guard.deadline, 30);
    turn_until_called(&guard, 5000000);
    assert_int_equal(t.calls, 1);
    assert_true(deadline_is_set(&t.deadline));

    guard.calls = 0;
    deadline_set(&t.deadline, 5);
    deadline_set(&t.deadline, 0);
    deadline_set(&guard.deadline, 30);
    turn_until_called(&guard, 5000000);
    assert_int_equal(t.calls, 1);
    deadline_set(&t.deadline, INT64_MAX);
    assert_true(t.deadline.at > loop_now());
    deadline_close(&t.deadline);
    deadline_close(&t.deadline);
    deadline_close(&guard.deadline);
}

enum { SENDERS = 4, SENT_BY_EACH = 1000 };

static int received;
static int last_of[SENDERS];

struct message {
    int sender;
    int number;
};

static void receive(void *arg)
{
    struct message *m = arg;
    assert_int_equal(m->number, last_of[m->sender] + 1);
    last_of[m->sender] = m->number;
    received++;
    free(m);
    if (received == SENDERS * SENT_BY_EACH)
        loop_stop(&loop);
}

static void *send_many(void *arg)
{
    int sender = (int)(intptr_t)arg;
    for (int i = 1; i <= SENT_BY_EACH; i++) {
        struct message *m = xmalloc(sizeof(*m));
        m->sender = sender;
        m->number = i;
        loop_send(&loop, receive, m);
    }
    return NULL;
}

static void test_calls_from_threads(void **state)
{
    pthread_t threads[SENDERS];
    (void)state;
    for (int i = 0; i < SENDERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, send_many, (void *)(intptr_t)i), 0);
    loop_run(&loop);
    for (int i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(received, SENDERS * SENT_BY_EACH);
}

static void reap_next(void *object)
{
    struct thing *t = object;
    note(LETTER('a'));
    loop_reap(&loop, &t->reap, mark_freed, t);
}

static void test_clear_frees_what_is_left(void **state)
{
    struct thing t = {0};
    struct thing parent = {0};
    (void)state;
    loop_reap(&loop, &t.reap, reap_next, &t); /* freeing one may close another */
    loop_turn(&loop, false);
    assert_string_equal(trace, "af");
    loop_reap(&loop, &parent.reap, mark_freed, &parent);
    loop_clear(&loop);
    assert_true(parent.freed);
    assert_true(loop_init(&loop));
}

static void reap_twice(void)
{
    struct thing t = {0};
    loop_reap(&loop, &t.reap, mark_freed, &t);
    loop_reap(&loop, &t.reap, mark_freed, &t);
}

static void test_reaping_twice_is_the_end(void **state)
{
    char text[512];
    (void)state;
    assert_true(aborts(reap_twice, text, sizeof(text)));
    assert_non_null(strstr(text, "an object is to be freed twice"));
}

static void test_list_move(void **state)
{
    struct list a;
    struct list b;
    struct list items[4];
    (void)state;
    list_init(&a);
    list_init(&b);
    for (int i = 0; i < 4; i++)
        list_push_back(i < 2 ? &a : &b, &items[i]);
    list_move(&a, &b);
    assert_true(list_is_empty(&b));
    list_move(&a, &b);
    for (int i = 0; i < 4; i++)
        assert_ptr_equal(list_pop(&a), &items[i]);
    assert_null(list_pop(&a));
    list_remove(&items[0]);
    assert_true(list_is_empty(&items[0]));
}

#define LOOP_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

static void post_next(void *arg)
{
    struct thing *t = arg;
    note(LETTER('n'));
    if (++t->calls < 3)
        loop_post_next(&loop, &t->post);
}

/* Once in each turn, behind the events of that turn, and without waiting for any. */
static void test_work_in_parts(void **state)
{
    struct thing t = {0};
    (void)state;
    post_init(&t.post, post_next, &t);
    post_init(&t.second, note, LETTER('s'));
    loop_post_next(&loop, &t.post);
    loop_post_next(&loop, &t.second);
    loop_unpost(&t.second);
    loop_send(&loop, note, LETTER('e'));
    loop_turn(&loop, true);
    assert_string_equal(trace, "en");
    loop_send(&loop, note, LETTER('e'));
    loop_turn(&loop, true);
    assert_string_equal(trace, "enen");
    loop_turn(&loop, true);
    assert_string_equal(trace, "enenn");
    assert_int_equal(t.calls, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(test_order_of_a_turn),          LOOP_TEST(test_work_in_parts),
        LOOP_TEST(test_removal_while_called),     LOOP_TEST(test_endless_posts),
        LOOP_TEST(test_deadline_is_never_early),  LOOP_TEST(test_deadline_moves),
        LOOP_TEST(test_calls_from_threads),       LOOP_TEST(test_clear_frees_what_is_left),
        LOOP_TEST(test_reaping_twice_is_the_end), cmocka_unit_test(test_list_move),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
