/* SPDX-License-Identifier: Apache-2.0 */
/* client/client_source.c and the kinds of clients: what switches a connection to another thing. */
#include "rig_fixture.h"

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

/* A client made from a stream that is there already, for one host alone: what the constructor was
 * given may go. */
static void a_client_for_one_host(void **state)
{
    int ends[2];
    char host[] = "127.0.0.1", user[] = "u";
    struct source_side who = {.kind = SOURCE_INSIDE};
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    assert_true(addr_parse_ip(&who.peer, STR("127.0.0.1"), 1));
    who.fixed = (struct uri_host){.name = str_from(host), .port = rig.port, .is_ip = true};
    who.user = str_from(user);
    struct stream *s = stream_new(&rig.f.loop, ends[0], &who.peer);
    atomic_fetch_add(&rig.total, 1); /* as admitted */
    struct client *c = client_new(&rig.clients, s, &who, rig.conf);
    stream_start(s);
    memset(host, 'x', sizeof host);
    memset(user, 'x', sizeof user);
    assert_true(str_eq(c->from.user, STR("u")));
    assert_true(c->from.is_local);
    rig_send(&rig, ends[1], "GET /x HTTP/1.1\r\nHost: other\r\n\r\n");
    int origin = rig_accept(&rig, "GET /x HTTP/1.1\r\nHost: 127.0.0.1:");
    fixture_write(origin, "HTTP/1.1 204 No\r\n\r\n");
    (void)rig_read(&rig, ends[1], " 204 ", NULL);
    rig_send(&rig, ends[1], "GET http://other.test/ HTTP/1.1\r\nHost: h\r\n\r\n");
    (void)rig_read(&rig, ends[1], " 421 ", NULL);
    client_become(c, SOURCE_INSIDE, &c->from.fixed, c->from.user); /* its own texts, once more */
    assert_true(str_eq(c->from.fixed.name, STR("127.0.0.1")));
    assert_true(str_eq(c->from.user, STR("u")));
    rig_send(&rig, ends[1], "CONNECT 127.0.0.1:443 HTTP/1.1\r\nHost: h\r\n\r\n");
    (void)rig_read(&rig, ends[1], " 400 ", NULL);
    close(ends[1]);
    close(origin);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bytes_behind_connect_wait, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_client_for_one_host, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
