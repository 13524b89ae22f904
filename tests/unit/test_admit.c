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
    assert_int_equal(counter_get(&rig.engine.stats->over_limit), 1);
    close(fd);
    rig_close(&rig);
}

static void not_allowed(void **state)
{
    static const char *const options[] = {"client.allow=192.0.2.0/24", NULL};
    (void)state;
    rig_open(&rig, options);
    check_refused("HTTP/1.1 403 Client address is not allowed by the proxy");
    assert_int_equal(counter_get(&rig.engine.stats->over_limit), 0);
    assert_null(rig_client(&rig));
    rig_close(&rig);
}

/* What is turned to no port of HTTP is reset: an answer would be taken for that of its server. */
static void reset(void **state)
{
    static const char *const options[] = {"client.allow=192.0.2.0/24", NULL};
    (void)state;
    rig_open(&rig, options);
    int end = 0, fd = rig_connect_as(&rig, LISTENER_TRANSPARENT, false);
    assert_string_equal(rig_read(&rig, fd, NULL, &end), "");
    assert_int_equal(end, -1);
    close(fd);
    assert_null(rig_client(&rig));
    rig_close(&rig);
}

/* A peer at an address of this machine's is loopback to a transparent: listener; and a captured
 * command is whom we serve. */
static void from_here(void **state)
{
    static const char *const options[] = {"client.allow=::1/128", "client.allow=127.0.0.1", NULL};
    static const char *const strict[] = {"client.allow=192.0.2.0/24", NULL};
    (void)state;
    rig_open(&rig, options);
    int fd = rig_connect_as(&rig, LISTENER_TRANSPARENT, false);
    assert_non_null(rig_client(&rig));
    assert_true(rig_client(&rig)->from.is_local);
    close(fd);
    rig_close(&rig);
    for (int kind = LISTENER_CAPTURED_HTTP; kind <= LISTENER_HOST; kind++) {
        rig_open(&rig, strict);
        fd = rig_connect_as(&rig, (enum listener_kind)kind, false);
        assert_non_null(rig_client(&rig));
        assert_false(rig_client(&rig)->from.is_local);
        close(fd);
        fixture_settle(&rig.f);
        rig_close(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(too_many),
        cmocka_unit_test(not_allowed),
        cmocka_unit_test(reset),
        cmocka_unit_test(from_here),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
