/* SPDX-License-Identifier: Apache-2.0 */
/* own/link.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "own/link.h"

static void next(void **state)
{
    static const struct {
        const char *value, *uri; /* NULL: no next page */
    } rows[] = {
        {"</a?page=2>; rel=next", "/a?page=2"},
        {"</a?page=2>; rel=\"next\"", "/a?page=2"},
        {"<https://h/?a=1,2&b>; REL = \"prev Next\" ; title=\"a\"", "https://h/?a=1,2&b"},
        {"</1>; rel=prev, </2>; rel=next, </3>; rel=next", "/2"},
        {"</1>; title=\"a, <b>; rel=next\"; rel=last,</2>;rel=next", "/2"},
        {"</1>; title=\"\\\"\"; rel=next", "/1"},
        {"</1>; rel=last; rel=next", NULL}, /* the first one counts */
        {"</1>; rel=nextpage", NULL},
        {"</1>; rel=\"next", "/1"},
        {"</1>; rel=next; anchor=\"/other\"", NULL},
        {"</1>; rel", NULL},
        {"</1>", NULL},
        {"</1", NULL},
        {"rel=next", NULL},
        {"", NULL},
        {",,,<>;;;;rel=next", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct str uri;
        bool is_next = link_next(str_from(rows[i].value), &uri);
        assert_int_equal(is_next, rows[i].uri != NULL);
        if (is_next && !str_eq(uri, str_from(rows[i].uri)))
            fail_msg("%s: %.*s", rows[i].value, STR_ARG(uri));
    }
}

static void resolved(void **state)
{
    static const struct {
        const char *base, *ref, *target; /* NULL: false */
    } rows[] = {
        {"/a/b?c", "/x?y", "/x?y"},
        {"/a/b?c", "?y=1#f", "/a/b?y=1"},
        {"/a/b?c", "d", "/a/d"},
        {"/a/b?c", "./d?e=/../f", "/a/d?e=/../f"},
        {"/a/b?c", "../d/", "/d/"},
        {"/a/b?c", "../../../d", "/d"},
        {"/a/b?c", "..", "/"},
        {"/a/b/", ".", "/a/b/"},
        {"/a/b", "/x/../y/./z", "/y/z"},
        {"/a/./b", "?q", "/a/./b?q"},
        {"/a", "b:c", NULL},
        {"/a", "./b:c", "/b:c"},
        {"/a", "//h/x", NULL},
        {"/a", "https://h/x", NULL},
        {"/a", "", NULL},
        {"/a", "#f", NULL},
        {"/a", "b c", NULL},
        {"/a", "b\x80", NULL},
        {"*", "b", NULL},
        {"", "b", NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct arena arena;
        struct str target;
        arena_init(&arena, NULL, 0);
        bool ok = link_resolve(&arena, str_from(rows[i].base), str_from(rows[i].ref), &target);
        if (ok != (rows[i].target != NULL) || (ok && !str_eq(target, str_from(rows[i].target))))
            fail_msg("%s from %s: %.*s", rows[i].ref, rows[i].base, ok ? (int)target.len : 0,
                     ok ? target.p : "");
        arena_clear(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(next), cmocka_unit_test(resolved)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
