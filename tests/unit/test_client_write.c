/* SPDX-License-Identifier: Apache-2.0 */
/* client/client_write.c: answers out: what waits, what is cut, and how that ends. */
#include "rig_fixture.h"

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
                container_of(order_first(&c->order), struct request, item)->x.res == HALF_BODY;
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
    for (int i = 0; i < 50 && c->state < CLIENT_TO_CLOSE; i++)
        loop_turn(&rig.f.loop, false);
    assert_true(c->state >= CLIENT_TO_CLOSE);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_follows_a_cut, set_up, tear_down),
        cmocka_unit_test_setup_teardown(cut_of_a_close_delimited_answer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(answers_that_nobody_reads, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
