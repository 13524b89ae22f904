/* SPDX-License-Identifier: Apache-2.0 */
/* exchange/timeout.c: which time runs when, and what is said when it is over. */
#include "rig_fixture.h"

static void timeouts(void **state)
{
    (void)state;
    probe_open(&p, &rig, "POST http://%P/ HTTP/1.1\r\nHost: h\r\n");
    exchange_start(&p.x, STR(""), true);
    int fd = rig_accept(&rig, "\r\n\r\n");
    fire(&p.x.timeout);
    assert_non_null(strstr(p.told, "HTTP/1.1 504 "));
    assert_non_null(strstr(p.told, "may have been carried out"));
    probe_close(&p, &rig);
    close(fd);
    probe_open(&p, &rig, "GET http://%P/ HTTP/1.1\r\nHost: h\r\n");
    exchange_start(&p.x, STR(""), true);
    fd = rig_accept(&rig, "\r\n\r\n");
    fixture_write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok");
    until("ok");
    fire(&p.x.timeout);
    assert_non_null(strstr(p.told, "ok|cut"));
    assert_int_equal(p.x.fault, FAULT_RESPONSE_TIMEOUT);
    probe_close(&p, &rig);
    close(fd);
}

static bool runs(void)
{
    return !list_is_empty(&p.x.timeout.link);
}

/* The client's own slowness is not the origin's: no time runs while it sends, nor while it does not
 * read. One that takes no more of a body is given read_timeout. */
static void whose_time_it_is(void **state)
{
    static char block[65536];
    bool more = true;
    (void)state;
    memset(block, 'x', sizeof block);
    probe_open(&p, &rig, "POST http://%P/ HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n");
    exchange_start(&p.x, STR("begin"), false);
    assert_false(runs()); /* the dial has a time of its own */
    int fd = rig_accept(&rig, "begin");
    assert_false(runs());
    for (int i = 0; more && i < 1000; i++)
        more = exchange_body(&p.x, str_make(block, sizeof block));
    assert_false(more);
    assert_true(p.x.body_waits && runs());
    unsigned drains = p.drains;
    while (p.drains == drains) {
        (void)recv(fd, block, sizeof block, MSG_DONTWAIT);
        loop_turn(&rig.f.loop, false);
    }
    assert_false(runs());
    for (int i = 0; !p.x.body_waits && i < 1000; i++)
        (void)exchange_body(&p.x, str_make(block, sizeof block));
    fire(&p.x.timeout);
    assert_non_null(strstr(p.told, "HTTP/1.1 504 Request body not taken by "));
    assert_non_null(strstr(p.told, "took no more of the request body within"));
    probe_close(&p, &rig);
    close(fd);
    probe_open(&p, &rig, "GET http://%P/ HTTP/1.1\r\nHost: h\r\n");
    exchange_start(&p.x, STR(""), true);
    fd = rig_accept(&rig, "\r\n\r\n");
    assert_true(runs());
    fixture_write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok");
    until("ok");
    int64_t at = p.x.timeout.at;
    fixture_write(fd, "more");
    until("more");
    assert_true(p.x.timeout.at > at); /* with each part, but for those of one turn */
    exchange_pause(&p.x, true);
    assert_false(runs());
    exchange_pause(&p.x, false);
    assert_true(runs());
    probe_close(&p, &rig);
    assert_false(runs());
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(timeouts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(whose_time_it_is, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
