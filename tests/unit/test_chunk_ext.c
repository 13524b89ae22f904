/* SPDX-License-Identifier: Apache-2.0 */
/* http/chunk_ext.c: extensions that follow the grammar, and those that do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "http/chunk_ext.h"

/* The state behind all of TEXT, which follows the first ";". */
static enum chunk_ext behind(const char *text)
{
    enum chunk_ext state = CHUNK_EXT_NAME_BEGIN;
    for (; *text != '\0'; text++) {
        assert_int_not_equal(state, CHUNK_EXT_DONE);
        state = chunk_ext_next(state, *text);
    }
    return state;
}

static void good(void **state)
{
    static const char *const lines[] = {
        "a\r",        "a\n",       "a=b\r",       " a\t=\t b\r",        "a=\"\"\r", "a;b\r",
        "a ;\tb=c\r", "a=b ; c\r", "a=\"b\";c\r", "a=\"\\\"\xe9\t\"\r", "!#=~\r"};
    (void)state;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        assert_int_equal(behind(lines[i]), CHUNK_EXT_DONE);
}

static void bad(void **state)
{
    static const char *const lines[] = {
        ";",        "=",     "\r",       " \r",    "a;\r",       "a ;;",     "a=\r",
        "a= \r",    "a=;",   "a=b\"",    "a b",    "a=b c",      "a=\"b\"c", "a=\"\n",
        "a=\"\\\r", "a \r",  "a=b \r",   "a=\"\r", "a=\"b\" \r", "a==b",     "a\x80",
        "a\x7f",    "a=b=c", "a=\"\x01", "\"a\"",  "a,",         "a=b\x0b"};
    (void)state;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        assert_int_equal(behind(lines[i]), CHUNK_EXT_BAD);
}

/* Nothing leads out of the two ends. */
static void ends(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        assert_int_equal(chunk_ext_next(CHUNK_EXT_BAD, (char)c), CHUNK_EXT_BAD);
        assert_int_equal(chunk_ext_next(CHUNK_EXT_DONE, (char)c), CHUNK_EXT_BAD);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(good), cmocka_unit_test(bad),
                                       cmocka_unit_test(ends)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
