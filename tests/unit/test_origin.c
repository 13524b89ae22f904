/* SPDX-License-Identifier: Apache-2.0 */
/* upstream/origin.c (keys) and upstream/limit.c (counting over workers,
 * wake-ups). */
#include "upstream_fixture.h"

#include <pthread.h>

#include "upstream/origin.h"

static struct fixture fix;
static struct origins origins;
static struct tally tally;

static void serve(void *origin)
{
    (void)origin;
}

static int set_up(void **state)
{
    (void)state;
    fixture_open(&fix);
    origins_init(&origins, &fix.loop, serve);
    origins.tally = &tally;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    origins_clear(&origins);
    fixture_close(&fix);
    return 0;
}

static void test_key(void **state)
{
    (void)state;
    struct up_where w = fixture_where(&fix, "a.test", 443);
    struct origin *o = origins_get(&origins, &w);
    assert_ptr_equal(origins_get(&origins, &w), o);
    struct up_where other = w;
    other.tls = true;
    assert_ptr_not_equal(origins_get(&origins, &other), o);
    other = w;
    other.is_local = false;
    assert_ptr_not_equal(origins_get(&origins, &other), o);
    assert_ptr_equal(origins_get(&origins, &other)->limit, o->limit);
    other = w;
    other.exempt = true;
    assert_ptr_not_equal(origins_get(&origins, &other), o);
    other = w;
    other.is_rooted = true;
    assert_ptr_not_equal(origins_get(&origins, &other), o);
    assert_ptr_equal(origins_get(&origins, &other)->limit, o->limit);
    other = w;
    other.port = 8443;
    assert_ptr_not_equal(origins_get(&origins, &other), o);
    assert_ptr_not_equal(origins_get(&origins, &other)->limit, o->limit);
    struct rule rule = fix.rule;
    rule.index = 7;
    other = w;
    other.rule = &rule;
    assert_ptr_not_equal(origins_get(&origins, &other), o);
    fix.conf.generation++;
    assert_ptr_not_equal(origins_get(&origins, &w), o);
    fix.conf.generation--;
    static char name[1000];
    memset(name, 'a', sizeof(name) - 1);
    other = w;
    other.host = str_from(name);
    assert_ptr_equal(origins_get(&origins, &other), origins_get(&origins, &other));
}

static void test_unused(void **state)
{
    (void)state;
    struct up_where w = fixture_where(&fix, "a.test", 443);
    struct origin *o = origins_get(&origins, &w);
    o->slots = 1;
    origins_settle(&origins, o);
    assert_int_equal(origins.n_unused, 0);
    o->slots = 0;
    origins_settle(&origins, o);
    origins_settle(&origins, o);
    assert_int_equal(origins.n_unused, 1);
    assert_ptr_equal(origins_get(&origins, &w), o);
    assert_int_equal(origins.n_unused, 0);
    origins_settle(&origins, o);
    o->since -= INT64_C(3600) * 1000000;
    w.port++;
    origins_get(&origins, &w);
    loop_turn(&fix.loop, false); /* forgets */
    assert_int_equal(origins.n_unused, 0);
    assert_int_equal(HASH_COUNT(origins.table), 1);
}

/* Thousands that have become unused are forgotten a few in each turn: nobody waits for it. */
static void test_forgets_in_parts(void **state)
{
    (void)state;
    enum { MANY = 10000 };
    char name[32];
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(name, sizeof(name), "%u.test", i);
        struct up_where w = fixture_where(&fix, name, 443);
        struct origin *o = origins_get(&origins, &w);
        origins_settle(&origins, o);
    }
    list_foreach (it, &origins.unused) {
        container_of(it, struct origin, link)->since -= INT64_C(20) * 1000000;
    }
    struct up_where another = fixture_where(&fix, "another.test", 443);
    origins_get(&origins, &another);
    unsigned turns = 0;
    unsigned most = MANY - origins.n_unused;
    while (origins.n_unused > 1000 && turns < MANY) {
        unsigned before = origins.n_unused;
        loop_turn(&fix.loop, false);
        most = before - origins.n_unused > most ? before - origins.n_unused : most;
        turns++;
    }
    assert_in_range(most, 1, 100);
    assert_true(turns >= 90);
    for (unsigned i = 0; i < MANY; i++)
        loop_turn(&fix.loop, false);
    assert_int_equal(origins.n_unused, 512);
}

/* Names that fall into one bucket of a table whose hash is known fall anywhere in ours: no chain of
 * 1,000 such origins is long. */
static void test_names_that_collide(void **state)
{
    (void)state;
    enum { NAMES = 1000, LONGEST = 40, BITS = 0xfff };
    struct up_where w = fixture_where(&fix, "a.test", 443);
    const struct origin *first = origins_get(&origins, &w);
    char name[32];
    char key[64];
    unsigned found = 0;
    size_t fixed = first->key_len - strlen("a.test");
    memcpy(key, first->key, fixed);
    for (unsigned i = 0; found < NAMES; i++) {
        unsigned hash;
        size_t n = (size_t)snprintf(name, sizeof(name), "%08x.test", i);
        memcpy(key + fixed, name, n);
        HASH_JEN(key, fixed + n, hash);
        if ((hash & BITS) != 1)
            continue;
        found++;
        w.host = str_from(name);
        origins_get(&origins, &w);
    }
    const struct UT_hash_table *table = origins.table->hh.tbl;
    unsigned longest = 0;
    for (unsigned i = 0; i < table->num_buckets; i++)
        longest = table->buckets[i].count > longest ? table->buckets[i].count : longest;
    assert_int_equal(HASH_COUNT(origins.table), NAMES + 1);
    assert_in_range(longest, 1, LONGEST);
}

/* A worker that does nothing but take, wait and give back. */
struct worker {
    pthread_t thread;
    struct loop loop;
    struct limit *limit;
    struct limit_member member;
    struct limit_seat seat;
    unsigned left; /* slots still to be had */
};

enum { WORKERS = 4, MAX = 2, ROUNDS = 20000 };
static _Atomic unsigned running;
static _Atomic unsigned highest;

/* Takes and gives back until nothing is left or nothing is free. */
static void work(void *arg)
{
    struct worker *w = arg;
    bool again = true;
    while (again && w->left > 0) {
        again = limit_take_turn(&w->seat, w->limit, MAX);
        if (again) {
            unsigned n = limit_in_use(w->limit);
            if (n > highest)
                highest = n;
            w->left--;
            (void)!limit_give(w->limit, &w->member);
        } else if (w->seat.limit == NULL) {
            limit_wait(w->limit, &w->seat, &w->member, MAX);
            again = true;
        }
    }
    if (w->left > 0)
        return;
    limit_leave(&w->seat);
    loop_stop(&w->loop);
}

static void on_turn(void *arg, struct limit_seat *seat)
{
    struct worker *w = arg;
    assert_ptr_equal(seat, &w->seat);
    work(w);
}

static void *run(void *arg)
{
    struct worker *w = arg;
    work(w);
    loop_run(&w->loop);
    running--;
    return NULL;
}

/* No wake-up is lost: everybody gets all its turns although slots are few. */
static void test_limit_threads(void **state)
{
    (void)state;
    static struct worker w[WORKERS];
    struct limit *limit = limit_get(STR("a.test"), 443, true);
    running = WORKERS;
    for (int i = 0; i < WORKERS; i++) {
        assert_true(loop_init(&w[i].loop));
        w[i].limit = limit;
        w[i].left = ROUNDS;
        limit_join(&w[i].member, &w[i].loop, on_turn, &w[i]);
    }
    for (int i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_create(&w[i].thread, NULL, run, &w[i]), 0);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(w[i].thread, NULL);
    for (int i = 0; i < WORKERS; i++) {
        limit_part(&w[i].member);
        loop_clear(&w[i].loop);
    }
    assert_int_equal(running, 0);
    assert_int_equal(limit_in_use(limit), 0);
    assert_in_range(highest, 1, MAX);
    limit_put(limit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_key, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_forgets_in_parts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_names_that_collide, set_up, tear_down),
        cmocka_unit_test(test_limit_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
