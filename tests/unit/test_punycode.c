/* SPDX-License-Identifier: Apache-2.0 */
/* International names as ASCII. */
#include "http/punycode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"

static void test_punycode(void **state)
{
    /* Some of RFC 3492 §7.1, lower-case. */
    static const struct {
        const char *host, *ascii;
    } cases[] = {
        {"plain.example", "plain.example"},
        {"b\xc3\xbc"
         "cher.example",
         "xn--bcher-kva.example"},
        {"m\xc3\xbcnchen.\xc3\xb6sterreich.at", "xn--mnchen-3ya.xn--sterreich-z7a.at"},
        {"\xe4\xbb\x96\xe4\xbb\xac\xe4\xb8\xba\xe4\xbb\x80\xe4\xb9\x88\xe4\xb8\x8d\xe8\xaf\xb4"
         "\xe4\xb8\xad\xe6\x96\x87",
         "xn--ihqwcrb4cv8a8dqg056pqjye"},
        {"\xd0\x9f\xd0\xa0\xd0\x98\xd0\x92\xd0\x95\xd0\xa2.\xd1\x80\xd1\x84",
         "xn--b1agh1afp.xn--p1ai"},
        {"\xf0\x9f\x98\x80.", "xn--e28h."},
        {"\xe4\xbe\x8b\xe3\x81\x88\xe3\x80\x82test\xef\xbc\x8e", "xn--r8jz45g.test."},
    };
    char text[64];
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_true(punycode_of_host(text, sizeof(text), str_from(cases[i].host)));
        assert_string_equal(text, cases[i].ascii);
        for (size_t cap = 0; cap <= strlen(cases[i].ascii); cap++) {
            char *small = xmalloc(cap + 1);
            assert_false(punycode_of_host(small, cap, str_from(cases[i].host)));
            free(small);
        }
    }
    assert_false(punycode_of_host(text, sizeof(text),
                                  STR("b\xfc"
                                      "cher")));
    assert_false(punycode_of_host(text, sizeof(text), STR("\xc3")));
    assert_false(punycode_of_host(text, sizeof(text), STR("\xc0\x80")));
    assert_false(punycode_of_host(text, sizeof(text), STR("\xed\xa0\x80")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_punycode)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
