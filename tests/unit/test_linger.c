/* SPDX-License-Identifier: Apache-2.0 */
/* net/linger.c: streams that belong to nobody, and who goes when there are too many of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fds.h"
#include "net/linger.h"

enum { LIMIT = 160, PAIRS = 64 };

static struct loop loop;
static int peers[PAIRS];
static unsigned n_peers;

static int begin(void **state)
{
    (void)state;
    n_peers = 0;
    return loop_init(&loop) ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    linger_close_all(&loop);
    assert_false(linger_has_any(&loop));
    loop_turn(&loop, false);
    loop_clear(&loop);
    while (n_peers > 0)
        close(peers[--n_peers]);
    return 0;
}

/* A stream on L; its other end is the last of `peers`. */
static struct stream *stream_on(struct loop *l)
{
    struct addr nobody = {.len = 0};
    int fds[2];
    assert_true(n_peers < PAIRS);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    peers[n_peers++] = fds[1];
    struct stream *s = stream_new(l, fds[0], &nobody);
    stream_start(s);
    return s;
}

/* What the peer can read: bytes, 0 at the end, -1 while nothing has come. */
static ssize_t heard(unsigned peer)
{
    char buf[16];
    loop_turn(&loop, false);
    return read(peers[peer], buf, sizeof(buf));
}

static void last_words_are_heard(void **state)
{
    (void)state;
    struct stream *s = stream_on(&loop);
    assert_false(linger_has_any(&loop));
    linger_with(s, "sorry", 5);
    assert_true(linger_has_any(&loop));
    assert_int_equal(heard(0), 5);
    assert_int_equal(heard(0), 0);
    /* It stays while the peer does. */
    assert_true(linger_has_any(&loop));
    close(peers[0]);
    n_peers = 0;
    loop_turn(&loop, false);
    assert_false(linger_has_any(&loop));
}

/* Half of the places are for those who were served. */
static void half_of_them_may_be_strangers(void **state)
{
    unsigned half = fds_budget()->lingering / 2;
    (void)state;
    assert_in_range(half, 1, PAIRS / 2 - 1);
    for (unsigned i = 0; i <= half; i++)
        linger_with(stream_on(&loop), "sorry", 5);
    assert_int_equal(heard(half - 1), 5);
    assert_true(heard(half) <= 0);
    stream_linger(stream_on(&loop));
    assert_int_equal(heard(half + 1), 0);
}

/* Fills the socket, so that something waits to be written. */
static struct stream *stream_full(void)
{
    static char much[1 << 20];
    struct stream *s = stream_on(&loop);
    stream_put(s, much, sizeof(much));
    assert_true(stream_pending(s) > 0);
    return s;
}

static bool is_closed(unsigned peer)
{
    static char buf[1 << 20];
    ssize_t n;
    while ((n = read(peers[peer], buf, sizeof(buf))) > 0)
        continue;
    return send(peers[peer], "x", 1, MSG_NOSIGNAL) < 0;
}

static void who_has_written_all_goes_first(void **state)
{
    unsigned most = fds_budget()->lingering;
    (void)state;
    stream_linger(stream_full());
    for (unsigned i = 1; i < most; i++)
        stream_linger(stream_on(&loop));
    stream_linger(stream_on(&loop));
    assert_true(is_closed(1));
    assert_false(is_closed(2));
    assert_false(is_closed(0));
}

static void else_the_oldest(void **state)
{
    unsigned most = fds_budget()->lingering;
    (void)state;
    for (unsigned i = 0; i <= most; i++)
        stream_linger(stream_full());
    assert_true(is_closed(0));
    assert_false(is_closed(1));
}

static void of_this_loop_alone(void **state)
{
    struct loop other;
    (void)state;
    assert_true(loop_init(&other));
    stream_linger(stream_on(&loop));
    stream_linger(stream_on(&other));
    linger_close_all(&loop);
    assert_false(linger_has_any(&loop));
    assert_true(linger_has_any(&other));
    assert_true(is_closed(0));
    assert_false(is_closed(1));
    linger_close_all(&other);
    assert_false(linger_has_any(&other));
    assert_true(is_closed(1));
    loop_clear(&other);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct rlimit few = {LIMIT, LIMIT};
    const struct CMUnitTest tests[] = {
        CASE(last_words_are_heard),
        CASE(half_of_them_may_be_strangers),
        CASE(who_has_written_all_goes_first),
        CASE(else_the_oldest),
        CASE(of_this_loop_alone),
    };
    if (setrlimit(RLIMIT_NOFILE, &few) != 0)
        return 1;
    fds_init(1, 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
