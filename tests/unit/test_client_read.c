/* SPDX-License-Identifier: Apache-2.0 */
/* client/client_read.c: requests in: what is taken of a read, bodies, and the answers that
 * overtake them. */
#include "rig_fixture.h"

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

/* The last piece of a body may fill the upstream's buffer: the next body must not wait for a drain
 * that nobody tells. */
static void full_buffer_is_forgotten_with_its_body(void **state)
{
    (void)state;
    int fd = rig_connect(&rig);
    rig_send(&rig, fd, "POST http://%P/a HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nab");
    int origin = rig_accept(&rig, "ab");
    struct client *c = rig_client(&rig);
    assert_ptr_equal(c->reading, container_of(order_first(&c->order), struct request, item));
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

/* An answer that is whole before its request, which has LENGTH bytes of body; two of them are sent.
 * FD: the client. Gives whether it says that the connection will end. */
static bool answer_early(int fd, unsigned length)
{
    char text[128];
    snprintf(text, sizeof text,
             "POST http://%%P/a HTTP/1.1\r\nHost: h\r\nContent-Length: %u\r\n\r\nab", length);
    rig_send(&rig, fd, text);
    int origin = rig_accept(&rig, "ab");
    fixture_write(origin, "HTTP/1.1 413 No\r\nContent-Length: 1\r\n\r\n1");
    const char *answer = rig_read(&rig, fd, "\r\n\r\n1", NULL);
    close(origin);
    return strstr(answer, "Connection: close") != NULL;
}

static void early_answer(void **state)
{
    (void)state;
    int end = 0;
    int fd = rig_connect(&rig);
    assert_false(answer_early(fd, 9));
    /* the rest of its body is nobody's, and what is behind it is the next request */
    rig_send(&rig, fd, "cdefghiGET http://%P/b HTTP/1.1\r\nHost: h\r\n\r\n");
    int origin = rig_accept(&rig, "GET /b ");
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
    assert_true(answer_early(fd, 20000000));
    (void)rig_read(&rig, fd, NULL, &end);
    assert_int_equal(end, 1);
    close(fd);
    rig_check_empty(&rig);
}

/* Nor for hours, byte by byte. */
static void early_answer_to_a_trickle(void **state)
{
    (void)state;
    int fd = rig_connect(&rig);
    (void)answer_early(fd, 9);
    struct client *c = rig_client(&rig);
    fixture_settle(&rig.f);
    assert_int_equal(c->timer_is, TIMER_REST);
    c->reading->x.t.end -= 31 * 1000 * 1000;
    rig_send(&rig, fd, "c");
    fixture_settle(&rig.f);
    assert_null(rig_client(&rig));
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(head_timer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(body_timer_begins_with_its_turn, set_up, tear_down),
        cmocka_unit_test_setup_teardown(heads_are_taken_in_parts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(full_buffer_is_forgotten_with_its_body, set_up, tear_down),
        cmocka_unit_test_setup_teardown(early_answer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(early_answer_to_much, set_up, tear_down),
        cmocka_unit_test_setup_teardown(early_answer_to_a_trickle, set_up, tear_down),
        cmocka_unit_test_setup_teardown(stalled_upload, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
