/* SPDX-License-Identifier: Apache-2.0 */
/* run_end.c: the line behind COMMAND, and why there may be nothing to tell. The program is no
 * library, hence the include. */
#include "../../proxy/run_end.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define MS INT64_C(1000)
#define S  INT64_C(1000000)

static struct summary sum;
static struct run_end end;

static int set_up(void **state)
{
    (void)state;
    sum = (struct summary){.where = "api.test:443"};
    end = (struct run_end){.command = "report"};
    return 0;
}

static void figures(const char *expected)
{
    char *text = run_end_figures(&sum);
    assert_string_equal(text, expected);
    free(text);
    assert_null(run_end_warning(&end, &sum));
}

static void figures_of_requests(void **state)
{
    (void)state;
    sum.requests = 12;
    sum.most = 10;
    sum.waiting = 11400 * MS;
    sum.busy = 1100 * MS;
    figures("12 requests, 11.4 s of waiting in 1.1 s (10 at once)");
    sum.failed = 2;
    sum.given_up = 1;
    sum.ahead = 9;
    figures("12 requests, 11.4 s of waiting in 1.1 s (10 at once, 9 fetched ahead, 2 failed, 1 "
            "given up)");
    sum.failed = sum.given_up = sum.ahead = 0;
    sum.most = 1;
    sum.busy = sum.waiting;
    figures("12 requests, 11.4 s of waiting in 11.4 s (one at a time)");
    sum.failed = 12;
    figures("12 requests, 11.4 s of waiting in 11.4 s (one at a time, 12 failed)");
}

static void figures_of_one(void **state)
{
    (void)state;
    sum.requests = sum.most = 1;
    sum.waiting = sum.busy = 812 * MS;
    figures("1 request, 812 ms of waiting");
    sum.failed = 1;
    figures("1 request, 812 ms of waiting (1 failed)");
    sum.most = 0; /* refused before anybody was asked */
    figures("1 request (1 failed)");
}

static void figures_and_tunnels(void **state)
{
    (void)state;
    sum.requests = 2;
    sum.most = 2;
    sum.waiting = 4 * MS;
    sum.busy = 2 * MS;
    sum.tunnels = 1;
    figures("2 requests, 4 ms of waiting in 2 ms (2 at once); besides 1 blind tunnel to "
            "api.test:443");
    sum.tunnels = 3;
    sum.unopened = 2;
    sum.has_more = true;
    figures("2 requests, 4 ms of waiting in 2 ms (2 at once); besides 3 blind tunnels to "
            "api.test:443 and others (2 failed)");
}

static void times(void **state)
{
    static const struct {
        int64_t us;
        const char *text;
    } rows[] = {{0, "0 ms"},
                {1, "1 ms"},
                {1499, "1 ms"},
                {999 * MS + 499, "999 ms"},
                {999 * MS + 500, "1.0 s"},
                {99949 * MS, "99.9 s"},
                {99950 * MS, "1 min 40 s"},
                {192 * S, "3 min 12 s"},
                {5999 * S, "99 min 59 s"},
                {7500 * S, "2 h 5 min"}};
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[END_TIME];
        assert_string_equal(end_time(text, rows[i].us), rows[i].text);
    }
}

static void warning(const char *expected)
{
    char *text = run_end_warning(&end, &sum);
    assert_non_null(text);
    assert_string_equal(text, expected);
    free(text);
}

static void nothing_came(void **state)
{
    (void)state;
    warning("report made no request through tlsfan. https:// URLs go past it: write http://, or "
            "run it with --intercept. A program that reads no http_proxy needs --capture");
    end.intercepts = true;
    end.no_proxy = "a.test\n,b";
    warning("report made no request through tlsfan. A program that reads no http_proxy and "
            "https_proxy needs --capture. Hosts of no_proxy=a.test\\x0a,b are not sent to it");
    end.is_captured = true;
    warning("report made no connection that tlsfan takes: those to ports of capture.http and "
            "capture.tunnel. Name further ports there if it uses others; UDP (QUIC) is not taken");
    sum.to_host = 1;
    assert_null(run_end_warning(&end, &sum));
    sum.to_host = 0;
    end.was_killed = true;
    assert_null(run_end_warning(&end, &sum));
}

static void tunnels_alone(void **state)
{
    (void)state;
    sum.tunnels = 2;
    warning("report made 2 blind tunnels to api.test:443 and no request that tlsfan could read: "
            "nothing was fanned out. Write http:// in its URLs, or run it with --intercept");
    end.intercepts = true;
    warning("report made 2 blind tunnels to api.test:443 and no request that tlsfan could read: "
            "nothing was fanned out. A rule with intercept = off leaves them alone, or what is "
            "inside is no TLS");
    end.is_choosy = true;
    warning("report made 2 blind tunnels to api.test:443 and no request that tlsfan could read: "
            "nothing was fanned out. Name its hosts in --intercept=, or write http:// in its URLs");
    sum.intercepted = 1;
    warning("report made 1 connection to api.test:443 that tlsfan intercepts, and no request "
            "inside: it may not trust the certificates of this run. Write http:// in its URLs, or "
            "leave those hosts out of the interception");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(figures_of_requests, set_up),
        cmocka_unit_test_setup(figures_of_one, set_up),
        cmocka_unit_test_setup(figures_and_tunnels, set_up),
        cmocka_unit_test(times),
        cmocka_unit_test_setup(nothing_came, set_up),
        cmocka_unit_test_setup(tunnels_alone, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
