/* SPDX-License-Identifier: Apache-2.0 */
/* exchange/redirect.c: which redirect goes round, and that a host is named once. */
#include "rig_fixture.h"

#include <sys/stat.h>

#include "exchange/redirect.h"
#include "exchange/route.h"

static FILE *said;
static int stderr_copy;

static int begin(void **state)
{
    char err[128];
    set_up(state);
    assert_true(log_open(LOG_LEVEL_WARNING, "/dev/null", err, sizeof(err)));
    said = tmpfile();
    assert_non_null(said);
    stderr_copy = dup(STDERR_FILENO);
    assert_true(dup2(fileno(said), STDERR_FILENO) >= 0);
    return 0;
}

static int end(void **state)
{
    dup2(stderr_copy, STDERR_FILENO);
    close(stderr_copy);
    fclose(said);
    return tear_down(state);
}

static size_t size(void)
{
    struct stat st;
    assert_int_equal(fstat(fileno(said), &st), 0);
    return (size_t)st.st_size;
}

/* True when the answer STATUS with LOCATION to METHOD http://HOST/a?b is warned of. */
static bool warns(const char *method, const char *host, unsigned status, const char *location)
{
    char text[256];
    struct fault f;
    struct h1_head head = {.status = status, .minor = 1};
    size_t before = size();
    snprintf(text, sizeof(text), "%s http://%s/a?b HTTP/1.1\r\nHost: %s\r\n", method, host, host);
    probe_open(&p, &rig, text);
    assert_true(route_target(&p.x, &f));
    p.x.where.host = p.x.target.host.name;
    p.x.rewrite.is_upgraded = true;
    fields_init(&head.fields, &p.x.arena, NULL, 0);
    if (location != NULL)
        fields_put(&head.fields, STR("Location"), str_from(location));
    redirect_watch(&p.x, &head);
    probe_close(&p, &rig);
    return size() > before;
}

static void which(void **state)
{
    static const struct {
        const char *method;
        unsigned status;
        const char *path; /* behind http://HOST; NULL: no Location */
        bool is_told;
    } cases[] = {
        {"GET", 301, "/a?b", true},   {"HEAD", 302, "/a?b", true},   {"GET", 303, ":80/a?b", true},
        {"GET", 302, "/a?b#c", true}, {"POST", 307, "/a?b", true},   {"PUT", 308, "/a?b", true},
        {"POST", 302, "/a?b", false}, {"GET", 304, "/a?b", false},   {"GET", 200, "/a?b", false},
        {"GET", 302, "/a", false},    {"GET", 302, "/a?c", false},   {"GET", 302, ":81/a?b", false},
        {"GET", 302, NULL, false},    {"GET", 302, ".x/a?b", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char host[16], location[64];
        snprintf(host, sizeof(host), "h%zu.test", i);
        snprintf(location, sizeof(location), "http://%s%s", host,
                 cases[i].path == NULL ? "" : cases[i].path);
        if (warns(cases[i].method, host, cases[i].status,
                  cases[i].path == NULL ? NULL : location) != cases[i].is_told)
            fail_msg("%s %u %s", cases[i].method, cases[i].status, location);
    }
    assert_false(warns("GET", "other.test", 302, "https://other.test/a?b"));
    assert_false(warns("GET", "other.test", 302, "/a?b"));
    assert_false(warns("GET", "other.test", 302, "http://[broken/"));
}

static void once(void **state)
{
    (void)state;
    assert_true(warns("GET", "once.test", 302, "http://once.test/a?b"));
    assert_false(warns("GET", "once.test", 302, "http://once.test/a?b"));
    assert_false(warns("GET", "ONCE.test", 302, "http://once.test/a?b"));
}

/* Clients choose hosts: however many there are, no more lines come of them in a minute. */
static void many(void **state)
{
    unsigned told = 0;
    (void)state;
    for (int i = 0; i < 200; i++) {
        char host[32], location[64];
        snprintf(host, sizeof(host), "many%d.test", i);
        snprintf(location, sizeof(location), "http://%s/a?b", host);
        told += warns("GET", host, 302, location);
    }
    assert_in_range(told, 1, 64);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(which), TEST(once), TEST(many)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
