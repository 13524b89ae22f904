/* SPDX-License-Identifier: Apache-2.0 */
/* net/outgoing.c on real connections of loopback, with a clock of the test's own. */
#include "loopback_fixture.h"

#include <arpa/inet.h>

#include "base/loop.h"

static int64_t test_time = 1;

static int64_t test_now(void)
{
    return test_time;
}

#define loop_now test_now
#include "../../proxy/net/outgoing.c"

/* A connection to loopback: *FROM and *TO are its ends. */
static int connection(struct addr *from, struct addr *to)
{
    int accepted;
    int fd = connect_pair(to, &accepted);
    close(accepted);
    assert_true(sock_local(fd, from));
    return fd;
}

static struct addr mapped(const struct addr *a)
{
    char ip[ADDR_TEXT], text[ADDR_TEXT + 8];
    struct addr six;
    snprintf(text, sizeof(text), "::ffff:%s", addr_print_ip(a, ip));
    assert_true(addr_parse_ip(&six, str_from(text), addr_port(a)));
    return six;
}

static int setup(void **state)
{
    (void)state;
    memset(outgoings, 0, sizeof(outgoings));
    outgoing_watch(true);
    return 0;
}

static void knows_both_ends(void **state)
{
    (void)state;
    struct addr from, to, other;
    int fd = connection(&from, &to);
    assert_false(outgoing_is_ours(&from, &to));
    outgoing_note(fd, &to);
    assert_true(outgoing_is_ours(&from, &to));
    assert_false(outgoing_is_ours(&to, &from));
    other = from;
    addr_set_port(&other, (uint16_t)(addr_port(&from) ^ 1));
    assert_false(outgoing_is_ours(&other, &to));
    other = to;
    addr_set_port(&other, (uint16_t)(addr_port(&to) ^ 1));
    assert_false(outgoing_is_ours(&from, &other));
    other = to;
    other.in4.sin_addr.s_addr = htonl(0x7f000002);
    assert_false(outgoing_is_ours(&from, &other));
    /* As a listener on :: would see them. */
    struct addr from6 = mapped(&from), to6 = mapped(&to);
    assert_true(outgoing_is_ours(&from6, &to6));
    close(fd);
}

static void forgets(void **state)
{
    (void)state;
    struct addr from, to;
    int fd = connection(&from, &to);
    outgoing_note(fd, &to);
    test_time += REMEMBERED - 1;
    assert_true(outgoing_is_ours(&from, &to));
    test_time += 1;
    assert_false(outgoing_is_ours(&from, &to));
    outgoing_note(fd, &to);
    assert_true(outgoing_is_ours(&from, &to));
    close(fd);
}

static void costs_nothing_unwatched(void **state)
{
    (void)state;
    struct addr from, to;
    outgoing_watch(false);
    int fd = connection(&from, &to);
    outgoing_note(fd, &to);
    assert_false(outgoing_is_ours(&from, &to));
    outgoing_note(-1, &to); /* not even looked at */
    outgoing_watch(true);
    outgoing_note(-1, &to); /* nor a fault */
    close(fd);
}

/* However many there are, the latest is known, and so are nearly all of as many as half the table
 * has room for. */
static void many(void **state)
{
    (void)state;
    enum { N = SETS * WAYS / 2 };
    struct addr from, to;
    int fd = connection(&from, &to);
    unsigned known = 0;
    for (unsigned i = 0; i < N; i++) {
        to.in4.sin_addr.s_addr = htonl(0x0a000000 + i);
        test_time++;
        outgoing_note(fd, &to);
        assert_true(outgoing_is_ours(&from, &to));
    }
    for (unsigned i = 0; i < N; i++) {
        to.in4.sin_addr.s_addr = htonl(0x0a000000 + i);
        known += outgoing_is_ours(&from, &to);
    }
    assert_in_range(known, N * 9 / 10, N);
    close(fd);
}

static void *note_often(void *arg)
{
    struct addr from, to;
    int fd = connection(&from, &to);
    to.in4.sin_addr.s_addr = htonl(0x0b000000 + *(unsigned *)arg);
    for (int i = 0; i < 2000; i++) {
        outgoing_note(fd, &to);
        assert_true(outgoing_is_ours(&from, &to));
    }
    close(fd);
    return NULL;
}

static void threads(void **state)
{
    (void)state;
    pthread_t threads[4];
    unsigned numbers[4];
    for (unsigned i = 0; i < 4; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, note_often, &numbers[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(knows_both_ends, setup),
        cmocka_unit_test_setup(forgets, setup),
        cmocka_unit_test_setup(costs_nothing_unwatched, setup),
        cmocka_unit_test_setup(many, setup),
        cmocka_unit_test_setup(threads, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
