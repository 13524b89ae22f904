/* SPDX-License-Identifier: Apache-2.0 */
/* http/chars.c: the classes of bytes, written again as the RFCs list them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <string.h>

#include "http/chars.h"

static const char tchar[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                            "ABCDEFGHIJKLMNOPQRSTUVWXYZ"; /* RFC 9110 §5.6.2 */
static const char reg_name[] = "-._~!$&'()*+,;=%0123456789abcdefghijklmnopqrstuvwxyz"
                               "ABCDEFGHIJKLMNOPQRSTUVWXYZ"; /* RFC 3986 §3.2.2 */

static bool is_in(const char *set, int c)
{
    return c != 0 && strchr(set, c) != NULL;
}

static void every_byte(void **state)
{
    (void)state;
    for (int i = 0; i < 256; i++) {
        char c = (char)i;
        bool is_vchar = i > 0x20 && i < 0x7f;
        assert_int_equal(chars_is(c, CHAR_TOKEN), is_in(tchar, i));
        assert_int_equal(chars_is(c, CHAR_HOST), is_in(reg_name, i));
        assert_int_equal(chars_is(c, CHAR_DIGIT), is_in("0123456789", i));
        assert_int_equal(chars_is(c, CHAR_HEX), is_in("0123456789abcdefABCDEF", i));
        assert_int_equal(chars_is(c, CHAR_TARGET), is_vchar);
        assert_int_equal(chars_is(c, CHAR_VALUE), is_vchar || i == ' ' || i == '\t' || i >= 0x80);
    }
    assert_true(chars_is('f', CHAR_DIGIT | CHAR_HEX));
    assert_false(chars_is('g', CHAR_DIGIT | CHAR_HEX));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_byte)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
