/* SPDX-License-Identifier: Apache-2.0 */
/* upstream/pool_memory.c: idle connections go until max_memory is not tight, and no further. */
#include "upstream_fixture.h"

#include "http/forward.h"
#include "upstream/pool_impl.h"
#include "upstream/pool_memory.h"
#include "upstream/tally.h"

enum { IDLE = 20, MAX = 1 << 30 };

static struct fixture fix;
static struct fixture_dns server;
static struct pool *pool;
static struct tally tally;
static struct forward_id id;
static struct budget budget;
static int listener, peers[IDLE];
static uint16_t port;
static int64_t each; /* bytes that an idle connection is counted with */

static struct ustream *got;
static bool is_ready;

static void on_ready(void *arg, struct ustream *us)
{
    (void)arg;
    got = us;
    is_ready = true;
}

static void on_wait_fault(void *arg, const struct fault *f)
{
    (void)arg;
    fail_msg("%s", f->text);
}

/* One more connection that is idle; gives its other end. */
static int make_idle(void)
{
    struct pool_wait wait = {.on_ready = on_ready, .on_fault = on_wait_fault};
    struct up_where where = fixture_where(&fix, "127.0.0.1", port);
    struct up_how how = {.not_before = 1}; /* on a connection of its own */
    got = pool_get(pool, &where, &how, &wait);
    is_ready = got != NULL;
    fixture_until(&fix, &is_ready);
    got->ops->cancel(got);
    return fixture_accept(&fix, listener);
}

static int set_up(void **state)
{
    (void)state;
    fixture_open(&fix);
    fixture_dns_open(&fix, &server);
    fixture_open_dns(&fix);
    forward_id_init(&id);
    atomic_store(&budget.max, MAX);
    atomic_store(&budget.used, 0);
    pool = pool_new(&fix.loop, fix.dns, &id, &budget, &tally);
    listener = fixture_listen(&port);
    for (int i = 0; i < IDLE; i++)
        peers[i] = make_idle();
    fixture_settle(&fix);
    each = budget_used(&budget) / IDLE;
    assert_true(each > 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    pool_close(pool);
    for (int i = 0; i < IDLE; i++)
        close(peers[i]);
    close(listener);
    fixture_dns_close(&server);
    fixture_close(&fix);
    return 0;
}

/* So many connections are idle when memory has been given up with N of them too many. */
static void left_of(int n, unsigned expected)
{
    unsigned idle, busy;
    /* Tight is from three quarters on. */
    atomic_store(&budget.max, (budget_used(&budget) - n * each) / 3 * 4 + 8);
    assert_int_equal(pool_is_tight(pool), n > 0);
    pool_give_up_memory(pool);
    fixture_settle(&fix);
    pool_count(pool, &idle, &busy);
    assert_int_equal(idle, expected);
}

static void no_more_than_needed(void **state)
{
    (void)state;
    left_of(0, IDLE);
    left_of(3, IDLE - 3);
    /* And 16 at once. */
    left_of(IDLE - 3, 1);
}

static void a_long_head_is_refused_when_full(void **state)
{
    struct pool_conn conn = {.pool = pool};
    struct fault f = {.code = FAULT_NONE};
    (void)state;
    assert_false(pool_conn_is_full(&conn, &f));
    assert_int_equal(f.code, FAULT_NONE);
    atomic_store(&budget.max, budget_used(&budget));
    assert_true(pool_conn_is_full(&conn, &f));
    assert_int_equal(f.code, FAULT_LIMIT);
    assert_string_equal(f.phrase, "Memory of the proxy is full");
}

/* A pool without a bound is never short. */
static void without_a_bound(void **state)
{
    struct fault f;
    (void)state;
    struct pool *free_one = pool_new(&fix.loop, fix.dns, &id, NULL, &tally);
    struct pool_conn conn = {.pool = free_one};
    assert_false(pool_is_tight(free_one));
    assert_false(pool_conn_is_full(&conn, &f));
    pool_give_up_memory(free_one);
    pool_close(free_one);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(no_more_than_needed),
        CASE(a_long_head_is_refused_when_full),
        CASE(without_a_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
