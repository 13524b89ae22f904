/* SPDX-License-Identifier: Apache-2.0 */
/* A watched descriptor calls whom it is given to, and nobody while it is not armed. */
#include "loopback_fixture.h"
#include "net/fd_event.h"

static unsigned first, second;

static void on_first(void *arg)
{
    assert_ptr_equal(arg, &first);
    first++;
}

static void on_second(void *arg)
{
    assert_ptr_equal(arg, &second);
    second++;
}

static void it_is_handed_over(void **state)
{
    struct loop l;
    struct addr bound;
    int ours;
    (void)state;
    assert_true(loop_init(&l));
    int fd = connect_pair(&bound, &ours);
    struct fd_event *e = fd_event_new(&l, ours, EV_READ);
    assert_int_equal(fd_event_of(e), ours);
    fd_event_give(e, on_first, &first);
    assert_int_equal(write(fd, "x", 1), 1);
    loop_turn(&l, false);
    assert_int_equal(first, 0); /* it is not armed */
    fd_event_arm(e);
    fd_event_arm(e);
    loop_turn(&l, true);
    assert_int_equal(first, 1);
    fd_event_give(e, on_second, &second);
    loop_turn(&l, true); /* nothing was read */
    assert_int_equal(first, 1);
    assert_int_equal(second, 1);
    fd_event_disarm(e);
    fd_event_disarm(e);
    loop_turn(&l, false);
    assert_int_equal(second, 1);
    fd_event_free(e);
    fd_event_disarm(NULL);
    fd_event_free(NULL);
    close(fd);
    close(ours);
    loop_clear(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(it_is_handed_over)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
