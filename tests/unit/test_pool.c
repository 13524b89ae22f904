/* SPDX-License-Identifier: Apache-2.0 */
/* upstream/pool.c: slots, queues, idle connections and dials that nobody needs any more. The origin
 * is a listener on loopback that the test plays in plain HTTP. */
#include "pool_fixture.h"

struct probe {
    struct pool_wait wait;
    struct ustream *us;
    bool ready, over;
    struct fault fault;
};

static void on_ready(void *arg, struct ustream *us)
{
    struct probe *p = arg;
    assert_false(p->ready);
    p->us = us;
    p->ready = true;
}

static void on_wait_fault(void *arg, const struct fault *f)
{
    struct probe *p = arg;
    assert_false(p->ready);
    p->ready = true;
    p->fault = *f;
}

static void on_head(void *arg, struct h1_head *head, const struct h1_body *body)
{
    (void)arg;
    (void)head;
    (void)body;
}

static void on_end(void *arg, const struct fields *trailers)
{
    struct probe *p = arg;
    (void)trailers;
    p->us = NULL;
    p->over = true;
}

static void on_fault(void *arg, const struct fault *f, enum up_loss loss)
{
    struct probe *p = arg;
    (void)loss;
    p->us = NULL;
    p->over = true;
    p->fault = *f;
}

static const struct ustream_events events = {
    .on_head = on_head, .on_end = on_end, .on_fault = on_fault};

struct wanted {
    struct up_where where;
    struct up_how how;
};

static struct wanted want_of(uint64_t client)
{
    return (struct wanted){.where = fixture_where(&fix, "four.test", port),
                           .how = {.client = client}};
}

static void begin(struct probe *p, const struct wanted *want)
{
    memset(p, 0, sizeof(*p));
    p->wait.on_ready = on_ready;
    p->wait.on_fault = on_wait_fault;
    p->wait.arg = p;
    p->us = pool_get(pool, &want->where, &want->how, &p->wait);
    p->ready = p->us != NULL;
}

/* Performs a whole exchange on P's connection, whose other end is FD. */
static void perform(struct probe *p, int fd)
{
    static const char expect[] = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    char buf[sizeof(expect)];
    struct fields none;
    fields_init(&none, NULL, NULL, 0);
    struct up_request rq = {
        .method = method_lookup(STR("GET")), .target = STR("/"), .host = STR("h"), .fields = &none};
    ustream_attach(p->us, &events, p);
    p->us->ops->start(p->us, &rq, (struct str){0}, true);
    fixture_read(&fix, fd, buf, sizeof(expect) - 1);
    assert_string_equal(buf, expect);
    fixture_write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    fixture_until(&fix, &p->over);
    assert_int_equal(p->fault.code, FAULT_NONE);
}

static int set_up(void **state)
{
    (void)state;
    pool_fixture_open();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    expect_count(0, 0);
    pool_fixture_close();
    return 0;
}

static void test_most_recent_first(void **state)
{
    (void)state;
    struct probe a, b;
    struct wanted want = want_of(1);
    begin(&a, &want);
    assert_null(a.us);
    fixture_until(&fix, &a.ready);
    int fd_a = fixture_accept(&fix, listener);
    begin(&b, &want);
    fixture_until(&fix, &b.ready);
    int fd_b = fixture_accept(&fix, listener);
    expect_count(0, 2);
    perform(&b, fd_b);
    perform(&a, fd_a);
    expect_count(2, 0);
    begin(&a, &want);
    assert_true(a.ready);
    assert_true(a.us->facts.is_reused);
    perform(&a, fd_a);
    want.how.not_before = loop_now();
    begin(&b, &want);
    assert_false(b.ready);
    fixture_until(&fix, &b.ready);
    assert_false(b.us->facts.is_reused);
    b.us->ops->cancel(b.us);
    expect_count(3, 0);
    close(fixture_accept(&fix, listener));
    close(fd_a);
    close(fd_b);
    expect_count(0, 0);
}

static void test_dead_one_is_skipped(void **state)
{
    (void)state;
    struct probe a;
    struct wanted want = want_of(1);
    begin(&a, &want);
    fixture_until(&fix, &a.ready);
    int fd = fixture_accept(&fix, listener);
    perform(&a, fd);
    close(fd);
    begin(&a, &want); /* the kernel knows, the loop does not yet */
    assert_false(a.ready);
    fixture_until(&fix, &a.ready);
    fd = fixture_accept(&fix, listener);
    perform(&a, fd);
    close(fd);
}

static void test_queue(void **state)
{
    (void)state;
    struct probe p[4];
    static const uint64_t clients[] = {1, 1, 1, 2};
    fix.rule.max_per_host = 1;
    for (int i = 0; i < 4; i++) {
        struct wanted want = want_of(clients[i]);
        begin(&p[i], &want);
    }
    fixture_until(&fix, &p[0].ready);
    fixture_settle(&fix);
    assert_false(p[1].ready || p[2].ready || p[3].ready);
    int fd = fixture_accept(&fix, listener);
    perform(&p[0], fd);
    fixture_until(&fix, &p[1].ready);
    perform(&p[1], fd);
    fixture_until(&fix, &p[3].ready); /* the other client's turn */
    assert_false(p[2].ready);
    pool_cancel(&p[2].wait);
    pool_cancel(&p[2].wait);
    perform(&p[3], fd);
    expect_count(1, 0);
    assert_false(p[2].ready);
    close(fd);
}

/* What nobody has asked for yet has a slot at once or waits for one, be it behind who waits in
 * another worker; and never the last one. */
static void test_ahead_is_last(void **state)
{
    (void)state;
    struct probe a, b, c, d;
    struct wanted want = want_of(1);
    struct wanted ahead = want_of(1);
    ahead.how.is_ahead = true;
    fix.rule.max_per_host = 2;
    begin(&a, &ahead);
    assert_int_equal(a.wait.state, WAIT_UNDIALLED);
    begin(&c, &ahead);
    assert_int_equal(c.wait.state, WAIT_QUEUED);
    pool_cancel(&c.wait);
    begin(&d, &want);
    assert_int_equal(d.wait.state, WAIT_UNDIALLED);
    struct pool *first = pool;
    struct tally other = {0};
    struct pool *second = pool_new(&fix.loop, fix.dns, &id, NULL, &other);
    pool = second;
    begin(&b, &want);
    pool = first;
    begin(&c, &ahead);
    assert_int_equal(b.wait.state, WAIT_QUEUED);
    assert_int_equal(c.wait.state, WAIT_QUEUED);
    pool_cancel(&c.wait);
    pool_cancel(&a.wait);
    pool_cancel(&d.wait);
    begin(&c, &ahead); /* there is a slot, but it is not for this one */
    assert_int_equal(c.wait.state, WAIT_QUEUED);
    pool_cancel(&c.wait);
    fixture_until(&fix, &b.ready);
    b.us->ops->cancel(b.us);
    fixture_settle(&fix);
    pool_close(second);
}

/* A second try, begun where the first one failed, keeps its slot although others wait. */
static void test_retry_goes_first(void **state)
{
    (void)state;
    struct probe a, b, again;
    struct wanted want = want_of(1);
    fix.rule.max_per_host = 1;
    begin(&a, &want);
    begin(&b, &want);
    fixture_until(&fix, &a.ready);
    int fd = fixture_accept(&fix, listener);
    perform(&a, fd);
    fixture_until(&fix, &b.ready);
    begin(&a, &want);
    assert_false(a.ready);
    close(fd);
    b.us->ops->cancel(b.us);
    want.how.not_before = loop_now();
    begin(&again, &want);
    fixture_until(&fix, &again.ready);
    assert_non_null(again.us);
    assert_false(a.ready);
    fd = fixture_accept(&fix, listener);
    perform(&again, fd);
    fixture_until(&fix, &a.ready);
    perform(&a, fd);
    close(fd);
}

static void test_queue_timeout(void **state)
{
    (void)state;
    struct probe a, b;
    struct wanted want = want_of(1);
    fix.rule.max_per_host = 1;
    fix.conf.upstream.queue_timeout = 20;
    begin(&a, &want);
    begin(&b, &want);
    fixture_until(&fix, &b.ready);
    assert_int_equal(b.fault.code, FAULT_LIMIT);
    assert_non_null(strstr(b.fault.text, "queue_timeout"));
    fixture_until(&fix, &a.ready);
    int fd = fixture_accept(&fix, listener);
    perform(&a, fd);
    close(fd);
}

static void test_dial_fault(void **state)
{
    (void)state;
    struct probe a, b;
    struct wanted want = want_of(1);
    want.where.host = STR("none.test");
    fix.rule.max_per_host = 1;
    begin(&a, &want);
    begin(&b, &want);
    fixture_until(&fix, &b.ready); /* the slot of the one that failed */
    assert_int_equal(a.fault.code, FAULT_DNS);
    assert_int_equal(b.fault.code, FAULT_DNS);
}

/* B's dial hangs in the DNS when A's connection comes back: B takes that, C takes over B's dial. */
static void test_orphan(void **state)
{
    (void)state;
    struct probe a, b, c;
    struct wanted want = want_of(1);
    fix.conf.dns.ttl_max = 0;
    fix.conf.dns.negative_ttl = 0;
    fix.conf.dns.family = AF_INET;
    begin(&a, &want);
    fixture_until(&fix, &a.ready);
    int fd = fixture_accept(&fix, listener);
    server.hold = true;
    begin(&b, &want);
    for (int i = 0; server.kept_len == 0 && i < 100000; i++)
        loop_turn(&fix.loop, false);
    assert_false(b.ready);
    unsigned asked = server.queries;
    perform(&a, fd);
    fixture_until(&fix, &b.ready);
    assert_true(b.us->facts.is_reused);
    begin(&c, &want);
    assert_false(c.ready);
    fixture_settle(&fix);
    assert_int_equal(server.queries, asked);
    perform(&b, fd); /* C could have it, and gets it */
    fixture_until(&fix, &c.ready);
    fixture_dns_reply(&server, server.kept, server.kept_len, &server.kept_from);
    int unneeded = fixture_accept(&fix, listener);
    expect_count(1, 1);
    perform(&c, fd);
    expect_count(2, 0);
    close(unneeded);
    close(fd);
}

/* A waiter that goes takes its dial along. */
static void test_cancel(void **state)
{
    (void)state;
    struct probe a;
    struct wanted want = want_of(1);
    server.hold = true;
    begin(&a, &want);
    fixture_settle(&fix);
    pool_cancel(&a.wait);
    pool_cancel(&a.wait);
    memset(&a, 0, sizeof(a));
    pool_cancel(&a.wait); /* never waited */
    begin(&a, &want);
    pool_cancel(&a.wait);
    expect_count(0, 0);
    assert_false(a.ready);
}

static void test_expiry(void **state)
{
    (void)state;
    struct probe a;
    struct wanted want = want_of(1);
    fix.conf.upstream.idle_timeout = 30;
    begin(&a, &want);
    fixture_until(&fix, &a.ready);
    int fd = fixture_accept(&fix, listener);
    perform(&a, fd);
    char buf[2];
    assert_int_equal(fixture_read(&fix, fd, buf, 1), 0); /* closed by the pool */
    close(fd);
    expect_count(0, 0);
}

static void test_retire(void **state)
{
    (void)state;
    struct probe a, b;
    struct wanted want = want_of(1);
    begin(&a, &want);
    fixture_until(&fix, &a.ready);
    int fd_a = fixture_accept(&fix, listener);
    begin(&b, &want);
    fixture_until(&fix, &b.ready);
    int fd_b = fixture_accept(&fix, listener);
    perform(&a, fd_a);
    expect_count(1, 1);
    pool_retire(pool, 2);
    expect_count(0, 1);
    perform(&b, fd_b);
    expect_count(0, 0);
    close(fd_a);
    close(fd_b);
}

/* A reload gives up hundreds of idle connections a few in each turn. */
static void test_retire_in_parts(void **state)
{
    enum { MANY = 100, PART = 32 };
    (void)state;
    static struct probe p[MANY];
    static int fds[MANY];
    struct wanted want = want_of(1);
    unsigned idle, busy;
    for (int i = 0; i < MANY; i++) {
        begin(&p[i], &want);
        fixture_until(&fix, &p[i].ready);
        fds[i] = fixture_accept(&fix, listener);
    }
    for (int i = 0; i < MANY; i++)
        perform(&p[i], fds[i]);
    expect_count(MANY, 0);
    pool_retire(pool, 2);
    pool_count(pool, &idle, &busy);
    assert_in_range(MANY - idle, 0, PART);
    while (idle > 0) {
        unsigned before = idle;
        loop_turn(&fix.loop, true);
        pool_count(pool, &idle, &busy);
        assert_in_range(before - idle, 0, PART);
    }
    for (int i = 0; i < MANY; i++)
        close(fds[i]);
}

/* Two workers and one slot: the end of a request on one wakes the other. */
static void test_two_pools(void **state)
{
    (void)state;
    struct probe a, b;
    struct wanted want = want_of(1);
    fix.rule.max_per_host = 1;
    begin(&a, &want);
    fixture_until(&fix, &a.ready);
    int fd = fixture_accept(&fix, listener);
    struct pool *first = pool;
    struct pool *second = pool_new(&fix.loop, fix.dns, &id, NULL, &tally);
    pool = second;
    begin(&b, &want);
    fixture_settle(&fix);
    assert_false(b.ready);
    perform(&a, fd);
    fixture_until(&fix, &b.ready);
    int fd_b = fixture_accept(&fix, listener);
    perform(&b, fd_b);
    close(fd_b);
    expect_count(0, 0);
    pool_close(second);
    pool = first;
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_most_recent_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_dead_one_is_skipped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_queue, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ahead_is_last, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_retry_goes_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_queue_timeout, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_dial_fault, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_orphan, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cancel, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_expiry, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_retire, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_retire_in_parts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_two_pools, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
