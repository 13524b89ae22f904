/* SPDX-License-Identifier: Apache-2.0 */
/* exchange/summary.c: the union of the times of requests, whatever order workers tell of them in,
 * and what counts as a request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>

#include "exchange/summary.h"

static struct engine engine;
static struct source_side side;

static void make(struct exchange *x, int64_t begin)
{
    memset(x, 0, sizeof(*x));
    x->engine = &engine;
    x->from = &side;
    x->t.begin = begin;
    x->head.method.id = METHOD_GET;
}

static struct exchange *begin(struct exchange *x, int64_t at)
{
    make(x, at);
    summary_begin(x);
    return x;
}

static void end(struct exchange *x, int64_t at)
{
    x->t.end = at;
    summary_count(x);
}

static int set_up(void **state)
{
    (void)state;
    summary_open();
    return 0;
}

static void one_after_the_other(void **state)
{
    struct exchange x;
    (void)state;
    assert_int_equal(summary_get().most, 0);
    end(begin(&x, 100), 150);
    end(begin(&x, 1000), 1010);
    struct summary s = summary_get();
    assert_int_equal(s.requests, 2);
    assert_int_equal(s.waiting, 60);
    assert_int_equal(s.busy, 60);
    assert_int_equal(s.most, 1);
    assert_int_equal(s.under_way, 0);
}

static void at_once(void **state)
{
    struct exchange a, b, c;
    (void)state;
    begin(&a, 100);
    begin(&b, 110);
    summary_begin(&b); /* asked once more: it has begun */
    begin(&c, 120);
    end(&b, 200);
    end(&a, 300);
    end(&c, 150); /* its worker tells of it late */
    struct summary s = summary_get();
    assert_int_equal(s.most, 3);
    assert_int_equal(s.waiting, 90 + 200 + 30);
    assert_int_equal(s.busy, 200);
}

/* Nothing is counted twice where a worker is told of late what began before. */
static void overlapping(void **state)
{
    struct exchange a, b;
    (void)state;
    end(begin(&a, 100), 200);
    begin(&b, 150); /* it waited for its credentials meanwhile */
    end(&b, 260);
    assert_int_equal(summary_get().busy, 160);
    begin(&a, 300);
    begin(&b, 280);
    end(&a, 310);
    end(&b, 320);
    assert_int_equal(summary_get().busy, 160 + 40);
    begin(&a, 330);
    end(&a, 325); /* never less than nothing */
    assert_int_equal(summary_get().busy, 160 + 40);
}

static void what_a_websocket_waits(void **state)
{
    struct exchange x;
    (void)state;
    begin(&x, loop_now() - 1000);
    summary_end(&x);
    int64_t waiting = summary_get().waiting;
    assert_in_range(waiting, 1000, 60000000);
    end(&x, loop_now() + 3600000000);
    assert_int_equal(summary_get().waiting, waiting);
    assert_int_equal(summary_get().requests, 1);
}

static void count_with(enum fault_code fault)
{
    struct exchange x;
    begin(&x, 1);
    x.fault = fault;
    x.is_ahead = fault == FAULT_NONE;
    end(&x, 2);
}

static void failures(void **state)
{
    struct exchange x;
    (void)state;
    count_with(FAULT_NONE);
    count_with(FAULT_REFUSED);
    count_with(FAULT_RESPONSE_INCOMPLETE);
    count_with(FAULT_CLIENT_GONE);
    make(&x, 1); /* refused before anybody was asked */
    x.fault = FAULT_DENIED;
    end(&x, 50);
    struct summary s = summary_get();
    assert_int_equal(s.requests, 5);
    assert_int_equal(s.failed, 3);
    assert_int_equal(s.given_up, 1);
    assert_int_equal(s.ahead, 1);
    assert_int_equal(s.waiting, 4);
}

static void what_is_no_request(void **state)
{
    struct exchange x;
    (void)state;
    engine.batch = (const struct performer *)&engine;
    make(&x, 1);
    x.performer = engine.batch;
    summary_begin(&x);
    end(&x, 100);
    side.kind = SOURCE_OWN;
    end(begin(&x, 1), 100);
    side.kind = SOURCE_PROXY;
    make(&x, 1);
    x.where.is_bound = true; /* an own listener: a forward counts it itself */
    summary_begin(&x);
    end(&x, 100);
    struct summary s = summary_get();
    assert_int_equal(s.requests + s.most + s.tunnels, 0);
    assert_int_equal(s.waiting, 0);
    assert_int_equal(s.to_host, 1);
}

static void connect_to(const char *host, unsigned status, enum fault_code fault, void *performer)
{
    struct exchange x;
    static struct rule rule;
    make(&x, 1);
    x.head.method.id = METHOD_CONNECT;
    x.target.host = (struct uri_host){.name = str_from(host), .port = 443};
    x.performer = performer;
    x.rule = status == 201 ? NULL : &rule;
    x.status = status == 201 ? 200 : status;
    x.fault = fault;
    summary_begin(&x);
    end(&x, 1000);
}

static void tunnels(void **state)
{
    (void)state;
    connect_to("a\x1b.test", 200, FAULT_NONE, &engine);
    connect_to("a\x1b.test", 200, FAULT_CLIENT_GONE, &engine);
    struct summary s = summary_get();
    assert_int_equal(s.tunnels, 2);
    assert_int_equal(s.unopened, 0);
    assert_string_equal(s.where, "a\\x1b.test:443");
    assert_false(s.has_more);
    connect_to("b.test", 502, FAULT_REFUSED, &engine);
    connect_to("b.test", 403, FAULT_DENIED, NULL);
    connect_to("b.test", 200, FAULT_NONE, NULL); /* it is intercepted */
    connect_to("b.test", 201, FAULT_NONE, NULL); /* and this one read as plain HTTP */
    s = summary_get();
    assert_int_equal(s.tunnels, 4);
    assert_int_equal(s.unopened, 2);
    assert_int_equal(s.intercepted, 1);
    assert_true(s.has_more);
    assert_int_equal(s.requests + s.most, 0);
    side.kind = SOURCE_HOST;
    connect_to("h", 200, FAULT_NONE, &engine);
    side.kind = SOURCE_PROXY;
    s = summary_get();
    assert_int_equal(s.tunnels, 4);
    assert_int_equal(s.to_host, 1);
}

enum { THREADS = 4, ROUNDS = 2000 };

static void *run(void *arg)
{
    struct exchange x;
    for (int i = 0; i < ROUNDS; i++) {
        begin(&x, loop_now());
        end(&x, loop_now());
    }
    return arg;
}

static void from_threads(void **state)
{
    pthread_t threads[THREADS];
    (void)state;
    int64_t start = loop_now();
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    struct summary s = summary_get();
    assert_int_equal(s.requests, THREADS * ROUNDS);
    assert_int_equal(s.under_way, 0);
    assert_in_range(s.most, 1, THREADS);
    assert_in_range(s.busy, 0, loop_now() - start);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(one_after_the_other, set_up),
        cmocka_unit_test_setup(at_once, set_up),
        cmocka_unit_test_setup(overlapping, set_up),
        cmocka_unit_test_setup(what_a_websocket_waits, set_up),
        cmocka_unit_test_setup(failures, set_up),
        cmocka_unit_test_setup(what_is_no_request, set_up),
        cmocka_unit_test_setup(tunnels, set_up),
        cmocka_unit_test_setup(from_threads, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
