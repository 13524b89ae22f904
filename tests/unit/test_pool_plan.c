/* SPDX-License-Identifier: Apache-2.0 */
/* upstream/pool_plan.c: random schedules of what requests, dials and connections may do, and what
 * must hold after each step: everybody is told once, a slot is somebody's, never more than
 * max_per_host are out, and who waits has something to wait for. Two origins share a limit. */
#include "pool_fake.h"

#include "base/fds.h"
#include "upstream/pool_room.h"

/* 500/s: the lateness that is made good lets two go at once now and then. */
enum { RATE_NS = 2000000 };
enum { PROBES = 24, ROUNDS = 300, STEPS = 150, SEED = 20240607, BY_H1 = 0, BY_H2 = 1 };

struct probe {
    struct pool_wait wait;
    struct fake_request *request;
    bool is_waiting;
    unsigned told;
};

static struct probe probes[PROBES];
static struct rule rules[2]; /* for an origin each */
static struct up_where wheres[2];
static uint32_t seed;
static bool is_finishing; /* nobody begins anything any more */

static unsigned pick(unsigned n)
{
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;
    return seed % n;
}

static struct origin *origin(int i)
{
    return origins_get(&pool->origins, &wheres[i]);
}

/* ---- what requests do */

static void begin(struct probe *p);
static void act(void);

static void told(struct probe *p)
{
    assert_true(p->is_waiting);
    assert_null(p->wait.origin);
    assert_int_equal(++p->told, 1);
    p->is_waiting = false;
}

static void given(struct probe *p, struct ustream *us)
{
    p->request = fake_request_of(us);
    p->request->owner = p;
}

static void answer(struct probe *p)
{
    struct fake_request *rq = p->request;
    p->request = NULL;
    fake_request_end(rq);
}

static void on_ready(void *arg, struct ustream *us)
{
    struct probe *p = arg;
    told(p);
    given(p, us);
    if (!is_finishing && pick(6) == 0)
        answer(p);
    else
        act();
}

static void on_wait_fault(void *arg, const struct fault *f)
{
    struct probe *p = arg;
    (void)f;
    told(p);
    if (!is_finishing && pick(3) == 0)
        begin(p);
    else
        act();
}

static void begin(struct probe *p)
{
    unsigned kind = pick(12);
    struct up_how how = {.client = pick(3),
                         .is_patient = pick(2),
                         .is_ahead = pick(4) == 0,
                         .h1_only = kind == 0,
                         .is_alone = kind == 1,
                         .not_before = kind == 2 ? loop_now() : 0};
    *p = (struct probe){.wait = {.on_ready = on_ready, .on_fault = on_wait_fault, .arg = p}};
    p->is_waiting = true;
    struct ustream *us = pool_get(pool, &wheres[pick(2)], &how, &p->wait);
    if (us == NULL)
        return;
    p->is_waiting = false;
    given(p, us);
}

/* One is begun, cancelled or answered. */
static void act(void)
{
    struct probe *p = &probes[pick(PROBES)];
    if (is_finishing)
        return;
    if (p->request != NULL)
        answer(p);
    else if (!p->is_waiting)
        begin(p);
    else if (pick(3) == 0) {
        pool_cancel(&p->wait);
        p->is_waiting = false;
    }
}

/* ---- what connections and dials do */

static void lose(struct fake_conn *f)
{
    list_foreach (it, &f->requests)
        ((struct probe *)container_of(it, struct fake_request, link)->owner)->request = NULL;
    fake_lose(f);
}

static void happen_to_conn(struct fake_conn *f)
{
    switch (pick(5)) {
    case 0:
        lose(f);
        break;
    case 1:
        pool_conn_retire(&f->c); /* GOAWAY */
        break;
    default: {
        unsigned room = f->c.is_shared ? 1 + pick(4) : 1;
        if (room >= f->c.n_requests && f->c.is_shared)
            f->c.origin->streams = room;
        if (room >= f->c.n_requests && !f->c.is_going)
            pool_conn_room(&f->c, room);
    }
    }
}

static void happen_to_dial(struct dial *d)
{
    static const enum fault_code faults[] = {FAULT_REFUSED, FAULT_CONNECT_TIMEOUT, FAULT_DNS,
                                             FAULT_TLS_CERTIFICATE, FAULT_DESCRIPTORS};
    if (pick(3) > 0)
        fake_dial_succeed(d, pick(2));
    else
        fake_dial_fail(d, faults[pick(sizeof(faults) / sizeof(faults[0]))]);
}

static void step(void)
{
    unsigned what = pick(10);
    if (what == 0 && n_fake_conns > 0)
        happen_to_conn(fake_conn(pick(n_fake_conns)));
    else if (what <= 3 && n_fake_dials > 0)
        happen_to_dial(fake_dial(pick(n_fake_dials)));
    else if (what == 4)
        pool->feed.fn(pool);
    else
        act();
    if (pick(3) > 0)
        loop_turn(&fix.loop, false);
}

/* ---- what must hold */

/* A descriptor, or a connection that may carry it, too. */
static bool has_hope(const struct origin *o)
{
    if (o->n_settling > 0 || !list_is_empty(&o->starved))
        return true;
    list_foreach (it, &o->dials) {
        if (container_of(it, struct pool_dial, link)->offers_h2)
            return true;
    }
    return false;
}

/* What is made ahead leaves a slot free there. */
static bool waits_for_time(const struct pool_wait *wait, enum pace_line line)
{
    const struct origin_pace *pace = wait->origin->pace;
    return pace != NULL && (origin_pace_is_closed(pace, line) || wait->how.is_ahead);
}

static void check_wait(const struct pool_wait *wait)
{
    const struct origin *o = wait->origin;
    assert_non_null(o);
    switch (wait->state) {
    case WAIT_QUEUED:
        assert_true(limit_in_use(o->limit) >= o->max_requests || waits_for_time(wait, PACE_TURN));
        return;
    case WAIT_UNDIALLED:
        assert_true(has_hope(o) || waits_for_time(wait, PACE_BEGIN));
        break;
    case WAIT_DIALLED:
        assert_ptr_equal(wait->dial->wait, wait);
        break;
    case WAIT_NONE:
        fail_msg("nobody knows that it waits");
    }
    if (!wait->how.h1_only && !wait->how.is_alone && wait->how.not_before == 0 &&
        !waits_for_time(wait, PACE_BEGIN))
        assert_true(list_is_empty(&o->open));
}

static void check(void)
{
    unsigned n_slots[2] = {0};
    loop_turn(&fix.loop, false);
    for (int i = 0; i < PROBES; i++) {
        const struct probe *p = &probes[i];
        const struct origin *o = p->request != NULL ? p->request->on->c.origin : p->wait.origin;
        if (p->is_waiting)
            check_wait(&p->wait);
        if (p->request != NULL || (p->is_waiting && p->wait.state >= WAIT_UNDIALLED))
            n_slots[o == origin(1)]++;
    }
    assert_int_equal(origin(0)->slots, n_slots[0]);
    assert_int_equal(origin(1)->slots, n_slots[1]);
    assert_int_equal(limit_in_use(origin(0)->limit), n_slots[0] + n_slots[1]);
    assert_true(n_slots[0] + n_slots[1] <= rules[0].max_per_host);
}

static bool is_any_left(void)
{
    for (int i = 0; i < PROBES; i++) {
        if (probes[i].is_waiting || probes[i].request != NULL)
            return true;
    }
    return n_fake_dials > 0;
}

static void settle(struct fake_conn *f)
{
    f->c.origin->streams = 100;
    pool_conn_room(&f->c, 100);
}

/* Dials succeed, connections settle and requests are answered: so everybody is served. */
static void finish(void)
{
    is_finishing = true;
    for (int i = 0; is_any_left(); i++) {
        assert_true(i < (rules[0].rate == 0 ? 10 * PROBES : 10000));
        if (rules[0].rate != 0)
            usleep(100);
        while (n_fake_dials > 0)
            fake_dial_succeed(fake_dial(0), pick(2));
        for (unsigned k = n_fake_conns; k-- > 0;) {
            if (fake_conn(k)->c.is_settling)
                settle(fake_conn(k));
        }
        for (int k = 0; k < PROBES; k++) {
            if (probes[k].request != NULL)
                answer(&probes[k]);
        }
        pool->feed.fn(pool);
        check();
    }
    pool_give_up_idle(pool, n_fake_conns);
    assert_int_equal(n_fake_conns, 0);
    for (int i = 0; i < 2; i++) {
        const struct origin *o = origin(i);
        assert_int_equal(o->slots + o->conns + o->n_settling, 0);
        assert_true(queue_is_empty(&o->queue));
        assert_false(origin_is_waited_for(o));
        assert_int_equal(limit_in_use(o->limit), 0);
    }
}

/* N decides about HTTP/2. */
static void open_round(unsigned n, bool is_paced)
{
    static char host[32];
    is_finishing = false;
    memset(probes, 0, sizeof(probes));
    snprintf(host, sizeof(host), "h%u.test", n);
    for (unsigned i = 0; i < 2; i++) {
        rules[i] = fix.rule;
        rules[i].index = i;
        rules[i].http2 = n % 3 != 0;
        rules[i].rate = is_paced ? RATE_NS : 0;
    }
    /* By one alone nothing that is made ahead would have its turn where there is a rate. */
    rules[0].max_per_host = rules[1].max_per_host = (is_paced ? 2 : 1) + pick(PROBES / 2);
    for (int i = 0; i < 2; i++) {
        wheres[i] = fixture_where(&fix, host, 443);
        wheres[i].rule = &rules[i];
        wheres[i].tls = true;
    }
}

static void random_schedules(void **state)
{
    (void)state;
    seed = SEED;
    for (unsigned n = 0; n < ROUNDS; n++) {
        open_round(n, n % 16 == 15);
        for (int i = 0; i < STEPS; i++) {
            step();
            check();
        }
        finish();
    }
}

/* ---- some of them by hand */

/* P asks the first origin; the plan is made later. */
static void ask(struct probe *p)
{
    struct up_how how = {.client = 1};
    *p = (struct probe){.wait = {.on_ready = on_ready, .on_fault = on_wait_fault, .arg = p}};
    struct ustream *us = pool_get(pool, &wheres[0], &how, &p->wait);
    p->is_waiting = us == NULL;
    if (us != NULL)
        given(p, us);
}

static void open_calm_round(unsigned n)
{
    open_round(n, false);
    rules[0].max_per_host = rules[1].max_per_host = PROBES;
    is_finishing = true;
    seed = SEED;
}

static void open_paced_round(unsigned n)
{
    open_calm_round(n);
    rules[0].rate = rules[1].rate = INT64_C(3600000000000);
}

/* A turn that came to nothing is another's. */
static void a_turn_is_not_lost(void **state)
{
    (void)state;
    open_paced_round(BY_H1);
    ask(&probes[0]);
    check();
    fake_dial_fail(fake_dial(0), FAULT_REFUSED);
    ask(&probes[1]);
    check();
    assert_int_equal(probes[1].wait.state, WAIT_DIALLED);
    ask(&probes[2]);
    check();
    assert_int_equal(probes[2].wait.state, WAIT_QUEUED);
    pool_cancel(&probes[1].wait);
    probes[1].is_waiting = false;
    check();
    assert_int_equal(probes[2].wait.state, WAIT_DIALLED);
    fake_dial_succeed(fake_dial(0), false);
    finish();
}

/* What must have a connection of its own begins in its time, too. */
static void alone_and_in_time(void **state)
{
    (void)state;
    struct up_how how = {.client = 1, .is_alone = true};
    struct probe *p = &probes[1];
    open_paced_round(BY_H2);
    ask(&probes[0]);
    check();
    fake_dial_succeed(fake_dial(0), true);
    settle(fake_conn(0));
    origin_pace_back(origin(0)->pace, PACE_TURN);
    *p = (struct probe){.wait = {.on_ready = on_ready, .on_fault = on_wait_fault, .arg = p}};
    p->is_waiting = true;
    assert_null(pool_get(pool, &wheres[0], &how, &p->wait));
    check();
    assert_int_equal(p->wait.state, WAIT_UNDIALLED);
    assert_true(p->wait.is_timed);
    assert_int_equal(n_fake_dials, 0);
    origin_pace_back(origin(0)->pace, PACE_BEGIN);
    pool_replan(origin(0));
    check();
    assert_int_equal(p->wait.state, WAIT_DIALLED);
    fake_dial_fail(fake_dial(0), FAULT_REFUSED); /* and its times are another's */
    ask(&probes[2]);
    assert_non_null(probes[2].request);
    finish();
}

/* A connection that has come back is not for who comes while another waits for it. */
static void nobody_overtakes(void **state)
{
    (void)state;
    open_calm_round(BY_H1);
    ask(&probes[0]);
    check();
    fake_dial_succeed(fake_dial(0), false);
    ask(&probes[1]);
    check();
    answer(&probes[0]);
    ask(&probes[2]);
    assert_true(probes[2].is_waiting);
    check();
    assert_non_null(probes[1].request);
    assert_int_equal(probes[2].wait.state, WAIT_DIALLED); /* takes over what the other had begun */
    assert_int_equal(n_fake_dials, 1);
    finish();
}

/* Those who counted on one that would carry them all have one each when it turns out not to, and
 * when it fails. */
static void each_its_own(void **state)
{
    (void)state;
    for (unsigned is_lost = 0; is_lost < 2; is_lost++) {
        open_calm_round(BY_H2 + is_lost);
        for (int i = 0; i < 5; i++)
            ask(&probes[i]);
        check();
        assert_int_equal(n_fake_dials, 1);
        if (is_lost)
            fake_dial_fail(fake_dial(0), FAULT_REFUSED);
        else
            fake_dial_succeed(fake_dial(0), false);
        check();
        assert_int_equal(n_fake_dials, 4);
        finish();
    }
}

/* Who has begun it leaves, and the others do not begin anew. */
static void the_first_one_leaves(void **state)
{
    (void)state;
    open_calm_round(BY_H2);
    for (int i = 0; i < 3; i++)
        ask(&probes[i]);
    check();
    const struct dial *d = fake_dial(0);
    pool_cancel(&probes[0].wait);
    probes[0].is_waiting = false;
    check();
    assert_int_equal(n_fake_dials, 1);
    assert_ptr_equal(fake_dial(0), d);
    finish();
}

/* That descriptors are short says nothing of the origin: the others still wait for one dial,
 * whoever had begun the one that found none. */
static void nobody_finds_a_descriptor(void **state)
{
    (void)state;
    open_calm_round(BY_H2);
    for (int i = 0; i < 3; i++)
        ask(&probes[i]);
    check();
    pool_cancel(&probes[0].wait);
    probes[0].is_waiting = false;
    fake_dial_fail(fake_dial(0), FAULT_DESCRIPTORS);
    check();
    assert_int_equal(n_fake_dials, 0);
    pool->feed.fn(pool);
    check();
    assert_int_equal(n_fake_dials, 1);
    finish();
}

/* A certificate that is bad ends those who counted on the dial that has found it, and not who has
 * come since and may ride the connection that is there. */
static void what_came_later_is_not_told(void **state)
{
    (void)state;
    open_calm_round(BY_H2);
    ask(&probes[0]);
    check();
    fake_dial_succeed(fake_dial(0), true);
    settle(fake_conn(0));
    struct up_how how = {.client = 1, .h1_only = true};
    probes[1] = (struct probe){.wait = {.on_ready = on_ready, .on_fault = on_wait_fault}};
    probes[1].wait.arg = &probes[1];
    probes[1].is_waiting = true;
    assert_null(pool_get(pool, &wheres[0], &how, &probes[1].wait));
    check();
    ask(&probes[2]);
    assert_true(probes[2].is_waiting);
    fake_dial_fail(fake_dial(0), FAULT_TLS_CERTIFICATE);
    assert_int_equal(probes[1].told, 1);
    assert_int_equal(probes[2].told, 0);
    check();
    assert_non_null(probes[2].request);
    finish();
}

/* Who lacks a descriptor waits for queue_timeout, however often the plan is made meanwhile. */
static void plans_do_not_put_off_the_end(void **state)
{
    (void)state;
    open_calm_round(BY_H1);
    fix.conf.upstream.queue_timeout = 20;
    ask(&probes[0]);
    check();
    fake_dial_fail(fake_dial(0), FAULT_DESCRIPTORS);
    pool_plan(origin(0), 0);
    int64_t end = probes[0].wait.deadline.at;
    assert_true(end != 0);
    while (loop_now() < end)
        usleep(1000);
    pool_plan(origin(0), 0);
    assert_int_equal(probes[0].wait.deadline.at, end);
    finish();
}

static int set_up(void **state)
{
    (void)state;
    fds_init(1, 2);
    fake_pool_open();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_pool_close();
    return 0;
}

/* Behind each other, but before those that nobody has asked for yet. */
static void asked_goes_before_ahead(void **state)
{
    static struct pool_wait waits[5];
    static const bool ahead[] = {true, false, true, false, true};
    static const int order[] = {1, 3, 0, 2, 4};
    struct list all;
    (void)state;
    list_init(&all);
    for (int i = 0; i < 5; i++) {
        waits[i].how.is_ahead = ahead[i];
        pool_wait_push(&all, &waits[i]);
    }
    const struct list *it = all.next;
    for (int i = 0; i < 5; i++, it = it->next)
        assert_ptr_equal(it, &waits[order[i]].link);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(random_schedules),
        CASE(a_turn_is_not_lost),
        CASE(alone_and_in_time),
        CASE(nobody_overtakes),
        CASE(each_its_own),
        CASE(the_first_one_leaves),
        CASE(nobody_finds_a_descriptor),
        CASE(what_came_later_is_not_told),
        CASE(plans_do_not_put_off_the_end),
        CASE(asked_goes_before_ahead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
