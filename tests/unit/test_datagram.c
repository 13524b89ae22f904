/* SPDX-License-Identifier: Apache-2.0 */
/* net/datagram.c: the answer leaves from the address that was asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <unistd.h>

#include "net/datagram.h"
#include "net/sock.h"

static int bound(const char *ip)
{
    struct addr a;
    assert_true(addr_parse_ip(&a, str_from(ip), 0));
    int fd = socket(addr_family(&a), SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, &a.sa, a.len) < 0)
        skip();
    return fd;
}

static void wait_for(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 5000), 1);
}

/* A socket on all addresses of a family, asked at IP, answers from there. */
static void round_about(const char *any, const char *ip, const char *from)
{
    char buf[8], text[ADDR_TEXT];
    struct addr to;
    struct datagram d;
    int server = bound(any);
    int client = bound(from);
    assert_true(datagram_set_up(server));
    assert_true(sock_local(server, &to));
    uint16_t port = addr_port(&to);
    assert_true(addr_parse_ip(&to, str_from(ip), port));
    /* Connected: what comes from elsewhere does not come at all. */
    assert_int_equal(connect(client, &to.sa, to.len), 0);
    assert_int_equal(send(client, "ask", 3, 0), 3);
    wait_for(server);
    assert_int_equal(datagram_receive(server, buf, sizeof(buf), &d), 3);
    assert_string_equal(addr_print_ip(&d.local, text), ip);
    assert_string_equal(addr_print_ip(&d.peer, text), from);
    assert_int_equal(d.interface, if_nametoindex("lo"));
    assert_true(datagram_send(server, "told", 4, &d));
    wait_for(client);
    assert_int_equal(recv(client, buf, sizeof(buf), 0), 4);
    close(server);
    close(client);
}

static void both_families(void **state)
{
    (void)state;
    round_about("0.0.0.0", "127.0.0.77", "127.0.0.1");
    round_about("0.0.0.0", "127.0.0.1", "127.0.0.3");
    round_about("::", "::1", "::1");
}

static void unknown(void **state)
{
    (void)state;
    char buf[8];
    struct datagram d;
    int server = bound("127.0.0.1");
    assert_int_equal(datagram_receive(server, buf, sizeof(buf), &d), -1);
    assert_int_equal(errno, EAGAIN);
    /* Without its address it is sent all the same, and longer than there is room for. */
    int client = bound("127.0.0.1");
    struct addr to;
    assert_true(sock_local(server, &to));
    assert_int_equal(connect(client, &to.sa, to.len), 0);
    assert_int_equal(send(client, "0123456789", 10, 0), 10);
    wait_for(server);
    assert_int_equal(datagram_receive(server, buf, sizeof(buf), &d), 10);
    assert_int_equal(d.local.len, 0);
    assert_true(datagram_send(server, "told", 4, &d));
    wait_for(client);
    assert_int_equal(recv(client, buf, sizeof(buf), 0), 4);
    close(server);
    close(client);
    assert_false(datagram_set_up(-1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(both_families), cmocka_unit_test(unknown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
