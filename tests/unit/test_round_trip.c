/* SPDX-License-Identifier: Apache-2.0 */
/* net/round_trip.c: what the kernel says of a connection, and of what is none. */
#include "upstream_fixture.h"

#include "net/round_trip.h"

static void a_connection(void **state)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    uint16_t port;
    (void)state;
    int listener = fixture_listen(&port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    a.sin_port = htons(port);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    /* µs on loopback: a second is far too long, even where much else runs. */
    assert_in_range(round_trip_of(fd), 0, 1000000);
    close(fd);
    close(listener);
}

static void no_connection(void **state)
{
    int fds[2];
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(round_trip_of(fds[0]), -1);
    close(fds[0]);
    close(fds[1]);
    assert_int_equal(round_trip_of(-1), -1);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(round_trip_of(fd), -1);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_connection),
                                       cmocka_unit_test(no_connection)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
