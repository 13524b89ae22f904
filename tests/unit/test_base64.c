/* SPDX-License-Identifier: Apache-2.0 */
/* base/base64.c: the vectors of RFC 4648 §10, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/base64.h"

static const struct {
    const char *plain, *coded;
} vectors[] = {{"", ""},
               {"f", "Zg=="},
               {"fo", "Zm8="},
               {"foo", "Zm9v"},
               {"foob", "Zm9vYg=="},
               {"fooba", "Zm9vYmE="},
               {"foobar", "Zm9vYmFy"}};

static void both_ways(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        char text[32];
        size_t n;
        struct str plain = str_from(vectors[i].plain), coded = str_from(vectors[i].coded);
        assert_int_equal(base64_encoded(plain.len), coded.len);
        assert_int_equal(base64_encode(text, plain), coded.len);
        assert_memory_equal(text, coded.p, coded.len);
        assert_true(base64_decode(text, sizeof text, coded, &n));
        assert_true(str_eq(str_make(text, n), plain));
        assert_true(n <= base64_decoded(coded.len));
    }
    char all[256], coded[344], back[256];
    size_t n;
    for (int i = 0; i < 256; i++)
        all[i] = (char)(255 - i);
    n = base64_encode(coded, str_make(all, sizeof all));
    assert_true(base64_decode(back, sizeof back, str_make(coded, n), &n));
    assert_memory_equal(back, all, sizeof all);
}

static void refused(void **state)
{
    (void)state;
    char text[4];
    size_t n;
    assert_false(base64_decode(text, sizeof text,
                               STR("Zg=="
                                   "Zg=="),
                               &n));
    assert_false(base64_decode(text, sizeof text, STR("Zm9v YmFy"), &n));
    assert_false(base64_decode(text, sizeof text, STR("Z"), &n));
    assert_false(base64_decode(text, sizeof text, STR("Zm-_"), &n));
    assert_false(base64_decode(text, sizeof text, STR("Zm9vYmFy"), &n));
    assert_true(base64_decode(text, sizeof text, STR("Zm9vYg"), &n));
    assert_int_equal(n, 4);
}

/* In two pieces, wherever they are cut. */
static void in_pieces(void **state)
{
    (void)state;
    static const struct {
        struct str coded, plain;
        bool ok;
    } pieces[] = {
        {STR_INIT("Zm9vYg=="), STR_INIT("foob"), true}, {STR_INIT(""), STR_INIT(""), true},
        {STR_INIT("Zm9v"), STR_INIT("foo"), true},      {STR_INIT("Zm9vYg"), STR_INIT(""), false},
        {STR_INIT("Zg==Zg=="), STR_INIT(""), false},    {STR_INIT("Zm9vY==="), STR_INIT(""), false},
        {STR_INIT("Zm9v Ym="), STR_INIT(""), false},
    };
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        struct str s = pieces[i].coded;
        for (size_t cut = 0; cut <= s.len; cut++) {
            struct base64 b = {0};
            char text[64];
            size_t first = 0, second = 0;
            bool ok = base64_take(&b, text, str_make(s.p, cut), &first) &&
                      base64_take(&b, text + first, str_from_byte(s, cut), &second) &&
                      base64_is_whole(&b);
            assert_int_equal(ok, pieces[i].ok);
            assert_true(!ok || str_eq(str_make(text, first + second), pieces[i].plain));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(both_ways), cmocka_unit_test(refused),
                                       cmocka_unit_test(in_pieces)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
