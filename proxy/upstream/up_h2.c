/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP/2 connection: bytes in and out of nghttp2, what that recorded told to the streams, and
 * how long the connection may be used.
 *
 * What streams say in one turn leaves together at its end; while the kernel takes nothing, nothing
 * is taken out of nghttp2, whose bound on answers to the peer then holds. A silent connection is
 * asked by PING whether it is alive. A connection that GOAWAY, an error or a flood has ended serves
 * nobody else: GOAWAY lets the streams below its id finish (RFC 9113 §6.8). */
#include "upstream/up_h2.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/state.h"
#include "upstream/up_h2_stream_impl.h"

enum {
    STREAMS_MAX = 1000,                /* at once on one connection, whatever the peer allows */
    WATCH_QUIET = 15000,               /* ms without a byte until PING is sent */
    WATCH_ANSWER = 10000,              /* ms for its answer, or for the first SETTINGS */
    IGNORED_MOST = 65536,              /* bytes that nobody asked for */
    IGNORED_STEP = 640,                /* bytes of them that are forgotten in CREDIT_EVERY */
    IGNORED_LEAST = -UP_H2_WINDOW_ALL, /* bytes that may come for streams given up */
    GATHER = 2 * 16384,                /* bytes written at once: two TLS records */
    OUT_AT_ONCE = 256 * 1024,          /* and in one turn */
    CREDIT_EVERY = 10000,      /* µs after which one more frame that carries nothing may come */
    JOIN = 16384 - 64,         /* bytes of small DATA frames that are told at once */
    REST_HEADERS = 256 * 1024, /* bytes of fields in one read after which others have a turn */
    REST_FIELDS = 8192,        /* and how many fields */
    EVENTS_KEPT = 64           /* room for events that is kept between reads */
};

static const char parsing[] = "an HTTP/2 session";

static struct up_h2 *up_h2_of(struct pool_conn *conn)
{
    return container_of(conn, struct up_h2, conn);
}

static void up_h2_set_state(struct up_h2 *c, enum up_h2_state to)
{
    static const struct state_row states[] = {
        [UP_H2_OPEN] = {"OPEN", STATE_BIT(UP_H2_CLOSED)},
        [UP_H2_CLOSED] = {"CLOSED", 0},
    };
    state_check("up_h2", (uintptr_t)c, states, c->state, to);
    c->state = to;
}

/* ---- the end */

static void up_h2_drop_events(struct up_h2 *c)
{
    for (unsigned i = 0; i < c->n_events; i++)
        up_h2_block_free(c->events[i].block);
    c->n_events = 0;
    c->rounds++;
}

static void up_h2_free(void *object)
{
    struct up_h2 *c = CHECKED(up_h2, object);
    nghttp2_session_del(c->session);
    up_h2_drop_events(c);
    free(c->events);
    xfree(c);
}

/* Nghttp2 has made a frame of LEN bytes: what it is made on is counted once it is in use. */
static void up_h2_count_frame(struct up_h2 *c, size_t len)
{
    if (c->pages.is_touched || len <= UP_H2_PAGES_FIRST)
        return;
    c->pages.is_touched = true;
    pool_conn_holds(&c->conn, UP_H2_PAGES_MORE);
}

/* What waits in nghttp2 into the kernel's hands, as far as it takes it, and as much as others can
 * wait for. True when that was the bound. */
static bool up_h2_write_out(struct up_h2 *c)
{
    char gathered[GATHER];
    size_t n = 0;
    uint64_t most = c->out + OUT_AT_ONCE;
    claim_take(&c->parsing, parsing);
    while (stream_pending(c->conn.stream) == 0 && c->conn.stream->line.fault == NULL &&
           c->out < most) {
        const uint8_t *p;
        ssize_t len = nghttp2_session_mem_send(c->session, &p);
        if (len <= 0)
            break;
        c->out += (uint64_t)len;
        up_h2_count_frame(c, (size_t)len);
        if (n + (size_t)len > sizeof(gathered)) {
            stream_put(c->conn.stream, gathered, n);
            n = 0;
        }
        if ((size_t)len > sizeof(gathered)) {
            stream_put(c->conn.stream, (const char *)p, (size_t)len);
            continue;
        }
        memcpy(gathered + n, p, (size_t)len);
        n += (size_t)len;
    }
    stream_put(c->conn.stream, gathered, n);
    claim_give(&c->parsing, parsing);
    return c->out >= most;
}

/* Lets go of everything but the memory. CODE is what the peer is told. */
static void up_h2_shut(struct up_h2 *c, uint32_t code)
{
    up_h2_set_state(c, UP_H2_CLOSED);
    loop_unpost(&c->flush);
    loop_unpost(&c->rested);
    deadline_close(&c->watch);
    if (!c->is_broken && nghttp2_session_terminate_session(c->session, code) == 0)
        (void)up_h2_write_out(c);
    stream_close(c->conn.stream);
    pool_conn_gone(&c->conn);
    c->conn.stream = NULL;
    loop_reap(c->loop, &c->reap, up_h2_free, c);
}

/* The connection is lost, and with it all that it carries. */
static void up_h2_fail(struct up_h2 *c, uint32_t code, const struct fault *f)
{
    struct list lost;
    struct list *it;
    if (c->state == UP_H2_CLOSED)
        return;
    list_init(&lost);
    list_move(&lost, &c->streams);
    c->out_left = c->conn.stream->bytes_out;
    c->conn.refusal = pool_conn_refusal(&c->conn);
    up_h2_shut(c, code);
    while ((it = list_pop(&lost)) != NULL)
        up_h2_stream_lost(container_of(it, struct up_h2_stream, link), f);
}

/* nghttp2 has had enough of the peer, or both have said all that they had to say. */
static void up_h2_fail_session(struct up_h2 *c)
{
    struct fault f;
    if (c->is_flood) {
        fault_set(&f, FAULT_UP_PROTOCOL,
                  "the origin floods its HTTP/2 connection with frames that carry nothing, or with "
                  "fields far beyond upstream.max_head (%zu bytes)",
                  c->conn.origin->max_head);
        up_h2_fail(c, NGHTTP2_ENHANCE_YOUR_CALM, &f);
        return;
    }
    if (c->has_goaway && c->why == NULL)
        fault_set(&f, FAULT_UP_CLOSED, "the origin ended the HTTP/2 connection (GOAWAY)");
    else
        fault_set(&f, FAULT_UP_PROTOCOL, "the origin does not keep to HTTP/2: %s",
                  c->why == NULL ? "protocol error" : c->why);
    up_h2_fail(c, f.code == FAULT_UP_CLOSED ? NGHTTP2_NO_ERROR : NGHTTP2_PROTOCOL_ERROR, &f);
}

/* ---- out */

static void up_h2_dispatch(struct up_h2 *c);

static bool up_h2_is_over(struct up_h2 *c)
{
    return nghttp2_session_want_read(c->session) == 0 &&
           nghttp2_session_want_write(c->session) == 0 && stream_pending(c->conn.stream) == 0;
}

static void up_h2_on_flush(void *arg)
{
    struct up_h2 *c = CHECKED(up_h2, arg);
    bool has_more = up_h2_write_out(c);
    up_h2_dispatch(c);
    if (c->state == UP_H2_OPEN && up_h2_is_over(c))
        up_h2_fail_session(c);
    else if (c->state == UP_H2_OPEN && has_more)
        loop_post_next(c->loop, &c->flush);
}

void up_h2_want_flush(struct up_h2 *c)
{
    if (c->state == UP_H2_OPEN)
        loop_post(c->loop, &c->flush);
}

/* ---- in */

/* How many requests C takes at once, as the SETTINGS that have come say. The origin's next
 * connections are thought to take as many, even where GOAWAY came in the same breath: without that
 * each of them would be given one. Not what a server says that has been on its way out before. */
static unsigned up_h2_learn_room(struct up_h2 *c)
{
    uint32_t allowed =
        nghttp2_session_get_remote_settings(c->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    unsigned room = allowed < STREAMS_MAX ? allowed : STREAMS_MAX;
    if (room > 0 && !c->conn.is_going)
        c->conn.origin->streams = room;
    c->has_settings = false;
    return room;
}

/* SETTINGS and GOAWAY: what they mean for requests to come, before anything else is told. May close
 * C when it carries nothing. */
static void up_h2_tell_pool(struct up_h2 *c)
{
    struct pool_conn *conn = &c->conn;
    bool has_settings = c->has_settings;
    unsigned room = has_settings ? up_h2_learn_room(c) : 0;
    if (c->has_goaway) {
        if (!conn->is_going)
            pool_conn_retire(conn);
        return;
    }
    if (!has_settings)
        return;
    pool_conn_room(conn, room);
    while (c->state == UP_H2_OPEN && conn->n_requests > room && up_h2_stream_give_back(c))
        continue;
}

/* A run of body that is in many pieces from event AT on, which are told by that. */
static void up_h2_dispatch_data(struct up_h2 *c, unsigned at)
{
    char joined[JOIN];
    struct up_h2_stream *s = c->events[at].s;
    size_t n = 0;
    unsigned next;
    do {
        struct up_h2_event *event = &c->events[at];
        struct str data = event->data;
        next = event->next;
        event->data.len = 0;
        event->next = 0;
        if (n + data.len > sizeof(joined) || data.len >= JOIN / 2) {
            up_h2_stream_data(s, str_make(joined, n));
            n = 0;
        }
        if (data.len >= JOIN / 2) {
            up_h2_stream_data(s, data);
        } else {
            memcpy(joined + n, data.p, data.len);
            n += data.len;
        }
        at = next;
    } while (next != 0);
    up_h2_stream_data(s, str_make(joined, n));
}

static void up_h2_dispatch_one(struct up_h2 *c, unsigned at)
{
    struct up_h2_event *event = &c->events[at];
    struct up_h2_block *block = event->block;
    event->block = NULL;
    switch (event->kind) {
    case UP_H2_HEADERS:
        up_h2_stream_headers(event->s, block);
        break;
    case UP_H2_DATA:
        if (event->next != 0)
            up_h2_dispatch_data(c, at);
        else
            up_h2_stream_data(event->s, event->data);
        break;
    case UP_H2_END:
        up_h2_stream_end(event->s, NULL);
        break;
    case UP_H2_RESET:
        up_h2_stream_reset(event->s, event->code);
        break;
    }
}

/* Tells what was recorded, in the order in which it came. Streams that are over stay in memory
 * until the end of the turn, and do not listen. */
static void up_h2_dispatch(struct up_h2 *c)
{
    for (unsigned i = 0; i < c->n_events && c->state == UP_H2_OPEN; i++)
        up_h2_dispatch_one(c, i);
    up_h2_drop_events(c);
    if (c->cap_events > EVENTS_KEPT) {
        free(c->events);
        c->events = NULL;
        c->cap_events = 0;
    }
}

/* What is of use is counted frame by frame; time gives credit as well, so that a connection that
 * says little for long is not taken for a flood. */
static void up_h2_count_time(struct up_h2 *c)
{
    int64_t more;
    c->now = loop_now();
    more = (c->now - c->counted) / CREDIT_EVERY;
    if (more <= 0)
        return;
    c->counted = c->now;
    if (c->ignored > 0)
        c->ignored = c->ignored > more * IGNORED_STEP ? c->ignored - more * IGNORED_STEP : 0;
    c->credit = more > UP_H2_CREDIT - c->credit ? UP_H2_CREDIT : c->credit + (int)more;
}

void up_h2_excuse(struct up_h2 *c, size_t n)
{
    c->ignored = c->ignored - (int64_t)n > IGNORED_LEAST ? c->ignored - (int64_t)n : IGNORED_LEAST;
}

static void up_h2_watch_reset(struct up_h2 *c)
{
    c->is_asked = false;
    deadline_set(&c->watch, WATCH_QUIET);
}

static void up_h2_on_rested(void *arg)
{
    struct up_h2 *c = CHECKED(up_h2, arg);
    stream_resume(c->conn.stream);
}

/* A few bytes can stand for many fields. After a read that has brought many, no other is made in
 * this turn. */
static void up_h2_rest(struct up_h2 *c)
{
    if (c->headers <= REST_HEADERS && c->fields <= REST_FIELDS)
        return;
    stream_pause(c->conn.stream);
    loop_post_next(c->loop, &c->rested);
}

static size_t up_h2_on_data(void *arg, const char *p, size_t n)
{
    struct up_h2 *c = CHECKED(up_h2, arg);
    up_h2_count_time(c);
    up_h2_watch_reset(c);
    c->ignored += (int64_t)n;
    c->conn.is_reading = true;
    c->headers = 0;
    c->fields = 0;
    claim_take(&c->parsing, parsing);
    ssize_t used = nghttp2_session_mem_recv(c->session, (const uint8_t *)p, n);
    claim_give(&c->parsing, parsing);
    if (c->taken > 0)
        nghttp2_session_consume_connection(c->session, c->taken);
    c->taken = 0;
    up_h2_tell_pool(c);
    if (c->state == UP_H2_OPEN)
        up_h2_dispatch(c);
    c->conn.is_reading = false;
    if (c->state != UP_H2_OPEN)
        return n;
    c->is_broken = used < 0;
    c->is_flood = c->is_flood || used == NGHTTP2_ERR_FLOODED || c->ignored > IGNORED_MOST;
    if (c->is_broken || c->is_flood || up_h2_is_over(c)) {
        up_h2_fail_session(c);
        return n;
    }
    if (nghttp2_session_want_write(c->session))
        up_h2_want_flush(c);
    up_h2_rest(c);
    return n;
}

static void up_h2_on_eof(void *arg, bool clean)
{
    struct up_h2 *c = CHECKED(up_h2, arg);
    struct fault f;
    fault_set(&f, FAULT_UP_CLOSED, "the origin closed the HTTP/2 connection%s",
              clean ? "" : " (without a TLS close_notify)");
    up_h2_fail(c, NGHTTP2_NO_ERROR, &f);
}

static void up_h2_on_fault(void *arg, const struct fault *cause)
{
    up_h2_fail(CHECKED(up_h2, arg), NGHTTP2_NO_ERROR, cause);
}

static void up_h2_on_drain(void *arg)
{
    up_h2_want_flush(CHECKED(up_h2, arg));
}

static const struct stream_user up_h2_user = {
    .on_data = up_h2_on_data,
    .on_eof = up_h2_on_eof,
    .on_drain = up_h2_on_drain,
    .on_fault = up_h2_on_fault,
};

/* Nothing has come for a while. A connection that does not answer is given up when it carries
 * nothing; what is under way has timeouts of its own, and an origin may be busy with just that. */
static void up_h2_on_watch(void *arg)
{
    struct up_h2 *c = CHECKED(up_h2, arg);
    struct fault f;
    bool is_blocked = stream_pending(c->conn.stream) > 0;
    if (!c->is_asked && !is_blocked) {
        c->is_asked = true;
        nghttp2_submit_ping(c->session, NGHTTP2_FLAG_NONE, NULL);
        up_h2_want_flush(c);
        deadline_set(&c->watch, WATCH_ANSWER);
        return;
    }
    if (c->conn.n_requests == 0 || c->conn.is_settling) {
        fault_set(&f, FAULT_UP_CLOSED, "the origin's HTTP/2 connection is dead: %s within %d ms",
                  c->conn.is_settling ? "no SETTINGS came" : "PING was not answered", WATCH_ANSWER);
        up_h2_fail(c, NGHTTP2_NO_ERROR, &f);
        return;
    }
    deadline_set(&c->watch, WATCH_QUIET);
    if (!c->conn.is_going)
        pool_conn_retire(&c->conn);
}

/* ---- the pool's side */

static struct ustream *up_h2_conn_open(struct pool_conn *conn)
{
    struct up_h2 *c = up_h2_of(conn);
    struct up_h2_stream *s = up_h2_stream_new(c);
    struct up_facts *facts = &conn->facts;
    facts->seat.position = conn->n_begun;
    s->us.facts = *facts;
    s->us.is_silent = &conn->origin->is_silent;
    facts->is_reused = true;
    facts->dns_us = facts->connect_us = facts->tls_us = 0;
    return &s->us;
}

static void up_h2_conn_close(struct pool_conn *conn)
{
    struct up_h2 *c = up_h2_of(conn);
    if (c->state != UP_H2_CLOSED)
        up_h2_shut(c, NGHTTP2_NO_ERROR);
}

static const struct pool_conn_ops up_h2_conn_ops = {
    .open = up_h2_conn_open,
    .close = up_h2_conn_close,
};

struct pool_conn *up_h2_new(const struct pool_made *made)
{
    struct up_h2 *c = xcalloc(1, sizeof(*c));
    struct stream *s = made->stream;
    MAGIC_SET(up_h2, c);
    c->loop = made->loop;
    c->budget = made->budget;
    c->spare = made->h2;
    c->credit = UP_H2_CREDIT;
    c->rounds = 1;
    c->counted = loop_now();
    list_init(&c->streams);
    post_init(&c->flush, up_h2_on_flush, c);
    post_init(&c->rested, up_h2_on_rested, c);
    deadline_init(&c->watch, c->loop, up_h2_on_watch, c);
    c->conn.ops = &up_h2_conn_ops;
    pool_conn_init(&c->conn, made);
    c->conn.facts.protocol = "h2";
    c->conn.is_shared = true;
    c->conn.facts.is_shared = true;
    c->conn.is_settling = true;
    c->conn.room = made->origin->streams > 0 ? made->origin->streams : 1;
    up_h2_path_init(&c->path, made->budget, made->origin->buffer, made->facts.tls_us);
    up_h2_session_open(c, made->origin->max_head);
    c->is_asked = true; /* for SETTINGS */
    deadline_set(&c->watch, WATCH_ANSWER);
    stream_set_user(s, &up_h2_user, c);
    stream_resume(s);
    up_h2_want_flush(c);
    return &c->conn;
}
