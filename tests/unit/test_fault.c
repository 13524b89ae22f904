/* SPDX-License-Identifier: Apache-2.0 */
/* base/fault.c: every code has its row, and a text fits into a field value. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/fault.h"

static void test_table_is_full(void **state)
{
    (void)state;
    for (int code = FAULT_NONE + 1; code < FAULT_COUNT; code++) {
        const struct fault_info *info = fault_info((enum fault_code)code);
        assert_true(info->type[0] != '\0');
        assert_true(info->status == 0 || (info->status >= 400 && info->status <= 599));
        assert_int_equal(info->status == 0, info->phrase[0] == '\0');
        if (code != FAULT_INTERNAL)
            assert_int_not_equal(info->status, 500);
    }
    assert_int_equal(fault_info((enum fault_code)(FAULT_COUNT + 5))->status, 500);
}

static void test_known_rows(void **state)
{
    (void)state;
    assert_int_equal(fault_info(FAULT_DNS_TIMEOUT)->status, 504);
    assert_string_equal(fault_info(FAULT_TLS_CERTIFICATE)->type, "tls_certificate_error");
    assert_string_equal(fault_info(FAULT_CREDENTIALS)->phrase, "Proxy Authentication Required");
    assert_int_equal(fault_info(FAULT_LOOP)->status, 508);
    assert_int_equal(fault_info(FAULT_RESPONSE_INCOMPLETE)->status, 0);
}

/* A fault that is filled again has lost the phrase of the one before. */
static void test_phrase(void **state)
{
    struct fault f;
    (void)state;
    fault_say(&f, FAULT_BAD_REQUEST, "an empty field name");
    assert_string_equal(f.text, "an empty field name");
    assert_string_equal(f.phrase, f.text);
    fault_set(&f, FAULT_DNS, "x");
    assert_null(f.phrase);
}

static void test_text(void **state)
{
    struct fault f;
    char longer[2000];
    (void)state;
    fault_set(&f, FAULT_DNS, "%s does not resolve", "a\r\nX: y\xff");
    assert_int_equal(f.code, FAULT_DNS);
    assert_string_equal(f.text, "a??X: y? does not resolve");
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    fault_set(&f, FAULT_INTERNAL, "%s", longer);
    assert_int_equal(strlen(f.text), sizeof(f.text) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_is_full),
        cmocka_unit_test(test_known_rows),
        cmocka_unit_test(test_phrase),
        cmocka_unit_test(test_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
