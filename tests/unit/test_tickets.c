/* SPDX-License-Identifier: Apache-2.0 */
/* upstream/tickets.c: who goes ahead, who waits, and how long. */
#include "upstream_fixture.h"

#include <sys/socket.h>

#include "session_fixture.h"
#include "upstream/tickets.h"

enum { DIALS = 40 };

static struct fixture fix;
static struct tickets tickets;
static struct ticket_wait dials[DIALS];
static unsigned told[DIALS]; /* who, in turn */
static unsigned n_told;
static int near, far;   /* connections */
static unsigned leaves; /* with the first one that is told; 0: nobody */

static void on_ticket(void *arg)
{
    struct ticket_wait *w = arg;
    told[n_told++] = (unsigned)(w - dials);
    if (leaves > 0)
        tickets_leave(&tickets, &dials[leaves]);
}

static int set_up(void **state)
{
    struct sockaddr_in a;
    socklen_t len = sizeof(a);
    uint16_t port;
    int fds[2];
    (void)state;
    fixture_open(&fix);
    int listener = fixture_listen(&port);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &len), 0);
    near = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(near, (struct sockaddr *)&a, sizeof(a)), 0);
    close(listener);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    far = fds[0];
    close(fds[1]);
    tickets_init(&tickets, &fix.loop, false);
    for (unsigned i = 0; i < DIALS; i++)
        ticket_wait_init(&dials[i], on_ticket, &dials[i]);
    n_told = leaves = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (unsigned i = 0; i < DIALS; i++)
        tickets_leave(&tickets, &dials[i]);
    tickets_clear(&tickets);
    close(near);
    close(far);
    fixture_close(&fix);
    return 0;
}

/* A session has come. */
static void put(void)
{
    tls_sessions_put(&tickets.sessions,
                     (struct tls_session){session_make(TLS1_3_VERSION), INT64_MAX});
}

static void forget(void)
{
    tls_sessions_clear(&tickets.sessions);
}

/* Dials FROM to TO wait, and nobody has been told yet: as patient as a slow machine needs it, and
 * no more than always from then on. */
static void expect_waiting(unsigned from, unsigned to)
{
    unsigned before = n_told;
    for (unsigned i = from; i <= to; i++)
        assert_false(tickets_go(&tickets, &dials[i], near));
    deadline_set(&tickets.end, 60000);
    loop_turn(&fix.loop, false);
    assert_int_equal(n_told, before);
    deadline_set(&tickets.end, 20);
}

static void turn_until(unsigned n)
{
    int64_t end = loop_now() + 5000000;
    while (n_told < n && loop_now() < end)
        loop_turn(&fix.loop, false);
    assert_int_equal(n_told, n);
}

static void others_wait_for_the_first(void **state)
{
    (void)state;
    assert_true(tickets_go(&tickets, &dials[0], near));
    expect_waiting(1, 3);
    tickets_done(&tickets, &dials[0]);
    tickets_leave(&tickets, &dials[0]); /* has its connection, and may still get a session */
    expect_waiting(4, 4);
    put();
    assert_int_equal(n_told, 0);
    loop_turn(&fix.loop, false);
    assert_int_equal(n_told, 4);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(told[i], i + 1);
    assert_true(tickets_go(&tickets, &dials[5], near));
    assert_null(tickets.leader);
    assert_false(deadline_is_set(&tickets.end));
}

/* And again when there is none any more. */
static void the_next_burst_has_its_own(void **state)
{
    (void)state;
    put();
    loop_turn(&fix.loop, false);
    assert_true(tickets_go(&tickets, &dials[0], near));
    assert_null(tickets.leader);
    forget();
    assert_true(tickets_go(&tickets, &dials[1], near));
    expect_waiting(2, 2);
    put();
    turn_until(1);
}

/* Who is cut off tries again, ahead of the others. */
static void the_first_may_begin_anew(void **state)
{
    (void)state;
    assert_true(tickets_go(&tickets, &dials[0], near));
    expect_waiting(1, 1);
    assert_true(tickets_go(&tickets, &dials[0], near));
    tickets_leave(&tickets, &dials[0]);
    loop_turn(&fix.loop, false);
    assert_int_equal(n_told, 1);
    assert_int_equal(tickets.barren_until, 0); /* nothing was learnt from that */
    assert_true(tickets_go(&tickets, &dials[2], near));
    assert_ptr_equal(tickets.leader, &dials[2]);
}

/* It does not come in time: that is found once in some minutes, whether one comes after all or
 * not. */
static void nobody_waits_for_long(void **state)
{
    int64_t start = loop_now();
    (void)state;
    assert_true(tickets_go(&tickets, &dials[0], near));
    expect_waiting(1, 2);
    usleep(1000);
    int64_t end = tickets.end.at;
    tickets_done(&tickets, &dials[0]); /* then for the ticket, as long again */
    assert_true(tickets.end.at > end);
    turn_until(2);
    assert_in_range(loop_now() - start, 15000, 1000000);
    for (unsigned i = 3; i < 6; i++)
        assert_true(tickets_go(&tickets, &dials[i], near));
    put();
    loop_turn(&fix.loop, false);
    forget();
    assert_true(tickets_go(&tickets, &dials[6], near));
    assert_true(tickets_go(&tickets, &dials[7], near));
    assert_in_range(tickets.barren_until - loop_now(), 500000000, 600000000);
    tickets.barren_until = loop_now();
    assert_true(tickets_go(&tickets, &dials[8], near));
    expect_waiting(9, 9);
}

/* Not where it has come in the very turn in which their patience ends. */
static void just_in_time(void **state)
{
    (void)state;
    assert_true(tickets_go(&tickets, &dials[0], near));
    expect_waiting(1, 1);
    usleep(30000);
    put();
    turn_until(1);
    assert_int_equal(tickets.barren_until, 0);
}

/* Who was waited for in vain has no part in the next burst. */
static void a_late_one_leads_nobody(void **state)
{
    (void)state;
    assert_true(tickets_go(&tickets, &dials[0], near));
    while (deadline_is_set(&tickets.end))
        loop_turn(&fix.loop, true);
    tickets.barren_until = 0;
    assert_true(tickets_go(&tickets, &dials[1], near));
    assert_ptr_equal(tickets.leader, &dials[1]);
    expect_waiting(2, 2);
    int64_t end = tickets.end.at;
    usleep(1000);
    tickets_done(&tickets, &dials[0]);
    tickets_leave(&tickets, &dials[0]);
    assert_int_equal(tickets.end.at, end);
    expect_waiting(3, 3);
    tickets_leave(&tickets, &dials[1]);
    turn_until(2);
}

/* What the first one brings is for one connection, then, and not for those that wait. */
static void nobody_waits_for_tickets_of_one_use(void **state)
{
    (void)state;
    tickets.sessions.once_until = loop_now() + 60000000;
    for (unsigned i = 0; i < 3; i++)
        assert_true(tickets_go(&tickets, &dials[i], near));
    tickets_init(&tickets, &fix.loop, true); /* through a parent */
    for (unsigned i = 3; i < 6; i++)
        assert_true(tickets_go(&tickets, &dials[i], near));
    assert_null(tickets.leader);
}

static void nobody_waits_for_who_is_far(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++)
        assert_true(tickets_go(&tickets, &dials[i], far));
    assert_true(tickets_go(&tickets, &dials[4], near));
    assert_ptr_equal(tickets.leader, &dials[4]);
}

static void who_leaves_is_not_told(void **state)
{
    (void)state;
    assert_true(tickets_go(&tickets, &dials[0], near));
    expect_waiting(1, 3);
    tickets_leave(&tickets, &dials[2]);
    leaves = 3;
    put();
    for (int i = 0; i < 3; i++)
        loop_turn(&fix.loop, false);
    assert_int_equal(n_told, 1);
    assert_int_equal(told[0], 1);
}

/* What takes long is done in parts. */
static void many_go_in_turns(void **state)
{
    (void)state;
    assert_true(tickets_go(&tickets, &dials[0], near));
    expect_waiting(1, DIALS - 1);
    put();
    loop_turn(&fix.loop, false);
    assert_in_range(n_told, 1, DIALS / 2);
    turn_until(DIALS - 1);
    for (unsigned i = 0; i < DIALS - 1; i++)
        assert_int_equal(told[i], i + 1);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(others_wait_for_the_first),
        CASE(the_next_burst_has_its_own),
        CASE(the_first_may_begin_anew),
        CASE(nobody_waits_for_long),
        CASE(just_in_time),
        CASE(a_late_one_leads_nobody),
        CASE(nobody_waits_for_tickets_of_one_use),
        CASE(nobody_waits_for_who_is_far),
        CASE(who_leaves_is_not_told),
        CASE(many_go_in_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
