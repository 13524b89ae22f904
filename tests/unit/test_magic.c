/* SPDX-License-Identifier: Apache-2.0 */
/* base/magic.c: an object of another kind, or one that is gone, ends the process where magic is
 * checked, and costs nothing where it is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "abort_fixture.h"
#include "base/magic.h"
#include "base/mem.h"

struct door {
    int number;
    struct magic magic;
};

struct window {
    int number;
    struct magic magic;
};

static struct door door;

static int number_of(void *arg)
{
    struct door *d = CHECKED(door, arg);
    return d->number;
}

static void right(void)
{
    if (number_of(&door) != 7)
        abort();
}

static void wrong(void)
{
    struct window w = {.number = 7};
    MAGIC_SET(window, &w);
    (void)number_of(&w);
}

static struct slab slab;

/* The slab keeps the memory, so that it can be looked at. */
static void gone(void)
{
    struct door *d = slab_get(&slab);
    MAGIC_SET(door, d);
    slab_put(&slab, d);
    (void)number_of(d);
}

static void kinds(void **state)
{
    char text[512];
    (void)state;
    door.number = 7;
    MAGIC_SET(door, &door);
    assert_false(aborts(right, text, sizeof text));
    if (sizeof(struct magic) == 0)
        skip();
    assert_true(aborts(wrong, text, sizeof text));
    assert_non_null(strstr(text, "no door"));
    slab_init(&slab, sizeof(struct door), 1);
    if (slab.keep > 0)
        assert_true(aborts(gone, text, sizeof text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(kinds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
