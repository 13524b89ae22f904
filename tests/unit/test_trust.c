/* SPDX-License-Identifier: Apache-2.0 */
/* exchange/trust.c: a request whose credentials must be hashed first waits, goes on, or is refused;
 * and whose they were. */
#include "rig_fixture.h"

#include <crypt.h>

#include "exchange/auth.h"
#include "exchange/trust.h"

static unsigned refs; /* of the snapshot, while nobody hashes */

/* A rig with the user u, whose password is p: dTpw is u:p, dTp4 is u:x, dTp5 is u:y. */
static int set_up_users(void **state)
{
    char path[] = "/tmp/test_trust.XXXXXX", option[64];
    const char *options[] = {option, NULL};
    (void)state;
    int file = mkstemp(path);
    assert_true(file >= 0);
    assert_true(dprintf(file, "u:%s\n", crypt("p", "$5$rounds=1000$saltsalt")) > 0);
    close(file);
    snprintf(option, sizeof(option), "client.auth_file=%s", path);
    rig_open(&rig, options);
    unlink(path);
    refs = rig.conf->refs;
    return 0;
}

/* The thread that hashes has a snapshot until it is done. */
static int tear_down_users(void **state)
{
    for (int i = 0; i < 2000 && rig.conf->refs > refs; i++) {
        struct timespec t = {0, 1000000};
        nanosleep(&t, NULL);
        loop_turn(&rig.f.loop, false);
    }
    auth_stop();
    return tear_down(state);
}

static void begin(const char *credentials, const char *body, bool is_whole)
{
    char head[256];
    snprintf(head, sizeof(head),
             "POST http://%%P/ HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n"
             "Proxy-Authorization: Basic %s\r\n",
             credentials);
    probe_open(&p, &rig, head);
    exchange_start(&p.x, str_from(body), is_whole);
}

static void none(void **state)
{
    (void)state;
    probe_open(&p, &rig, "GET http://%P/ HTTP/1.1\r\nHost: h\r\n");
    exchange_start(&p.x, STR(""), true);
    assert_non_null(strstr(p.told, "HTTP/1.1 407 "));
    probe_close(&p, &rig);
}

static void wrong(void **state)
{
    (void)state;
    begin("dTp4", "ab", false);
    assert_int_equal(p.x.state, EXCHANGE_AUTH);
    until(NULL);
    assert_non_null(strstr(p.told, "HTTP/1.1 407 "));
    assert_false(p.x.must_close); /* what is left of its body may be passed over */
    assert_null(p.x.credentials.p);
    probe_close(&p, &rig);
}

/* The body comes while they are hashed. Who was right is remembered: the next one waits no more. */
static void right(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        begin("dTpw", "ab", false);
        assert_int_equal(p.x.state == EXCHANGE_AUTH, i == 0);
        (void)exchange_body(&p.x, STR("cd"));
        exchange_end(&p.x, STR(""), NULL);
        int fd = rig_accept(&rig, "abcd");
        fixture_write(fd, "HTTP/1.1 204 No\r\nConnection: close\r\n\r\n");
        until("|end");
        struct str user = trust_user(&p.x);
        assert_true(str_eq(user, STR("u")));
        probe_close(&p, &rig);
        close(fd);
    }
}

/* Whose CONNECT a request is in is known by its connection. */
static void trusted_before(void **state)
{
    (void)state;
    probe_open(&p, &rig, "GET http://%P/ HTTP/1.1\r\nHost: h\r\n");
    p.side.kind = SOURCE_BATCH;
    p.side.user = STR("who");
    exchange_start(&p.x, STR(""), true);
    assert_int_equal(p.x.state, EXCHANGE_WAIT);
    assert_true(str_eq(trust_user(&p.x), STR("who")));
    probe_close(&p, &rig);
}

/* However it ends while they are hashed, nothing is told afterwards. */
static void ended_meanwhile(void **state)
{
    struct fault f;
    (void)state;
    begin("dTp5", "abcd", true);
    assert_int_equal(p.x.state, EXCHANGE_AUTH);
    probe_close(&p, &rig);
    assert_string_equal(p.told, "");
    begin("dTp5", "ab", false);
    fault_set(&f, FAULT_BAD_REQUEST, "the body is bad");
    exchange_refuse(&p.x, &f);
    assert_non_null(strstr(p.told, "HTTP/1.1 400 "));
    assert_null(p.x.auth);
    fixture_settle(&rig.f);
    probe_close(&p, &rig);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_users, tear_down_users)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(none), TEST(wrong), TEST(right), TEST(trusted_before), TEST(ended_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
