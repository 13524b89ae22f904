/* SPDX-License-Identifier: Apache-2.0 */
/* exchange/running.c: which phase an exchange is in, how long it has been, and that as many are
 * written down as may be, the oldest first and tunnels last. */
#include "exchange_fixture.h"

#include "exchange/running.h"

static struct rig rig;
static struct probe p;

static int running_set_up(void **state)
{
    static const char *const options[] = {"rule[127.0.0.1].max_per_host=1",
                                          "destination.connect_ports=", NULL};
    (void)state;
    rig_open(&rig, options);
    return 0;
}

static int running_tear_down(void **state)
{
    (void)state;
    rig_close(&rig);
    return 0;
}

/* The only one under way: its phase, and what it does. The time of all phases is all of its time.
 */
static struct running only(void)
{
    struct running_list *list = running_collect(&rig.engine);
    assert_int_equal(list->n, 1);
    assert_int_equal(list->all, 1);
    struct running r = list->v[0];
    assert_true(r.r.t.end >= r.r.t.begin && r.r.t.end <= list->at);
    free(list);
    return r;
}

static void check(enum running_phase phase, const char *doing)
{
    struct running r = only();
    assert_string_equal(running_phase_name(r.phase), running_phase_name(phase));
    if (strstr(r.doing, doing) == NULL)
        fail_msg("%s, not %s", r.doing, doing);
}

static void until(enum exchange_state state)
{
    int64_t limit = loop_now() + 10000000;
    while (p.x.state != state && loop_now() < limit)
        loop_turn(&rig.f.loop, false);
    assert_int_equal(p.x.state, state);
}

static void nothing(void **state)
{
    (void)state;
    struct running_list *list = running_collect(&rig.engine);
    assert_int_equal(list->n, 0);
    assert_int_equal(list->all, 0);
    free(list);
}

static void each_phase(void **state)
{
    (void)state;
    probe_open(&p, &rig, "POST http://%P/a HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n");
    check(RUNNING_QUEUE, "before it");
    exchange_start(&p.x, STR("ab"), false);
    check(RUNNING_QUEUE, "waits for a connection");
    struct running r = only();
    while (r.phase == RUNNING_QUEUE) {
        loop_turn(&rig.f.loop, false);
        r = only();
    }
    assert_true(r.phase == RUNNING_DNS || r.phase == RUNNING_CONNECT);
    int64_t phases = r.r.t.queued + r.r.t.dns + r.r.t.connect + r.r.t.tls;
    assert_int_equal(phases, r.r.t.end - r.r.t.begin);
    int fd = rig_accept(&rig, "ab");
    check(RUNNING_SEND, "waits for the client");
    (void)exchange_body(&p.x, STR("cd"));
    exchange_end(&p.x, STR(""), NULL);
    (void)rig_read(&rig, fd, "cd", NULL);
    check(RUNNING_WAIT, "waits for the answer");
    r = only();
    assert_int_equal(r.r.status, 0);
    assert_int_equal(r.r.seat.number, 1);
    assert_int_equal(r.r.seat.position, 1);
    assert_true(r.r.t.sent > 0 && r.r.t.head == 0);
    fixture_write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
    while (p.x.res != HALF_BODY || p.x.seen.body < 2)
        loop_turn(&rig.f.loop, false);
    check(RUNNING_TRANSFER, "body of the answer");
    exchange_pause(&p.x, true);
    check(RUNNING_TRANSFER, "waits for the client to take");
    exchange_pause(&p.x, false);
    fixture_write(fd, "cd");
    until(EXCHANGE_DONE);
    check(RUNNING_DELIVER, "is answered");
    r = only();
    assert_int_equal(r.r.t.end, p.x.t.end);
    assert_int_equal(r.r.body, 4);
    exchange_close(&p.x, FAULT_NONE);
    nothing(NULL);
    probe_close(&p, &rig);
    close(fd);
}

static void behind_others(void **state)
{
    static struct probe first;
    (void)state;
    probe_open(&first, &rig, "GET http://%P/1 HTTP/1.1\r\nHost: h\r\n");
    exchange_start(&first.x, STR(""), true);
    int fd = rig_accept(&rig, "\r\n\r\n");
    probe_open(&p, &rig, "GET http://%P/2 HTTP/1.1\r\nHost: h\r\n");
    exchange_start(&p.x, STR(""), true);
    struct running_list *list = running_collect(&rig.engine);
    assert_int_equal(list->n, 2);
    assert_int_equal(list->v[0].phase, RUNNING_WAIT);
    assert_int_equal(list->v[1].phase, RUNNING_QUEUE);
    assert_non_null(strstr(list->v[1].doing, "max_per_host"));
    free(list);
    probe_close(&p, &rig);
    probe_close(&first, &rig);
    close(fd);
}

static void tunnels_come_last(void **state)
{
    static struct probe second;
    int pair[2];
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    char head[80];
    snprintf(head, sizeof(head), "CONNECT 127.0.0.1:%u HTTP/1.1\r\nHost: h\r\n", rig.port);
    probe_open(&p, &rig, head);
    p.down = stream_new(&rig.f.loop, pair[0], &p.side.peer);
    exchange_start(&p.x, STR(""), true);
    until(EXCHANGE_TUNNEL);
    check(RUNNING_TRANSFER, "tunnel");
    probe_open(&second, &rig, "GET http://%P/2 HTTP/1.1\r\nHost: h\r\n");
    struct running_list *list = running_collect(&rig.engine);
    assert_int_equal(list->n, 2);
    assert_true(!list->v[0].is_tunnel && list->v[1].is_tunnel);
    free(list);
    probe_close(&second, &rig);
    probe_close(&p, &rig);
    close(pair[1]);
}

static void no_more_than_may_be(void **state)
{
    enum { MANY = RUNNING_MOST + 20 };
    (void)state;
    struct probe *all = xcalloc(MANY, sizeof(*all));
    for (int i = 0; i < MANY; i++)
        probe_open(&all[i], &rig, "GET http://%P/ HTTP/1.1\r\nHost: h\r\n");
    struct running_list *list = running_collect(&rig.engine);
    assert_int_equal(list->n, RUNNING_MOST);
    assert_int_equal(list->all, MANY);
    assert_int_equal(list->v[0].r.id, all[0].x.id);
    assert_int_equal(list->v[RUNNING_MOST - 1].r.id, all[RUNNING_MOST - 1].x.id);
    free(list);
    for (int i = 0; i < MANY; i++)
        probe_close(&all[i], &rig);
    free(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing, running_set_up, running_tear_down),
        cmocka_unit_test_setup_teardown(each_phase, running_set_up, running_tear_down),
        cmocka_unit_test_setup_teardown(behind_others, running_set_up, running_tear_down),
        cmocka_unit_test_setup_teardown(tunnels_come_last, running_set_up, running_tear_down),
        cmocka_unit_test_setup_teardown(no_more_than_may_be, running_set_up, running_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
