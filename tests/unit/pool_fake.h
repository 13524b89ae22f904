/* SPDX-License-Identifier: Apache-2.0 */
/* A pool whose dials and connections are the test's own: dial_start() and the transports are
 * defined here, in place of the program's. A dial ends when the test says so, in a connection by
 * HTTP/1 or HTTP/2, or in a fault. */
#ifndef TLSFAN_TESTS_POOL_FAKE_H
#define TLSFAN_TESTS_POOL_FAKE_H

#include "upstream_fixture.h"

#include <sys/socket.h>

#include "http/forward.h"
#include "upstream/pool_impl.h"
#include "upstream/tally.h"
#include "upstream/up_h1.h"
#include "upstream/up_h2.h"

/* The real one's name, so that its tokens are this. Owner: `fake_dials`. */
struct dial {
    struct list link;
    dial_fn fn;
    void *arg;
    bool offers_h2;
};

/* A connection that carries nothing but places. Owner: as struct pool_conn says. */
struct fake_conn {
    struct pool_conn c;
    struct list link;     /* in `fake_conns` */
    struct list requests; /* struct fake_request */
    int peer;             /* the other end of its stream */
    struct reap reap;
};

/* Owner: its connection. */
struct fake_request {
    struct ustream us;
    struct list link;
    struct fake_conn *on;
    void *owner; /* the test's */
};

static struct fixture fix;
static struct pool *pool;
static struct tally tally;
static struct forward_id id;
static struct list fake_dials = {&fake_dials, &fake_dials};
static struct list fake_conns = {&fake_conns, &fake_conns};
static unsigned n_fake_dials, n_fake_conns;
static bool fake_is_h2; /* what the next connection speaks */
static int fake_peer;   /* and its other end */

/* ---- dials */

struct dial *dial_start(struct dns *dns, const struct up_where *where,
                        const struct dial_offer *offer, dial_fn fn, void *arg)
{
    struct dial *d = xcalloc(1, sizeof(*d));
    (void)dns;
    (void)where;
    d->fn = fn;
    d->arg = arg;
    d->offers_h2 = offer->http2;
    list_push_back(&fake_dials, &d->link);
    n_fake_dials++;
    return d;
}

void dial_cancel(struct dial *d)
{
    list_remove(&d->link);
    n_fake_dials--;
    free(d);
}

void dial_progress(const struct dial *d, struct up_progress *p)
{
    (void)d;
    p->step = UP_STEP_CONNECT;
    p->doing = "connects";
}

static inline void fake_dial_end(struct dial *d, const struct dial_result *r)
{
    dial_fn fn = d->fn;
    void *arg = d->arg;
    dial_cancel(d);
    fn(arg, r);
}

static inline void fake_dial_fail(struct dial *d, enum fault_code code)
{
    struct fault f;
    fault_set(&f, code, "no");
    fake_dial_end(d, &(struct dial_result){.fault = &f});
}

/* D has a connection: by HTTP/2 when that was offered and IS_H2. */
static inline void fake_dial_succeed(struct dial *d, bool is_h2)
{
    int fds[2];
    struct addr peer;
    assert_true(addr_parse_ip(&peer, STR("127.0.0.1"), 1));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    struct dial_result r = {.stream = stream_new(&fix.loop, fds[0], &peer), .peer = peer};
    fake_is_h2 = is_h2 && d->offers_h2;
    fake_peer = fds[1];
    fake_dial_end(d, &r);
}

/* Number I of the N in ALL. */
static inline struct list *fake_nth(const struct list *all, unsigned n, unsigned i)
{
    struct list *it = all->next;
    assert_true(i < n);
    while (i-- > 0)
        it = it->next;
    return it;
}

static inline struct dial *fake_dial(unsigned i)
{
    return container_of(fake_nth(&fake_dials, n_fake_dials, i), struct dial, link);
}

/* ---- connections */

static inline struct fake_conn *fake_conn(unsigned i)
{
    return container_of(fake_nth(&fake_conns, n_fake_conns, i), struct fake_conn, link);
}

static inline void fake_free(void *object)
{
    struct fake_conn *f = object;
    close(f->peer);
    free(f);
}

/* F has no stream any more. */
static inline void fake_drop(struct fake_conn *f)
{
    list_remove(&f->link);
    n_fake_conns--;
    loop_reap(&fix.loop, &f->reap, fake_free, f);
}

static inline void fake_close(struct pool_conn *c)
{
    struct fake_conn *f = container_of(c, struct fake_conn, c);
    assert_true(list_is_empty(&f->requests));
    stream_close(c->stream);
    fake_drop(f);
    pool_conn_gone(c);
}

static inline struct ustream *fake_open(struct pool_conn *c)
{
    struct fake_conn *f = container_of(c, struct fake_conn, c);
    struct fake_request *rq = xcalloc(1, sizeof(*rq));
    assert_true(c->n_requests <= c->room);
    rq->on = f;
    list_push_back(&f->requests, &rq->link);
    return &rq->us;
}

static inline size_t fake_on_data(void *arg, const char *p, size_t n)
{
    (void)arg;
    (void)p;
    return n;
}

static inline void fake_on_eof(void *arg, bool clean)
{
    (void)arg;
    (void)clean;
}

struct pool_conn *up_h1_new(const struct pool_made *made)
{
    static const struct stream_user user = {.on_data = fake_on_data, .on_eof = fake_on_eof};
    static const struct pool_conn_ops ops = {fake_open, fake_close};
    struct fake_conn *f = xcalloc(1, sizeof(*f));
    f->c.ops = &ops;
    f->c.is_shared = fake_is_h2;
    f->peer = fake_peer;
    list_init(&f->requests);
    pool_conn_init(&f->c, made);
    f->c.is_settling = fake_is_h2;
    f->c.room = fake_is_h2 ? 100 : 1;
    stream_set_user(made->stream, &user, f);
    stream_start(made->stream);
    stream_resume(made->stream);
    list_push_back(&fake_conns, &f->link);
    n_fake_conns++;
    return &f->c;
}

struct pool_conn *up_h2_new(const struct pool_made *made)
{
    return up_h1_new(made);
}

static inline struct fake_request *fake_request_of(struct ustream *us)
{
    return container_of(us, struct fake_request, us);
}

static inline void fake_forget(struct fake_request *rq)
{
    list_remove(&rq->link);
    free(rq);
}

/* RQ is answered; its connection lives on. */
static inline void fake_request_end(struct fake_request *rq)
{
    struct fake_conn *f = rq->on;
    pool_conn_answered(&f->c);
    fake_forget(rq);
    pool_conn_done(&f->c);
}

/* F is lost, and what it carried. */
static inline void fake_lose(struct fake_conn *f)
{
    struct list *it;
    while ((it = list_first(&f->requests)) != NULL)
        fake_forget(container_of(it, struct fake_request, link));
    stream_close(f->c.stream);
    fake_drop(f);
    pool_conn_gone(&f->c);
}

/* ---- the pool */

static inline void fake_pool_open(void)
{
    fixture_open(&fix);
    fixture_open_dns(&fix);
    forward_id_init(&id);
    pool = pool_new(&fix.loop, fix.dns, &id, NULL, &tally);
}

static inline void fake_pool_close(void)
{
    pool_close(pool);
    assert_int_equal(n_fake_dials, 0);
    assert_int_equal(n_fake_conns, 0);
    fixture_close(&fix);
}

#endif
