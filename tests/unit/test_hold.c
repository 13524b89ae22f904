/* SPDX-License-Identifier: Apache-2.0 */
/* exchange/hold.c: what an exchange is counted with, and when another one may begin. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "exchange/hold.h"

enum { MAX = 1000000, RECORD = 16384 };

static struct budget budget;
static struct engine engine = {.budget = &budget};
static struct exchange x;

static int begin(void **state)
{
    (void)state;
    budget = (struct budget){.max = MAX};
    x = (struct exchange){.engine = &engine, .share.budget = &budget, .state = EXCHANGE_NEW};
    return 0;
}

/* While it is under way it may hold a TLS record to its client and one behind it. */
static void counted_while_under_way(void **state)
{
    (void)state;
    exchange_count(&x);
    assert_int_equal(budget_used(&budget), sizeof(x));
    x.state = EXCHANGE_ACTIVE;
    x.arena.total = 5000;
    exchange_count(&x);
    assert_int_equal(budget_used(&budget), sizeof(x) + 5000 + 2 * RECORD);
    x.body.trailer_cap = 300;
    x.state = EXCHANGE_DONE;
    exchange_count(&x);
    assert_int_equal(budget_used(&budget), sizeof(x) + 5000 + 300);
}

static void admitted(void **state)
{
    struct fault f;
    (void)state;
    x.arena.total = 100;
    assert_true(exchange_admit(&x, &f));
    assert_int_equal(budget_used(&budget), sizeof(x) + 100 + 2 * RECORD);
}

/* Tight is not full: what is begun has room to end. */
static void not_when_full(void **state)
{
    struct fault f = {.code = FAULT_NONE};
    (void)state;
    budget_add(&budget, MAX * 94 / 100);
    assert_true(budget_is_tight(&budget));
    assert_true(engine_has_room(&engine, &f));
    assert_int_equal(f.code, FAULT_NONE);
    budget_add(&budget, MAX * 2 / 100);
    assert_false(engine_has_room(&engine, &f));
    assert_false(exchange_admit(&x, &f));
    assert_int_equal(f.code, FAULT_LIMIT);
    assert_string_equal(f.text, "the proxy's memory is full (max_memory = 1000000 bytes); try "
                                "again, or raise it");
    assert_string_equal(f.phrase, "Memory of the proxy is full, try again");
    assert_int_equal(budget_used(&budget), MAX * 94 / 100 + MAX * 2 / 100);
}

#define CASE(f) cmocka_unit_test_setup(f, begin)

int main(void)
{
    const struct CMUnitTest tests[] = {CASE(counted_while_under_way), CASE(admitted),
                                       CASE(not_when_full)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
