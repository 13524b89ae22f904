/* SPDX-License-Identifier: Apache-2.0 */
/* http/traceparent.c: which values name a trace (W3C Trace Context), and in which fields. */
#include "http/traceparent.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define TRACE  "4bf92f3577b34da6a3ce929d0e0e4736"
#define PARENT "00f067aa0ba902b7"
#define GOOD   "00-" TRACE "-" PARENT "-01"

static void valid(void **state)
{
    static const char *const values[] = {
        GOOD,
        "00-" TRACE "-" PARENT "-00",
        "00-" TRACE "-" PARENT "-ff",
        "01-" TRACE "-" PARENT "-01",
        "fe-" TRACE "-" PARENT "-01-what a later version has",
        "cc-" TRACE "-" PARENT "-01-",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        assert_true(str_eq(traceparent_id(str_from(values[i])), STR(TRACE)));
}

static void invalid(void **state)
{
    static const char *const values[] = {
        "",
        "00",
        TRACE,
        "ff-" TRACE "-" PARENT "-01",
        "0g-" TRACE "-" PARENT "-01",
        "FE-" TRACE "-" PARENT "-01",
        "00-00000000000000000000000000000000-" PARENT "-01",
        "00-" TRACE "-0000000000000000-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-" PARENT "-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473\"-" PARENT "-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473-" PARENT "-01",
        "00-" TRACE "-00F067AA0BA902B7-01",
        "00-" TRACE "-" PARENT "-0",
        "00-" TRACE "-" PARENT "-0x",
        "00-" TRACE "-" PARENT "-01-",
        "00-" TRACE "-" PARENT "-01-00",
        "01-" TRACE "-" PARENT "-01.00",
        "00_" TRACE "-" PARENT "-01",
        "00-" TRACE "_" PARENT "-01",
        "00-" TRACE "-" PARENT "_01",
        " " GOOD,
    };
    (void)state;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        assert_int_equal(traceparent_id(str_from(values[i])).len, 0);
    assert_int_equal(traceparent_id(str_make(GOOD, sizeof(GOOD) - 2)).len, 0);
}

/* Each prefix is read within its bounds: the sanitizers look. */
static void prefixes(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof(GOOD) - 1; n++) {
        char *copy = xmalloc(n > 0 ? n : 1);
        memcpy(copy, GOOD, n);
        assert_int_equal(traceparent_id(str_make(copy, n)).len, 0);
        free(copy);
    }
}

static void found(void **state)
{
    struct arena arena = {0};
    struct fields f;
    (void)state;
    fields_init(&f, &arena, NULL, 0);
    assert_int_equal(traceparent_find(&f).len, 0);
    fields_put(&f, STR("tracestate"), STR(GOOD));
    fields_put(&f, STR("X-Traceparent"), STR(GOOD));
    assert_int_equal(traceparent_find(&f).len, 0);
    fields_put(&f, STR("TraceParent"), STR(GOOD));
    assert_true(str_eq(traceparent_find(&f), STR(TRACE)));
    f.v[f.n - 1].is_secret = true;
    assert_int_equal(traceparent_find(&f).len, 0);
    f.v[f.n - 1].is_secret = false;
    fields_put(&f, STR("traceparent"), STR(GOOD));
    assert_int_equal(traceparent_find(&f).len, 0);
    fields_remove_name(&f, STR("traceparent"));
    assert_int_equal(traceparent_find(&f).len, 0);
    arena_clear(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid),
        cmocka_unit_test(invalid),
        cmocka_unit_test(prefixes),
        cmocka_unit_test(found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
