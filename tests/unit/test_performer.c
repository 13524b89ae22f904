/* SPDX-License-Identifier: Apache-2.0 */
/* exchange/performer.c, and what an exchange asks of any performer: one that is ready at once, one
 * that has answered before its start() returns, one that comes later, fails, or is not wanted. */
#include "rig_fixture.h"

#include "exchange/performer.h"

/* ---- a performer of the test's own, in place of a batch call's */

enum plan { AT_ONCE, INSIDE, INSIDE_FAULT, LATER, LATER_FAULT };

static struct {
    enum plan plan;
    struct ustream us;
    char got[64];
    unsigned starts, cancels, ustream_cancels;
    bool is_ended;
} fake;

static void fake_us_start(struct ustream *us, const struct up_request *rq, struct str body,
                          bool end)
{
    (void)us;
    (void)rq;
    snprintf(fake.got, sizeof(fake.got), "%.*s", STR_ARG(body));
    fake.is_ended = end;
}

static void fake_us_end(struct ustream *us, struct str last, const struct fields *trailers)
{
    (void)us;
    (void)last;
    (void)trailers;
    fake.is_ended = true;
}

static void fake_us_cancel(struct ustream *us)
{
    (void)us;
    fake.ustream_cancels++;
}

static const struct ustream_ops fake_ops = {
    .start = fake_us_start, .end = fake_us_end, .cancel = fake_us_cancel};

static void fake_fail(struct exchange *x)
{
    struct fault f;
    fault_set(&f, FAULT_LIMIT, "it was told so");
    exchange_fail(x, &f);
}

static struct ustream *fake_start(struct exchange *x)
{
    fake.starts++;
    fake.us = (struct ustream){.ops = &fake_ops};
    if (fake.plan == AT_ONCE)
        return &fake.us;
    if (fake.plan == INSIDE)
        exchange_launch(x, &fake.us);
    else if (fake.plan == INSIDE_FAULT)
        fake_fail(x);
    return NULL;
}

static void fake_cancel(struct exchange *x)
{
    (void)x;
    fake.cancels++;
}

static const struct performer performer_fake = {.start = fake_start, .cancel = fake_cancel};

static void fake_open(enum plan plan)
{
    memset(&fake, 0, sizeof(fake));
    fake.plan = plan;
    rig.engine.batch = &performer_fake;
    probe_open(&p, &rig,
               "POST http://tlsfan.localhost/batch HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n");
}

static void fake_answer(void)
{
    struct h1_head head = {.status = 204, .reason = STR("No"), .minor = 1};
    struct h1_body body = {.framing = H1_FRAMING_NONE};
    fields_init(&head.fields, &p.x.arena, NULL, 0);
    fake.us.events->on_head(fake.us.arg, &head, &body);
    fake.us.events->on_end(fake.us.arg, NULL);
}

/* The bytes that start() is given are the source's only as long as exchange_start() lasts. */
static void launched(void **state)
{
    static const enum plan plans[] = {AT_ONCE, INSIDE, LATER};
    (void)state;
    for (size_t i = 0; i < sizeof(plans) / sizeof(plans[0]); i++) {
        char bytes[] = "body";
        fake_open(plans[i]);
        exchange_start(&p.x, str_from(bytes), true);
        memset(bytes, '-', 4);
        if (plans[i] == LATER) {
            assert_int_equal(p.x.state, EXCHANGE_WAIT);
            exchange_launch(&p.x, &fake.us);
        }
        assert_int_equal(p.x.state, EXCHANGE_ACTIVE);
        assert_string_equal(fake.got, "body");
        assert_true(fake.is_ended);
        fake_answer();
        assert_non_null(strstr(p.told, " 204 "));
        probe_close(&p, &rig);
        assert_int_equal(fake.cancels + fake.ustream_cancels, 0);
        rig_check_empty(&rig);
    }
}

/* The source may close the exchange in the answer to a fault, wherever that came from. */
static void failed(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        enum plan plan = i & 1 ? LATER_FAULT : INSIDE_FAULT;
        fake_open(plan);
        p.close_at_end = (i & 2) != 0;
        exchange_start(&p.x, STR("bo"), false);
        if (plan == LATER_FAULT)
            fake_fail(&p.x);
        assert_non_null(strstr(p.told, " 503 "));
        assert_true(exchange_body(&p.x, STR("dy")));
        exchange_end(&p.x, STR(""), NULL);
        probe_close(&p, &rig);
        assert_int_equal(fake.starts, 1);
        rig_check_empty(&rig);
    }
}

/* Closed while it waits, and while it is under way: each is told once, and the right one. */
static void not_wanted(void **state)
{
    (void)state;
    fake_open(LATER);
    exchange_start(&p.x, STR("bo"), false);
    probe_close(&p, &rig);
    assert_int_equal(fake.cancels, 1);
    assert_int_equal(fake.ustream_cancels, 0);
    fake_open(AT_ONCE);
    exchange_start(&p.x, STR("bo"), false);
    probe_close(&p, &rig);
    assert_int_equal(fake.cancels, 0);
    assert_int_equal(fake.ustream_cancels, 1);
    assert_string_equal(p.told, "");
}

/* ---- the two of exchange/performer.c */

static const char get[] = "GET http://%P/ HTTP/1.1\r\nHost: h\r\n";
static const char connect_head[] = "CONNECT %P HTTP/1.1\r\nHost: h\r\n";

/* A connection in the making, then one that is there at once. */
static void by_pool(void **state)
{
    int fd = -1;
    (void)state;
    for (int i = 0; i < 2; i++) {
        probe_open(&p, &rig, get);
        exchange_start(&p.x, STR(""), true);
        assert_ptr_equal(p.x.performer, &performer_pool);
        assert_int_equal(p.x.state, i == 0 ? EXCHANGE_WAIT : EXCHANGE_ACTIVE);
        if (i == 0)
            fd = rig_accept(&rig, "\r\n\r\n");
        uint64_t answers = performer_pool.answers(&p.x);
        fixture_write(fd, "HTTP/1.1 204 No\r\n\r\n");
        until("|end");
        assert_int_equal(performer_pool.answers(&p.x), answers + 1);
        performer_pool.cancel(&p.x); /* it does not wait */
        probe_close(&p, &rig);
    }
    close(fd);
}

/* Nobody listens there: the answer, and what was tried for it, for the log. */
static void refused(void **state)
{
    (void)state;
    close(rig.origin);
    probe_open(&p, &rig, get);
    exchange_start(&p.x, STR(""), true);
    until("|end");
    assert_non_null(strstr(p.told, " 502 "));
    assert_int_equal(p.x.fault, FAULT_REFUSED);
    assert_int_equal(addr_port(&p.x.facts.peer), rig.port);
    probe_close(&p, &rig);
    probe_open(&p, &rig, connect_head);
    exchange_start(&p.x, STR(""), true);
    until("|end");
    assert_null(p.x.dial);
    assert_non_null(strstr(p.told, " 502 "));
    probe_close(&p, &rig);
    rig.origin = fixture_listen(&rig.port);
}

/* Closed while each waits: nothing is told, nothing is left. */
static void cancelled(void **state)
{
    static const char *const heads[] = {get, connect_head};
    (void)state;
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        probe_open(&p, &rig, heads[i]);
        exchange_start(&p.x, STR(""), true);
        assert_int_equal(p.x.state, EXCHANGE_WAIT);
        p.x.performer->cancel(&p.x);
        p.x.performer->cancel(&p.x);
        probe_close(&p, &rig);
        assert_string_equal(p.told, "");
        int left;
        while ((left = accept(rig.origin, NULL, NULL)) >= 0)
            close(left);
        fixture_settle(&rig.f);
        rig_check_empty(&rig);
    }
}

static int set_up_ports(void **state)
{
    static const char *const any_port[] = {"destination.connect_ports=", NULL};
    (void)state;
    rig_open(&rig, any_port);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_ports, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(launched), TEST(failed),  TEST(not_wanted),
        TEST(by_pool),  TEST(refused), TEST(cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
