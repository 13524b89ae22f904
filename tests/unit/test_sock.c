/* SPDX-License-Identifier: Apache-2.0 */
/* net/sock.c: listening, connecting, stale unix sockets, and faults. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/sock.h"

static struct addr loopback(void)
{
    struct addr a;
    assert_true(addr_parse_ip(&a, STR("127.0.0.1"), 0));
    return a;
}

static void wait_for(int fd, short what)
{
    struct pollfd p = {.fd = fd, .events = what};
    assert_int_equal(poll(&p, 1, 5000), 1);
}

static void connects_and_accepts(void **state)
{
    (void)state;
    struct addr a = loopback();
    struct addr bound;
    struct addr peer;
    int listener = sock_listen(&a, true);
    assert_true(listener >= 0);
    assert_true(sock_local(listener, &bound));
    assert_int_not_equal(addr_port(&bound), 0);
    assert_int_equal(sock_accept(listener, &peer), -1);
    assert_int_equal(errno, EAGAIN);

    int second = sock_listen(&bound, true);
    assert_true(second >= 0);
    close(second);
    assert_int_equal(sock_listen(&bound, false), -1);
    assert_int_equal(errno, EADDRINUSE);

    int client = sock_connect(&bound, &a);
    assert_true(client >= 0);
    wait_for(client, POLLOUT);
    assert_int_equal(sock_connect_result(client), 0);
    wait_for(listener, POLLIN);
    int server = sock_accept(listener, &peer);
    assert_true(server >= 0);
    assert_true(addr_is_loopback(&peer));
    struct addr original; /* nobody has turned it: integration tests have those that somebody has */
    assert_true(sock_original(server, &original));
    assert_true(addr_equal(&original, &bound));
    assert_false(sock_original(-1, &original));

    assert_true(sock_is_quiet(client));
    assert_int_equal(write(server, "x", 1), 1);
    wait_for(client, POLLIN);
    assert_false(sock_is_quiet(client));
    assert_true(sock_has_input(client));
    char c;
    assert_int_equal(read(client, &c, 1), 1);
    assert_true(sock_is_quiet(client));
    sock_set_reset(server);
    close(server);
    wait_for(client, POLLIN);
    assert_int_equal(read(client, &c, 1), -1);
    assert_int_equal(errno, ECONNRESET);
    assert_false(sock_is_quiet(client));
    assert_false(sock_has_input(client));
    close(client);
    close(listener);
}

static void refused_is_told(void **state)
{
    (void)state;
    struct addr a = loopback();
    struct addr bound;
    struct fault f;
    int listener = sock_listen(&a, false);
    assert_true(sock_local(listener, &bound));
    close(listener);
    int fd = sock_connect(&bound, NULL);
    int err = errno;
    if (fd >= 0) {
        wait_for(fd, POLLOUT);
        err = sock_connect_result(fd);
        close(fd);
    }
    assert_int_equal(err, ECONNREFUSED);
    sock_fault(&f, err, &bound);
    assert_int_equal(f.code, FAULT_REFUSED);
    assert_non_null(strstr(f.text, "127.0.0.1:"));
}

static void errnos_have_their_codes(void **state)
{
    (void)state;
    static const struct {
        int err;
        enum fault_code code;
    } table[] = {
        {ETIMEDOUT, FAULT_CONNECT_TIMEOUT}, {ENETUNREACH, FAULT_UNROUTABLE},
        {EHOSTUNREACH, FAULT_UNROUTABLE},   {EADDRNOTAVAIL, FAULT_UNROUTABLE},
        {EMFILE, FAULT_DESCRIPTORS},        {EACCES, FAULT_UNROUTABLE},
    };
    struct addr a = loopback();
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct fault f;
        sock_fault(&f, table[i].err, &a);
        assert_int_equal(f.code, table[i].code);
    }
}

static void unix_socket_is_replaced_when_stale(void **state)
{
    (void)state;
    char dir[] = "/tmp/test_sock.XXXXXX";
    struct addr a;
    struct stat st;
    assert_non_null(mkdtemp(dir));
    char *text = xasprintf("unix:%s/s", dir);
    assert_true(addr_parse(&a, str_from(text)));

    int first = sock_listen(&a, false);
    assert_true(first >= 0);
    assert_int_equal(stat(a.un.sun_path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
    assert_int_equal(sock_listen(&a, false), -1);
    assert_int_equal(errno, EADDRINUSE);
    close(first);

    int second = sock_listen(&a, false);
    assert_true(second >= 0);
    int client = sock_connect(&a, NULL);
    assert_true(client >= 0);
    struct addr peer;
    int server = sock_accept(second, &peer);
    assert_true(server >= 0);
    assert_int_equal(addr_family(&peer), AF_UNIX);
    close(server);
    close(client);
    close(second);
    unlink(a.un.sun_path);

    FILE *f = fopen(a.un.sun_path, "w");
    assert_non_null(f);
    fclose(f);
    assert_int_equal(sock_listen(&a, false), -1);
    assert_int_equal(errno, EADDRINUSE);
    unlink(a.un.sun_path);
    rmdir(dir);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connects_and_accepts),
        cmocka_unit_test(refused_is_told),
        cmocka_unit_test(errnos_have_their_codes),
        cmocka_unit_test(unix_socket_is_replaced_when_stale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
