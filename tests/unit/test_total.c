/* SPDX-License-Identifier: Apache-2.0 */
/* service/total.c: sums over two workers, the origins in order, and codes that share a word. */
#include "view_fixture.h"

#include "service/total.h"

static void workers_are_summed(void **state)
{
    (void)state;
    unsigned a = tally_register(STR("a.test"), 443);
    unsigned b = tally_register(STR("b.test"), 8443);
    counter_add(&all_stats[0]->retries, 2);
    counter_add(&all_stats[1]->retries, 3);
    counter_add(&all_stats[0]->tally.places[b].requests, 4);
    counter_add(&all_stats[1]->tally.places[b].requests, 5);
    struct total *t = total_new(&view);
    assert_int_equal(t->sum.retries, 5);
    assert_int_equal(t->origins[b].requests, 9);
    assert_int_equal(t->origins[a].requests, 0);
    assert_string_equal(total_origin_name((int)b), "b.test:8443");
    int place = -1;
    for (unsigned i = 0; i < t->n_names; i++)
        assert_int_equal(place = total_next_origin(t, place), i);
    assert_int_equal(total_next_origin(t, place), -1); /* the others have nothing */
    free(t);
    counter_add(&all_stats[1]->tally.places[TALLY_OTHER].opened, 1);
    t = total_new(&view);
    assert_int_equal(total_next_origin(t, place), TALLY_OTHER);
    assert_int_equal(total_next_origin(t, TALLY_OTHER), -1);
    assert_string_equal(total_origin_name(TALLY_OTHER), "other");
    free(t);
}

static void a_word_is_told_once_for_all_its_codes(void **state)
{
    (void)state;
    uint64_t told = 0;
    for (unsigned i = FAULT_NONE + 1; i < FAULT_COUNT; i++)
        counter_add(&all_stats[i % 2]->faults[i], i);
    struct total *t = total_new(&view);
    for (unsigned i = FAULT_NONE + 1; i < FAULT_COUNT; i++) {
        uint64_t n;
        const char *word = total_error(t, (enum fault_code)i, &n);
        told += word == NULL ? 0 : n;
        if (word != NULL)
            assert_string_equal(word, fault_info((enum fault_code)i)->type);
    }
    assert_int_equal(told, (FAULT_COUNT - 1) * FAULT_COUNT / 2);
    free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(workers_are_summed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_word_is_told_once_for_all_its_codes, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
