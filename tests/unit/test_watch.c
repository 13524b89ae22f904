/* SPDX-License-Identifier: Apache-2.0 */
/* service/watch.c: workers on threads of their own are asked and answer; one that hangs is not
 * waited for and is asked once; who leaves is not called; it may be closed at any time. */
#include "exchange_fixture.h"

#include <semaphore.h>

#include "service/watch.h"

enum { WORKERS = 2 };

static struct fixture f; /* the service's loop */
static struct engine engines[WORKERS];
static struct loop loops[WORKERS];
static struct stats *all_stats[WORKERS];
static pthread_t threads[WORKERS];
static struct service_view view = {.stats = all_stats, .n = WORKERS};
static struct watch *w;
static bool told[2];
static sem_t gate;

static void *worker_runs(void *arg)
{
    loop_run(arg);
    return NULL;
}

static void watch_open(void)
{
    fixture_open(&f);
    fixture_open_dns(&f);
    sem_init(&gate, 0, 0);
    told[0] = told[1] = false;
    for (int i = 0; i < WORKERS; i++) {
        assert_true(loop_init(&loops[i]));
        all_stats[i] = stats_new();
        engines[i] = (struct engine){.loop = &loops[i], .stats = all_stats[i]};
        list_init(&engines[i].running);
        list_init(&engines[i].tunnels);
        all_stats[i]->engine = &engines[i];
        assert_int_equal(pthread_create(&threads[i], NULL, worker_runs, &loops[i]), 0);
    }
    w = watch_new(&f.loop, &view);
}

/* As a server ends: the workers' threads, then what is left of calls to them, then ours. */
static void watch_shut(void)
{
    for (int i = 0; i < WORKERS; i++)
        loop_stop(&loops[i]);
    for (int i = 0; i < WORKERS; i++) {
        pthread_join(threads[i], NULL);
        loop_turn(&loops[i], false);
        loop_clear(&loops[i]);
    }
    fixture_settle(&f);
    for (int i = 0; i < WORKERS; i++)
        stats_free(all_stats[i]);
    fixture_close(&f);
    sem_destroy(&gate);
}

static void on_told(void *arg)
{
    *(bool *)arg = true;
}

static void hang(void *arg)
{
    (void)arg;
    while (sem_wait(&gate) != 0)
        continue;
}

static void all_answer(void **state)
{
    struct watch_wait waits[2] = {0};
    (void)state;
    watch_open();
    for (int round = 0; round < 3; round++) {
        told[0] = told[1] = false;
        watch_ask(w, &waits[0], on_told, &told[0]);
        watch_ask(w, &waits[1], on_told, &told[1]);
        assert_false(told[0]);
        fixture_until(&f, &told[1]);
        assert_true(told[0]);
        for (int i = 0; i < WORKERS; i++) {
            assert_non_null(watch_workers(w)[i].list);
            assert_int_equal(watch_workers(w)[i].asked, 0);
        }
    }
    watch_close(w);
    watch_shut();
    assert_int_equal(engines[0].credit, SEEN_CREDIT);
}

static void one_hangs(void **state)
{
    struct watch_wait wait = {0};
    (void)state;
    watch_open();
    loop_send(&loops[0], hang, NULL);
    for (int i = 0; i < 3; i++) {
        int64_t since = loop_now();
        told[0] = false;
        watch_ask(w, &wait, on_told, &told[0]);
        fixture_until(&f, &told[0]);
        assert_in_range(loop_now() - since, WATCH_MS * 1000, 5000000);
        assert_null(watch_workers(w)[0].list);
        assert_true(watch_workers(w)[0].asked > 0);
        assert_non_null(watch_workers(w)[1].list);
    }
    sem_post(&gate);
    told[0] = false;
    watch_ask(w, &wait, on_told, &told[0]);
    fixture_until(&f, &told[0]);
    assert_non_null(watch_workers(w)[0].list);
    watch_close(w);
    watch_shut();
}

static void who_leaves_is_not_called(void **state)
{
    struct watch_wait waits[2] = {0}, never = {0};
    (void)state;
    watch_open();
    watch_ask(w, &waits[0], on_told, &told[0]);
    watch_ask(w, &waits[1], on_told, &told[1]);
    watch_leave(&waits[0]);
    watch_leave(&waits[0]);
    watch_leave(&never);
    fixture_until(&f, &told[1]);
    assert_false(told[0]);
    watch_close(w);
    watch_shut();
}

/* Answers come after that; no memory is left (address sanitizer). */
static void closed_while_it_waits(void **state)
{
    struct watch_wait wait = {0};
    (void)state;
    for (int hangs = 0; hangs < 2; hangs++) {
        watch_open();
        if (hangs)
            loop_send(&loops[1], hang, NULL);
        watch_ask(w, &wait, on_told, &told[0]);
        watch_close(w);
        sem_post(&gate);
        watch_shut();
        assert_false(told[0]);
        wait = (struct watch_wait){0};
    }
}

/* Stats that no worker counts in, as tests have them. */
static void nobody_to_ask(void **state)
{
    struct watch_wait wait = {0};
    (void)state;
    watch_open();
    all_stats[0]->engine = all_stats[1]->engine = NULL;
    watch_ask(w, &wait, on_told, &told[0]);
    assert_false(told[0]);
    fixture_until(&f, &told[0]);
    watch_close(w);
    watch_shut();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_answer),
        cmocka_unit_test(one_hangs),
        cmocka_unit_test(who_leaves_is_not_called),
        cmocka_unit_test(closed_while_it_waits),
        cmocka_unit_test(nobody_to_ask),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
