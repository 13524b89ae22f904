/* SPDX-License-Identifier: Apache-2.0 */
/* exchange/exchange.c: states, second tries, bodies that wait, tunnels, and closing in each
 * state. The origin is played by the test. */
#include "rig_fixture.h"

#include "exchange/performer.h"
#include "net/stream_share.h"

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
    assert_int_equal(rig.budget.used, p.x.share.counted + 6); /* no dial before the plan */
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

/* From the fourth one on a try waits for its time, and nothing is held upstream meanwhile. */
static void a_later_try(void **state)
{
    static const struct performer rides = {.start = shared_open};
    static const char head[] =
        "POST http://tlsfan.localhost/batch HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n";
    enum { CLOSED, REFUSED, ASKED, WAYS };
    struct fault f;
    (void)state;
    rig.engine.batch = &rides;
    fault_set(&f, FAULT_UP_CLOSED, "the origin ended the HTTP/2 connection (GOAWAY)");
    for (int way = CLOSED; way < WAYS; way++) {
        probe_open(&p, &rig, head);
        exchange_start(&p.x, STR("ab"), false);
        p.x.retry.tries = 3;
        shared.events->on_fault(shared.arg, &f, LOSS_UNSENT);
        assert_int_equal(p.x.state, EXCHANGE_LATER);
        assert_null(p.x.us);
        assert_true(p.x.timeout.at > loop_now());
        exchange_pause(&p.x, true);
        exchange_pause(&p.x, false);
        (void)exchange_body(&p.x, STR("cd"));
        shared_got = 0;
        if (way == ASKED) {
            int64_t before = loop_now();
            while (loop_now() - before < 2000)
                fixture_settle(&rig.f);
            if (p.x.state == EXCHANGE_LATER) /* on a slow machine its time may have come */
                fire(&p.x.timeout);
            assert_int_equal(p.x.state, EXCHANGE_ACTIVE);
            assert_int_equal(shared_got, 4);
            assert_in_range(p.x.t.queued, 2000, 10000000);
        } else if (way == REFUSED) {
            exchange_refuse(&p.x, &f);
            assert_true(p.over);
        }
        probe_close(&p, &rig);
        assert_true(list_is_empty(&rig.engine.sweep.set));
        assert_in_range(p.x.t.queued, 0, 10000000);
        assert_int_equal(shared_got, way == ASKED ? 4 : 0);
    }
}

static const char connect_head[] = "CONNECT %P HTTP/1.1\r\nHost: h\r\n";
static const char upgrade_head[] =
    "GET http://%P/ HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n";

/* Gives the probe a client, whose end it returns. */
static int give_client(void)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    p.down = stream_new(&rig.f.loop, pair[1], NULL);
    stream_count_in(p.down, &rig.budget, 0);
    stream_start(p.down);
    stream_pause(p.down);
    return pair[0];
}

/* Opens a tunnel by the request HEAD; FDS: the client's end and the origin's. */
static void open_tunnel(const char *head, int fds[2])
{
    bool is_upgrade = head == upgrade_head;
    probe_open(&p, &rig, head);
    fds[0] = give_client();
    exchange_start(&p.x, STR(""), true);
    fds[1] = is_upgrade ? rig_accept(&rig, "\r\n\r\n") : fixture_accept(&rig.f, rig.origin);
    if (is_upgrade)
        fixture_write(fds[1],
                      "HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    until("|tunnel");
    assert_int_equal(p.x.state, EXCHANGE_TUNNEL);
    assert_int_equal(p.x.status, is_upgrade ? 101 : 200);
    p.x.bytes_in = p.x.bytes_out = 0;
    fixture_write(fds[0], "up");
    assert_string_equal(rig_read(&rig, fds[1], "up", NULL), "up");
    fixture_write(fds[1], "down");
    assert_string_equal(rig_read(&rig, fds[0], "down", NULL), "down");
    assert_int_equal(p.x.t.end, 0); /* it lasts as long as the tunnel */
    /* What waits is counted in its stream: there is nothing to reserve for a response. */
    assert_int_equal(p.x.share.counted, sizeof(p.x) + p.x.arena.total);
}

/* CONNECT, and 101: the exchange has the tunnel, its bytes and its slot, and ends with it. */
static void tunnels(void **state)
{
    static const char *const any_port[] = {"destination.connect_ports=", NULL};
    (void)state;
    rig_close(&rig);
    rig_open(&rig, any_port);
    for (int i = 0; i < 8; i++) {
        bool is_closed = (i & 2) != 0;
        int fds[2];
        open_tunnel((i & 1) != 0 ? upgrade_head : connect_head, fds);
        p.close_at_end = (i & 4) != 0;
        exchange_pause(&p.x, true); /* it has nobody to pause */
        if (!is_closed) {
            close(fds[0]);
            close(fds[1]);
            until("|end");
        }
        probe_close(&p, &rig);
        assert_int_equal(p.x.bytes_in, 2);
        assert_int_equal(p.x.bytes_out, 4);
        assert_int_equal(p.over, !is_closed);
        rig_check_empty(&rig);
        if (is_closed) {
            close(fds[0]);
            close(fds[1]);
        }
    }
}

/* Whoever asked has no connection to give: nothing is left of the origin's. */
static void tunnel_to_nobody(void **state)
{
    (void)state;
    probe_open(&p, &rig, upgrade_head);
    exchange_start(&p.x, STR(""), true);
    int fd = rig_accept(&rig, "\r\n\r\n");
    fixture_write(fd, "HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nrest");
    until("|no tunnel");
    probe_close(&p, &rig);
    rig_check_empty(&rig);
    close(fd);
}

/* Whoever closed it may still find the rest of the request bad. */
static void refused_after_its_end(void **state)
{
    struct fault f;
    (void)state;
    fault_set(&f, FAULT_BAD_REQUEST, "too late");
    probe_open(&p, &rig, "GET http://%P/ HTTP/1.1\r\nHost: h\r\n");
    exchange_start(&p.x, STR(""), true);
    int fd = rig_accept(&rig, "\r\n\r\n");
    fixture_write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok");
    until("ok");
    exchange_close(&p.x, FAULT_CLIENT_GONE);
    exchange_refuse(&p.x, &f);
    assert_false(p.over);
    assert_int_equal(p.x.fault, FAULT_CLIENT_GONE);
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
        cmocka_unit_test_setup_teardown(a_first_part_is_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_later_try, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tunnels, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refused_after_its_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tunnel_to_nobody, set_up, tear_down),
        cmocka_unit_test_setup_teardown(close_in_each_state, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
