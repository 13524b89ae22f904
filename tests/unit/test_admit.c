/* SPDX-License-Identifier: Apache-2.0 */
/* client/admit.c: who gets a place, and what others are told. */
#include "client_fixture.h"

static struct rig rig;

/* What a new client that asks for nothing gets to read, to the end. */
static void check_refused(const char *expected)
{
    int end = 0;
    unsigned before = (unsigned)counter_get(&rig.engine.stats->turned_away), total = rig.total;
    int fd = rig_connect(&rig);
    const char *text = rig_read(&rig, fd, NULL, &end);
    if (strstr(text, expected) == NULL)
        fail_msg("%s is not in: %s", expected, text);
    assert_int_equal(end, 1);
    assert_int_equal(counter_get(&rig.engine.stats->turned_away), before + 1);
    assert_int_equal(rig.total, total);
    close(fd);
    fixture_settle(&rig.f);
}

static void too_many(void **state)
{
    (void)state;
    rig_open(&rig, NULL);
    rig.clients.max = 1;
    int fd = rig_connect(&rig);
    assert_int_equal(rig.total, 1);
    check_refused("HTTP/1.1 503 Too many client connections, try again");
    close(fd);
    fixture_settle(&rig.f);
    assert_int_equal(rig.total, 0);
    fd = rig_connect(&rig);
    assert_non_null(rig_client(&rig));
    close(fd);
    rig_close(&rig);
}

static void not_allowed(void **state)
{
    static const char *const options[] = {"client.allow=192.0.2.0/24", NULL};
    (void)state;
    rig_open(&rig, options);
    check_refused("HTTP/1.1 403 Client address is not allowed by the proxy");
    assert_null(rig_client(&rig));
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(too_many),
        cmocka_unit_test(not_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
