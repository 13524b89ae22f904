/* SPDX-License-Identifier: Apache-2.0 */
/* What the fuzz targets of upstream/up_h1.c and up_h2*.c share: a pool without a resolver, an
 * origin whose connections are one end of a socket pair, and a request. */
#ifndef TLSFAN_TESTS_FUZZ_UP_H
#define TLSFAN_TESTS_FUZZ_UP_H

#include <assert.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/forward.h"
#include "upstream/pool_impl.h"

static struct loop loop;
static struct pool *pool;
static struct tally tally;
static struct origins origins;
static struct forward_id id;
static char none[] = "";
static struct conf conf = {.refs = 1, .generation = 1, .via = true, .upstream = {.max_head = 4096}};

static void serve(void *origin)
{
    (void)origin;
}

static void set_up(void)
{
    if (!loop_init(&loop))
        abort();
    forward_id_init(&id);
    pool = pool_new(&loop, NULL, &id, NULL, &tally);
    origins_init(&origins, &loop, serve);
    origins.pool = pool;
    origins.tally = &tally;
}

/* The origin of RULE. */
static struct origin *origin_of(const struct rule *rule)
{
    struct up_where where = {.conf = &conf, .rule = rule, .host = STR("h"), .port = 80};
    return origins_get(&origins, &where);
}

/* A slot of O for a request, as the pool takes it. */
static void take_slot(struct origin *o)
{
    if (!limit_take(o->limit, 0))
        abort();
    o->slots++;
}

/* Begins a request on US, whose EVENTS are for ARG. */
static void start_on(struct ustream *us, struct up_request rq, const struct ustream_events *events,
                     void *arg)
{
    struct fields fields;
    fields_init(&fields, NULL, NULL, 0);
    rq.target = STR("/");
    rq.host = STR("h");
    rq.fields = &fields;
    ustream_attach(us, events, arg);
    us->ops->start(us, &rq, (struct str){0}, rq.framing == H1_FRAMING_NONE);
}

/* The next piece of DATA, of STEP bytes, behind AT; false when the peer has closed. */
static bool send_piece(int fd, const uint8_t *data, size_t size, size_t at, size_t step)
{
    size_t n = size - at < step ? size - at : step;
    return send(fd, data + at, n, MSG_NOSIGNAL) == (ssize_t)n;
}

#endif
