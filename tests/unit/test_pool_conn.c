/* SPDX-License-Identifier: Apache-2.0 */
/* upstream/pool_conn.c: which connection a request gets, how long one is kept, and what becomes of
 * it by what its transport tells. */
#include "pool_fake.h"

#include "base/fds.h"
#include "upstream/pool_room.h"

static struct rule rule;
static struct up_where where;
static struct origin *o;
static const struct up_how any = {.client = 1};

static int set_up(void **state)
{
    (void)state;
    fds_init(1, 2);
    fake_pool_open();
    rule = fix.rule;
    rule.http2 = true;
    where = fixture_where(&fix, "h.test", 443);
    where.rule = &rule;
    where.tls = true;
    o = origins_get(&pool->origins, &where);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    pool_give_up_idle(pool, n_fake_conns);
    assert_int_equal(o->slots, 0);
    assert_int_equal(o->conns, 0);
    assert_int_equal(limit_in_use(o->limit), 0);
    fake_pool_close();
    return 0;
}

/* ---- steps */

static void on_ready(void *arg, struct ustream *us)
{
    *(struct ustream **)arg = us;
}

static void on_fault(void *arg, const struct fault *f)
{
    (void)arg;
    fail_msg("%s", f->text);
}

/* What is there at once, or NULL; then nobody waits for another. */
static struct fake_request *try(const struct up_how *how)
{
    struct pool_wait wait = {.on_ready = on_ready, .on_fault = on_fault};
    struct ustream *us = pool_get(pool, &where, how, &wait);
    pool_cancel(&wait);
    return us != NULL ? fake_request_of(us) : NULL;
}

/* A request on a connection that is made for it. */
static struct fake_request *make(bool is_h2)
{
    struct ustream *us = NULL;
    struct pool_wait wait = {.on_ready = on_ready, .on_fault = on_fault, .arg = &us};
    const struct up_how how = {.not_before = INT64_MAX};
    assert_null(pool_get(pool, &where, &how, &wait));
    loop_turn(&fix.loop, false);
    fake_dial_succeed(fake_dial(n_fake_dials - 1), is_h2);
    assert_non_null(us);
    return fake_request_of(us);
}

/* An idle one. */
static struct fake_conn *make_idle(bool is_h2)
{
    struct fake_request *rq = make(is_h2);
    struct fake_conn *f = rq->on;
    if (is_h2)
        pool_conn_room(&f->c, 10);
    fake_request_end(rq);
    assert_int_equal(f->c.n_requests, 0);
    return f;
}

static void is_on(struct fake_request *rq, const struct fake_conn *f)
{
    assert_non_null(rq);
    assert_ptr_equal(rq->on, f);
    fake_request_end(rq);
}

/* ---- which one */

static void the_last_one_used(void **state)
{
    (void)state;
    struct fake_request *rq = make(false);
    struct fake_conn *b = make_idle(false);
    struct fake_conn *a = rq->on;
    is_on(try(&any), b);
    fake_request_end(rq);
    is_on(try(&any), a);
    rq = try(&any);
    is_on(try(&any), b);
    fake_request_end(rq);
}

static void one_that_suits(void **state)
{
    (void)state;
    struct fake_conn *h1 = make_idle(false);
    struct fake_conn *h2 = make_idle(true);
    is_on(try(&any), h2);
    is_on(try(&(struct up_how){.h1_only = true}), h1);
    assert_null(try(&(struct up_how){.is_alone = true}));
    is_on(try(&(struct up_how){.not_before = 1}), h2); /* by HTTP/1 on none that was used */
    assert_null(try(&(struct up_how){.not_before = loop_now() + 1}));
    origin_want_h1(o);
    is_on(try(&any), h1);
}

static void with_as_many_as_it_carries(void **state)
{
    (void)state;
    struct fake_conn *f = make_idle(true);
    struct fake_request *rq[3];
    pool_conn_room(&f->c, 2);
    rq[0] = try(&any);
    rq[1] = try(&any);
    assert_null(try(&any));
    pool_conn_room(&f->c, 1);
    fake_request_end(rq[0]);
    assert_null(try(&any));
    pool_conn_room(&f->c, 2);
    rq[2] = try(&any);
    assert_ptr_equal(rq[2]->on, f);
    fake_request_end(rq[1]);
    fake_request_end(rq[2]);
    /* and in all: then one at a time, for it may carry more */
    carry_learn(&o->carry, 3, loop_now());
    carry_learn(&o->carry, 3, loop_now());
    rq[0] = try(&any);
    assert_ptr_equal(rq[0]->on, f);
    assert_null(try(&any));
    fake_request_end(rq[0]);
}

/* What has come on one is read before it is used, and not here. */
static void one_that_is_at_rest(void **state)
{
    (void)state;
    struct fake_conn *a = make_idle(false);
    fixture_write(a->peer, "x");
    assert_null(try(&any));
    assert_true(o->is_restless);
    struct fake_conn *b = make_idle(false);
    fixture_write(b->peer, "x");
    fixture_settle(&fix);
    is_on(try(&any), b);
}

static void ask_when_it_has_come(void *arg)
{
    struct fake_conn *f = arg;
    fixture_write(f->peer, "x"); /* no event of this turn tells of it */
    assert_null(try(&any));
    assert_true(o->is_restless);
}

/* What has come since the turn began counts as well: it is nobody's answer. */
static void none_that_has_something_since(void **state)
{
    (void)state;
    struct fake_conn *f = make_idle(false);
    struct post post;
    fixture_settle(&fix);
    post_init(&post, ask_when_it_has_come, f);
    loop_post(&fix.loop, &post);
    loop_turn(&fix.loop, false);
    fixture_settle(&fix);
    is_on(try(&any), f);
}

static bool fake_has_buffered(struct wire *w)
{
    (void)w;
    return false;
}

static bool fake_is_amid(const struct wire *w)
{
    (void)w;
    return true;
}

/* Half a record has come on F; TOP is on its stream until that has its own wire again. */
static void make_amid(struct fake_conn *f, struct wire *top)
{
    static const struct wire_ops ops = {.has_buffered = fake_has_buffered, .is_amid = fake_is_amid};
    struct stream *s = f->c.stream;
    *top = (struct wire){.ops = &ops, .below = &s->plain, .line = &s->line};
    s->wire = top;
}

/* Half a record is nobody's answer, either; by HTTP/2 its frames say whose they are. */
static void none_with_half_a_record(void **state)
{
    (void)state;
    for (int is_h2 = 0; is_h2 < 2; is_h2++) {
        struct fake_conn *f = make_idle(is_h2 != 0);
        struct stream *s = f->c.stream;
        struct wire top;
        fixture_settle(&fix);
        make_amid(f, &top);
        if (is_h2 != 0)
            is_on(try(&any), f);
        else
            assert_null(try(&any));
        s->wire = &s->plain;
        fixture_settle(&fix);
        is_on(try(&any), f);
    }
}

/* However many have half a record, one behind them is found; only what has more is to be read. */
static void one_behind_many_with_half_a_record(void **state)
{
    (void)state;
    enum { MANY = 20, KEPT = 8 };
    struct fake_conn *good = make_idle(false);
    struct fake_conn *amid[MANY];
    static struct wire tops[MANY]; /* some until the reaper has been there */
    for (int i = 0; i < MANY; i++)
        amid[i] = make_idle(false);
    fixture_settle(&fix);
    for (int i = 0; i < MANY; i++)
        make_amid(amid[i], &tops[i]);
    struct fake_request *rq = try(&any);
    assert_non_null(rq);
    assert_ptr_equal(rq->on, good);
    assert_int_equal(n_fake_conns, KEPT + 1); /* each is asked by each look */
    assert_null(try(&any));
    assert_false(o->is_restless);
    assert_int_equal(n_fake_conns, KEPT + 1);
    fixture_write(amid[MANY - 1]->peer, "x");
    assert_null(try(&any));
    assert_true(o->is_restless);
    for (int i = 0; i < KEPT; i++)
        amid[MANY - 1 - i]->c.stream->wire = &amid[MANY - 1 - i]->c.stream->plain;
    fake_request_end(rq);
}

/* ---- how long */

static void not_too_long(void **state)
{
    (void)state;
    struct fake_conn *f = make_idle(false);
    f->c.idle_since -= o->idle_timeout;
    assert_null(try(&any));
    assert_int_equal(n_fake_conns, 0);
    f = make_idle(false);
    f->c.born -= o->max_age;
    assert_null(try(&any));
    assert_int_equal(n_fake_conns, 0);
    /* with a request under way it is closed behind that */
    f = make_idle(true);
    struct fake_request *rq = try(&any);
    f->c.born -= o->max_age;
    assert_null(try(&any));
    assert_int_equal(n_fake_conns, 1);
    fake_request_end(rq);
    assert_int_equal(n_fake_conns, 0);
}

static void the_front_goes_first(void **state)
{
    (void)state;
    struct fake_conn *a = make_idle(false);
    struct fake_request *rq = try(&any);
    struct fake_conn *b = make_idle(false);
    fake_request_end(rq);
    a->c.idle_since -= o->idle_timeout;
    pool_conn_expire(pool);
    assert_int_equal(n_fake_conns, 2); /* B is at the front, and not too old */
    b->c.idle_since -= o->idle_timeout;
    pool_conn_expire(pool);
    assert_int_equal(n_fake_conns, 0);
}

/* ---- what transports tell */

static void no_room(void **state)
{
    (void)state;
    struct fake_conn *f = make_idle(true);
    pool_conn_room(&f->c, 0);
    assert_int_equal(n_fake_conns, 0);
    f = make_idle(true);
    struct fake_request *rq = try(&any);
    pool_conn_retire(&f->c);
    pool_conn_room(&f->c, 10); /* SETTINGS behind GOAWAY */
    assert_null(try(&any));
    fake_request_end(rq);
    assert_int_equal(n_fake_conns, 0);
}

/* Nobody else rides one that was made for a request alone, not even while it settles. */
static void alone(void **state)
{
    (void)state;
    struct ustream *us = NULL;
    struct pool_wait wait = {.on_ready = on_ready, .on_fault = on_fault, .arg = &us};
    o->streams = 10;
    assert_null(pool_get(pool, &where, &(struct up_how){.is_alone = true}, &wait));
    loop_turn(&fix.loop, false);
    fake_dial_succeed(fake_dial(0), true);
    assert_non_null(us);
    assert_null(try(&any));
    pool_conn_room(&fake_request_of(us)->on->c, 10);
    assert_null(try(&any));
    fake_request_end(fake_request_of(us));
    assert_int_equal(n_fake_conns, 0);
}

static void lost(void **state)
{
    (void)state;
    struct fake_conn *f = make_idle(true);
    for (int i = 0; i < 3; i++)
        assert_non_null(try(&any));
    assert_int_equal(o->slots, 3);
    fake_lose(f);
    assert_int_equal(o->slots, 0);
    assert_int_equal(pool->n_busy, 0);
    /* and one that has not said yet how many it takes */
    struct fake_request *rq = make(true);
    assert_int_equal(o->n_settling, 1);
    fake_lose(rq->on);
    assert_int_equal(o->n_settling, 0);
}

/* Its slot is kept until the end of the tunnel. */
static void taken(void **state)
{
    (void)state;
    struct fake_request *rq = make(false);
    struct fake_conn *f = rq->on;
    struct stream *s = f->c.stream;
    fake_forget(rq);
    void *slot = pool_conn_taken(&f->c);
    fake_drop(f);
    assert_int_equal(o->conns, 0);
    assert_int_equal(o->slots, 1);
    stream_close(s);
    pool_release_slot(slot);
    pool_release_slot(NULL);
}

/* One that turns all away is not asked for good; an answer makes up for what went before. */
static void refused(void **state)
{
    (void)state;
    struct fake_conn *f = make_idle(true);
    struct fake_request *rq;
    for (int i = 0; i < 3; i++) {
        rq = try(&any);
        pool_conn_refused(&f->c);
        fake_forget(rq);
        pool_conn_done(&f->c);
    }
    is_on(try(&any), f); /* answers */
    for (int i = 0; i < 4; i++) {
        assert_int_equal(n_fake_conns, 1);
        rq = try(&any);
        pool_conn_refused(&f->c);
        fake_forget(rq);
        pool_conn_done(&f->c);
    }
    assert_int_equal(n_fake_conns, 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_last_one_used),
        CASE(one_that_suits),
        CASE(with_as_many_as_it_carries),
        CASE(one_that_is_at_rest),
        CASE(none_that_has_something_since),
        CASE(none_with_half_a_record),
        CASE(one_behind_many_with_half_a_record),
        CASE(not_too_long),
        CASE(the_front_goes_first),
        CASE(no_room),
        CASE(alone),
        CASE(lost),
        CASE(taken),
        CASE(refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
