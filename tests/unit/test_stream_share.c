/* SPDX-License-Identifier: Apache-2.0 */
/* net/stream_share.c: what a stream is counted with, and how much it may read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <sys/socket.h>
#include <unistd.h>

#include "net/stream_share.h"

enum { FULL = 65536, LEAST = 16384 };

static void counted_where_it_says(void **state)
{
    struct budget one = {.max = 1 << 30}, two = {.max = 1 << 30};
    struct addr nobody = {.len = 0};
    struct loop loop;
    int fds[2];
    (void)state;
    assert_true(loop_init(&loop));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    struct stream *s = stream_new(&loop, fds[0], &nobody);
    stream_count_in(s, &one, 100);
    assert_int_equal(budget_used(&one), 100);
    stream_count_in(s, &one, 250);
    assert_int_equal(budget_used(&one), 250);
    stream_count_in(s, &two, 30);
    assert_int_equal(budget_used(&one), 0);
    assert_int_equal(budget_used(&two), 30);
    stream_count_in(s, NULL, 30);
    assert_int_equal(budget_used(&two), 0);
    stream_count_in(s, &one, 7);
    stream_close(s);
    assert_int_equal(budget_used(&one), 0);
    stream_recount(s);
    assert_int_equal(budget_used(&one), 0);
    loop_turn(&loop, false);
    loop_clear(&loop);
    close(fds[1]);
}

/* Less as memory fills, but a TLS record always. */
static void room_to_read(void **state)
{
    struct budget b = {.max = 1000};
    struct stream s = {.share.budget = NULL};
    (void)state;
    assert_int_equal(stream_read_room(&s, FULL), FULL);
    s.share.budget = &b;
    assert_int_equal(stream_read_room(&s, FULL), FULL);
    budget_add(&b, 750);
    assert_in_range(stream_read_room(&s, FULL), LEAST + 1, FULL - 1);
    assert_int_equal(stream_read_room(&s, LEAST), LEAST);
    budget_add(&b, 250);
    assert_int_equal(stream_read_room(&s, FULL), LEAST);
    assert_int_equal(stream_read_room(&s, 100), 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(counted_where_it_says),
                                       cmocka_unit_test(room_to_read)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
