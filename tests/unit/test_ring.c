/* SPDX-License-Identifier: Apache-2.0 */
/* exchange/ring.c: what is put comes out until it is written over, and a reader on another thread
 * never gets a record that is half an older and half a newer one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>

#include "exchange/ring.h"

enum { SLOTS = 4, WORDS = 37, PUTS = 200000 };

static void oldest_go(void **state)
{
    (void)state;
    struct ring *r = ring_new(SLOTS, 16);
    uint64_t got[2] = {0};
    assert_int_equal(ring_end(r), 0);
    assert_false(ring_get(r, 0, got, 16));
    for (uint64_t i = 0; i < 10; i++) {
        uint64_t record[2] = {i, ~i};
        assert_int_equal(ring_put(r, record, sizeof(record)), i);
        assert_int_equal(ring_end(r), i + 1);
        assert_false(ring_get(r, i + 1, got, 16));
    }
    assert_int_equal(ring_begin(r, 10), 6);
    assert_int_equal(ring_begin(r, 3), 0);
    for (uint64_t i = 0; i < 10; i++) {
        assert_int_equal(ring_get(r, i, got, 16), i >= 6);
        if (i >= 6)
            assert_true(got[0] == i && got[1] == ~i);
    }
    ring_free(r);
}

/* Sizes that are no whole words, and a look at the beginning alone. */
static void odd_sizes(void **state)
{
    static const char text[16] = "thirteen bytes";
    (void)state;
    struct ring *r = ring_new(1, 13);
    char got[24] = "";
    ring_put(r, text, 13);
    assert_true(ring_get(r, 0, got, 16));
    assert_memory_equal(got, text, 13);
    memset(got, 0, sizeof(got));
    assert_true(ring_get(r, 0, got, 8));
    assert_memory_equal(got, "thirteen\0", 9);
    ring_free(r);
}

struct race {
    struct ring *ring;
    _Atomic bool over;
};

static void *write_all(void *arg)
{
    struct race *race = arg;
    uint64_t record[WORDS];
    for (uint64_t i = 0; i < PUTS; i++) {
        for (size_t w = 0; w < WORDS; w++)
            record[w] = i;
        ring_put(race->ring, record, sizeof(record));
    }
    atomic_store(&race->over, true);
    return NULL;
}

/* The reader walks around the oldest records, where the writer is. */
static void no_torn_record(void **state)
{
    (void)state;
    struct race race = {.ring = ring_new(SLOTS, WORDS * sizeof(uint64_t))};
    pthread_t writer;
    uint64_t got[WORDS];
    uint64_t whole = 0, gone = 0, last = 0;
    assert_int_equal(pthread_create(&writer, NULL, write_all, &race), 0);
    while (!atomic_load(&race.over) || whole == 0) {
        uint64_t end = ring_end(race.ring);
        assert_true(end >= last);
        last = end;
        for (uint64_t i = ring_begin(race.ring, end); i < end; i++) {
            if (!ring_get(race.ring, i, got, sizeof(got))) {
                gone++;
                continue;
            }
            whole++;
            for (size_t w = 0; w < WORDS; w++)
                assert_int_equal(got[w], i);
        }
    }
    pthread_join(writer, NULL);
    print_message("%llu whole, %llu gone\n", (unsigned long long)whole, (unsigned long long)gone);
    assert_int_equal(ring_end(race.ring), PUTS);
    ring_free(race.ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(oldest_go),
        cmocka_unit_test(odd_sizes),
        cmocka_unit_test(no_torn_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
