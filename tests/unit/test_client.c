/* SPDX-License-Identifier: Apache-2.0 */
/* client/: one connection's requests from the first byte to the last answer: the ends and the
 * in-betweens of a connection, each by the bytes that lead there. */
#include "rig_fixture.h"

/* ---- requests that end a connection, or must not */

#define GET(path) "GET http://%P" path " HTTP/1.1\r\nHost: h\r\n\r\n"

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
    assert_false(deadline_is_set(&rig_client(&rig)->timer));
    int origin = rig_accept(&rig, "abcd");
    fixture_write(origin, "HTTP/1.1 204 No\r\n\r\n");
    assert_non_null(strstr(rig_read(&rig, fd, NULL, NULL), "Connection: close"));
    close(origin);
    close(fd);
}

/* A body that waits behind others is not late; from when it may come, it is. */
static void body_timer_begins_with_its_turn(void **state)
{
    (void)state;
    int fd = rig_connect(&rig);
    rig_send(&rig, fd,
             GET("/a") "POST http://%P/b HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n");
    struct client *c = rig_client(&rig);
    assert_int_equal(c->timer_is, TIMER_NONE);
    int origin = rig_accept(&rig, "\r\n\r\n");
    fixture_write(origin, "HTTP/1.1 204 No\r\n\r\n");
    (void)rig_read(&rig, fd, " 204 ", NULL);
    fixture_settle(&rig.f);
    assert_int_equal(c->timer_is, TIMER_BODY);
    c->timer.fn(c->timer.arg);
    assert_non_null(strstr(rig_read(&rig, fd, NULL, NULL), "HTTP/1.1 408 "));
    close(origin);
    close(fd);
}

/* A timer of a head runs from its own first byte, not from that of the one before it. */
static void head_timer(void **state)
{
    (void)state;
    int fd = rig_connect(&rig);
    rig_send(&rig, fd, "OPTIONS * HT");
    struct client *c = rig_client(&rig);
    assert_int_equal(c->timer_is, TIMER_HEAD);
    int64_t first = c->timer.at;
    rig_send(&rig, fd, "TP/1.1\r\nHos");
    assert_int_equal(c->timer.at, first);
    rig_send(&rig, fd, "t: h\r\n\r\nOPTIONS * HT");
    assert_int_equal(c->timer_is, TIMER_HEAD);
    assert_true(c->timer.at > first);
    c->timer.fn(c->timer.arg);
    assert_non_null(strstr(rig_read(&rig, fd, NULL, NULL), "HTTP/1.1 408 "));
    close(fd);
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

/* ---- many at once */

/* Requests of a few bytes that tlsfan answers itself, a thousand in one read: a part of them in
 * each turn of the loop, and all of them in the end. */
static void heads_are_taken_in_parts(void **state)
{
    enum { HEADS = 1000, PART = 32, READS = 4 };
    static const char head[] = "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n";
    static char text[HEADS * sizeof(head)];
    static char sink[65536];
    uint64_t before, most = 0;
    unsigned turns = 0;
    size_t got = 0;
    (void)state;
    int fd = rig_connect(&rig);
    for (unsigned i = 0; i < HEADS; i++)
        memcpy(text + i * strlen(head), head, strlen(head));
    assert_int_equal(send(fd, text, HEADS * strlen(head), MSG_NOSIGNAL), HEADS * strlen(head));
    for (uint64_t begun = 0; begun < HEADS && turns < 10 * HEADS; turns++) {
        before = begun;
        loop_turn(&rig.f.loop, false);
        begun = counter_get(&rig.engine.stats->begun);
        most = begun - before > most ? begun - before : most;
        ssize_t n = recv(fd, sink, sizeof(sink), MSG_DONTWAIT);
        got += n > 0 ? (size_t)n : 0;
    }
    assert_in_range(most, 1, PART * READS);
    assert_true(got > 0);
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

/* ---- answers that are cut */

/* What waits may go fast now. */
static void widen(int fd, int far)
{
    int large = 1 << 20;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &large, sizeof(large));
    setsockopt(far, SOL_SOCKET, SO_SNDBUF, &large, sizeof(large));
}

/* Behind a cut answer nothing may come, not even when it has not been written yet. */
static void nothing_follows_a_cut(void **state)
{
    static char block[512 * 1024];
    char chunk[32];
    (void)state;
    memset(block, 'a', sizeof(block));
    int fd = rig_connect(&rig), small = 4096;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    struct client *c = rig_client(&rig);
    setsockopt(c->stream->line.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    rig_send(&rig, fd, GET("/a") GET("/b"));
    int a = rig_accept(&rig, "\r\n\r\n"), b = rig_accept(&rig, "\r\n\r\n");
    fixture_write(a, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    fixture_settle(&rig.f);
    bool is_a = order_first(&c->order) != NULL &&
                container_of(order_first(&c->order), struct ask, item)->x.res == HALF_BODY;
    int first = is_a ? a : b;
    if (!is_a)
        fixture_write(b, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    snprintf(chunk, sizeof(chunk), "%zx\r\n", sizeof(block));
    fixture_write(first, chunk);
    for (size_t sent = 0; sent < 120000;) {
        ssize_t n = send(first, block, 120000 - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        sent += n > 0 ? (size_t)n : 0;
        loop_turn(&rig.f.loop, false);
    }
    fixture_settle(&rig.f);
    assert_true(stream_pending(c->stream) > 0);
    shutdown(first, SHUT_WR);
    for (int i = 0; i < 50 && !c->finishing; i++)
        loop_turn(&rig.f.loop, false);
    assert_true(c->finishing);
    assert_int_equal(c->order.n, 0);
    widen(fd, c->stream->line.fd);
    close(a);
    close(b);
    const char *text = rig_read(&rig, fd, NULL, NULL);
    assert_null(strstr(strstr(text, "HTTP/1.1") + 1, "HTTP/1.1"));
    assert_null(strstr(text, "\r\n0\r\n\r\n"));
    close(fd);
    rig_check_empty(&rig);
    assert_int_equal(rig_lines(&rig), 2);
}

/* An answer that ends at close must not end in a FIN when it is not whole. */
static void cut_of_a_close_delimited_answer(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        int end = 0;
        int fd = rig_connect(&rig);
        rig_send(&rig, fd, "GET http://%P/ HTTP/1.0\r\n\r\n");
        int origin = rig_accept(&rig, "\r\n\r\n");
        fixture_write(origin, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n");
        (void)rig_read(&rig, fd, "ok", NULL);
        if (how == 0)
            close(origin);
        else if (how == 1)
            shutdown(fd, SHUT_WR); /* and still reads */
        else
            clients_close(&rig.clients);
        (void)rig_read(&rig, fd, NULL, &end);
        assert_int_equal(end, -1);
        if (how != 0)
            close(origin);
        close(fd);
        rig_check_empty(&rig);
    }
}

/* Who asks without reading the answers is not read from, whoever makes them. */
static void answers_that_nobody_reads(void **state)
{
    static const char ask[] = "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n";
    static char many[1000 * (sizeof(ask) - 1)];
    size_t sent = 0;
    (void)state;
    for (size_t i = 0; i < 1000; i++)
        memcpy(many + i * (sizeof(ask) - 1), ask, sizeof(ask) - 1);
    static const char *const options[] = {"client.buffer=16k", NULL};
    rig_close(&rig);
    rig_open(&rig, options);
    int fd = rig_connect(&rig), small = 4096;
    struct client *c = rig_client(&rig);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    setsockopt(c->stream->line.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    while (!c->blocked && sent < 1000 * sizeof(many)) {
        size_t at = sent % sizeof(many);
        ssize_t n = send(fd, many + at, sizeof(many) - at, MSG_DONTWAIT | MSG_NOSIGNAL);
        sent += n > 0 ? (size_t)n : 0;
        loop_turn(&rig.f.loop, false);
    }
    assert_true(c->blocked);
    assert_true(stream_pending(c->stream) < 4 * rig.conf->client.buffer);
    widen(fd, c->stream->line.fd);
    shutdown(fd, SHUT_WR);
    size_t answers = 0;
    char before = '\n';
    for (ssize_t n = 1; n != 0;) {
        n = recv(fd, many, sizeof(many), MSG_DONTWAIT);
        for (ssize_t i = 0; i < n; i++)
            answers += many[i] == 'H' && (i == 0 ? before : many[i - 1]) == '\n';
        before = n > 0 ? many[n - 1] : before;
        loop_turn(&rig.f.loop, false);
    }
    assert_int_equal(answers, sent / (sizeof(ask) - 1));
    close(fd);
}

/* ---- bodies up */

/* The last piece of a body may fill the upstream's buffer: the next body must not wait for a drain
 * that nobody tells. */
static void full_buffer_is_forgotten_with_its_body(void **state)
{
    (void)state;
    int fd = rig_connect(&rig);
    rig_send(&rig, fd, "POST http://%P/a HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nab");
    int origin = rig_accept(&rig, "ab");
    struct client *c = rig_client(&rig);
    assert_ptr_equal(c->reading, container_of(order_first(&c->order), struct ask, item));
    c->body_full = true; /* as exchange_body() said of the last piece */
    rig_send(&rig, fd, "cd");
    fixture_write(origin, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1");
    (void)rig_read(&rig, fd, "\r\n\r\n1", NULL);
    rig_send(&rig, fd, "POST http://%P/b HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n");
    rig_send(&rig, fd, "efgh");
    (void)rig_read(&rig, origin, "efgh", NULL);
    fixture_write(origin, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2");
    (void)rig_read(&rig, fd, "\r\n\r\n2", NULL);
    close(origin);
    close(fd);
}

/* An answer that is whole before its request. */
static void early_answer(void **state)
{
    (void)state;
    int end = 0;
    int fd = rig_connect(&rig);
    rig_send(&rig, fd, "POST http://%P/a HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nab");
    int origin = rig_accept(&rig, "ab");
    fixture_write(origin, "HTTP/1.1 413 No\r\nContent-Length: 1\r\n\r\n1");
    const char *text = rig_read(&rig, fd, "\r\n\r\n1", &end);
    assert_null(strstr(text, "Connection: close"));
    close(origin);
    /* the rest of its body is nobody's, and what is behind it is the next request */
    rig_send(&rig, fd, "cdefghiGET http://%P/b HTTP/1.1\r\nHost: h\r\n\r\n");
    origin = rig_accept(&rig, "GET /b ");
    fixture_write(origin, "HTTP/1.1 200 Yes\r\nContent-Length: 1\r\n\r\n2");
    (void)rig_read(&rig, fd, "\r\n\r\n2", &end);
    assert_int_equal(end, 0);
    close(origin);
    close(fd);
    rig_check_empty(&rig);
}

/* Nobody reads gigabytes for nothing. */
static void early_answer_to_much(void **state)
{
    (void)state;
    int end = 0;
    int fd = rig_connect(&rig);
    rig_send(&rig, fd,
             "POST http://%P/a HTTP/1.1\r\nHost: h\r\nContent-Length: 20000000\r\n\r\nab");
    int origin = rig_accept(&rig, "ab");
    fixture_write(origin, "HTTP/1.1 413 No\r\nContent-Length: 1\r\n\r\n1");
    const char *text = rig_read(&rig, fd, "\r\n\r\n1", &end);
    assert_non_null(strstr(text, "Connection: close"));
    (void)rig_read(&rig, fd, NULL, &end);
    assert_int_equal(end, 1);
    close(origin);
    close(fd);
    rig_check_empty(&rig);
}

/* Nor for hours, byte by byte. */
static void early_answer_to_a_trickle(void **state)
{
    (void)state;
    int end = 0;
    int fd = rig_connect(&rig);
    rig_send(&rig, fd, "POST http://%P/a HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nab");
    int origin = rig_accept(&rig, "ab");
    fixture_write(origin, "HTTP/1.1 413 No\r\nContent-Length: 1\r\n\r\n1");
    (void)rig_read(&rig, fd, "\r\n\r\n1", &end);
    struct client *c = rig_client(&rig);
    fixture_settle(&rig.f);
    assert_int_equal(c->timer_is, TIMER_REST);
    c->reading->x.t.end -= 31 * 1000 * 1000;
    rig_send(&rig, fd, "c");
    fixture_settle(&rig.f);
    assert_null(rig_client(&rig));
    close(origin);
    close(fd);
    rig_check_empty(&rig);
}

/* An upstream that takes no more of a body is not waited for for ever. */
static void stalled_upload(void **state)
{
    static char block[1 << 20];
    (void)state;
    int fd = rig_connect(&rig);
    int small = 4096;
    setsockopt(rig.origin, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    rig_send(&rig, fd, "POST http://%P/a HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n\r\n");
    int origin = rig_accept(&rig, "\r\n\r\n");
    struct client *c = rig_client(&rig);
    for (int i = 0; i < 2000 && !c->body_full; i++) {
        (void)!send(fd, block, sizeof(block), MSG_DONTWAIT | MSG_NOSIGNAL);
        loop_turn(&rig.f.loop, false);
    }
    assert_true(c->body_full);
    struct exchange *x = &c->reading->x;
    assert_false(list_is_empty(&x->timeout.link));
    timeout_clear(&x->timeout);
    x->timeout.fn(x->timeout.arg);
    fixture_settle(&rig.f);
    assert_non_null(strstr(rig_read(&rig, fd, "read_timeout", NULL), "HTTP/1.1 504 "));
    close(origin);
    close(fd);
}

/* ---- what switches */

/* Bytes behind a CONNECT are not read before it is answered, even when others before it are. */
static void bytes_behind_connect_wait(void **state)
{
    (void)state;
    int fd = rig_connect(&rig);
    rig_send(&rig, fd,
             GET("/a") "GET http://%P/ws HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: "
                       "websocket\r\n\r\n\x81\x01z");
    int origin = rig_accept(&rig, "\r\n\r\n");
    struct client *c = rig_client(&rig);
    fixture_write(origin, "HTTP/1.1 204 No\r\n\r\n");
    (void)rig_read(&rig, fd, " 204 ", NULL);
    (void)rig_read(&rig, origin, "websocket\r\n", NULL);
    fixture_settle(&rig.f);
    assert_int_equal(c->order.n, 1);
    assert_non_null(c->switching);
    assert_true(c->blocked);
    fixture_write(origin, "HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n<");
    (void)rig_read(&rig, fd, "\r\n\r\n<", NULL);
    (void)rig_read(&rig, origin, "\x81\x01z", NULL);
    fixture_write(fd, "more");
    (void)rig_read(&rig, origin, "more", NULL);
    shutdown(fd, SHUT_WR);
    (void)rig_read(&rig, origin, NULL, NULL);
    fixture_write(origin, "last");
    close(origin);
    assert_string_equal(rig_read(&rig, fd, NULL, NULL), "last");
    close(fd);
    rig_check_empty(&rig);
    assert_int_equal(rig_lines(&rig), 2);
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
        cmocka_unit_test_setup_teardown(body_timer_begins_with_its_turn, set_up, tear_down),
        cmocka_unit_test_setup_teardown(head_timer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(idle_ends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(drain_answers_what_came, set_up, tear_down),
        cmocka_unit_test_setup_teardown(heads_are_taken_in_parts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(drain_closes_in_parts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_follows_a_cut, set_up, tear_down),
        cmocka_unit_test_setup_teardown(cut_of_a_close_delimited_answer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(answers_that_nobody_reads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(full_buffer_is_forgotten_with_its_body, set_up, tear_down),
        cmocka_unit_test_setup_teardown(early_answer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(early_answer_to_much, set_up, tear_down),
        cmocka_unit_test_setup_teardown(early_answer_to_a_trickle, set_up, tear_down),
        cmocka_unit_test_setup_teardown(stalled_upload, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bytes_behind_connect_wait, set_up, tear_down),
        cmocka_unit_test_setup_teardown(client_leaves_anywhere, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
