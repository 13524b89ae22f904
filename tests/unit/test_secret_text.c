/* SPDX-License-Identifier: Apache-2.0 */
/* conf/secret_text.c: what is a reference, and what only looks like one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "conf/secret_text.h"

/* The parts of a text: kind and text each, "|" behind it. */
static const struct {
    const char *text, *parts; /* NULL: refused */
} cases[] = {
    {"", ""},
    {"plain", "T:plain|"},
    {"{file:/a b}", "F:/a b|"},
    {"Bearer {file:/x}", "T:Bearer |F:/x|"},
    {"{env:A}{oauth:b c}{file:d}", "E:A|O:b c|F:d|"},
    {"{} {a} {files:x} {\"file\":1}", "T:{} {a} {files:x} {\"file\":1}|"},
    {"{{file:x}", "T:{file:|T:x}|"},
    {"a{{env:x}b{env:y}", "T:a|T:{env:|T:x}b|E:y|"},
    {"{{{oauth:x}", "T:{|T:{oauth:|T:x}|"},
    {"{{a", "T:{{a|"},
    {"}{file:x}}", "T:}|F:x|T:}|"},
    {"{file:{env:x}}", "F:{env:x|T:}|"},
    {"{file:x", NULL},
    {"{file:", NULL},
    {"{file:}", NULL},
    {"a {env:}", NULL},
    {"{oauth:", NULL},
};

static void parts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct arena arena = {0};
        struct secret_text t;
        const char *why = secret_text_parse(&t, &arena, str_from(cases[i].text));
        struct str got = STR("");
        for (unsigned n = 0; n < t.n; n++)
            got = arena_printf(&arena, "%.*s%c:%s|", STR_ARG(got), "TFEO"[t.parts[n].kind],
                               t.parts[n].text);
        assert_int_equal(why == NULL, cases[i].parts != NULL);
        if (why == NULL)
            assert_true(str_eq(got, str_from(cases[i].parts)));
        else
            assert_non_null(strstr(why, "not closed"));
        arena_clear(&arena);
    }
}

static void what_may_be_shown(void **state)
{
    (void)state;
    assert_true(secret_text_names(STR("X: a{file:/x}")));
    assert_true(secret_text_names(STR("{env:A}")));
    assert_false(secret_text_names(STR("X: hunter2")));
    assert_false(secret_text_names(STR("X: hunter2 {{file:/x}")));
    assert_false(secret_text_names(STR("X: hunter2 {file:/x")));
}

static void plain_texts(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct secret_text t;
    assert_null(secret_text_parse(&t, &arena, STR("a {{file:x} {b}")));
    assert_false(t.is_secret);
    assert_string_equal(secret_text_plain(&t, &arena), "a {file:x} {b}");
    assert_null(secret_text_parse(&t, &arena, STR("a {oauth:x}")));
    assert_true(t.is_secret && t.is_token);
    arena_clear(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(parts), cmocka_unit_test(what_may_be_shown),
                                       cmocka_unit_test(plain_texts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
