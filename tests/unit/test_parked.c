/* SPDX-License-Identifier: Apache-2.0 */
/* client/: a client that is parked is, to everybody, the one that it was before. */
#include "client/parked_impl.h"
#include "net/sock.h"
#include "rig_fixture.h"

#define OPTIONS "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"

static int set_up_parking(void **state)
{
    set_up(state);
    rig.clients.resting_most = 0;
    rig.clients.resting_us = 0;
    return 0;
}

static unsigned n_of(const struct list *all)
{
    unsigned n = 0;
    list_foreach (it, all)
        n++;
    return n;
}

static void check_counts(unsigned whole, unsigned parked)
{
    assert_int_equal(n_of(&rig.clients.all), whole);
    assert_int_equal(n_of(&rig.clients.parked), parked);
    assert_int_equal(n_of(&rig.clients.resting) + n_of(&rig.clients.woken), rig.clients.n_resting);
    assert_int_equal(rig.clients.n, whole + parked);
    assert_int_equal(rig.total, whole + parked);
}

static int connect_parked(void)
{
    int fd = rig_connect(&rig);
    fixture_settle(&rig.f);
    return fd;
}

static void ask(int fd, const char *request, const char *answer)
{
    rig_send(&rig, fd, request);
    const char *text = rig_read(&rig, fd, "\r\n\r\n", NULL);
    if (strstr(text, answer) == NULL)
        fail_msg("%s: %s", request, text);
    fixture_settle(&rig.f);
}

/* Through an origin and back, again and again. */
static void ask_origin(int fd, const char *body)
{
    char answer[128], end[32];
    rig_send(&rig, fd, GET("/"));
    check_counts(1, 0);
    int origin = rig_accept(&rig, "\r\n\r\n");
    snprintf(answer, sizeof answer,
             "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s", strlen(body),
             body);
    fixture_write(origin, answer);
    snprintf(end, sizeof end, "\r\n\r\n%s", body);
    (void)rig_read(&rig, fd, end, NULL);
    close(origin);
    fixture_settle(&rig.f);
}

static void its_requests_are_answered(void **state)
{
    (void)state;
    int fd = connect_parked();
    check_counts(0, 1);
    ask_origin(fd, "one");
    check_counts(0, 1);
    ask_origin(fd, "two");
    check_counts(0, 1);
    close(fd);
    rig_check_empty(&rig);
}

/* Who it is, how often it has asked, and that a request has come on its connection. */
static void it_stays_who_it_is(void **state)
{
    (void)state;
    rig.clients.resting_most = 1;
    int fd = connect_parked();
    const struct client *c = rig_client(&rig);
    struct source_side before = c->from;
    ask(fd, OPTIONS, " 200 ");
    ask(fd, "GET http://127.0.0.1:%P.1/ HTTP/1.1\r\nHost: h\r\n\r\n", " 400 ");
    assert_ptr_equal(rig_client(&rig), c);
    unsigned asked = c->from.asked;
    assert_true(asked > 0);
    rig.clients.resting_most = 0;
    fixture_settle(&rig.f);
    check_counts(0, 1);
    rig_send(&rig, fd, "G");
    c = rig_client(&rig);
    assert_int_equal(c->from.id, before.id);
    assert_int_equal(c->from.person, before.person);
    assert_int_equal(c->from.asked, asked);
    assert_int_equal(c->from.kind, before.kind);
    assert_true(addr_equal(&c->from.peer, &before.peer));
    assert_string_equal(c->from.peer_text, before.peer_text);
    assert_true(c->from.is_local);
    assert_true(c->seen_request);
    assert_ptr_equal(c->conf, rig.conf);
    close(fd);
    rig_check_empty(&rig);
}

/* The first bytes of a connection may be another protocol's, later ones are only wrong. */
static void first_bytes_are_looked_at(void **state)
{
    int end = 0;
    (void)state;
    int fd = connect_parked();
    check_counts(0, 1);
    rig_send(&rig, fd, "\x16\x03\x01\x02");
    const char *text = rig_read(&rig, fd, NULL, &end);
    assert_int_equal(end, 1);
    assert_null(strstr(text, " 200 "));
    close(fd);
    rig_check_empty(&rig);
}

static void the_oldest_go_first(void **state)
{
    int fds[5];
    (void)state;
    rig.clients.resting_most = 2;
    for (int i = 0; i < 5; i++) {
        fds[i] = rig_connect(&rig);
        fixture_settle(&rig.f);
    }
    check_counts(2, 3);
    ask(fds[0], OPTIONS, " 200 "); /* is the newest now */
    check_counts(2, 3);
    const struct client *newest = container_of(rig.clients.resting.prev, struct client, resting);
    ask(fds[0], OPTIONS, " 200 ");
    check_counts(2, 3);
    assert_ptr_equal(container_of(rig.clients.resting.prev, struct client, resting), newest);
    for (int i = 0; i < 5; i++)
        close(fds[i]);
    rig_check_empty(&rig);
}

/* Who was parked behind a request is whole behind the next until it has rested for resting_us; one
 * deadline, which is not set in vain, sees to the first of them. */
static void who_asks_again_stays(void **state)
{
    int fds[3];
    (void)state;
    rig.clients.resting_us = 3600000000;
    for (int i = 0; i < 3; i++) {
        fds[i] = connect_parked();
        ask(fds[i], OPTIONS, " 200 ");
    }
    check_counts(0, 3);
    rig.clients.resting_most = 1;
    for (int i = 0; i < 3; i++) {
        ask(fds[i], OPTIONS, " 200 ");
        assert_int_equal(deadline_is_set(&rig.clients.parking), i > 0);
    }
    check_counts(3, 0);
    struct client *first = container_of(list_first(&rig.clients.woken), struct client, resting);
    ask(fds[0], OPTIONS, " 200 "); /* rests from now on */
    int64_t before = container_of(first->resting.prev, struct client, resting)->timed;
    rig.clients.resting_us = 50000;
    deadline_clear(&rig.clients.parking);
    fixture_settle(&rig.f);
    while (n_of(&rig.clients.parked) < 2)
        loop_turn(&rig.f.loop, true);
    check_counts(1, 2);
    assert_ptr_equal(container_of(list_first(&rig.clients.woken), struct client, resting), first);
    assert_true(loop_now() - before >= 50000);
    assert_false(deadline_is_set(&rig.clients.parking));
    int late = connect_parked(); /* takes no place of theirs */
    ask(late, OPTIONS, " 200 ");
    check_counts(1, 3);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    close(late);
    rig_check_empty(&rig);
}

/* Where memory is short nobody is waited for. */
static void who_asks_again_and_memory_is_short(void **state)
{
    (void)state;
    int fd = connect_parked();
    rig.clients.resting_us = 3600000000;
    ask(fd, OPTIONS, " 200 ");
    check_counts(0, 1);
    ask(fd, OPTIONS, " 200 ");
    check_counts(1, 0);
    assert_true(deadline_is_set(&rig.clients.parking));
    atomic_store(&rig.budget.max, 1);
    fixture_settle(&rig.f);
    check_counts(0, 1);
    close(fd);
    rig_check_empty(&rig);
}

/* Others have a turn when there are many. */
static void many_in_parts(void **state)
{
    enum { MANY = 70 };
    int fds[MANY];
    (void)state;
    rig.clients.resting_most = MANY;
    for (int i = 0; i < MANY; i++)
        fds[i] = connect_parked();
    rig.clients.resting_most = 0;
    loop_turn(&rig.f.loop, false);
    unsigned parked = n_of(&rig.clients.parked);
    assert_true(parked > 0 && parked < MANY);
    while (n_of(&rig.clients.parked) < MANY)
        loop_turn(&rig.f.loop, true);
    check_counts(0, MANY);
    for (int i = 0; i < MANY; i++)
        close(fds[i]);
    rig_check_empty(&rig);
}

/* What has begun, or waits to be written, is no idle connection. */
static void whoever_is_busy_stays(void **state)
{
    (void)state;
    int part = rig_connect(&rig), body = rig_connect(&rig), asks = rig_connect(&rig);
    fixture_settle(&rig.f);
    check_counts(0, 3);
    rig_send(&rig, part, "GET http://%P/ HT");
    rig_send(&rig, body, "POST http://%P/ HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\na");
    rig_send(&rig, asks, GET("/"));
    fixture_settle(&rig.f);
    check_counts(3, 0);
    assert_int_equal(rig.clients.n_resting, 0);
    close(part);
    close(body);
    close(asks);
    rig_check_empty(&rig);
}

/* Sends BODY to the only client, who reads little, as the answer of ORIGIN. */
static void answer_much(int origin, const char *body, size_t n)
{
    char head[64];
    snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", n);
    fixture_write(origin, head);
    for (size_t sent = 0; sent < n;) {
        ssize_t got = send(origin, body + sent, n - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        sent += got > 0 ? (size_t)got : 0;
        loop_turn(&rig.f.loop, false);
    }
}

/* An answer that is whole, but not all taken, keeps its client for no longer than that. */
static void whoever_is_slow_stays(void **state)
{
    static char body[100001];
    (void)state;
    memset(body, 'a', sizeof body - 2);
    body[sizeof body - 2] = 'z';
    int fd = rig_connect(&rig), small = 4096;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    setsockopt(rig_client(&rig)->stream->line.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    rig_send(&rig, fd, GET("/"));
    int origin = rig_accept(&rig, "\r\n\r\n");
    answer_much(origin, body, sizeof body - 1);
    while (rig_client(&rig)->timer_is != TIMER_IDLE)
        loop_turn(&rig.f.loop, false);
    fixture_settle(&rig.f);
    check_counts(1, 0);
    assert_true(stream_pending(rig_client(&rig)->stream) > 0);
    (void)rig_read(&rig, fd, "z", NULL);
    fixture_settle(&rig.f);
    check_counts(0, 1);
    close(origin);
    close(fd);
    rig_check_empty(&rig);
}

/* A connection inside CONNECT has been told more than is kept. */
static void inside_connect_it_stays(void **state)
{
    (void)state;
    int fd = connect_parked();
    ask(fd, "CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n", "established");
    check_counts(1, 0);
    rig.clients.resting_most = 1;
    ask(fd, "OPTIONS / HTTP/1.1\r\nHost: h\r\nMax-Forwards: 0\r\n\r\n", " 200 ");
    check_counts(1, 0);
    assert_int_equal(rig.clients.n_resting, 0); /* it takes nobody's place */
    close(fd);
    rig_check_empty(&rig);
}

static void its_end_is_seen(void **state)
{
    (void)state;
    int ends = connect_parked(), resets = connect_parked();
    struct linger off = {.l_onoff = 1};
    check_counts(0, 2);
    shutdown(ends, SHUT_WR);
    assert_int_equal(setsockopt(resets, SOL_SOCKET, SO_LINGER, &off, sizeof off), 0);
    close(resets);
    rig_check_empty(&rig);
    close(ends);
}

static void it_is_idle_for_so_long(void **state)
{
    int end = 0;
    (void)state;
    rig.conf->client.idle_timeout = 1000; /* longer than until it is parked */
    int64_t begin = loop_now();
    int fd = rig_connect(&rig);
    fixture_settle(&rig.f);
    check_counts(0, 1);
    assert_string_equal(rig_read(&rig, fd, NULL, &end), "");
    assert_int_equal(end, 1);
    assert_true(loop_now() - begin >= 1000000);
    close(fd);
    rig_check_empty(&rig);
}

/* By a request alone: who sends empty lines has it no longer than who sends nothing. */
static void its_idle_time_goes_on(void **state)
{
    (void)state;
    int fd = connect_parked();
    const struct list *timers = &rig.clients.timers.set;
    int64_t at = container_of(list_first(timers), struct timeout, link)->at;
    rig_send(&rig, fd, "\r\n");
    fixture_settle(&rig.f);
    check_counts(0, 1);
    assert_int_equal(container_of(list_first(timers), struct timeout, link)->at, at);
    ask(fd, OPTIONS, " 200 ");
    check_counts(0, 1);
    assert_true(container_of(list_first(timers), struct timeout, link)->at > at);
    assert_int_equal(n_of(timers), 1);
    close(fd);
    rig_check_empty(&rig);
}

static void a_drain_ends_it(void **state)
{
    int end = 0;
    (void)state;
    int fd = connect_parked(), late = connect_parked();
    rig.engine.draining = true;
    clients_drain(&rig.clients, 50);
    ask(late, OPTIONS, "Connection: close"); /* it was on its way */
    assert_string_equal(rig_read(&rig, fd, NULL, &end), "");
    assert_int_equal(end, 1);
    close(fd);
    close(late);
    rig_check_empty(&rig);
}

/* What it has of a snapshot lasts, and goes with it. */
static void a_listener_that_speaks_for_one_host(void **state)
{
    uint16_t port;
    struct addr peer;
    (void)state;
    struct forward *of = arena_alloc(&rig.conf->arena, sizeof *of);
    *of = (struct forward){.host = (char *)"127.0.0.1", .port = rig.port};
    assert_true(addr_parse_ip(&peer, STR("127.0.0.1"), 7));
    struct client_listener l = {
        .addr = peer, .kind = LISTENER_FORWARD, .forward = of, .conf = rig.conf};
    int from = fixture_listen(&port);
    struct addr at = peer;
    addr_set_port(&at, port);
    int fd = sock_connect(&at, NULL);
    int ours = fixture_accept(&rig.f, from);
    assert_int_equal(fcntl(ours, F_SETFL, O_NONBLOCK), 0);
    unsigned refs = rig.conf->refs;
    client_open(&rig.clients, ours, &peer, &l);
    fixture_settle(&rig.f);
    check_counts(0, 1);
    assert_int_equal(rig.conf->refs, refs + 1);
    rig_send(&rig, fd, "GE");
    const struct source_side *who = &rig_client(&rig)->from;
    assert_int_equal(who->kind, SOURCE_FORWARD);
    assert_ptr_equal(who->forward, of);
    assert_string_equal(who->self, "127.0.0.1:7");
    assert_true(str_eq(who->fixed.name, STR("127.0.0.1")) && who->fixed.is_ip);
    assert_int_equal(who->fixed.port, rig.port);
    fixture_settle(&rig.f);
    assert_int_equal(rig.conf->refs, refs + 1);
    close(fd);
    rig_check_empty(&rig);
    assert_int_equal(rig.conf->refs, refs);
    close(from);
}

/* In max_memory it counts, but for less. */
static void it_counts_as_what_it_is(void **state)
{
    (void)state;
    rig.clients.resting_most = 1;
    int fd = connect_parked();
    int64_t whole = budget_used(&rig.budget);
    rig.clients.resting_most = 0;
    fixture_settle(&rig.f);
    int64_t parked = budget_used(&rig.budget);
    assert_true(parked >= (int64_t)sizeof(struct fd_event) && parked < whole / 2);
    clients_close(&rig.clients);
    fixture_settle(&rig.f);
    check_counts(0, 0);
    assert_int_equal(budget_used(&rig.budget), 0);
    close(fd);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_parking, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(its_requests_are_answered),
        TEST(it_stays_who_it_is),
        TEST(first_bytes_are_looked_at),
        TEST(the_oldest_go_first),
        TEST(who_asks_again_stays),
        TEST(who_asks_again_and_memory_is_short),
        TEST(many_in_parts),
        TEST(whoever_is_slow_stays),
        TEST(whoever_is_busy_stays),
        TEST(inside_connect_it_stays),
        TEST(its_end_is_seen),
        TEST(it_is_idle_for_so_long),
        TEST(its_idle_time_goes_on),
        TEST(a_drain_ends_it),
        TEST(it_counts_as_what_it_is),
        TEST(a_listener_that_speaks_for_one_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
