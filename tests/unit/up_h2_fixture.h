/* SPDX-License-Identifier: Apache-2.0 */
/* One connection of upstream/up_h2*.c for each test of a file, on a socket pair, in a pool that has
 * no other; and requests on it. */
#ifndef TLSFAN_TESTS_UP_H2_FIXTURE_H
#define TLSFAN_TESTS_UP_H2_FIXTURE_H

#include "upstream_fixture.h"

#include <sys/socket.h>

#include "http/forward.h"
#include "upstream/pool_impl.h"
#include "upstream/up_h2.h"

static struct fixture fix;
static struct pool *pool;
static struct tally tally;
static struct budget budget;
static struct forward_id self_id;
static struct origin *origin;
static struct pool_conn *conn;

/* A pool without connections. */
static inline void up_h2_open_pool(void)
{
    fixture_open(&fix);
    fix.conf.client.buffer = 262144;
    budget = (struct budget){.max = 1 << 30};
    memset(&tally, 0, sizeof tally);
    forward_id_init(&self_id);
    fixture_open_dns(&fix);
    pool = pool_new(&fix.loop, fix.dns, &self_id, &budget, &tally);
}

/* `conn` to `origin`. Gives the origin's end, the caller's to close. */
static inline int up_h2_connect(void)
{
    int fds[2];
    struct addr nowhere = {0};
    struct up_where where = fixture_where(&fix, "127.0.0.1", 1);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    origin = origins_get(&pool->origins, &where);
    struct stream *s = stream_new(&fix.loop, fds[0], &nowhere);
    stream_start(s);
    struct pool_made made = {.loop = &fix.loop,
                             .pool = pool,
                             .origin = origin,
                             .stream = s,
                             .id = &self_id,
                             .budget = &budget,
                             .h2 = &pool->h2};
    conn = up_h2_new(&made);
    origin->conns++;
    origin->n_settling++;
    return fds[1];
}

/* A stream that nothing was asked on. */
static inline struct ustream *up_h2_use(const struct ustream_events *events, void *arg)
{
    assert_true(limit_take(origin->limit, 0));
    origin->slots++;
    struct ustream *us = pool_conn_use(conn);
    ustream_attach(us, events, arg);
    return us;
}

/* Asks, with a buffer of BUFFER bytes. BODY: its first bytes; there are more unless END. */
static inline void up_h2_start(struct ustream *us, const char *method, size_t buffer,
                               const char *body, bool end)
{
    struct fields fields;
    fields_init(&fields, NULL, NULL, 0);
    struct up_request rq = {.method = method_lookup(str_from(method)),
                            .target = STR("/x"),
                            .host = STR("h"),
                            .fields = &fields,
                            .framing = end ? H1_FRAMING_NONE : H1_FRAMING_CHUNKED,
                            .buffer = buffer};
    us->ops->start(us, &rq, str_from(body), end);
}

#endif
