/* SPDX-License-Identifier: Apache-2.0 */
/* client/: one connection's requests from the first byte to the last answer: the ends and the
 * in-betweens of a connection, each by the bytes that lead there. */
#include "rig_fixture.h"

/* What tlsfan answers by itself, without an origin. */
static void own_answers(void **state)
{
    static const struct {
        const char *request, *expected;
        int end; /* 0: the connection stays */
    } cases[] = {
        {"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 OK", 0},
        {"OPTIONS * HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab", "HTTP/1.1 200 OK", 0},
        {"OPTIONS * HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n", "Connection: close", 1},
        {"OPTIONS * HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n", "close", 1},
        {"OPTIONS * HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nZ\r\n", " 400 ", 1},
        {"TRACE http://h/ HTTP/1.1\r\nHost: h\r\nMax-Forwards: 0\r\nContent-Length: 3\r\n\r\n",
         "message/http", 1},
        {"CONNECT h:80 HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n", " 400 ", 1},
        {"CONNECT h:80 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", " 400 ", 1},
        {"CONNECT h:80 HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nabcde", " 400 ", 1},
        {"CONNECT h:81 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", " 400 ",
         1},
        {"CONNECT h:81 HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", " 403 ", 0},
        {"CONNECT h:80 HTTP/1.0\r\nHost: h\r\n\r\n", "established\r\n\r\n", 0},
        {"CONNECT h:80 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nOPTIONS / HTTP/1.1\r\nHost: "
         "h\r\nMax-Forwards: 0\r\n\r\n",
         "established\r\n\r\nHTTP/1.1 200 OK", 0},
        {"CONNECT h:81 HTTP/1.0\r\nHost: h\r\n\r\n", " 403 ", 1},
        {"GET * HTTP/1.1\r\nHost: h\r\n\r\n", " 400 ", 0},
        {"OPTIONS * HTTP/1.0\r\n\r\nGET http://h/ HTTP/1.0\r\n\r\n", " 200 ", 1},
        {"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n\r\n\r\nBAD\r\n\r\n", " 400 ", 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int end = 0;
        int fd = rig_connect(&rig);
        rig_send(&rig, fd, cases[i].request);
        const char *text = rig_read(&rig, fd, cases[i].end != 0 ? NULL : "\r\n\r\n", &end);
        fixture_settle(&rig.f);
        if (strstr(text, cases[i].expected) == NULL && cases[i].end == 0)
            fail_msg("%s: %s", cases[i].request, text);
        if (end != cases[i].end)
            fail_msg("%s: ended %d: %s", cases[i].request, end, text);
        close(fd);
        rig_check_empty(&rig);
    }
}

/* The idle timer that ran before the request must not end its answer. */
static void last_request_stops_the_timers(void **state)
{
    (void)state;
    int fd = rig_connect(&rig);
    assert_int_equal(rig_client(&rig)->timer_is, TIMER_IDLE);
    rig_send(&rig, fd, "POST http://%P/ HTTP/1.0\r\nContent-Length: 4\r\n\r\n");
    assert_int_equal(rig_client(&rig)->timer_is, TIMER_BODY);
    rig_send(&rig, fd, "abcd");
    assert_int_equal(rig_client(&rig)->timer_is, TIMER_NONE);
    assert_false(timeout_is_set(&rig_client(&rig)->timer));
    int origin = rig_accept(&rig, "abcd");
    fixture_write(origin, "HTTP/1.1 204 No\r\n\r\n");
    assert_non_null(strstr(rig_read(&rig, fd, NULL, NULL), "Connection: close"));
    close(origin);
    close(fd);
}

/* Who asked to close sends nothing behind that; who does, or was not asked, is lingered with. */
static void how_it_ends(void **state)
{
    static const struct {
        const char *request, *more;
        enum client_state first, then;
    } cases[] = {
        {"GET http://%P/ HTTP/1.1\r\nHost: h\r\n\r\n", "\r\n", CLIENT_HEAD, CLIENT_HEAD},
        {"POST http://%P/ HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n", "ab", CLIENT_BODY,
         CLIENT_HEAD},
        {"POST http://%P/ HTTP/1.0\r\nContent-Length: 2\r\n\r\na", "b", CLIENT_BODY, CLIENT_LAST},
        {"GET http://%P/ HTTP/1.0\r\n\r\n", "more", CLIENT_LAST, CLIENT_STOPPED},
        {"GET http://%P/ HTTP/1.1\r\nHost: h\r\n\r\n", "BAD\r\n\r\n", CLIENT_HEAD, CLIENT_STOPPED},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int end = 0;
        int fd = rig_connect(&rig);
        rig_send(&rig, fd, cases[i].request);
        const struct client *c = rig_client(&rig);
        assert_int_equal(c->state, cases[i].first);
        int origin = rig_accept(&rig, "\r\n\r\n");
        rig_send(&rig, fd, cases[i].more);
        assert_int_equal(c->state, cases[i].then);
        fixture_write(origin, "HTTP/1.1 204 No\r\n\r\n");
        (void)rig_read(&rig, fd, cases[i].then == CLIENT_HEAD ? "\r\n\r\n" : NULL, &end);
        assert_int_equal(end, cases[i].then != CLIENT_HEAD);
        close(origin);
        close(fd);
        rig_check_empty(&rig);
    }
}

static void idle_ends(void **state)
{
    int end = 0;
    (void)state;
    int fd = rig_connect(&rig);
    struct client *c = rig_client(&rig);
    c->timer.fn(c->timer.arg);
    assert_string_equal(rig_read(&rig, fd, NULL, &end), "");
    assert_int_equal(end, 1);
    close(fd);
}

/* Drain: the last answer of a pipeline says close, and those before it do not take it with them. */
static void drain_answers_what_came(void **state)
{
    (void)state;
    int fd = rig_connect(&rig);
    rig_send(&rig, fd, GET("/a") GET("/b"));
    int first = rig_accept(&rig, "\r\n\r\n"), second = rig_accept(&rig, "\r\n\r\n");
    rig.engine.draining = true;
    clients_drain(&rig.clients, 1000);
    fixture_write(first, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1");
    fixture_write(second, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2");
    char *text = xstrdup(rig_read(&rig, fd, NULL, NULL));
    char *close_at = strstr(text, "Connection: close");
    assert_non_null(close_at);
    assert_null(strstr(close_at + 1, "Connection: close"));
    assert_null(strstr(close_at, "HTTP/1.1 200"));
    free(text);
    close(first);
    close(second);
    close(fd);
    rig_check_empty(&rig);
}

/* Idle connections close a few at a time in a drain. */
static void drain_closes_in_parts(void **state)
{
    enum { CLIENTS = 96 };
    int fds[CLIENTS];
    (void)state;
    for (int i = 0; i < CLIENTS; i++)
        fds[i] = rig_connect(&rig);
    fixture_settle(&rig.f);
    int64_t first = 0, last = 0;
    rig.engine.draining = true;
    clients_drain(&rig.clients, 1);
    list_foreach (it, &rig.clients.all) {
        const struct client *c = container_of(it, struct client, link);
        first = first == 0 || c->timer.at < first ? c->timer.at : first;
        last = c->timer.at > last ? c->timer.at : last;
    }
    assert_true(last - first >= 2000); /* µs */
    while (rig.clients.n > 0)
        loop_turn(&rig.f.loop, true);
    for (int i = 0; i < CLIENTS; i++)
        close(fds[i]);
    rig_check_empty(&rig);
}

/* The client may go at each byte of its requests, and at each of the answer. */
static void client_leaves_anywhere(void **state)
{
    static const char request[] =
        GET("/a") "POST http://%P/b HTTP/1.1\r\nHost: h\r\n"
                  "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: x\r\n\r\n";
    (void)state;
    for (size_t n = 1; n < sizeof(request); n++) {
        if (request[n - 1] == '%')
            continue;
        char *part = xstrndup(request, n);
        int fd = rig_connect(&rig);
        rig_send(&rig, fd, part);
        if (n % 2 == 0)
            shutdown(fd, SHUT_WR);
        fixture_settle(&rig.f);
        close(fd);
        free(part);
        /* One that is not read from is missed when the origin has let it down. */
        for (int i = 0; i < 1000 && (i < 10 || rig.clients.n > 0); i++) {
            int left = accept(rig.origin, NULL, NULL);
            if (left >= 0)
                close(left);
            loop_turn(&rig.f.loop, false);
        }
        rig_check_empty(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(own_answers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(last_request_stops_the_timers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(how_it_ends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(idle_ends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(drain_answers_what_came, set_up, tear_down),
        cmocka_unit_test_setup_teardown(drain_closes_in_parts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(client_leaves_anywhere, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
