/* SPDX-License-Identifier: Apache-2.0 */
/* own/name_service.c, own/name_query.c and own/name_conn.c: DNS of a captured command over both
 * transports, in front of a DNS server of the test's. */
#include "upstream_fixture.h"

#include "exchange/engine.h"
#include "net/sock.h"
#include "own/name_conn.h"
#include "own/name_map.h"
#include "own/name_service.h"

enum { A = 1, PTR = 12, AAAA = 28, HTTPS = 65, NOERROR = 0, SERVFAIL = 2, NXDOMAIN = 3 };

static struct fixture fix;
static struct fixture_dns server;
static struct engine engine;
static struct name_service *service;
static struct addr udp_at, tcp_at;
static int client; /* of UDP */

/* ---- messages */

static size_t put_query(uint8_t *to, const char *name, unsigned type, unsigned id)
{
    size_t at = 12;
    memset(to, 0, 12);
    to[0] = (uint8_t)(id >> 8);
    to[1] = (uint8_t)id;
    to[2] = to[5] = 1;
    while (*name != '\0') {
        size_t n = strcspn(name, ".");
        to[at++] = (uint8_t)n;
        memcpy(to + at, name, n);
        at += n;
        name += name[n] == '.' ? n + 1 : n;
    }
    to[at++] = 0;
    to[at++] = 0;
    to[at++] = (uint8_t)type;
    to[at++] = 0;
    to[at++] = 1;
    return at;
}

/* What an answer without EDNS says. */
struct told {
    unsigned id, code, records;
    char address[ADDR_TEXT];
};

static struct told read_answer(const uint8_t *p, size_t n)
{
    struct told t = {.id = (unsigned)(p[0] << 8 | p[1]), .code = p[3] & 0xf, .records = p[7]};
    assert_true(n > 12 && (p[2] & 0x80) != 0 && p[5] == 1);
    if (t.records == 1)
        snprintf(t.address, sizeof(t.address), "%u.%u.%u.%u", p[n - 4], p[n - 3], p[n - 2],
                 p[n - 1]);
    return t;
}

/* ---- UDP */

static void send_datagram(const void *p, size_t n)
{
    assert_int_equal(sendto(client, p, n, 0, &udp_at.sa, udp_at.len), n);
}

static void send_question(const char *name, unsigned type, unsigned id)
{
    uint8_t q[300];
    send_datagram(q, put_query(q, name, type, id));
}

/* The next datagram that comes back, of which it is seen that it comes from where was asked. */
static struct told next_answer(void)
{
    uint8_t p[DNS_ANSWER_SIZE];
    struct sockaddr_storage from;
    struct addr peer;
    socklen_t len = sizeof(from);
    int64_t end = loop_now() + 10000000;
    ssize_t n;
    while ((n = recvfrom(client, p, sizeof(p), MSG_DONTWAIT, (struct sockaddr *)&from, &len)) < 0) {
        assert_true(loop_now() < end);
        loop_turn(&fix.loop, false);
    }
    addr_from_sockaddr(&peer, (struct sockaddr *)&from, len);
    assert_true(addr_equal(&peer, &udp_at));
    return read_answer(p, (size_t)n);
}

static struct told ask(const char *name, unsigned type)
{
    send_question(name, type, 7);
    struct told t = next_answer();
    assert_int_equal(t.id, 7);
    return t;
}

/* ---- TCP */

static int dial(void)
{
    int fd = sock_connect(&tcp_at, NULL);
    assert_true(fd >= 0);
    fixture_settle(&fix);
    return fd;
}

static size_t frame(uint8_t *to, const char *name, unsigned type, unsigned id)
{
    size_t n = put_query(to + 2, name, type, id);
    to[0] = (uint8_t)(n >> 8);
    to[1] = (uint8_t)n;
    return n + 2;
}

static void send_frame(int fd, const char *name, unsigned id)
{
    uint8_t q[300];
    size_t n = frame(q, name, A, id);
    assert_int_equal(send(fd, q, n, 0), n);
}

static struct told next_frame(int fd)
{
    char p[DNS_ANSWER_SIZE + 1];
    assert_int_equal(fixture_read(&fix, fd, p, 2), 2);
    size_t n = (size_t)((uint8_t)p[0] << 8 | (uint8_t)p[1]);
    assert_in_range(n, 12, DNS_ANSWER_SIZE);
    assert_int_equal(fixture_read(&fix, fd, p, n), n);
    return read_answer((uint8_t *)p, n);
}

static void is_over(int fd)
{
    char c[2];
    assert_int_equal(fixture_read(&fix, fd, c, 1), 0);
    close(fd);
}

/* ---- */

static int bound(int type, struct addr *at)
{
    assert_true(addr_parse_ip(at, STR("0.0.0.0"), 0));
    int fd = type == SOCK_STREAM ? sock_listen(at, false)
                                 : socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    if (type == SOCK_DGRAM)
        assert_int_equal(bind(fd, &at->sa, at->len), 0);
    assert_true(sock_local(fd, at));
    uint16_t port = addr_port(at);
    assert_true(addr_parse_ip(at, STR("127.0.0.53"), port));
    return fd;
}

static int set_up(void **state)
{
    (void)state;
    fixture_open(&fix);
    fixture_dns_open(&fix, &server);
    fixture_open_dns(&fix);
    name_map_open();
    engine = (struct engine){.loop = &fix.loop, .dns = fix.dns};
    engine_set_conf(&engine, conf_ref(&fix.conf));
    struct name_sockets s = {.n_udp = 1, .n_tcp = 1};
    s.udp[0] = bound(SOCK_DGRAM, &udp_at);
    s.tcp[0] = bound(SOCK_STREAM, &tcp_at);
    service = name_service_new(&engine, &s);
    client = socket(AF_INET, SOCK_DGRAM, 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    close(client);
    name_service_close(service);
    engine_set_conf(&engine, NULL);
    name_map_close();
    fixture_dns_close(&server);
    fixture_close(&fix);
    return 0;
}

static void over_udp(void **state)
{
    (void)state;
    struct told t = ask("four.test", A);
    assert_string_equal(t.address, "198.18.0.1");
    t = ask("FOUR.Test", A);
    assert_string_equal(t.address, "198.18.0.1");
    static const unsigned others[] = {AAAA, HTTPS};
    for (int i = 0; i < 2; i++) {
        t = ask("four.test", others[i]);
        assert_int_equal(t.code, NOERROR);
        assert_int_equal(t.records, 0);
    }
    assert_string_equal(ask("six.test", A).address, "198.18.0.2");
    assert_string_equal(ask("localhost", A).address, "127.0.0.1");
    assert_int_equal(ask("1.0.18.198.in-addr.arpa", PTR).records, 1);
}

/* As outside. */
static void without_address(void **state)
{
    (void)state;
    assert_int_equal(ask("none.test", A).code, NXDOMAIN);
    assert_int_equal(ask("none.test", AAAA).code, NXDOMAIN);
    fix.conf.dns.timeout = 60;
    dns_configure(fix.dns, &fix.conf);
    assert_int_equal(ask("silent.test", A).code, SERVFAIL);
    assert_int_equal(ask("silent.test", AAAA).code, SERVFAIL);
    /* It exists, though nobody knows all of it. */
    assert_int_equal(ask("half.test", AAAA).code, NOERROR);
    assert_string_equal(ask("half.test", A).address, "198.18.0.1");
    fix.conf.dns.timeout = 3000;
    fix.conf.dns.family = AF_INET;
    dns_configure(fix.dns, &fix.conf);
    struct told t = ask("six.test", A);
    assert_int_equal(t.code, NOERROR);
    assert_int_equal(t.records, 0);
    assert_int_equal(ask("none.test", A).code, NXDOMAIN);
}

/* Domains are added by whoever asks. */
static void without_search_list(void **state)
{
    (void)state;
    setenv("LOCALDOMAIN", "one.test two.test", 1);
    dns_configure(fix.dns, &fix.conf);
    assert_int_equal(ask("none", A).code, NXDOMAIN);
    assert_int_equal(server.queries, 2);
    unsetenv("LOCALDOMAIN");
}

/* A reload, and what the new one leads elsewhere needs no server. */
static void newest_snapshot(void **state)
{
    (void)state;
    struct connect_to map = {.host = "none.test", .to_host = "127.0.0.1"};
    struct conf next = fix.conf;
    assert_int_equal(ask("none.test", A).code, NXDOMAIN);
    next.connect_to = &map;
    next.n_connect_to = 1;
    engine_set_conf(&engine, &next);
    next.refs = 2;
    assert_string_equal(ask("none.test", A).address, "198.18.0.1");
    engine_set_conf(&engine, conf_ref(&fix.conf));
}

static void garbage(void **state)
{
    (void)state;
    uint8_t p[8192] = {0};
    send_datagram(p, 0);
    send_datagram(p, 11);
    memset(p, 0xff, sizeof(p));
    send_datagram(p, sizeof(p));
    assert_string_equal(ask("four.test", A).address, "198.18.0.1");
    /* An answer is not answered; half a question is. */
    size_t n = put_query(p, "four.test", A, 1);
    p[2] |= 0x80;
    send_datagram(p, n);
    p[2] &= 0x7f;
    p[0] = 9;
    assert_int_equal(sendto(client, p, n - 1, 0, &udp_at.sa, udp_at.len), n - 1);
    char answer[64];
    fixture_settle(&fix);
    assert_int_equal(recv(client, answer, sizeof(answer), MSG_DONTWAIT), 12);
    assert_int_equal(answer[0], 9);
    assert_int_equal(answer[3] & 0xf, 1);
}

/* What waits is bounded; whoever comes too late is told so, and all is as before when they end. */
static void too_many(void **state)
{
    (void)state;
    char name[32];
    server.hold = true;
    for (unsigned i = 0; i < NAME_QUERIES_MAX; i++) {
        snprintf(name, sizeof(name), "n%u.test", i);
        send_question(name, A, i);
        loop_turn(&fix.loop, false);
    }
    fixture_settle(&fix);
    struct told t = ask("late.test", A);
    assert_int_equal(t.code, SERVFAIL);
    assert_string_equal(ask("localhost", A).address, "127.0.0.1");
}

static void over_tcp(void **state)
{
    (void)state;
    uint8_t q[600];
    int fd = dial();
    /* Two at once, the second one in pieces. */
    size_t n = frame(q, "four.test", A, 1);
    n += frame(q + n, "none.test", A, 2);
    assert_int_equal(send(fd, q, n - 20, 0), n - 20);
    assert_string_equal(next_frame(fd).address, "198.18.0.1");
    for (size_t i = n - 20; i < n; i++) {
        assert_int_equal(send(fd, q + i, 1, 0), 1);
        fixture_settle(&fix);
    }
    struct told t = next_frame(fd);
    assert_int_equal(t.id, 2);
    assert_int_equal(t.code, NXDOMAIN);
    /* Its side is ended: what it has asked is answered. */
    send_frame(fd, "both.test", 3);
    send_frame(fd, "localhost", 4);
    shutdown(fd, SHUT_WR);
    assert_int_equal(next_frame(fd).id, 4);
    assert_int_equal(next_frame(fd).id, 3);
    is_over(fd);
}

static void bad_lengths(void **state)
{
    (void)state;
    static const char bad[][2] = {{0, 0}, {0, 11}, {16, 1}, {(char)255, (char)255}};
    for (int i = 0; i < 4; i++) {
        int fd = dial();
        assert_int_equal(send(fd, bad[i], 2, 0), 2);
        is_over(fd);
    }
    /* Cut off inside of a query; and an answer, which nothing is said to. */
    int fd = dial();
    uint8_t q[300];
    size_t n = frame(q, "four.test", A, 1);
    q[4] |= 0x80;
    assert_int_equal(send(fd, q, n, 0), n);
    send_frame(fd, "localhost", 2);
    assert_int_equal(next_frame(fd).id, 2);
    assert_int_equal(send(fd, q, 5, 0), 5);
    shutdown(fd, SHUT_WR);
    is_over(fd);
}

/* The one used longest ago goes. */
static void many_connections(void **state)
{
    (void)state;
    int fds[NAME_CONNS_MAX + 1];
    for (int i = 0; i < NAME_CONNS_MAX; i++)
        fds[i] = dial();
    send_frame(fds[0], "localhost", 1);
    assert_int_equal(next_frame(fds[0]).id, 1);
    fds[NAME_CONNS_MAX] = dial();
    is_over(fds[1]);
    for (int i = 0; i <= NAME_CONNS_MAX; i++) {
        if (i == 1)
            continue;
        send_frame(fds[i], "localhost", 2);
        assert_int_equal(next_frame(fds[i]).id, 2);
        close(fds[i]);
    }
}

/* One connection has so many questions outside and no more; then it goes on. */
static void many_on_one(void **state)
{
    (void)state;
    char name[32];
    int fd = dial();
    server.hold = true;
    for (unsigned i = 0; i < 2 * NAME_CONN_QUERIES; i++) {
        snprintf(name, sizeof(name), "n%u.test", i);
        send_frame(fd, name, i);
    }
    while (server.queries < 2 * NAME_CONN_QUERIES)
        loop_turn(&fix.loop, false);
    fixture_settle(&fix);
    assert_int_equal(server.queries, 2 * NAME_CONN_QUERIES); /* both families */
    assert_string_equal(ask("localhost", A).address, "127.0.0.1");
    server.hold = false; /* c-ares asks again */
    for (unsigned i = 0; i < 2 * NAME_CONN_QUERIES; i++)
        assert_int_equal(next_frame(fd).code, NOERROR);
    close(fd);
}

/* Who takes no answers is not read on from; nothing is lost. */
static void slow_reader(void **state)
{
    (void)state;
    uint8_t q[300];
    size_t n = frame(q, "localhost", A, 1);
    unsigned sent = 0, idle = 0;
    size_t part = 0;
    int fd = dial();
    while (idle < 50) {
        ssize_t w = send(fd, q + part, n - part, MSG_DONTWAIT);
        idle = w < 0 ? idle + 1 : 0;
        part += w > 0 ? (size_t)w : 0;
        if (part == n) {
            part = 0;
            sent++;
        }
        assert_true(sent < 2000000);
        if (w < 0 || sent % 64 == 0)
            loop_turn(&fix.loop, false);
    }
    for (unsigned i = 0; i < sent; i++)
        assert_int_equal(next_frame(fd).id, 1);
    close(fd);
}

/* A connection that leaves takes its questions with it, and no other's. */
static void left(void **state)
{
    (void)state;
    int fd = dial();
    server.hold = true;
    send_frame(fd, "four.test", 1);
    send_question("four.test", A, 2);
    fixture_settle(&fix);
    sock_set_reset(fd);
    close(fd);
    fixture_settle(&fix);
    server.hold = false; /* c-ares asks again */
    assert_int_equal(next_answer().id, 2);
}

/* Closed while both transports wait. */
static void closed(void **state)
{
    (void)state;
    int fd = dial();
    server.hold = true;
    send_question("both.test", A, 2);
    send_frame(fd, "six.test", 1);
    fixture_settle(&fix);
    name_service_close(service);
    service = NULL;
    is_over(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(over_udp, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_address, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_search_list, set_up, tear_down),
        cmocka_unit_test_setup_teardown(left, set_up, tear_down),
        cmocka_unit_test_setup_teardown(newest_snapshot, set_up, tear_down),
        cmocka_unit_test_setup_teardown(garbage, set_up, tear_down),
        cmocka_unit_test_setup_teardown(too_many, set_up, tear_down),
        cmocka_unit_test_setup_teardown(over_tcp, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bad_lengths, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_connections, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_on_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(slow_reader, set_up, tear_down),
        cmocka_unit_test_setup_teardown(closed, set_up, tear_down)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
