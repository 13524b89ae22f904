/* SPDX-License-Identifier: Apache-2.0 */
/* upstream/race.c on addresses of 127/8 and ::1 with one port: some are listened to, some refuse,
 * and some are silent, for their queue is full. */
#include "upstream_fixture.h"

#include "net/outgoing.h"
#include "net/sock.h"
#include "upstream/outage.h"
#include "upstream/race.h"

static struct fixture fix;
static struct race race;
static uint16_t port;
static int listener; /* at 127.0.0.1 */

static struct {
    bool done;
    int fd;
    int64_t at; /* µs */
} end;

static void on_end(void *arg, int fd)
{
    struct race *r = arg;
    assert_ptr_equal(r, &race);
    assert_false(end.done);
    end.done = true;
    end.fd = fd;
    end.at = loop_now();
    race_close(r);
}

static struct addr addr_of(const char *ip)
{
    struct addr a;
    assert_true(addr_parse_ip(&a, str_from(ip), port));
    return a;
}

static void add(const char *ip)
{
    struct addr a = addr_of(ip);
    race_add(&race, &a, 1);
}

static bool has_ipv6(void)
{
    struct addr a;
    bool is_ip = addr_parse_ip(&a, STR("::1"), 0);
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    bool has = is_ip && fd >= 0 && bind(fd, &a.sa, a.len) == 0;
    close(fd);
    return has;
}

static int listen_at(const char *ip, int queue)
{
    struct addr a = addr_of(ip);
    int on = 1;
    int fd = socket(addr_family(&a), SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (addr_family(&a) == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    assert_int_equal(bind(fd, &a.sa, a.len), 0);
    assert_int_equal(listen(fd, queue), 0);
    return fd;
}

/* Takes no connection for as long as these are open. */
struct silent {
    int fds[3];
};

static struct silent be_silent(const char *ip)
{
    struct addr a = addr_of(ip);
    struct silent s = {{listen_at(ip, 0)}};
    for (int i = 1; i < 3; i++) {
        s.fds[i] = socket(addr_family(&a), SOCK_STREAM | SOCK_NONBLOCK, 0);
        connect(s.fds[i], &a.sa, a.len);
    }
    return s;
}

static void end_silence(struct silent s)
{
    for (int i = 0; i < 3; i++)
        close(s.fds[i]);
}

static void expect_fd(const char *ip)
{
    struct addr a = addr_of(ip);
    fixture_until(&fix, &end.done);
    assert_true(end.fd >= 0);
    close(end.fd);
    assert_true(addr_equal(&race.peer, &a));
}

static void expect_fault(enum fault_code code)
{
    fixture_until(&fix, &end.done);
    assert_int_equal(end.fd, -1);
    assert_int_equal(race.fault.code, code);
}

/* Another race, for another name: none remembers that the one before has refused. */
static void again(void)
{
    static char names[64][8];
    static unsigned n;
    race_close(&race);
    fixture_settle(&fix);
    memset(&end, 0, sizeof(end));
    snprintf(names[n], sizeof(names[n]), "h%u", n);
    race = (struct race){.loop = &fix.loop,
                         .conf = &fix.conf,
                         .who = {.is_local = true},
                         .name = names[n++],
                         .port = port,
                         .on_end = on_end,
                         .arg = &race};
    race_init(&race);
}

static int set_up(void **state)
{
    (void)state;
    fixture_open(&fix);
    listener = fixture_listen(&port);
    list_init(&race.attempts);
    deadline_init(&race.step, &fix.loop, NULL, NULL);
    again();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    race_close(&race);
    fixture_settle(&fix);
    close(listener);
    fixture_close(&fix);
    return 0;
}

static void test_one(void **state)
{
    (void)state;
    add("127.0.0.1");
    race_go(&race);
    assert_false(end.done);
    expect_fd("127.0.0.1");
    again();
    race_go(&race); /* of nothing */
    assert_true(end.done);
    assert_int_equal(end.fd, -1);
    assert_int_equal(race.fault.code, FAULT_NONE);
}

/* Turned back to us, it would be known. */
static void test_noted(void **state)
{
    (void)state;
    struct addr to = addr_of("127.0.0.1"), from;
    for (int on = 0; on < 2; on++) {
        outgoing_watch(on);
        again();
        add("127.0.0.1");
        race_go(&race);
        fixture_until(&fix, &end.done);
        assert_true(sock_local(end.fd, &from));
        assert_int_equal(outgoing_is_ours(&from, &to), on);
        close(end.fd);
    }
    outgoing_watch(false);
}

/* What refuses costs no time; what refuses altogether has 300 ms. */
static void test_refused(void **state)
{
    (void)state;
    int64_t start = loop_now();
    add("127.0.0.2");
    add("::1");
    add("127.0.0.3");
    add("127.0.0.1");
    race_go(&race);
    expect_fd("127.0.0.1");
    assert_in_range(end.at - start, 0, 700000);
    again();
    start = loop_now();
    add("127.0.0.2");
    add("127.0.0.3");
    race_go(&race);
    expect_fault(FAULT_REFUSED);
    assert_in_range(end.at - start, 290000, 2000000);
    again();
    add("127.0.0.4");
    race_go(&race);
    fixture_settle(&fix);
    assert_false(end.done);
    assert_true(race.is_resting);
    int fd = listen_at("127.0.0.4", 8);
    expect_fd("127.0.0.4");
    close(fd);
}

/* Each attempt is alone for its share of half the time. IPv6 begins, and families take turns. */
static void test_order_and_spacing(void **state)
{
    (void)state;
    static const char *const order[] = {"::1", "127.0.0.2", "127.0.0.3", "127.0.0.1"};
    struct silent silent[3];
    if (!has_ipv6())
        skip();
    fix.conf.upstream.connect_timeout = 800;
    for (unsigned i = 0; i < 3; i++)
        silent[i] = be_silent(order[i]);
    for (unsigned i = 1; i < 4; i++)
        add(order[i]);
    add(order[0]);
    int64_t start = loop_now();
    race_go(&race);
    for (unsigned i = 0; i < 3; i++) {
        struct addr a = addr_of(order[i]);
        assert_true(addr_equal(&race.peer, &a));
        assert_int_equal(race.n_attempts, i + 1);
        while (race.n_attempts == i + 1 && !end.done)
            loop_turn(&fix.loop, true);
        assert_in_range(loop_now() - start, (i + 1) * 100000, 3000000);
    }
    expect_fd("127.0.0.1");
    assert_int_equal(race.n_attempts, 0);
    for (int i = 0; i < 3; i++)
        end_silence(silent[i]);
}

/* The oldest attempt makes room for the 41st, and what fits the time has its turn. */
static void test_many(void **state)
{
    (void)state;
    char ip[32];
    close(listener);
    struct silent silent = be_silent("0.0.0.0");
    fix.conf.upstream.connect_timeout = 500;
    for (int i = 0; i < 60; i++) {
        snprintf(ip, sizeof(ip), "127.0.1.%d", i);
        add(ip);
    }
    int64_t start = loop_now();
    race_go(&race);
    struct addr last = addr_of("127.0.1.59");
    while (!addr_equal(&race.peer, &last)) {
        loop_turn(&fix.loop, true);
        assert_in_range(race.n_attempts, 1, 40);
    }
    assert_in_range(loop_now() - start, 590000, 2000000);
    assert_int_equal(race.n_attempts, 40);
    assert_false(end.done);
    end_silence(silent);
    listener = fixture_listen(&port);
}

/* What is added later joins; while more may come it is not over. */
static void test_later(void **state)
{
    (void)state;
    race.has_more = true;
    add("127.0.0.2");
    race_go(&race);
    while (race.n_attempts > 0)
        loop_turn(&fix.loop, true);
    assert_false(end.done || race.is_resting);
    race.has_more = false;
    add("::1");
    add("127.0.0.1");
    race_go(&race);
    expect_fd("127.0.0.1");
    /* One that runs is not hurried. */
    again();
    struct silent silent = be_silent("127.0.0.5");
    add("127.0.0.5");
    race_go(&race);
    add("127.0.0.1");
    race_go(&race);
    assert_int_equal(race.n_attempts, 1);
    expect_fd("127.0.0.1");
    end_silence(silent);
}

static void test_faults(void **state)
{
    (void)state;
    struct fault f;
    assert_true(netset_add(&fix.conf.destination.deny, STR("127.0.0.9")));
    fault_set(&f, FAULT_DNS, "no such name");
    race_note(&race, &f);
    assert_int_equal(race.fault.code, FAULT_DNS);
    add("127.0.0.9");
    add("127.0.0.2"); /* which refuses: that says less */
    race_go(&race);
    expect_fault(FAULT_ADDRESS_DENIED);
    race_note(&race, &f);
    assert_int_equal(race.fault.code, FAULT_ADDRESS_DENIED);
    again();
    add("127.0.0.9");
    race_go(&race);
    assert_true(end.done); /* nothing of it may pass by itself */
    expect_fault(FAULT_ADDRESS_DENIED);
    netset_clear(&fix.conf.destination.deny);
}

static int won;

static void on_win(void *arg, int fd)
{
    (void)arg;
    end.done = true;
    won = fd;
}

static int win(void)
{
    end.done = false;
    race_go(&race);
    fixture_until(&fix, &end.done);
    return won;
}

/* Both addresses take a connection, which is then of no use: each, once more the last, and all
 * again after a rest, once. */
static void test_of_no_use(void **state)
{
    (void)state;
    struct fault f;
    struct addr first = addr_of("127.0.0.1");
    struct addr second = addr_of("127.0.0.6");
    int fd = listen_at("127.0.0.6", 8);
    race.on_end = on_win;
    add("127.0.0.1");
    add("127.0.0.6");
    fault_set(&f, FAULT_UP_CLOSED, "cut");
    close(win());
    assert_true(addr_equal(&race.peer, &first));
    race_note(&race, &f);
    close(win());
    assert_true(addr_equal(&race.peer, &second));
    race_again(&race);
    close(win());
    assert_true(addr_equal(&race.peer, &second));
    for (int i = 0; i < 2; i++) {
        race_note(&race, &f);
        close(win());
        assert_true(addr_equal(&race.peer, i == 0 ? &first : &second));
    }
    race_note(&race, &f);
    assert_int_equal(win(), -1);
    assert_int_equal(race.fault.code, FAULT_UP_CLOSED);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_noted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_order_and_spacing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_many, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_later, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_faults, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_of_no_use, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
