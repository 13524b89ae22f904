/* SPDX-License-Identifier: Apache-2.0 */
/* Whoever asks faster than answers are taken, or known, is not read on from. */
#include "own/name_conn.h"

#include <stdlib.h>

#include "base/magic.h"
#include "net/stream.h"

enum {
    LENGTH = 2,          /* bytes before a message */
    PENDING_MAX = 16384, /* bytes of answers that wait to be written */
    FRAME_ANSWER = LENGTH + DNS_ANSWER_SIZE
};

/* Owner: struct name_conns, until it is closed. */
struct name_conn {
    struct list link;
    struct name_conns *all;
    struct stream *stream; /* NULL: closed */
    unsigned waiting;      /* queries that are not answered yet */
    bool has_ended;        /* no more queries come: it goes when the last one is answered */
    struct deadline idle;
    struct reap reap;
    struct magic magic;
};

/* What was written goes out, if LAST. */
static void name_conn_close(struct name_conn *c, bool is_last)
{
    struct stream *s = c->stream;
    if (s == NULL)
        return;
    c->stream = NULL;
    list_remove(&c->link);
    c->all->n--;
    deadline_close(&c->idle);
    name_queries_drop(c->all->queries, c);
    if (is_last && stream_pending(s) > 0)
        stream_linger(s);
    else
        stream_close(s);
    loop_reap(c->all->queries->engine->loop, &c->reap, xfree, c);
}

/* C has been of use. */
static void name_conn_touch(struct name_conn *c)
{
    list_remove(&c->link);
    list_push_back(&c->all->all, &c->link);
    deadline_set(&c->idle, NAME_CONN_IDLE_MS);
}

static bool is_full(const struct name_conn *c)
{
    return c->waiting >= NAME_CONN_QUERIES || stream_pending(c->stream) >= PENDING_MAX;
}

static void put_answer(struct name_conn *c, const uint8_t *p, size_t n)
{
    char frame[FRAME_ANSWER];
    frame[0] = (char)(n >> 8);
    frame[1] = (char)n;
    memcpy(frame + LENGTH, p, n);
    stream_put(c->stream, frame, LENGTH + n);
}

static void on_known(const struct name_asker *a, const uint8_t *p, size_t n)
{
    struct name_conn *c = CHECKED(name_conn, a->arg);
    c->waiting--;
    put_answer(c, p, n);
    name_conn_touch(c);
    if (c->has_ended && c->waiting == 0)
        name_conn_close(c, true);
    else if (!is_full(c))
        stream_resume(c->stream);
}

static void take_query(struct name_conn *c, struct str query)
{
    struct name_asker asker = {.fn = on_known, .arg = c};
    uint8_t out[DNS_ANSWER_SIZE];
    size_t len;
    switch (name_queries_ask(c->all->queries, query, &asker, out, &len)) {
    case NAME_NOW:
        put_answer(c, out, len);
        break;
    case NAME_LATER:
        c->waiting++;
        break;
    case NAME_NEVER:
        break;
    }
    name_conn_touch(c);
}

static size_t name_conn_on_data(void *arg, const char *p, size_t n)
{
    struct name_conn *c = CHECKED(name_conn, arg);
    size_t used = 0;
    while (n - used >= LENGTH && !is_full(c)) {
        const uint8_t *at = (const uint8_t *)p + used;
        size_t len = (size_t)(at[0] << 8 | at[1]);
        if (len < DNS_QUERY_HEAD || len > NAME_QUERY_MAX) {
            name_conn_close(c, true);
            return n;
        }
        if (n - used < LENGTH + len)
            break;
        take_query(c, str_make(p + used + LENGTH, len));
        used += LENGTH + len;
    }
    if (is_full(c))
        stream_pause(c->stream);
    return used;
}

static void name_conn_on_eof(void *arg, bool clean)
{
    struct name_conn *c = CHECKED(name_conn, arg);
    (void)clean;
    c->has_ended = true;
    if (c->waiting == 0)
        name_conn_close(c, true);
}

static void name_conn_on_drain(void *arg)
{
    struct name_conn *c = CHECKED(name_conn, arg);
    name_conn_touch(c);
    if (!is_full(c))
        stream_resume(c->stream);
}

static void name_conn_on_fault(void *arg, const struct fault *f)
{
    (void)f;
    name_conn_close(CHECKED(name_conn, arg), false);
}

static const struct stream_user name_conn_user = {.on_data = name_conn_on_data,
                                                  .on_eof = name_conn_on_eof,
                                                  .on_drain = name_conn_on_drain,
                                                  .on_fault = name_conn_on_fault};

/* A query that waits has its own time, dns.timeout. */
static void name_conn_on_idle(void *arg)
{
    struct name_conn *c = CHECKED(name_conn, arg);
    if (c->waiting > 0 && stream_pending(c->stream) == 0)
        deadline_set(&c->idle, NAME_CONN_IDLE_MS);
    else
        name_conn_close(c, false);
}

void name_conns_init(struct name_conns *cs, struct name_queries *queries)
{
    *cs = (struct name_conns){.queries = queries};
    list_init(&cs->all);
}

static void close_oldest(struct name_conns *cs)
{
    name_conn_close(container_of(list_first(&cs->all), struct name_conn, link), false);
}

void name_conns_add(struct name_conns *cs, int fd, const struct addr *peer)
{
    struct loop *loop = cs->queries->engine->loop;
    if (cs->n == NAME_CONNS_MAX)
        close_oldest(cs);
    struct name_conn *c = xcalloc(1, sizeof(*c));
    MAGIC_SET(name_conn, c);
    c->all = cs;
    c->stream = stream_new(loop, fd, peer);
    deadline_init(&c->idle, loop, name_conn_on_idle, c);
    list_push_back(&cs->all, &c->link);
    cs->n++;
    stream_set_user(c->stream, &name_conn_user, c);
    deadline_set(&c->idle, NAME_CONN_IDLE_MS);
    stream_start(c->stream);
}

void name_conns_close(struct name_conns *cs)
{
    while (!list_is_empty(&cs->all))
        close_oldest(cs);
}
