/* SPDX-License-Identifier: Apache-2.0 */
/* exchange/expect.c: who says 100 to a client that waits for it, when, and how often; and that
 * nobody is blamed for waiting. The origin is played by the test. */
#include "rig_fixture.h"

#include "exchange/expect.h"

static int set_up_hints(void **state)
{
    static const char *const options[] = {"client.early_hints=on", NULL};
    (void)state;
    rig_open(&rig, options);
    return 0;
}

static unsigned count(const char *text, const char *word)
{
    unsigned n = 0;
    while ((text = strstr(text, word)) != NULL) {
        text += strlen(word);
        n++;
    }
    return n;
}

/* 250 ms are over. */
static void wait_is_over(struct exchange *x)
{
    assert_false(list_is_empty(&x->patience.link));
    timeout_clear(&x->patience);
    x->patience.fn(x->patience.arg);
}

#define PUT "PUT http://%P/ HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n"

/* Begins PUT; gives the origin's end of the connection, which is FD when that is not -1. */
static int begin(int fd)
{
    probe_open(&p, &rig, PUT);
    exchange_start(&p.x, STR(""), false);
    if (fd < 0)
        fd = fixture_accept(&rig.f, rig.origin);
    assert_non_null(strstr(rig_read(&rig, fd, "\r\n\r\n", NULL), "Expect: 100-continue\r\n"));
    return fd;
}

static void end(int fd)
{
    exchange_end(&p.x, STR("body"), NULL);
    (void)rig_read(&rig, fd, "body", NULL);
    fixture_write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    until("|end");
    probe_close(&p, &rig);
}

/* What was silent once is not waited for again, until it does say 100. */
static void silence_is_remembered(void **state)
{
    (void)state;
    int fd = begin(-1);
    assert_string_equal(p.told, "");
    wait_is_over(&p.x);
    assert_string_equal(p.told, "|100");
    end(fd);
    assert_int_equal(count(p.told, "|100"), 1);

    begin(fd);
    assert_string_equal(p.told, "|100");
    assert_true(list_is_empty(&p.x.patience.link));
    fixture_write(fd, "HTTP/1.1 100 Continue\r\n\r\n");
    fixture_settle(&rig.f);
    end(fd);
    assert_int_equal(count(p.told, "|100"), 1);

    begin(fd);
    fixture_settle(&rig.f);
    assert_string_equal(p.told, "");
    fixture_write(fd, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n");
    until("|100");
    wait_is_over(&p.x);
    end(fd);
    assert_int_equal(count(p.told, "|100"), 1);
    close(fd);
}

/* Whoever has been answered, or sends without having been told to, needs none. */
static void nobody_waits(void **state)
{
    (void)state;
    int fd = begin(-1);
    fixture_write(fd, "HTTP/1.1 401 No\r\nContent-Length: 9\r\n\r\n");
    until(" 401 ");
    wait_is_over(&p.x);
    assert_int_equal(count(p.told, "|100"), 0);
    probe_close(&p, &rig);
    close(fd);

    fd = begin(-1);
    assert_true(exchange_body(&p.x, STR("bo")));
    wait_is_over(&p.x);
    assert_int_equal(count(p.told, "|100"), 0);
    assert_false(*p.x.us->is_silent);
    exchange_end(&p.x, STR("dy"), NULL);
    fixture_write(fd, "HTTP/1.1 204 No\r\n\r\n");
    until("|end");
    probe_close(&p, &rig);
    close(fd);

    static const char *const heads[] = {
        "PUT http://%P/ HTTP/1.0\r\nContent-Length: 4\r\nExpect: 100-continue\r\n",
        "PUT http://%P/ HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: more\r\n",
        "PUT http://%P/ HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n",
    };
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        probe_open(&p, &rig, heads[i]);
        exchange_start(&p.x, STR(""), false);
        fd = rig_accept(&rig, "\r\n\r\n");
        assert_false(p.x.expects_continue);
        probe_close(&p, &rig);
        close(fd);
    }
    probe_open(&p, &rig, "PUT http://%P/ HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n");
    exchange_start(&p.x, STR(""), true);
    fd = rig_accept(&rig, "\r\n\r\n");
    assert_true(list_is_empty(&p.x.patience.link));
    probe_close(&p, &rig);
    close(fd);
}

/* The connection is lost before anything of the body has left: the request goes again, and who was
 * told to send is not told again. */
static void second_try(void **state)
{
    (void)state;
    for (int told = 0; told < 2; told++) {
        probe_open(&p, &rig, "GET http://%P/warm HTTP/1.1\r\nHost: h\r\n");
        exchange_start(&p.x, STR(""), true);
        int fd = rig_accept(&rig, "\r\n\r\n");
        fixture_write(fd, "HTTP/1.1 204 No\r\n\r\n");
        until("|end");
        probe_close(&p, &rig);
        begin(fd);
        if (told)
            wait_is_over(&p.x);
        close(fd);
        fd = rig_accept(&rig, "\r\n\r\n");
        fixture_settle(&rig.f);
        assert_int_equal(p.x.retry.tries, 1);
        assert_int_equal(count(p.told, "|100"), told);
        if (told)
            assert_true(list_is_empty(&p.x.patience.link));
        else
            wait_is_over(&p.x);
        assert_string_equal(p.told, "|100");
        fixture_write(fd, "HTTP/1.1 100 Continue\r\n\r\n");
        fixture_settle(&rig.f);
        end(fd);
        assert_int_equal(count(p.told, "|100"), 1);
        close(fd);
        fixture_settle(&rig.f);
    }
}

/* A part of the body that has gone up goes again, and the rest behind it. */
static void second_try_of_a_part(void **state)
{
    (void)state;
    int fd = begin(-1);
    end(fd);
    begin(fd);
    assert_true(exchange_body(&p.x, STR("bo")));
    (void)rig_read(&rig, fd, "bo", NULL);
    close(fd);
    fd = rig_accept(&rig, "\r\n\r\nbo");
    assert_int_equal(p.x.retry.tries, 1);
    exchange_end(&p.x, STR("dy"), NULL);
    (void)rig_read(&rig, fd, "dy", NULL);
    fixture_write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    until("|end");
    assert_int_equal(count(p.told, "|100"), 0);
    probe_close(&p, &rig);
    close(fd);
}

static void closes_on_info(struct exchange *x, struct h1_head *head)
{
    probe_on_info(x, head);
    exchange_close(x, FAULT_CLIENT_GONE);
}

/* The source may end the exchange when it hears 100: after the wait, and at once. */
static void closed_when_told(void **state)
{
    static struct source_ops ops;
    (void)state;
    ops = probe_ops;
    ops.on_info = closes_on_info;
    for (int at_once = 0; at_once < 2; at_once++) {
        probe_open(&p, &rig, PUT);
        p.x.source = &ops;
        exchange_start(&p.x, STR(""), false);
        int fd = fixture_accept(&rig.f, rig.origin);
        if (!at_once) {
            (void)rig_read(&rig, fd, "\r\n\r\n", NULL);
            wait_is_over(&p.x);
        }
        until("|100");
        assert_int_equal(p.x.state, EXCHANGE_CLOSED);
        probe_close(&p, &rig);
        close(fd);
    }
}

static void other_interim(bool is_told)
{
    static const char *const lines[] = {"102 Processing", "103 Early Hints", "104 Upload",
                                        "199 Whatever"};
    char text[64];
    probe_open(&p, &rig, "GET http://%P/ HTTP/1.1\r\nHost: h\r\n");
    exchange_start(&p.x, STR(""), true);
    int fd = rig_accept(&rig, "\r\n\r\n");
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        snprintf(text, sizeof(text), "HTTP/1.1 %s\r\n\r\n", lines[i]);
        fixture_write(fd, text);
    }
    fixture_write(fd, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\n");
    until("|end");
    assert_int_equal(
        strncmp(p.told, is_told ? "|102|103|104|199|100HTTP" : "|100HTTP", is_told ? 24 : 8), 0);
    probe_close(&p, &rig);
    close(fd);
}

static void interim_is_held_back(void **state)
{
    (void)state;
    other_interim(false);
}

static void interim_is_told(void **state)
{
    (void)state;
    other_interim(true);
}

/* ---- the client's time */

/* A client that waits for 100 is not late, whatever it waits for; once it has got it, it may be. */
static void time_runs_from_100(void **state)
{
    (void)state;
    int fd = rig_connect(&rig);
    rig_send(&rig, fd, PUT "\r\n");
    struct client *c = rig_client(&rig);
    assert_int_equal(c->timer_is, TIMER_NONE);
    int origin = rig_accept(&rig, "\r\n\r\n");
    assert_int_equal(c->timer_is, TIMER_NONE);
    struct exchange *x = &c->reading->x;
    wait_is_over(x);
    assert_string_equal(rig_read(&rig, fd, "\r\n\r\n", NULL), "HTTP/1.1 100 Continue\r\n\r\n");
    assert_int_equal(c->timer_is, TIMER_BODY);
    c->timer.fn(c->timer.arg);
    assert_non_null(strstr(rig_read(&rig, fd, NULL, NULL), "HTTP/1.1 408 "));
    close(origin);
    close(fd);
}

/* Who sends without having been told to is late with the rest. */
static void time_runs_from_the_body(void **state)
{
    (void)state;
    int fd = rig_connect(&rig);
    rig_send(&rig, fd, PUT "\r\n");
    struct client *c = rig_client(&rig);
    assert_int_equal(c->timer_is, TIMER_NONE);
    rig_send(&rig, fd, "bo");
    assert_int_equal(c->timer_is, TIMER_BODY);
    int origin = rig_accept(&rig, "bo");
    close(origin);
    close(fd);
    fixture_settle(&rig.f);
}

/* 100 has its turn as every answer: it leaves behind the one before it, and time runs from then. */
static void in_its_turn(void **state)
{
    (void)state;
    int fd = rig_connect(&rig);
    rig_send(&rig, fd,
             "GET http://%P/a HTTP/1.1\r\nHost: h\r\n\r\n"
             "GET http://%P/b HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n"
             "Expect: 100-continue\r\n\r\n");
    struct client *c = rig_client(&rig);
    int a = fixture_accept(&rig.f, rig.origin);
    int b = fixture_accept(&rig.f, rig.origin);
    if (strstr(rig_read(&rig, a, "\r\n\r\n", NULL), "GET /b") != NULL) {
        int other = a;
        a = b;
        b = other;
    }
    fixture_write(a, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\non");
    (void)rig_read(&rig, fd, "\r\n\r\non", NULL);
    wait_is_over(&c->reading->x);
    assert_true(c->reading->x.is_continued);
    client_run(c);
    assert_int_equal(c->timer_is, TIMER_NONE);
    fixture_write(b, "HTTP/1.1 100 Continue\r\n\r\n");
    fixture_settle(&rig.f);
    fixture_write(a, "ce");
    assert_string_equal(rig_read(&rig, fd, "\r\n\r\n", NULL), "ceHTTP/1.1 100 Continue\r\n\r\n");
    assert_int_equal(c->timer_is, TIMER_BODY);
    rig_send(&rig, fd, "body");
    fixture_write(b, "HTTP/1.1 204 No\r\n\r\n");
    assert_int_equal(strncmp(rig_read(&rig, fd, "\r\n\r\n", NULL), "HTTP/1.1 204 ", 13), 0);
    close(fd);
    fixture_settle(&rig.f);
    close(a);
    close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(silence_is_remembered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_waits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(second_try, set_up, tear_down),
        cmocka_unit_test_setup_teardown(second_try_of_a_part, set_up, tear_down),
        cmocka_unit_test_setup_teardown(closed_when_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(interim_is_held_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(interim_is_told, set_up_hints, tear_down),
        cmocka_unit_test_setup_teardown(time_runs_from_100, set_up, tear_down),
        cmocka_unit_test_setup_teardown(time_runs_from_the_body, set_up, tear_down),
        cmocka_unit_test_setup_teardown(in_its_turn, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
