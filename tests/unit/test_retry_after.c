/* SPDX-License-Identifier: Apache-2.0 */
/* http/retry_after.c: seconds and dates, and what is neither. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <time.h>

#include "http/retry_after.h"

static const int64_t now = 784111777; /* Sun, 06 Nov 1994 08:49:37 GMT */

static int64_t ms(const char *value)
{
    return retry_after_ms(str_from(value), now * 1000000);
}

static void seconds(void **state)
{
    (void)state;
    assert_int_equal(ms("0"), 0);
    assert_int_equal(ms("1"), 1000);
    assert_int_equal(ms("120"), 120000);
    assert_int_equal(ms("999999"), 999999000);
    assert_int_equal(ms("315360000"), RETRY_AFTER_MOST);
    assert_int_equal(ms("99999999999999999999999999999999"), RETRY_AFTER_MOST);
    assert_int_equal(ms("18446744073709551617"), RETRY_AFTER_MOST);
}

static void dates(void **state)
{
    (void)state;
    assert_int_equal(ms("Sun, 06 Nov 1994 08:49:47 GMT"), 10000);
    assert_int_equal(ms("Sunday, 06-Nov-94 08:49:47 GMT"), 10000);
    assert_int_equal(ms("Sun Nov  6 08:49:47 1994"), 10000);
    assert_int_equal(ms("Sun, 06 Nov 1994 08:49:37 GMT"), 0);
    assert_int_equal(ms("Sun, 06 Nov 1904 08:49:37 GMT"), -1);
    assert_int_equal(ms("Sat, 05 Nov 1994 08:49:37 GMT"), 0);
    assert_int_equal(ms("Sun, 06 Nov 9994 08:49:37 GMT"), RETRY_AFTER_MOST);
    assert_int_equal(retry_after_ms(STR("Sun, 06 Nov 1994 08:49:38 GMT"), now * 1000000 + 400000),
                     600);
    assert_int_equal(http_date(STR("Thursday, 01-Jan-26 00:00:00 GMT"), 1767225600), 1767225600);
    assert_int_equal(http_date(STR("Friday, 01-Jan-99 00:00:00 GMT"), 1767225600), 915148800);
}

/* Each day of four centuries is the day that the C library says. */
static void days(void **state)
{
    (void)state;
    char text[64];
    for (int64_t t = 3601; t < INT64_C(400) * 366 * 86400; t += 86400) {
        time_t time = (time_t)t;
        struct tm tm;
        gmtime_r(&time, &tm);
        strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
        assert_int_equal(http_date(str_from(text), 0), t);
    }
}

static void neither(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      " ",
                                      "-1",
                                      "+1",
                                      "1.5",
                                      "1 ",
                                      " 1",
                                      "0x10",
                                      "1e3",
                                      "soon",
                                      "1,2",
                                      "120, 120",
                                      ",",
                                      ", ",
                                      "Sun, 06 Nov 1994 08:49:37",
                                      "Sun, 06 Nov 1994 08:49:37 GMT ",
                                      "Sun, 6 Nov 1994 08:49:37 GMT",
                                      "Sun, 06 Now 1994 08:49:37 GMT",
                                      "Sun, 06 Nov 1994 24:49:37 GMT",
                                      "Sun, 00 Nov 1994 08:49:37 GMT",
                                      "Sun, 32 Nov 1994 08:49:37 GMT",
                                      "Sun, 06 Nov 1994 08:60:37 GMT",
                                      "Sun, 06 Nov 1994 08:49:61 GMT",
                                      "Sun, 06 Nov 1994 08:49:37 PST",
                                      "Sun, 06 Nov 1994 -8:49:37 GMT",
                                      "Sun",
                                      "Sun,",
                                      "Sun, ",
                                      "06 Nov 1994 08:49:37 GMT",
                                      "Sun Nov 6 08:49:37 1994",
                                      "Sun, \xff\xff Nov 1994 08:49:37 GMT"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(ms(bad[i]), -1);
    /* Cut anywhere it is none, and nothing behind its end is read. */
    struct str whole = STR("Sun, 06 Nov 1994 08:49:37 GMT");
    for (size_t n = 0; n < whole.len; n++)
        assert_int_equal(http_date(str_make(whole.p, n), now), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seconds),
        cmocka_unit_test(dates),
        cmocka_unit_test(days),
        cmocka_unit_test(neither),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
