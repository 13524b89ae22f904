/* SPDX-License-Identifier: Apache-2.0 */
/* base/mem.c: arenas on the caller's memory and on the heap, slabs, the budget. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "base/mem.h"

static void test_arena_uses_first_bytes(void **state)
{
    char first[64];
    struct arena a;
    (void)state;
    arena_init(&a, first, sizeof(first));
    struct str copy = arena_dup(&a, STR("abc"));
    assert_ptr_equal(copy.p, first);
    assert_string_equal(copy.p, "abc");
    char *aligned = arena_alloc(&a, 8);
    assert_int_equal((uintptr_t)aligned % 8, 0);
    assert_true(aligned > first && aligned + 8 <= first + sizeof(first));
    assert_int_equal(a.total, 0);
    arena_alloc(&a, 100);
    assert_true(a.total >= 100);
    arena_clear(&a);
    assert_int_equal(a.total, 0);
    assert_ptr_equal(arena_dup(&a, STR("")).p, first);
    arena_clear(&a);
}

/* Sizes around those of a block, each filled, and still whole when all are there. */
static void test_arena_keeps_everything(void **state)
{
    enum { N = 400 };
    struct arena a;
    unsigned char *parts[N];
    (void)state;
    arena_init(&a, NULL, 0);
    for (size_t i = 0; i < N; i++) {
        size_t size = 1 + (i * 37) % 5000;
        parts[i] = arena_alloc(&a, size);
        assert_int_equal((uintptr_t)parts[i] % 8, 0);
        memset(parts[i], (int)(i & 0xff), size);
    }
    for (size_t i = 0; i < N; i++) {
        size_t size = 1 + (i * 37) % 5000;
        for (size_t k = 0; k < size; k++)
            assert_int_equal(parts[i][k], i & 0xff);
    }
    arena_clear(&a);
}

static void test_arena_printf(void **state)
{
    char first[4];
    struct arena a;
    (void)state;
    arena_init(&a, first, sizeof(first));
    struct str text = arena_printf(&a, "%s=%d", "key", 12345);
    assert_int_equal(text.len, 9);
    assert_string_equal(text.p, "key=12345");
    arena_clear(&a);
}

static void test_arena_grow(void **state)
{
    struct arena a;
    unsigned *v = NULL;
    (void)state;
    arena_init(&a, NULL, 0);
    for (unsigned n = 0; n < 3000; n++) {
        v = arena_grow(&a, v, n, sizeof(*v));
        v[n] = n;
    }
    for (unsigned i = 0; i < 3000; i++)
        assert_int_equal(v[i], i);
    arena_clear(&a);
}

static void test_slab_reuses(void **state)
{
    struct slab s;
    (void)state;
    slab_init(&s, 1, 1);
    void *a = slab_get(&s);
    void *b = slab_get(&s);
    slab_put(&s, a);
    slab_put(&s, b);
    assert_true(s.spare <= 1);
    void *again = slab_get(&s);
    assert_int_equal(s.spare, 0);
    slab_put(&s, again);
    slab_clear(&s);
    assert_int_equal(s.spare, 0);
}

static void test_budget(void **state)
{
    struct budget b = {.max = 1000};
    (void)state;
    assert_int_equal(budget_bound(&b, 64), 64);
    budget_add(&b, 499);
    assert_int_equal(budget_bound(&b, 64), 64);
    budget_add(&b, 251);
    assert_int_equal(budget_bound(&b, 64), 32);
    assert_false(budget_is_spent(&b));
    budget_add(&b, 200);
    assert_true(budget_is_spent(&b));
    budget_add(&b, 100);
    assert_int_equal(budget_bound(&b, 64), 0);
    budget_add(&b, -1050);
    assert_int_equal(budget_bound(&b, 64), 64);
    assert_false(budget_is_spent(&b));
}

static void test_copies(void **state)
{
    (void)state;
    char *a = xstrndup("abcdef", 3);
    char *b = xasprintf("%s-%d", a, 5);
    assert_string_equal(b, "abc-5");
    free(a);
    free(b);
    free(xmalloc(0));
    free(xcalloc(0, 8));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arena_uses_first_bytes),
        cmocka_unit_test(test_arena_keeps_everything),
        cmocka_unit_test(test_arena_printf),
        cmocka_unit_test(test_arena_grow),
        cmocka_unit_test(test_slab_reuses),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
