/* SPDX-License-Identifier: Apache-2.0 */
/* upstream/origin.c (keys) and upstream/limit.c (counting over workers,
 * wake-ups). */
#include "upstream_fixture.h"

#include <pthread.h>

#include "conf/parent.h"
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

/* Its own place, as "host:port"; NULL: it has none. */
static const char *name_of(const struct origin *o)
{
    size_t place = (size_t)(o->place - tally.places);
    return place == TALLY_OTHER ? NULL : tally_name((unsigned)place);
}

static struct origin *origin_of(struct up_where w)
{
    return origins_get(&origins, &w);
}

/* What the operator wrote has its name at once, but not all ports of a host that was written. */
static void test_written_names(void **state)
{
    (void)state;
    struct connect_to maps[] = {{.host = "map.test", .port = 8080, .to_host = "to.test"},
                                {.host = "all.test", .to_host = "to.test"},
                                {.host = "", .to_host = "everything.test"}};
    struct rule rule = fix.rule;
    struct up_where w = fixture_where(&fix, "rule.test", 443);
    w.rule = &rule;
    assert_null(name_of(origin_of(w)));
    rule.index = 7;
    rule.host = "rule.test";
    assert_string_equal(name_of(origin_of(w)), "rule.test:443");
    w.port = 444;
    assert_null(name_of(origin_of(w)));
    rule.index = 8;
    rule.port = 444;
    assert_string_equal(name_of(origin_of(w)), "rule.test:444");
    rule.index = 9;
    rule.port = 0;
    rule.match_port = w.port = 445;
    assert_string_equal(name_of(origin_of(w)), "rule.test:445");
    w = fixture_where(&fix, "forward.test", 9);
    w.exempt = true;
    assert_string_equal(name_of(origin_of(w)), "forward.test:9");
    fix.conf.connect_to = maps;
    fix.conf.n_connect_to = 3;
    assert_string_equal(name_of(origin_of(fixture_where(&fix, "map.test", 8080))), "map.test:8080");
    assert_string_equal(name_of(origin_of(fixture_where(&fix, "all.test", 80))), "all.test:80");
    assert_null(name_of(origin_of(fixture_where(&fix, "all.test", 81))));
    assert_null(name_of(origin_of(fixture_where(&fix, "any.test", 443))));
}

/* One that was found has its name, what is under way and waits goes with it; not so where
 * connect_to or a parent leads elsewhere: then it says nothing of the name. */
static void test_found_names(void **state)
{
    (void)state;
    struct connect_to any = {.host = "", .to_host = "everything.test"};
    struct parent parent = {.host = "parent.test", .port = 3128, .shown = "parent.test:3128"};
    struct origin *o = origin_of(fixture_where(&fix, "found.test", 81));
    const struct tally_place *other = &tally.places[TALLY_OTHER];
    o->slots = 2;
    counter_add(&o->place->in_flight, 2);
    origin_count_queued(o, 1);
    origin_count_queued(o, 1);
    origin_count_queued(o, -1);
    assert_int_equal(counter_get(&other->waiting), 1);
    origin_found(&origins, o);
    origin_found(&origins, o);
    assert_string_equal(name_of(o), "found.test:81");
    assert_int_equal(counter_get(&o->place->in_flight), 2);
    assert_int_equal(counter_get(&o->place->waiting), 1);
    assert_int_equal(counter_get(&other->in_flight), 0);
    assert_int_equal(counter_get(&other->waiting), 0);
    o->slots = 0;
    origin_count_queued(o, -1);
    fix.rule.parent = &parent;
    struct origin *through = origin_of(fixture_where(&fix, "through.test", 81));
    origin_found(&origins, through);
    assert_null(name_of(through));
    assert_ptr_equal(through->parent_place, &tally.places[tally_find(STR("parent.test"), 3128)]);
    assert_ptr_not_equal(through->parent_place, &tally.places[TALLY_OTHER]);
    fix.rule.parent = NULL;
    fix.conf.connect_to = &any;
    fix.conf.n_connect_to = 1;
    struct origin *mapped = origin_of(fixture_where(&fix, "mapped.test", 81));
    origin_found(&origins, mapped);
    assert_null(name_of(mapped));
    origin_reached(&origins, mapped);
    assert_string_equal(name_of(mapped), "mapped.test:81");
    assert_null(mapped->parent_place);
}

/* The place of what nobody used may be another's by then. */
static void test_places_after_a_rest(void **state)
{
    (void)state;
    struct up_where w = fixture_where(&fix, "rests.test", 443);
    struct origin *o = origin_of(w);
    origin_reached(&origins, o);
    assert_string_equal(name_of(o), "rests.test:443");
    origins_settle(&origins, o);
    o->place = &tally.places[tally_register(STR("its-heir.test"), 443)];
    assert_ptr_equal(origin_of(w), o);
    assert_string_equal(name_of(o), "rests.test:443");
}

/* It came while there was no room. */
static void test_a_place_later(void **state)
{
    (void)state;
    struct origin *o = origin_of(fixture_where(&fix, "late.test", 443));
    o->is_named = true;
    assert_null(name_of(o));
    origin_reached(&origins, o);
    assert_string_equal(name_of(o), "late.test:443");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_key, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_forgets_in_parts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_names_that_collide, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_written_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_found_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_places_after_a_rest, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_place_later, set_up, tear_down),
        cmocka_unit_test(test_limit_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
