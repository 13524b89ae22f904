/* SPDX-License-Identifier: Apache-2.0 */
/* upstream/tally.c: names get places until there are none, from several threads at once; sums. The
 * registry is the process's, so these tests go on where the one before has ended. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "upstream/tally.h"

enum { THREADS = 3, TRIED = 700 };

static unsigned n_found; /* names that found() has left */
static int64_t ahead;    /* µs: that the clock is */

/* In place of that of the C library. */
int clock_gettime(clockid_t id, struct timespec *t)
{
    int result = (int)syscall(SYS_clock_gettime, id, t);
    t->tv_sec += ahead / 1000000;
    return result;
}

static void names(void **state)
{
    (void)state;
    assert_int_equal(tally_names(), 0);
    assert_int_equal(tally_find(STR("a.test"), 443), TALLY_OTHER);
    assert_int_equal(tally_names(), 0);
    unsigned a = tally_register(STR("a.test"), 443);
    unsigned b = tally_register(STR("a.test"), 8443);
    unsigned c = tally_register(STR("::1"), 443);
    assert_int_equal(a, 0);
    assert_int_equal(b, 1);
    assert_int_equal(c, 2);
    assert_int_equal(tally_register(STR("a.test"), 443), a);
    assert_int_equal(tally_find(STR("a.test"), 8443), b);
    assert_int_equal(tally_names(), 3);
    assert_string_equal(tally_name(a), "a.test:443");
    assert_string_equal(tally_name(b), "a.test:8443");
    assert_string_equal(tally_name(c), "[::1]:443");
    assert_int_equal(tally_expiry(a), 0);
    tally_set_expiry(a, 4102444800);
    assert_int_equal(tally_expiry(a), 4102444800);
    assert_int_equal(tally_expiry(b), 0);
}

/* N names, a number between BEFORE and BEHIND, that were found. Gives how many got a place. */
static unsigned find_many(const char *before, const char *behind, unsigned n)
{
    unsigned got = 0;
    for (unsigned i = 0; i < n; i++) {
        char host[64];
        int len = snprintf(host, sizeof(host), "%s%u%s", before, i, behind);
        got += tally_register_found(str_make(host, (size_t)len), 443) != TALLY_OTHER;
    }
    return got;
}

/* What was found and has not answered has few places, that of one domain fewer, until it has. */
static void found(void **state)
{
    (void)state;
    unsigned before = tally_names();
    assert_int_equal(find_many("n", ".wild.test", 600), TALLY_ZONE);
    assert_int_equal(find_many("a.b.n", ".wild.test", 600), 0);
    assert_int_equal(find_many("10.0.0.", "", 200), TALLY_ZONE);
    assert_int_equal(tally_register_found(STR("::7"), 443), TALLY_OTHER);
    assert_int_equal(find_many("db", "", 3), 3); /* each is its own domain */
    unsigned place = tally_find(STR("n0.wild.test"), 443);
    assert_int_equal(tally_register_found(STR("n0.wild.test"), 443), place);
    assert_int_equal(tally_register_found(STR("other.wild.test"), 443), TALLY_OTHER);
    /* One has answered: another one may come. */
    assert_int_equal(tally_register(STR("n0.wild.test"), 443), place);
    assert_int_equal(tally_register(STR("n0.wild.test"), 443), place);
    assert_int_equal(find_many("m", ".wild.test", 600), 1);
    unsigned sure = tally_register(STR("sure.wild.test"), 443);
    assert_int_equal(sure, tally_names() - 1);
    for (unsigned i = 0; i < 30; i++) {
        char domain[32];
        snprintf(domain, sizeof(domain), ".wild%u.test", i);
        find_many("n", domain, 30);
    }
    assert_int_equal(tally_names() - before, TALLY_FOUND + 2);
    assert_int_equal(tally_register_found(STR("late.found"), 443), TALLY_OTHER);
    n_found = tally_names() - before;
}

static void sums(void **state)
{
    static struct tally one, other;
    struct tally_sum sum = {0};
    (void)state;
    struct tally_place *p = &one.places[7];
    counter_add(&p->requests, 5);
    counter_add(&p->failed, 2);
    counter_add(&p->reused, 3);
    counter_add(&p->opened, 4);
    counter_add(&p->in_flight, 3);
    counter_sub(&p->in_flight, 1);
    counter_add(&p->waiting, 2);
    counter_add(&p->conns, 4);
    counter_add(&p->idle, 1);
    counter_add(&other.places[7].requests, 10);
    counter_add(&other.places[7].idle, 1); /* seen before the connection it is of */
    counter_add(&other.places[8].requests, 100);
    tally_add(&sum, &one, 7);
    tally_add(&sum, &other, 7);
    struct tally_sum expected = {.requests = 15,
                                 .failed = 2,
                                 .reused = 3,
                                 .opened = 4,
                                 .in_flight = 2,
                                 .waiting = 2,
                                 .idle = 2,
                                 .busy = 3};
    assert_memory_equal(&sum, &expected, sizeof(sum));
}

/* Every thread asks for the same names; each has looked at those that were there already. */
static void *register_many(void *arg)
{
    unsigned *places = arg;
    for (unsigned i = 0; i < TRIED; i++) {
        char host[32];
        int n = snprintf(host, sizeof(host), "host%u.test", i);
        places[i] = tally_register(str_make(host, (size_t)n), 443);
        unsigned known = tally_names();
        if (known == 0 || strchr(tally_name(known - 1), ':') == NULL)
            return arg;
    }
    return NULL;
}

static void no_more_than_there_is_room(void **state)
{
    static unsigned places[THREADS][TRIED];
    pthread_t threads[THREADS];
    (void)state;
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, register_many, places[i]), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        void *fault;
        pthread_join(threads[i], &fault);
        assert_null(fault);
    }
    assert_int_equal(tally_names(), TALLY_NAMES);
    unsigned others = 0;
    for (unsigned i = 0; i < TRIED; i++) {
        char name[40];
        snprintf(name, sizeof(name), "host%u.test:443", i);
        assert_int_equal(places[0][i], places[1][i]);
        assert_int_equal(places[0][i], places[2][i]);
        if (places[0][i] == TALLY_OTHER)
            others++;
        else
            assert_string_equal(tally_name(places[0][i]), name);
    }
    assert_int_equal(others, TRIED - (TALLY_NAMES - 3 - n_found));
    assert_int_equal(tally_register(STR("a.test"), 443), 0);
    assert_int_equal(tally_register(STR("late.test"), 443), TALLY_OTHER);
}

static const char *name_at(unsigned place)
{
    return place == TALLY_OTHER ? "other" : tally_name(place);
}

/* All places are taken: who comes gets that of the one which has rested longest, and nobody that of
 * one that is in use, or was used lately. */
static void who_rests_makes_room(void **state)
{
    static struct tally one, two;
    (void)state;
    const int64_t minute = 60000000;
    assert_int_equal(tally_names(), TALLY_NAMES);
    unsigned idle = tally_find(STR("a.test"), 443);
    const char *before = tally_name(idle);
    tally_join(&one);
    tally_join(&two);
    for (unsigned i = 0; i < TALLY_NAMES; i++)
        counter_add(&one.places[i].idle, i != idle);
    counter_add(&one.places[idle].requests, 7);
    counter_add(&two.places[idle].opened, 1);
    tally_set_expiry(idle, 4102444800);
    ahead += minute;
    assert_int_equal(tally_register(STR("late.test"), 443), TALLY_OTHER); /* and it is looked at */
    ahead += TALLY_REST - minute;
    assert_int_equal(tally_register(STR("late.test"), 443), TALLY_OTHER);
    ahead += minute;
    assert_int_equal(tally_find(STR("late.test"), 443), TALLY_OTHER);
    assert_int_equal(tally_register_found(STR("late.test"), 443), TALLY_OTHER);
    assert_int_equal(tally_register(STR("late.test"), 443), idle);
    assert_string_equal(name_at(idle), "late.test:443");
    assert_string_equal(before, "a.test:443"); /* readers may have it */
    assert_true(tally_named(idle) > tally_named((idle + 1) % TALLY_NAMES));
    assert_int_equal(tally_names(), TALLY_NAMES);
    assert_int_equal(tally_find(STR("a.test"), 443), TALLY_OTHER);
    assert_int_equal(counter_get(&one.places[idle].requests), 0);
    assert_int_equal(counter_get(&two.places[idle].opened), 0);
    assert_int_equal(tally_expiry(idle), 0);
    assert_int_equal(tally_register(STR("later.test"), 443), TALLY_OTHER);
    /* It is used now and then: its rest begins anew. */
    ahead += TALLY_REST - minute;
    counter_add(&two.places[idle].requests, 1);
    assert_int_equal(tally_register(STR("later.test"), 443), TALLY_OTHER);
    ahead += 2 * minute;
    assert_int_equal(tally_register(STR("later.test"), 443), TALLY_OTHER);
    /* One that was found makes room for another one. */
    unsigned found = tally_find(STR("db0"), 443);
    counter_sub(&one.places[found].idle, 1);
    ahead += TALLY_REST - 4 * minute;
    assert_int_equal(tally_register_found(STR("other-db"), 443), TALLY_OTHER);
    ahead += TALLY_REST;
    counter_add(&one.places[idle].requests, 1);
    assert_int_equal(tally_register_found(STR("other-db"), 443), found);
    assert_string_equal(name_at(found), "other-db:443");
    tally_leave(&one);
    tally_leave(&two);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(found),
        cmocka_unit_test(sums),
        cmocka_unit_test(no_more_than_there_is_room),
        cmocka_unit_test(who_rests_makes_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
