/* SPDX-License-Identifier: Apache-2.0 */
/* exchange/tunnel.c: bytes both ways, ends one side at a time, faults, and what must not be
 * lost when both sides end while something still waits. */
#include "client_fixture.h"

#include "exchange/tunnel.h"
#include "net/stream_share.h"

static struct rig rig;
static int client, origin; /* the test's ends */
static struct tunnel *tunnel;
static struct stream *inner[2]; /* the tunnel's: of the client, of the origin */
static bool over;
static uint64_t up, down;
static char block[1 << 20];

static void on_over(void *arg)
{
    assert_ptr_equal(arg, &rig);
    assert_false(over);
    over = true;
}

/* A connection over loopback with small buffers: our end, and the other as a stream. */
static struct stream *make_side(int *ours)
{
    uint16_t port;
    int small = 4096;
    int l = fixture_listen(&port);
    setsockopt(l, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    setsockopt(l, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    *ours = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(*ours, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    assert_int_equal(connect(*ours, (struct sockaddr *)&a, sizeof(a)), 0);
    int fd = fixture_accept(&rig.f, l);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    close(l);
    return stream_new(&rig.f.loop, fd, NULL);
}

static size_t idle; /* bytes counted while nothing waits */

static int set_up(void **state)
{
    (void)state;
    rig_open(&rig, NULL);
    over = false;
    up = down = 0;
    inner[0] = make_side(&client);
    inner[1] = make_side(&origin);
    stream_count_in(inner[0], &rig.budget, 0);
    stream_start(inner[0]);
    stream_pause(inner[0]);
    stream_pause(inner[1]);
    fixture_settle(&rig.f);
    struct tunnel_ends ends = {.client = inner[0],
                               .up = inner[1],
                               .bytes_up = &up,
                               .bytes_down = &down,
                               .timeout_ms = 60000,
                               .buffer = 64 * 1024};
    tunnel = tunnel_open(&rig.engine, &ends, on_over, &rig);
    idle = (size_t)rig.budget.used;
    size_t of_tunnel = sizeof(struct deadline) + sizeof(struct reap) + 12 * sizeof(void *);
    assert_true(idle >= sizeof(struct stream) + sizeof(struct fd_event) + of_tunnel);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    if (!over)
        tunnel_close(tunnel);
    assert_int_equal(counter_get(&rig.engine.stats->tunnels_open), 0);
    close(client);
    close(origin);
    rig_close(&rig);
    return 0;
}

/* Sends N bytes into FD as the loop turns. */
static void push(int fd, size_t n)
{
    int64_t end = loop_now() + 10000000;
    while (n > 0) {
        ssize_t r =
            send(fd, block, n < sizeof(block) ? n : sizeof(block), MSG_DONTWAIT | MSG_NOSIGNAL);
        n -= r > 0 ? (size_t)r : 0;
        loop_turn(&rig.f.loop, false);
        assert_true(loop_now() < end);
    }
    fixture_settle(&rig.f);
}

/* Reads FD to its end; gives the bytes, -1 after a reset. */
static ssize_t drain(int fd)
{
    static char sink[65536];
    ssize_t all = 0;
    int64_t end = loop_now() + 10000000;
    for (;;) {
        ssize_t r = recv(fd, sink, sizeof(sink), MSG_DONTWAIT);
        if (r == 0)
            return all;
        if (r < 0 && errno != EAGAIN)
            return -1;
        all += r > 0 ? r : 0;
        loop_turn(&rig.f.loop, false);
        assert_true(loop_now() < end);
    }
}

static void expect(int fd, const char *text)
{
    assert_string_equal(rig_read(&rig, fd, text, NULL), text);
}

static void half_closes(void **state)
{
    (void)state;
    fixture_write(client, "up");
    expect(origin, "up");
    fixture_write(origin, "down");
    expect(client, "down");
    assert_int_equal(counter_get(&rig.engine.stats->tunnels_open), 1);
    assert_int_equal(counter_get(&rig.engine.stats->tunnel_in), 2);
    assert_int_equal(counter_get(&rig.engine.stats->tunnel_out), 4);
    shutdown(client, SHUT_WR);
    assert_int_equal(drain(origin), 0);
    fixture_write(origin, "more");
    expect(client, "more");
    assert_false(over);
    shutdown(origin, SHUT_WR);
    assert_int_equal(drain(client), 0);
    fixture_settle(&rig.f);
    assert_true(over);
    assert_int_equal(up, 2);
    assert_int_equal(down, 8);
}

static void half_closes_the_other_way(void **state)
{
    (void)state;
    fixture_write(origin, "x");
    shutdown(origin, SHUT_WR);
    assert_int_equal(drain(client), 1);
    fixture_write(client, "up");
    expect(origin, "up");
    shutdown(client, SHUT_WR);
    assert_int_equal(drain(origin), 0);
    fixture_settle(&rig.f);
    assert_true(over);
}

/* Both sides have sent and ended; neither has read yet: nothing is lost. */
static void both_end_with_bytes_waiting(void **state)
{
    enum { MANY = 100000 };
    (void)state;
    push(client, MANY);
    push(origin, MANY);
    shutdown(client, SHUT_WR);
    shutdown(origin, SHUT_WR);
    fixture_settle(&rig.f);
    assert_true(stream_pending(inner[0]) > 0);
    assert_true(stream_pending(inner[1]) > 0);
    assert_int_equal(rig.budget.used, idle + stream_pending(inner[0]) + stream_pending(inner[1]));
    assert_int_equal(drain(client), MANY);
    fixture_settle(&rig.f);
    assert_false(over);
    assert_int_equal(drain(origin), MANY);
    fixture_settle(&rig.f);
    assert_true(over);
    assert_int_equal(up, MANY);
    assert_int_equal(down, MANY);
}

/* A side that does not read slows the other down, and only so long. */
static void back_pressure(void **state)
{
    size_t sent = 0;
    (void)state;
    for (int i = 0; i < 3000; i++) {
        ssize_t r = send(client, block, sizeof(block), MSG_DONTWAIT | MSG_NOSIGNAL);
        sent += r > 0 ? (size_t)r : 0;
        loop_turn(&rig.f.loop, false);
    }
    assert_true(inner[0]->paused);
    assert_in_range(stream_pending(inner[1]), 64 * 1024 + 1, 2 * 64 * 1024);
    shutdown(client, SHUT_WR);
    assert_int_equal(drain(origin), sent);
}

static void check_fault(int *from, int *to)
{
    struct linger hard = {1, 0};
    setsockopt(*from, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    close(*from);
    assert_int_equal(drain(*to), -1);
    fixture_settle(&rig.f);
    assert_true(over);
    *from = dup(*to);
}

static void client_fault(void **state)
{
    (void)state;
    check_fault(&client, &origin);
}

static void origin_fault(void **state)
{
    (void)state;
    check_fault(&origin, &client);
}

/* Closed from outside: what waits is lost, and the reader must see that. */
static void closed_with_bytes_waiting(void **state)
{
    (void)state;
    push(origin, 200000);
    assert_true(stream_pending(inner[0]) > 0);
    tunnel_close(tunnel);
    tunnel_close(tunnel);
    over = true;
    assert_int_equal(drain(client), -1);
    assert_int_equal(rig.budget.used, 0);
}

/* An origin that has answered and gone takes nothing more; its answer still arrives whole. */
static void answer_outlives_its_origin(void **state)
{
    (void)state;
    push(origin, 40000);
    close(origin);
    origin = -1;
    fixture_settle(&rig.f);
    for (int64_t end = loop_now() + 5000000; !over && loop_now() < end;) {
        fixture_write(client, "up");
        fixture_settle(&rig.f);
    }
    assert_true(over);
    assert_int_equal(drain(client), 40000);
}

static void closed_when_idle(void **state)
{
    (void)state;
    tunnel_close(tunnel);
    over = true;
    assert_int_equal(drain(client), 0);
    assert_int_equal(drain(origin), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(half_closes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(half_closes_the_other_way, set_up, tear_down),
        cmocka_unit_test_setup_teardown(both_end_with_bytes_waiting, set_up, tear_down),
        cmocka_unit_test_setup_teardown(back_pressure, set_up, tear_down),
        cmocka_unit_test_setup_teardown(client_fault, set_up, tear_down),
        cmocka_unit_test_setup_teardown(origin_fault, set_up, tear_down),
        cmocka_unit_test_setup_teardown(closed_with_bytes_waiting, set_up, tear_down),
        cmocka_unit_test_setup_teardown(answer_outlives_its_origin, set_up, tear_down),
        cmocka_unit_test_setup_teardown(closed_when_idle, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
