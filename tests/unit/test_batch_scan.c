/* SPDX-License-Identifier: Apache-2.0 */
/* own/batch_scan.c: where an element ends, in pieces of any size, and the long bodies in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/mem.h"
#include "own/batch_scan.h"

/* Bytes of the element at BEGIN of TEXT, looked at N at a time. */
static size_t element(struct batch_scan *s, struct str text, size_t begin, size_t n)
{
    batch_scan_init(s, begin);
    for (size_t steps = 0; !batch_scan_step(s, text, n); steps++)
        assert_true(steps <= text.len);
    return s->at - begin;
}

static void ends_at(const char *text, size_t begin, size_t expected)
{
    struct batch_scan s;
    for (size_t n = 1; n <= 8; n++)
        assert_int_equal(element(&s, str_from(text), begin, n), expected);
    assert_int_equal(element(&s, str_from(text), begin, SIZE_MAX), expected);
}

static void ends(void **state)
{
    (void)state;
    ends_at("{},", 0, 2);
    ends_at("{} ", 0, 2);
    ends_at("[{\"a\":[1,{}]},2]", 1, 12);
    ends_at("\"a,b\",", 0, 5);
    ends_at("\"a\\\",b\"]", 0, 7);
    ends_at("\"a\\\\\",b", 0, 5);
    ends_at("{\"}\":\"\\\"}\"},", 0, 11);
    /* Neither string nor bracket: up to what cannot be of it. */
    ends_at("12,", 0, 2);
    ends_at("true]", 0, 4);
    ends_at("null\r\n", 0, 4);
    /* Nothing follows. */
    ends_at("{\"a\":", 0, 5);
    ends_at("\"abc", 0, 4);
    ends_at("", 0, 0);
    /* Brackets that do not fit are for the parser to refuse. */
    ends_at("]]", 0, 1);
    ends_at("{]},", 0, 2);
}

/* BEFORE, a string of LEN bytes, AFTER. */
static struct str with_string(const char *before, size_t len, const char *after)
{
    size_t n = strlen(before), m = strlen(after);
    char *p = xmalloc(n + len + m);
    memcpy(p, before, n);
    memset(p + n, 'x', len);
    memcpy(p + n + len, after, m);
    return str_make(p, n + len + m);
}

/* Whether the string is cut out as MEMBER, BATCH_MEMBERS: not at all; in steps of any size. */
static void cuts(const char *before, size_t len, const char *after, enum batch_member member)
{
    struct str text = with_string(before, len, after);
    static const size_t steps[] = {1, 7, 4096, SIZE_MAX};
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        struct batch_scan s;
        (void)element(&s, text, 0, steps[i]);
        for (enum batch_member m = BATCH_PLAIN; m < BATCH_MEMBERS; m++) {
            assert_int_equal(s.cuts[m].end, m == member ? strlen(before) + len : 0);
            assert_int_equal(s.cuts[m].begin, m == member ? strlen(before) : 0);
        }
    }
    free((char *)text.p);
}

static void long_bodies_are_cut(void **state)
{
    (void)state;
    cuts("{\"body\":\"", 4097, "\"}", BATCH_PLAIN);
    cuts("{\"body\" : \"", 5000, "\"}", BATCH_PLAIN);
    cuts("{\"url\":\"/\",\"body_base64\":\"", 5000, "\",\"id\":1}", BATCH_BASE64);
    cuts("{\"body\":\"\\\"", 0, "\"}", BATCH_MEMBERS);
}

static void others_are_not(void **state)
{
    (void)state;
    cuts("{\"body\":\"", 4096, "\"}", BATCH_MEMBERS);
    cuts("{\"url\":\"", 5000, "\"}", BATCH_MEMBERS);
    cuts("{\"bodies\":\"", 5000, "\"}", BATCH_MEMBERS);
    cuts("{\"headers\":{\"body\":\"", 5000, "\"}}", BATCH_MEMBERS);
    cuts("[\"body\",\"", 5000, "\"]", BATCH_MEMBERS);
    cuts("{\"body\":1,\"", 5000, "\":1}", BATCH_MEMBERS);
    cuts("\"", 5000, "\"", BATCH_MEMBERS);
}

/* A second body of a name stays in place, for the parser to refuse it. */
static void the_first_is_cut(void **state)
{
    (void)state;
    struct str a = with_string("{\"body\":\"", 5000, "\",\"body\":\"");
    char *before = xstrndup(a.p, a.len);
    struct str text = with_string(before, 6000, "\"}");
    struct batch_scan s;
    assert_int_equal(element(&s, text, 0, 100), text.len);
    assert_int_equal(s.cuts[BATCH_PLAIN].begin, 9);
    assert_int_equal(s.cuts[BATCH_PLAIN].end, 5009);
    free(before);
    free((char *)a.p);
    free((char *)text.p);
}

/* A step looks at no more than it is told to. */
static void steps_are_bounded(void **state)
{
    struct batch_scan s;
    (void)state;
    batch_scan_init(&s, 1);
    assert_false(batch_scan_step(&s, STR("[\"abcdefgh\"]"), 4));
    assert_int_equal(s.at, 5);
    assert_true(s.is_string);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ends),
        cmocka_unit_test(long_bodies_are_cut),
        cmocka_unit_test(others_are_not),
        cmocka_unit_test(the_first_is_cut),
        cmocka_unit_test(steps_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
