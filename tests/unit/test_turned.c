/* SPDX-License-Identifier: Apache-2.0 */
/* client/turned.c over TCP: what first bytes lead to, in pieces or with an end behind them;
 * silence, the drain, and connections that lead nowhere. The listener is another one than they
 * connect to, so they are as good as turned; where they were going is a port of this machine. */
#include "client_fixture.h"

#include <malloc.h>

#include "client/turned_impl.h"
#include "net/tls_hello.h"
#include "net/tls_mint.h"
#include "own/name_map.h"

static struct rig rig;
static const char *options[8];
static char to_origin[96];

/* All that goes anywhere by CONNECT goes to the rig's origin. */
static void open_rig(const char *a, const char *b)
{
    rig_open(&rig, NULL);
    snprintf(to_origin, sizeof(to_origin), "connect_to=::127.0.0.1:%u", rig.port);
    uint16_t port = rig.port;
    int origin = rig.origin;
    options[0] = to_origin;
    options[1] = a;
    options[2] = a == NULL ? NULL : b;
    options[3] = NULL;
    struct conf *c = rig_conf(options);
    c->generation = rig.conf->generation;
    engine_set_conf(&rig.engine, conf_ref(c));
    conf_unref(&rig.conf);
    rig.conf = c;
    assert_true(rig.port == port && rig.origin == origin);
}

/* A connection to a port where CONNECT may go, which it does not know beforehand. */
static int connect_as(enum listener_kind kind)
{
    return rig_connect_as(&rig, kind, false);
}

static const char any_port[] = "destination.connect_ports=1";

/* The test's ports are not known beforehand: any is allowed. */
static void allow_tunnels(void)
{
    rig.conf->destination.connect_ports.n = 0;
}

static void put(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
    fixture_settle(&rig.f);
}

static void is_reset(int fd)
{
    int end = 0;
    assert_string_equal(rig_read(&rig, fd, NULL, &end), "");
    assert_int_equal(end, -1);
    close(fd);
    rig_check_empty(&rig);
}

/* FD has sent TEXT, and is through to the origin, which says how both end. */
static void is_tunnelled(int fd, const char *text)
{
    int up = rig_accept(&rig, text);
    put(up, "hello");
    assert_string_equal(rig_read(&rig, fd, "hello", NULL), "hello");
    close(up);
    close(fd);
    for (int64_t limit = loop_now() + 5000000; rig.clients.n > 0; loop_turn(&rig.f.loop, false))
        assert_true(loop_now() < limit);
    rig_check_empty(&rig);
}

static void requests(void **state)
{
    (void)state;
    open_rig(any_port, NULL);
    int fd = connect_as(LISTENER_TRANSPARENT);
    assert_int_equal(rig_client(&rig)->state, CLIENT_FIRST);
    const char *text = "GET /tunnel HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    for (const char *p = text; *p != '\0'; p++) {
        char byte[2] = {*p};
        put(fd, byte);
    }
    assert_int_equal(rig_client(&rig)->from.kind, SOURCE_TRANSPARENT);
    assert_int_equal(rig_client(&rig)->state, CLIENT_HEAD);
    int up = rig_accept(&rig, "\r\n\r\n");
    put(up, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_non_null(strstr(rig_read(&rig, fd, "ok", NULL), "200 OK"));
    close(fd);
    close(up);
    rig_close(&rig);
}

/* Asked and ended at once. */
static void half_closed(void **state)
{
    static const char *const texts[] = {"GET / HTTP/1.0\r\nHost: no.test\r\n\r\n", "GET / HTTP/1.0",
                                        "", "ab", "\x16\x03\x01"};
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        open_rig(any_port, "destination.deny_hosts=no.test");
        int end = 0, fd = connect_as(LISTENER_TRANSPARENT);
        assert_int_equal(send(fd, texts[i], strlen(texts[i]), 0), (ssize_t)strlen(texts[i]));
        shutdown(fd, SHUT_WR);
        rig_read(&rig, fd, NULL, &end);
        assert_int_not_equal(end, 0);
        close(fd);
        fixture_settle(&rig.f);
        rig_close(&rig);
    }
}

static void tunnels(void **state)
{
    static const char *const texts[] = {"SSH-2.0-x\r\n", "PING\r\n", "get key\r\n", "\x05\x01",
                                        "\x16\x01zz"};
    (void)state;
    open_rig(any_port, NULL);
    allow_tunnels();
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        int fd = connect_as(LISTENER_TRANSPARENT);
        put(fd, texts[i]);
        is_tunnelled(fd, texts[i]);
    }
    assert_int_equal(rig_lines(&rig), sizeof(texts) / sizeof(*texts));
    assert_int_equal(counter_get(&rig.engine.stats->bytes_in) > 100, 0); /* no CONNECT among them */
    rig_close(&rig);
}

/* All is said and ended at once: that it ends changes nothing of what it is. */
static void ended_tunnel(void **state)
{
    (void)state;
    open_rig(any_port, NULL);
    allow_tunnels();
    int fd = connect_as(LISTENER_TRANSPARENT);
    assert_int_equal(send(fd, "get key\r\n", 9, 0), 9);
    shutdown(fd, SHUT_WR);
    fixture_settle(&rig.f);
    is_tunnelled(fd, "get key\r\n");
    rig_close(&rig);
}

/* Nothing is said for 300 ms, and no sooner. */
static void silence(void **state)
{
    (void)state;
    open_rig(any_port, NULL);
    allow_tunnels();
    int64_t begun = loop_now();
    int fd = connect_as(LISTENER_TRANSPARENT);
    is_tunnelled(fd, "");
    assert_true(loop_now() - begun >= 300000);
    rig_close(&rig);
}

/* Where there can be no tunnel, it may still be HTTP. */
static void silence_of_http(void **state)
{
    (void)state;
    open_rig(any_port, "client.idle_timeout=400ms");
    int end = 0, fd = connect_as(LISTENER_TRANSPARENT);
    int64_t begun = loop_now();
    assert_string_equal(rig_read(&rig, fd, NULL, &end), "");
    assert_true(end == 1 && loop_now() - begun >= 400000);
    close(fd);
    rig_close(&rig);
}

/* Where its tunnel would be refused but for a name, its hello is late; in the end there is none. */
static void silence_of_tls(void **state)
{
    (void)state;
    open_rig(any_port, "destination.allow_hosts=a.test");
    allow_tunnels();
    int fd = connect_as(LISTENER_TRANSPARENT);
    for (int64_t end = loop_now() + 500000; loop_now() < end; loop_turn(&rig.f.loop, false))
        assert_true(rig_client(&rig) == NULL || rig_client(&rig)->state != CLIENT_HEAD);
    assert_int_equal(rig_client(&rig)->state, CLIENT_FIRST);
    clients_close(&rig.clients);
    close(fd);
    rig.conf->client.header_timeout = 100;
    int64_t begun = loop_now();
    is_reset(connect_as(LISTENER_TRANSPARENT));
    assert_in_range(loop_now() - begun, 400000, 5000000);
    rig_close(&rig);
}

static void slow(void **state)
{
    (void)state;
    open_rig(any_port, "client.header_timeout=100ms");
    int end = 0, fd = connect_as(LISTENER_TRANSPARENT);
    put(fd, "GET /");
    assert_non_null(strstr(rig_read(&rig, fd, NULL, &end), " 408 "));
    close(fd);
    fd = connect_as(LISTENER_TRANSPARENT);
    put(fd, "\x16\x03\x01\x02");
    assert_string_equal(rig_read(&rig, fd, NULL, &end), "");
    assert_int_not_equal(end, 0);
    close(fd);
    fixture_settle(&rig.f);
    rig_close(&rig);
}

/* No word of an answer: the connection is reset, and the access line says why. */
static void refused(void **state)
{
    (void)state;
    open_rig(any_port, NULL);
    int fd = connect_as(LISTENER_TRANSPARENT);
    put(fd, "\x05\x01");
    is_reset(fd);
    log_buf_room(&rig.engine.log, 1)[0] = '\0';
    assert_non_null(strstr(rig.engine.log.p, "is not in destination.connect_ports"));
    assert_non_null(strstr(rig.engine.log.p, "\"status\":403"));
    assert_non_null(strstr(rig.engine.log.p, "\"bytes_in\":0,\"bytes_out\":0"));
    fd = connect_as(LISTENER_TRANSPARENT); /* text that asks for HTTP/0.9 can read an answer */
    put(fd, "GET /\r\n\r\n");
    assert_non_null(strstr(rig_read(&rig, fd, "\r\n\r\n", NULL), " 400 "));
    close(fd);
    rig_close(&rig);
}

/* The listener itself was meant. */
static void here(void **state)
{
    (void)state;
    open_rig(any_port, NULL);
    int fd = rig_connect_as(&rig, LISTENER_TRANSPARENT, true);
    put(fd, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_non_null(strstr(rig_read(&rig, fd, "\r\n\r\n", NULL), " 400 "));
    close(fd);
    fixture_settle(&rig.f);
    log_buf_room(&rig.engine.log, 1)[0] = '\0';
    assert_non_null(strstr(rig.engine.log.p, "\"url\":\"http://a.test:"));
    fd = rig_connect_as(&rig, LISTENER_TRANSPARENT, true);
    put(fd, "\x05\x01");
    is_reset(fd);
    rig_close(&rig);
}

/* Of a captured command: loopback is no way out but by capture.host_loopback. */
static void captured(void **state)
{
    (void)state;
    open_rig(any_port, NULL);
    int fd = connect_as(LISTENER_CAPTURED_HTTP);
    put(fd, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    const char *text = rig_read(&rig, fd, "host_loopback to", NULL);
    assert_true(strstr(text, " 502 ") != NULL && strstr(text, "capture.http") != NULL);
    close(fd);
    fixture_settle(&rig.f);
    fd = connect_as(LISTENER_CAPTURED);
    is_reset(fd); /* at once: nothing need be said */
    fd = connect_as(LISTENER_HOST);
    is_tunnelled(fd, "");
    rig_close(&rig);
}

/* With interception the first bytes are looked at: what is not TLS is a tunnel all the same. */
static void captured_and_read(void **state)
{
    static const char *const texts[] = {"G", "\x01", "\x16\x03\x01\x02"};
    (void)state;
    open_rig(any_port, NULL);
    rig.conf->rules[0].intercept = true;
    for (size_t i = 0; i < 3; i++) {
        int fd = connect_as(LISTENER_CAPTURED);
        put(fd, texts[i]);
        bool is_tls = texts[i][0] == '\x16';
        assert_int_equal(rig_client(&rig) != NULL, is_tls);
        if (is_tls)
            clients_close(&rig.clients);
        close(fd);
        fixture_settle(&rig.f);
    }
    rig.conf->rules[0].intercept = false;
    rig_close(&rig);
}

static void drain(void **state)
{
    (void)state;
    open_rig(any_port, NULL);
    int end = 0, fd = connect_as(LISTENER_TRANSPARENT);
    loop_turn(&rig.f.loop, false);
    clients_drain(&rig.clients, 20);
    assert_string_equal(rig_read(&rig, fd, NULL, &end), "");
    assert_int_equal(end, 1);
    close(fd);
    rig_close(&rig);
}

/* At any moment it may be closed, or go. */
static void closed(void **state)
{
    static const char *const texts[] = {"", "GET /", "GET / HTTP/1.1\r\n", "\x05", "\x16\x03\x01"};
    (void)state;
    open_rig(any_port, NULL);
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        for (int how = 0; how < 3; how++) {
            struct linger reset = {.l_onoff = 1};
            int fd = connect_as(LISTENER_TRANSPARENT);
            assert_int_equal(send(fd, texts[i], strlen(texts[i]), 0), (ssize_t)strlen(texts[i]));
            if (how == 1)
                setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
            if (how > 0)
                fixture_settle(&rig.f);
            if (how == 1)
                close(fd);
            fixture_settle(&rig.f);
            clients_close(&rig.clients);
            if (how != 1)
                close(fd);
            rig_check_empty(&rig);
        }
    }
    rig_close(&rig);
}

/* All that there is of a connection is counted before its first byte. */
static void what_it_costs(void **state)
{
    enum {
        OF_TURNED = sizeof(struct source_turned) + sizeof(struct addr) + ADDR_TEXT +
                    sizeof(struct deadline) + 2 * TLS_HELLO_NAME
    };
    (void)state;
    open_rig(any_port, NULL);
    int fd = connect_as(LISTENER_TRANSPARENT);
    fixture_settle(&rig.f);
    size_t counted = (size_t)rig.budget.used;
    assert_true(counted >= sizeof(struct client) + sizeof(struct stream) + sizeof(struct fd_event) +
                               OF_TURNED);
    close(fd);
    fixture_settle(&rig.f);
    rig_close(&rig);
}

/* First bytes are counted, and where there is no room for them nothing more is waited for. */
static void memory(void **state)
{
    (void)state;
    open_rig(any_port, NULL);
    char line[4001];
    memset(line, 'x', sizeof(line) - 1);
    memcpy(line, "GET /", 5);
    line[4000] = '\0';
    int fd = connect_as(LISTENER_TRANSPARENT);
    size_t before = (size_t)rig.budget.used;
    put(fd, line);
    assert_int_equal(rig_client(&rig)->state, CLIENT_FIRST);
    assert_true((size_t)rig.budget.used >= before + 4000);
    close(fd);
    fixture_settle(&rig.f);
    rig_check_empty(&rig);
    fd = connect_as(LISTENER_TRANSPARENT);
    atomic_store(&rig.budget.max, 1);
    line[2000] = '\0'; /* as long as a hello: its name is waited for */
    put(fd, line);
    assert_int_equal(rig_client(&rig)->state, CLIENT_FIRST);
    put(fd, "100 bytes more, which take it behind what is kept in any case, so that nothing more "
            "is waited for");
    assert_non_null(strstr(rig_read(&rig, fd, "\r\n\r\n", NULL), " 503 "));
    close(fd);
    rig_close(&rig);
}

/* A hello that does not go on costs its bytes alone: there may be as many as clients. */
static void begun_hello(void **state)
{
    (void)state;
    open_rig(any_port, NULL);
    int fd = connect_as(LISTENER_TRANSPARENT);
    loop_turn(&rig.f.loop, false);
    size_t counted = (size_t)rig.budget.used, before = mallinfo2().uordblks;
    put(fd, "\x16\x03\x01\x02");
    assert_int_equal(rig_client(&rig)->state, CLIENT_FIRST);
    assert_in_range((size_t)rig.budget.used, counted, counted + 64);
    assert_in_range(mallinfo2().uordblks, 0, before + 4096);
    close(fd);
    fixture_settle(&rig.f);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests),       cmocka_unit_test(half_closed),
        cmocka_unit_test(tunnels),        cmocka_unit_test(ended_tunnel),
        cmocka_unit_test(silence),        cmocka_unit_test(silence_of_http),
        cmocka_unit_test(silence_of_tls), cmocka_unit_test(slow),
        cmocka_unit_test(refused),        cmocka_unit_test(here),
        cmocka_unit_test(captured),       cmocka_unit_test(captured_and_read),
        cmocka_unit_test(drain),          cmocka_unit_test(closed),
        cmocka_unit_test(what_it_costs),  cmocka_unit_test(memory),
        cmocka_unit_test(begun_hello),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
