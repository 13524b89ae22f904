/* SPDX-License-Identifier: Apache-2.0 */
/* upstream/pool_room.c: what idle connections hold is given up first, here and by other pools, and
 * who finds no descriptor waits. All descriptors below the mark are used up by copies of one. */
#include "pool_fixture.h"

#include <sys/resource.h>

#include "base/fds.h"
#include "upstream/pool_room.h"

enum { LIMIT = 160, COPIES = 160 };

static struct pool *other;
static int copies[COPIES];
static unsigned n_copies;

struct probe {
    struct pool_wait wait;
    struct ustream *us;
    bool ready;
    struct fault fault;
};

static void on_ready(void *arg, struct ustream *us)
{
    struct probe *p = arg;
    p->us = us;
    p->ready = true;
}

static void on_wait_fault(void *arg, const struct fault *f)
{
    struct probe *p = arg;
    p->ready = true;
    p->fault = *f;
}

static void begin(struct pool *from, struct probe *p)
{
    struct up_where where = fixture_where(&fix, "127.0.0.1", port);
    memset(p, 0, sizeof(*p));
    p->wait.on_ready = on_ready;
    p->wait.on_fault = on_wait_fault;
    p->wait.arg = p;
    struct up_how how = {.not_before = 1}; /* on a connection of its own */
    p->us = pool_get(from, &where, &how, &p->wait);
    p->ready = p->us != NULL;
}

/* A connection that is idle in FROM. Its other end. */
static int make_idle(struct pool *from)
{
    struct probe p;
    begin(from, &p);
    fixture_until(&fix, &p.ready);
    assert_non_null(p.us);
    p.us->ops->cancel(p.us);
    return fixture_accept(&fix, listener);
}

static void expect_idle(struct pool *p, unsigned n)
{
    unsigned idle, busy;
    fixture_settle(&fix);
    pool_count(p, &idle, &busy);
    assert_int_equal(idle, n);
}

/* Uses up all that is not kept. */
static void use_up(void)
{
    int fd = dup(listener);
    while (!fds_is_kept(fd)) {
        copies[n_copies++] = fd;
        fd = dup(listener);
    }
    close(fd);
}

static void give_back(unsigned n)
{
    while (n-- > 0 && n_copies > 0)
        close(copies[--n_copies]);
}

static int set_up(void **state)
{
    (void)state;
    pool_fixture_open();
    other = pool_new(&fix.loop, fix.dns, &id, NULL, &tally);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    give_back(COPIES);
    pool_give_up_idle(pool, COPIES);
    pool_give_up_idle(other, COPIES);
    assert_int_equal(pool_idle_of_all(), 0);
    pool_close(other);
    pool_fixture_close();
    return 0;
}

static void oldest_goes_first(void **state)
{
    (void)state;
    int fds[3];
    for (int i = 0; i < 3; i++)
        fds[i] = make_idle(pool);
    expect_idle(pool, 3);
    assert_int_equal(pool_idle_of_all(), 3);
    assert_int_equal(pool_give_up_idle(pool, 2), 2);
    expect_idle(pool, 1);
    char c;
    assert_int_equal(recv(fds[0], &c, 1, MSG_DONTWAIT), 0);
    assert_int_equal(recv(fds[1], &c, 1, MSG_DONTWAIT), 0);
    assert_int_equal(recv(fds[2], &c, 1, MSG_DONTWAIT), -1);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    expect_idle(pool, 0);
    assert_false(pool_make_room(pool));
}

static void own_idle_makes_room(void **state)
{
    (void)state;
    struct probe p;
    int fd = make_idle(pool);
    use_up();
    begin(pool, &p);
    fixture_until(&fix, &p.ready);
    assert_non_null(p.us);
    expect_idle(pool, 0);
    p.us->ops->cancel(p.us);
    close(fd);
}

static void another_pool_makes_room(void **state)
{
    (void)state;
    struct probe p;
    int fd = make_idle(other);
    use_up();
    begin(pool, &p);
    fixture_until(&fix, &p.ready);
    assert_non_null(p.us);
    expect_idle(other, 0);
    p.us->ops->cancel(p.us);
    close(fd);
}

static void waits_its_turn(void **state)
{
    (void)state;
    struct probe p[3];
    use_up();
    for (int i = 0; i < 3; i++)
        begin(pool, &p[i]);
    fixture_settle(&fix);
    assert_false(p[0].ready || p[1].ready || p[2].ready);
    pool_cancel(&p[1].wait);
    give_back(1);
    fixture_until(&fix, &p[0].ready);
    assert_non_null(p[0].us);
    assert_false(p[2].ready);
    p[0].us->ops->cancel(p[0].us); /* idle, and so it is given up for the next */
    fixture_until(&fix, &p[2].ready);
    assert_non_null(p[2].us);
    assert_false(p[1].ready);
    p[2].us->ops->cancel(p[2].us);
}

static void waits_no_longer_than_a_queue(void **state)
{
    (void)state;
    struct probe p;
    fix.conf.upstream.queue_timeout = 50;
    use_up();
    begin(pool, &p);
    fixture_until(&fix, &p.ready);
    assert_null(p.us);
    assert_int_equal(p.fault.code, FAULT_DESCRIPTORS);
    assert_non_null(strstr(p.fault.text, "RLIMIT_NOFILE"));
    assert_non_null(strstr(p.fault.text, "LimitNOFILE="));
}

static void one_bound_for_all(void **state)
{
    (void)state;
    unsigned max = fds_budget()->idle;
    int fds[COPIES];
    for (unsigned i = 0; i < max; i++)
        fds[i] = make_idle(pool);
    assert_int_equal(pool_idle_of_all(), max);
    for (unsigned i = 0; i < 3; i++)
        fds[max + i] = make_idle(other);
    expect_idle(pool, max - 3); /* they had been idle longer */
    expect_idle(other, 3);
    for (unsigned i = 0; i < max + 3; i++)
        close(fds[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(oldest_goes_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(own_idle_makes_room, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_pool_makes_room, set_up, tear_down),
        cmocka_unit_test_setup_teardown(waits_its_turn, set_up, tear_down),
        cmocka_unit_test_setup_teardown(waits_no_longer_than_a_queue, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_bound_for_all, set_up, tear_down),
    };
    struct rlimit limit = {LIMIT, LIMIT};
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 1;
    fds_init(1, 2);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
