/* SPDX-License-Identifier: Apache-2.0 */
/* exchange/engine.c: a snapshot lives as long as one exchange that began with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "exchange/engine.h"

static void the_last_user_gives_it_up(void **state)
{
    struct conf old = {.refs = 1000}, new = {.refs = 1000};
    struct engine e = {.use = NULL};
    (void)state;
    engine_set_conf(&e, &old);
    assert_ptr_equal(e.use->conf, &old);
    struct conf_use *first = engine_use(&e);
    struct conf_use *second = engine_use(&e);
    assert_ptr_equal(first, second);
    /* One reference, however many use it. */
    assert_int_equal(old.refs, 1000);
    engine_set_conf(&e, &new);
    assert_ptr_equal(e.use->conf, &new);
    engine_unuse(first);
    assert_int_equal(old.refs, 1000);
    assert_ptr_equal(second->conf, &old);
    engine_unuse(second);
    assert_int_equal(old.refs, 999);
    engine_set_conf(&e, NULL);
    assert_null(e.use);
    assert_int_equal(new.refs, 999);
    engine_set_conf(&e, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_last_user_gives_it_up)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
