/* SPDX-License-Identifier: Apache-2.0 */
/* own/json_limit.c: what Jansson may take on this thread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>

#include "base/mem.h"
#include "own/json_limit.h"

/* An array of N numbers; each costs Jansson some 24 bytes and more. */
static json_t *load(unsigned n)
{
    char *text = xmalloc(2 * n + 3);
    size_t len = 0;
    text[len++] = '[';
    for (unsigned i = 0; i < n; i++) {
        text[len++] = i == 0 ? ' ' : ',';
        text[len++] = '1';
    }
    text[len++] = ']';
    json_t *array = json_loadb(text, len, 0, NULL);
    free(text);
    return array;
}

static void no_bound(void **state)
{
    (void)state;
    json_t *array = load(20000);
    assert_int_equal(json_array_size(array), 20000);
    json_decref(array);
}

static void beyond_it_there_is_no_memory(void **state)
{
    (void)state;
    json_limit_set(20000);
    assert_null(load(20000));
    /* What a refused one had taken has been given back. */
    json_t *array = load(100);
    assert_int_equal(json_array_size(array), 100);
    json_decref(array);
    json_limit_clear();
    no_bound(state);
}

/* It bounds what is held at a time, not what was ever taken. */
static void given_back_may_be_taken_again(void **state)
{
    (void)state;
    json_limit_set(20000);
    for (int i = 0; i < 100; i++) {
        json_t *array = load(100);
        assert_non_null(array);
        json_decref(array);
    }
    json_limit_clear();
}

static void texts_are_given_back(void **state)
{
    (void)state;
    json_limit_set(20000);
    json_t *array = load(100);
    for (int i = 0; i < 1000; i++) {
        char *text = json_dumps(array, JSON_COMPACT);
        assert_non_null(text);
        json_limit_free(text);
    }
    json_decref(array);
    json_limit_clear();
    json_limit_free(NULL);
}

static void nothing_at_all(void **state)
{
    (void)state;
    json_limit_set(0);
    assert_null(json_integer(1));
    json_limit_clear();
    json_t *one = json_integer(1);
    assert_non_null(one);
    json_decref(one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_bound),
        cmocka_unit_test(beyond_it_there_is_no_memory),
        cmocka_unit_test(given_back_may_be_taken_again),
        cmocka_unit_test(texts_are_given_back),
        cmocka_unit_test(nothing_at_all),
    };
    json_limit_install();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
