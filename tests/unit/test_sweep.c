/* SPDX-License-Identifier: Apache-2.0 */
/* Timeouts without timers: late by little, never early, cleared for good. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/sweep.h"

struct probe {
    struct timeout t;
    struct sweep *s;
    struct probe *victim; /* cleared when this one fires */
    struct probe *moved;  /* set anew then: to 100 ms */
    int64_t fired;
    unsigned n;
};

static void on_fire(void *arg)
{
    struct probe *p = arg;
    p->fired = loop_now();
    p->n++;
    if (p->victim != NULL)
        timeout_clear(&p->victim->t);
    if (p->moved != NULL)
        sweep_set(p->s, &p->moved->t, 100);
}

static void test_fires_in_time(void **state)
{
    (void)state;
    struct loop l;
    struct sweep s;
    struct probe p[3] = {0};
    assert_true(loop_init(&l));
    sweep_init(&s, &l);
    for (int i = 0; i < 3; i++)
        timeout_init(&p[i].t, on_fire, &p[i]);
    int64_t begin = loop_now();
    sweep_set(&s, &p[0].t, 200);
    sweep_set(&s, &p[1].t, 50);
    sweep_set(&s, &p[2].t, 60);
    timeout_clear(&p[2].t);
    while (p[0].n == 0)
        loop_turn(&l, true);
    assert_true(p[1].fired - begin >= 50000);
    assert_true(p[0].fired - begin >= 200000);
    assert_int_equal(p[1].n, 1);
    assert_int_equal(p[2].n, 0);
    sweep_close(&s);
    loop_clear(&l);
}

static void test_one_may_clear_another_that_is_due(void **state)
{
    (void)state;
    struct loop l;
    struct sweep s;
    struct probe a = {0};
    struct probe b = {0};
    assert_true(loop_init(&l));
    sweep_init(&s, &l);
    timeout_init(&a.t, on_fire, &a);
    timeout_init(&b.t, on_fire, &b);
    a.victim = &b;
    sweep_set(&s, &a.t, 1);
    sweep_set(&s, &b.t, 1);
    while (a.n == 0)
        loop_turn(&l, true);
    assert_int_equal(b.n, 0);
    sweep_close(&s);
    loop_clear(&l);
}

static void test_one_may_move_another_that_is_due(void **state)
{
    (void)state;
    struct loop l;
    struct sweep s;
    struct probe b = {0};
    struct probe a = {.s = &s, .moved = &b};
    assert_true(loop_init(&l));
    sweep_init(&s, &l);
    timeout_init(&a.t, on_fire, &a);
    timeout_init(&b.t, on_fire, &b);
    sweep_set(&s, &a.t, 1);
    sweep_set(&s, &b.t, 1);
    while (b.n == 0)
        loop_turn(&l, true);
    assert_int_equal(a.n, 1);
    assert_true(b.fired - a.fired >= 100000);
    sweep_close(&s);
    loop_clear(&l);
}

static void test_one_takes_the_place_of_another(void **state)
{
    (void)state;
    struct loop l;
    struct sweep s;
    struct probe a = {0};
    struct probe b = {0};
    assert_true(loop_init(&l));
    sweep_init(&s, &l);
    timeout_init(&a.t, on_fire, &a);
    timeout_init(&b.t, on_fire, &b);
    sweep_set(&s, &b.t, 3600000);
    timeout_pass(&a.t, &b.t); /* nothing to pass */
    assert_true(timeout_is_set(&b.t));
    sweep_set(&s, &a.t, 50);
    int64_t at = a.t.at;
    timeout_pass(&a.t, &b.t);
    assert_false(timeout_is_set(&a.t));
    assert_int_equal(b.t.at, at);
    while (b.n == 0)
        loop_turn(&l, true);
    assert_true(b.fired >= at);
    assert_int_equal(a.n, 0);
    assert_true(list_is_empty(&s.set));
    sweep_close(&s);
    loop_clear(&l);
}

/* By others, however often they are set to what is less than the time between two looks. */
static void test_none_is_put_off(void **state)
{
    enum { MANY = 4000 };
    (void)state;
    struct loop l;
    struct sweep s;
    struct probe *p = xcalloc(MANY, sizeof(*p));
    unsigned n = 0;
    assert_true(loop_init(&l));
    sweep_init(&s, &l);
    for (int i = 0; i < MANY; i++) {
        timeout_init(&p[i].t, on_fire, &p[i]);
        sweep_set(&s, &p[i].t, 3600000);
    }
    sweep_set(&s, &p[1].t, 1);
    while (p[1].n == 0)
        loop_turn(&l, true);
    int64_t begin = loop_now();
    sweep_set(&s, &p[0].t, 30);
    while (p[0].n == 0) {
        int64_t next = s.next_at;
        sweep_set(&s, &p[1 + n++ % (MANY - 1)].t, 1);
        assert_true(s.next_at <= next);
        loop_turn(&l, false);
    }
    assert_true(p[0].fired - begin >= 30000);
    for (int i = 0; i < MANY; i++)
        timeout_clear(&p[i].t);
    sweep_close(&s);
    loop_clear(&l);
    free(p);
}

/* However often one of them is due, all are looked through now and then. */
static void test_many_are_looked_through_seldom(void **state)
{
    enum { MANY = 30000 };
    (void)state;
    struct loop l;
    struct sweep s;
    struct probe *p = xcalloc(MANY, sizeof(*p));
    assert_true(loop_init(&l));
    sweep_init(&s, &l);
    for (int i = 0; i < MANY; i++) {
        timeout_init(&p[i].t, on_fire, &p[i]);
        sweep_set(&s, &p[i].t, 3600000);
    }
    sweep_set(&s, &p[0].t, 1);
    while (p[0].n == 0)
        loop_turn(&l, true);
    int64_t now = loop_now();
    sweep_set(&s, &p[0].t, 1);
    assert_true(s.next_at - now >= 50000);
    assert_int_equal(s.grain, 200000);
    for (int i = 0; i < MANY; i++)
        timeout_clear(&p[i].t);
    sweep_close(&s);
    loop_clear(&l);
    free(p);
}

/* Thousands that are due at once are called in parts, and all of them. */
static void test_many_that_are_due(void **state)
{
    enum { MANY = 1000, PART = 64 };
    (void)state;
    struct loop l;
    struct sweep s;
    struct probe *p = xcalloc(MANY, sizeof(*p));
    unsigned most = 0, done = 0;
    assert_true(loop_init(&l));
    sweep_init(&s, &l);
    for (int i = 0; i < MANY; i++) {
        timeout_init(&p[i].t, on_fire, &p[i]);
        sweep_set(&s, &p[i].t, 1);
    }
    while (done < MANY) {
        unsigned n = 0;
        loop_turn(&l, true);
        for (int i = 0; i < MANY; i++)
            n += p[i].n;
        most = n - done > most ? n - done : most;
        done = n;
    }
    assert_in_range(most, 1, PART);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(p[i].n, 1);
    sweep_close(&s);
    loop_clear(&l);
    free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fires_in_time),
        cmocka_unit_test(test_many_that_are_due),
        cmocka_unit_test(test_one_may_clear_another_that_is_due),
        cmocka_unit_test(test_one_may_move_another_that_is_due),
        cmocka_unit_test(test_one_takes_the_place_of_another),
        cmocka_unit_test(test_many_are_looked_through_seldom),
        cmocka_unit_test(test_none_is_put_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
