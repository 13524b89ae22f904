/* SPDX-License-Identifier: Apache-2.0 */
/* exchange/exchange.c: states, second tries, bodies that wait, timeouts, credentials, and
 * closing in each state. The origin is played by the test. */
#include "rig_fixture.h"

#include <crypt.h>

#include "exchange/auth.h"
#include "exchange/performer.h"

/* Leaves a connection in the pool that has carried a request; gives the origin's end. */
static int warm(void)
{
    probe_open(&p, &rig, "GET http://%P/warm HTTP/1.1\r\nHost: h\r\n");
    exchange_start(&p.x, STR(""), true);
    int fd = rig_accept(&rig, "\r\n\r\n");
    fixture_write(fd, "HTTP/1.1 204 No\r\n\r\n");
    until(NULL);
    probe_close(&p, &rig);
    return fd;
}

static void fire(struct timeout *t)
{
    assert_false(list_is_empty(&t->link));
    timeout_clear(t);
    t->fn(t->arg);
}

/* A request lost on a connection that had been idle, by method. */
static void second_try(void **state)
{
    static const struct {
        const char *head, *body, *expected;
    } cases[] = {
        {"GET http://%P/ HTTP/1.1\r\nHost: h\r\n", "", " 200 "},
        {"PUT http://%P/ HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n", "body", " 200 "},
        {"PUT http://%P/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n", "body", " 200 "},
        {"DELETE http://%P/ HTTP/1.1\r\nHost: h\r\n", "", " 200 "},
        {"POST http://%P/ HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n", "body",
         "may have been carried out"},
        {"FOO http://%P/ HTTP/1.1\r\nHost: h\r\n", "", "may have been carried out"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int fd = warm();
        bool retries = cases[i].expected[0] == ' ';
        probe_open(&p, &rig, cases[i].head);
        exchange_start(&p.x, str_from(cases[i].body), true);
        (void)rig_read(&rig, fd, cases[i].body[0] != '\0' ? "body" : "\r\n\r\n", NULL);
        assert_true(p.x.facts.is_reused);
        close(fd);
        if (retries) {
            fd = rig_accept(&rig, cases[i].body[0] != '\0' ? "body" : "\r\n\r\n");
            fixture_write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
        until(NULL);
        assert_non_null(strstr(p.told, cases[i].expected));
        assert_int_equal(p.x.retry.tries, retries);
        probe_close(&p, &rig);
        if (retries)
            close(fd);
        fixture_settle(&rig.f);
    }
}

/* A byte of the answer, or a body of which more went up than is kept: no second try. */
static void no_second_try(void **state)
{
    (void)state;
    for (int how = 0; how < 2; how++) {
        int fd = warm();
        probe_open(&p, &rig,
                   how == 1 ? "PUT http://%P/ HTTP/1.1\r\nHost: h\r\nContent-Length: 9000000\r\n"
                            : "PUT http://%P/ HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n");
        exchange_start(&p.x, STR("abcd"), how == 0);
        (void)rig_read(&rig, fd, "abcd", NULL);
        if (how == 0) {
            fixture_write(fd, "HTTP/1.1 200 O");
        } else {
            size_t n = 2 * p.x.conf->client.buffer;
            char *large = xcalloc(1, n);
            assert_true(rbody_is_replayable(&p.x.rbody));
            (void)exchange_body(&p.x, str_make(large, n));
            assert_false(rbody_is_replayable(&p.x.rbody));
            free(large);
        }
        fixture_settle(&rig.f);
        close(fd);
        until(NULL);
        assert_non_null(strstr(p.told, "HTTP/1.1 502 "));
        assert_int_equal(p.x.retry.tries, 0);
        assert_false(p.x.must_close);
        probe_close(&p, &rig);
    }
}

/* It need not be small, nor have come at once. */
static void second_try_of_a_large_body(void **state)
{
    static char large[20000];
    (void)state;
    memset(large, 'x', sizeof(large) - 1);
    large[sizeof(large) - 1] = 'y';
    int fd = warm();
    probe_open(&p, &rig, "PUT http://%P/ HTTP/1.1\r\nHost: h\r\nContent-Length: 20000\r\n");
    exchange_start(&p.x, str_make(large, sizeof(large)), true);
    (void)rig_read(&rig, fd, "xxxx", NULL);
    close(fd);
    fd = rig_accept(&rig, "xy");
    fixture_write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    until(NULL);
    assert_non_null(strstr(p.told, " 200 "));
    assert_int_equal(p.x.retry.tries, 1);
    probe_close(&p, &rig);
    close(fd);
}

/* The response timeout of the first try does not run on while the second one connects. */
static void second_try_has_its_own_time(void **state)
{
    (void)state;
    int fd = warm();
    probe_open(&p, &rig, "GET http://%P/ HTTP/1.1\r\nHost: h\r\n");
    exchange_start(&p.x, STR(""), true);
    (void)rig_read(&rig, fd, "\r\n\r\n", NULL);
    close(fd);
    for (int i = 0; i < 1000 && p.x.state != EXCHANGE_WAIT; i++)
        loop_turn(&rig.f.loop, false);
    assert_int_equal(p.x.state, EXCHANGE_WAIT);
    assert_true(list_is_empty(&p.x.timeout.link));
    probe_close(&p, &rig);
}

/* Body that comes before there is a connection waits, is counted, and goes up once. */
static void body_waits_for_a_connection(void **state)
{
    (void)state;
    probe_open(&p, &rig, "POST http://%P/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n");
    exchange_start(&p.x, STR("one"), false);
    assert_true(exchange_body(&p.x, STR("two")));
    assert_int_equal(rig.budget.used, p.x.share.counted + 6 + 2048); /* and the dial */
    int fd = rig_accept(&rig, "onetwo");
    assert_int_equal(rig.budget.used, p.x.share.counted + 2048); /* and the connection */
    assert_null(p.x.rbody.buffer.bytes);
    assert_int_equal(p.drains, 1);
    assert_true(exchange_body(&p.x, STR("three")));
    exchange_end(&p.x, STR(""), NULL);
    assert_non_null(strstr(rig_read(&rig, fd, "0\r\n\r\n", NULL), "5\r\nthree\r\n0\r\n\r\n"));
    fixture_write(fd, "HTTP/1.1 204 No\r\n\r\n");
    until(NULL);
    assert_false(p.x.must_close);
    probe_close(&p, &rig);
    close(fd);
}

/* Whole, with trailers, before the connection is there. */
static void trailers_wait_too(void **state)
{
    (void)state;
    probe_open(&p, &rig, "POST http://%P/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n");
    fields_init(&p.trailers, &p.x.arena, NULL, 0);
    fields_put(&p.trailers, STR("X-Sum"), STR("1"));
    exchange_start(&p.x, STR("one"), false);
    exchange_end(&p.x, STR(""), &p.trailers);
    int fd = rig_accept(&rig, "3\r\none\r\n0\r\nX-Sum: 1\r\n\r\n");
    assert_false(rbody_is_replayable(&p.x.rbody));
    fixture_write(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n\r\n");
    until("|trailers|end");
    probe_close(&p, &rig);
    close(fd);
}

/* A source that took no more before there was a connection is not flooded by it. */
static void paused_from_the_start(void **state)
{
    (void)state;
    probe_open(&p, &rig, "GET http://%P/ HTTP/1.1\r\nHost: h\r\n");
    exchange_start(&p.x, STR(""), true);
    exchange_pause(&p.x, true);
    int fd = rig_accept(&rig, "\r\n\r\n");
    fixture_write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    fixture_settle(&rig.f);
    assert_string_equal(p.told, "");
    assert_true(list_is_empty(&p.x.timeout.link));
    exchange_pause(&p.x, false);
    until("ok|end");
    probe_close(&p, &rig);
    close(fd);
}

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

/* A connection that others ride as well, in place of a batch call's: what it is given of a body. */
static struct ustream shared;
static size_t shared_got;

static void shared_start(struct ustream *us, const struct up_request *rq, struct str body, bool end)
{
    (void)us;
    (void)rq;
    (void)end;
    shared_got = body.len;
}

static bool shared_body(struct ustream *us, struct str data)
{
    (void)us;
    shared_got += data.len;
    return false;
}

static void shared_cancel(struct ustream *us)
{
    us->events = NULL;
}

static struct ustream *shared_open(struct exchange *x)
{
    static const struct ustream_ops ops = {
        .start = shared_start, .body = shared_body, .cancel = shared_cancel};
    (void)x;
    shared = (struct ustream){.ops = &ops, .facts = {.is_shared = true}};
    return &shared;
}

/* GOAWAY may come before anything has left: then what the first read brought of a body, and that is
 * more than a buffer, goes on another connection. */
static void a_first_part_is_kept(void **state)
{
    static const char *const small[] = {"client.buffer=16k", NULL};
    static const struct performer rides = {.start = shared_open};
    static char part[60000];
    struct fault f;
    (void)state;
    rig_close(&rig);
    rig_open(&rig, small);
    rig.engine.batch = &rides;
    probe_open(
        &p, &rig,
        "POST http://tlsfan.localhost/batch HTTP/1.1\r\nHost: h\r\nContent-Length: 70000\r\n");
    exchange_start(&p.x, str_make(part, sizeof(part)), false);
    assert_int_equal(shared_got, sizeof(part));
    fault_set(&f, FAULT_UP_CLOSED, "the origin ended the HTTP/2 connection (GOAWAY)");
    shared_got = 0;
    shared.events->on_fault(shared.arg, &f, LOSS_UNSENT);
    assert_string_equal(p.told, "");
    assert_int_equal(shared_got, sizeof(part));
    (void)exchange_body(&p.x, str_make(part, 10000)); /* it has begun with it, then */
    assert_false(rbody_is_replayable(&p.x.rbody));
    probe_close(&p, &rig);
}

/* CONNECT, and 101: the stream and its slot are the source's. */
static void tunnels(void **state)
{
    static const char *const any_port[] = {"destination.connect_ports=", NULL};
    (void)state;
    rig_close(&rig);
    rig_open(&rig, any_port);
    probe_open(&p, &rig, "CONNECT %P HTTP/1.1\r\nHost: h\r\n");
    exchange_start(&p.x, STR(""), true);
    until("|tunnel");
    assert_null(p.slot);
    assert_int_equal(p.x.status, 200);
    assert_int_equal(p.x.state, EXCHANGE_TUNNEL);
    assert_int_equal(p.x.t.end, 0); /* it lasts as long as the tunnel */
    probe_close(&p, &rig);
    close(fixture_accept(&rig.f, rig.origin));
    probe_open(
        &p, &rig,
        "GET http://%P/ HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n");
    p.close_at_end = true;
    exchange_start(&p.x, STR(""), true);
    int fd = rig_accept(&rig, "\r\n\r\n");
    fixture_write(fd, "HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nrest");
    until("|tunnel");
    assert_non_null(p.slot);
    assert_true(p.up->paused);
    probe_close(&p, &rig);
    close(fd);
}

/* In each state, and from inside the last callback; one line each, and nothing left. */
static void close_in_each_state(void **state)
{
    static const char head[] = "PUT http://%P/ HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n";
    (void)state;
    for (int at = EXCHANGE_NEW; at <= EXCHANGE_CLOSED; at++) {
        int fd = -1;
        probe_open(&p, &rig, head);
        p.close_at_end = at == EXCHANGE_CLOSED;
        if (at >= EXCHANGE_AUTH)
            exchange_start(&p.x, STR("ab"), false);
        if (at >= EXCHANGE_ACTIVE)
            fd = rig_accept(&rig, "ab");
        if (at >= EXCHANGE_DONE)
            fixture_write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        if (at >= EXCHANGE_DONE)
            until("|end");
        probe_close(&p, &rig);
        exchange_close(&p.x, FAULT_NONE);
        exchange_pause(&p.x, true);
        if (fd >= 0)
            close(fd);
        rig_check_empty(&rig);
        assert_int_equal(rig_lines(&rig), at + 1);
        int left;
        while ((left = accept(rig.origin, NULL, NULL)) >= 0)
            close(left);
    }
}

/* ---- credentials that must be hashed first */

static void credentials(void **state)
{
    char path[] = "/tmp/test_exchange.XXXXXX", option[64];
    const char *options[] = {option, "destination.connect_ports=", NULL};
    (void)state;
    int file = mkstemp(path);
    assert_true(file >= 0);
    assert_true(dprintf(file, "u:%s\n", crypt("p", "$5$rounds=1000$saltsalt")) > 0);
    close(file);
    snprintf(option, sizeof(option), "client.auth_file=%s", path);
    rig_close(&rig);
    rig_open(&rig, options);
    unlink(path);
    /* dTpw is u:p, dTp4 is u:x */
    probe_open(&p, &rig, "GET http://%P/ HTTP/1.1\r\nHost: h\r\n");
    exchange_start(&p.x, STR(""), true);
    assert_non_null(strstr(p.told, "HTTP/1.1 407 "));
    probe_close(&p, &rig);
    probe_open(&p, &rig,
               "POST http://%P/ HTTP/1.1\r\nHost: h\r\nProxy-Authorization: Basic dTp4\r\n"
               "Content-Length: 4\r\n");
    exchange_start(&p.x, STR("ab"), false);
    assert_int_equal(p.x.state, EXCHANGE_AUTH);
    until(NULL);
    assert_non_null(strstr(p.told, "HTTP/1.1 407 "));
    assert_false(p.x.must_close); /* what is left of its body may be passed over */
    probe_close(&p, &rig);
    probe_open(&p, &rig,
               "POST http://%P/ HTTP/1.1\r\nHost: h\r\nProxy-Authorization: Basic dTpw\r\n"
               "Content-Length: 4\r\n");
    exchange_start(&p.x, STR("ab"), false);
    (void)exchange_body(&p.x, STR("cd"));
    exchange_end(&p.x, STR(""), NULL);
    int fd = rig_accept(&rig, "abcd");
    fixture_write(fd, "HTTP/1.1 204 No\r\n\r\n");
    until("|end");
    probe_close(&p, &rig);
    /* closed while it is hashed */
    probe_open(&p, &rig,
               "POST http://%P/ HTTP/1.1\r\nHost: h\r\nProxy-Authorization: Basic dTp5\r\n");
    exchange_start(&p.x, STR(""), true);
    assert_int_equal(p.x.state, EXCHANGE_AUTH);
    probe_close(&p, &rig);
    for (int i = 0; i < 2000 && rig.conf->refs > 2; i++) {
        struct timespec t = {0, 1000000};
        nanosleep(&t, NULL);
        loop_turn(&rig.f.loop, false);
    }
    close(fd);
    auth_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(second_try, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_second_try, set_up, tear_down),
        cmocka_unit_test_setup_teardown(second_try_of_a_large_body, set_up, tear_down),
        cmocka_unit_test_setup_teardown(second_try_has_its_own_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(body_waits_for_a_connection, set_up, tear_down),
        cmocka_unit_test_setup_teardown(trailers_wait_too, set_up, tear_down),
        cmocka_unit_test_setup_teardown(paused_from_the_start, set_up, tear_down),
        cmocka_unit_test_setup_teardown(timeouts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_first_part_is_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tunnels, set_up, tear_down),
        cmocka_unit_test_setup_teardown(close_in_each_state, set_up, tear_down),
        cmocka_unit_test_setup_teardown(credentials, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
