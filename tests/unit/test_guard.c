/* SPDX-License-Identifier: Apache-2.0 */
/* service/guard.c: which hosts and which pages get by. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "conf/conf_load.h"
#include "service/guard.h"

static struct conf *conf;

static void page(const char *host, const char *origin, const char *site, enum fault_code expected)
{
    struct guard_request rq = {str_from(host), str_from(origin), str_from(site)};
    struct fault f = {.code = FAULT_NONE};
    bool ok = guard_page(conf, &rq, &f);
    if (ok != (expected == FAULT_NONE) || f.code != expected)
        fail_msg("%s, %s, %s: %d, not %d", host, origin, site, f.code, expected);
}

static void hosts(void **state)
{
    (void)state;
    page("127.0.0.1", NULL, NULL, FAULT_NONE);
    page("[::1]:3129", NULL, NULL, FAULT_NONE);
    page("LocalHost:1", NULL, NULL, FAULT_NONE);
    page("x.localhost.", NULL, NULL, FAULT_NONE);
    page("svc.example:3129", NULL, NULL, FAULT_NONE);
    page("a.b.wild.example", NULL, NULL, FAULT_NONE);
    page(NULL, NULL, NULL, FAULT_NONE);
    page("wild.example", NULL, NULL, FAULT_MISDIRECTED);
    page("evil.example", NULL, NULL, FAULT_MISDIRECTED);
    page("localhost.evil.example", NULL, NULL, FAULT_MISDIRECTED);
    page("a b", NULL, NULL, FAULT_BAD_REQUEST);
    page("127.0.0.1:99999", NULL, NULL, FAULT_BAD_REQUEST);
}

static void origins(void **state)
{
    (void)state;
    page("127.0.0.1:3129", "http://127.0.0.1:3129", "same-origin", FAULT_NONE);
    page("127.0.0.1:3129", "HTTP://127.0.0.1:3129", NULL, FAULT_NONE);
    page("127.0.0.1:3129", "http://127.0.0.1:3128", NULL, FAULT_DENIED);
    page("127.0.0.1:3129", "https://127.0.0.1:3129", NULL, FAULT_DENIED);
    page("127.0.0.1:3129", "null", NULL, FAULT_DENIED);
    page("127.0.0.1:3129", NULL, "cross-site", FAULT_DENIED);
    page("127.0.0.1:3129", "http://127.0.0.1:3129", "Cross-Site", FAULT_DENIED);
    page(NULL, "http://", NULL, FAULT_DENIED);
}

static int set_up(void **state)
{
    static const char *options[] = {"service_hosts=svc.example", "service_hosts=*.wild.example"};
    struct conf_source src = {.options = options, .n_options = 2};
    struct conf_faults faults = {0};
    (void)state;
    conf = conf_load(&src, &faults);
    return conf == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    conf_unref(&conf);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(hosts), cmocka_unit_test(origins)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
