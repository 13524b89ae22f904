/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 towards an origin. Each direction of an exchange has a half-state; the connection goes
 * back to the pool only when both are DONE, the response said how long it was, the sender keeps the
 * connection, and nothing came behind it:
 *
 *     reusable = req DONE and res DONE and framing != CLOSE and keep_alive
 *                and no surplus byte and nothing left to write
 *
 * Whatever else ends an exchange closes it, so no byte can ever reach another request. */
#include "upstream/up_h1.h"

#include <stdlib.h>

#include "base/state.h"
#include "http/h1_write.h"
#include "upstream/up_h1_impl.h"

enum {
    HEAD_ON_STACK = 16384, /* bytes: one TLS record */
    FRAME_ROOM = H1_CHUNK_HEAD_MAX + 8
};

static struct up_h1 *up_h1_of(struct ustream *us)
{
    return container_of(us, struct up_h1, us);
}

#define TO(state) STATE_BIT(UP_H1_##state)

void up_h1_set_state(struct up_h1 *c, enum up_h1_state to)
{
    static const struct state_row states[] = {
        [UP_H1_IDLE] = {"IDLE", TO(ACTIVE) | TO(CLOSED)},
        [UP_H1_ACTIVE] = {"ACTIVE", TO(IDLE) | TO(SWITCHED) | TO(CLOSED)},
        [UP_H1_SWITCHED] = {"SWITCHED", TO(CLOSED)},
        [UP_H1_CLOSED] = {"CLOSED", 0},
    };
    state_check("up_h1", (uintptr_t)c, states, c->state, to);
    c->state = to;
}

static void up_h1_free(void *object)
{
    struct up_h1 *c = CHECKED(up_h1, object);
    h1_body_clear(&c->body);
    xfree(c);
}

/* Lets go of the connection object; the stream has been closed or handed over. */
static void up_h1_drop(struct up_h1 *c)
{
    up_h1_set_state(c, UP_H1_CLOSED);
    c->us.events = NULL;
    c->conn.stream = NULL;
    loop_reap(c->loop, &c->reap, up_h1_free, c);
}

void up_h1_close(struct up_h1 *c)
{
    if (c->state == UP_H1_CLOSED)
        return;
    stream_close(c->conn.stream);
    pool_conn_gone(&c->conn);
    up_h1_drop(c);
}

static void up_h1_conn_close(struct pool_conn *conn)
{
    up_h1_close(container_of(conn, struct up_h1, conn));
}

void up_h1_fail(struct up_h1 *c, const struct fault *f)
{
    const struct ustream_events *events = c->us.events;
    void *arg = c->us.arg;
    enum up_loss loss = LOSS_FINAL;
    if (!c->has_answered && c->conn.stream->bytes_out == c->sent_before)
        loss = LOSS_UNSENT;
    else if (!c->has_answered && c->conn.idle_since != 0)
        loss = LOSS_REUSED;
    if (!c->has_answered && pool_conn_refusal(&c->conn) > loss)
        loss = pool_conn_refusal(&c->conn);
    up_h1_close(c);
    if (events != NULL)
        events->on_fault(arg, f, loss);
}

/* Appends one piece of body to DST; END: the end of a chunked one too. */
static size_t up_h1_put_body(char *dst, enum h1_framing framing, struct str body, bool end)
{
    char *p = dst;
    bool chunked = framing == H1_FRAMING_CHUNKED;
    if (body.len > 0) {
        if (chunked)
            p += h1_write_chunk_head(p, body.len);
        memcpy(p, body.p, body.len);
        p += body.len;
        if (chunked) {
            memcpy(p, "\r\n", 2);
            p += 2;
        }
    }
    if (chunked && end)
        p += h1_write_trailers(p, NULL);
    return (size_t)(p - dst);
}

/* A new exchange on C: everything that the last one left is forgotten here. */
static void up_h1_begin(struct up_h1 *c, const struct up_request *rq, bool end)
{
    up_h1_set_state(c, UP_H1_ACTIVE);
    c->req = end ? UP_H1_DONE : UP_H1_BODY;
    c->res = UP_H1_HEAD;
    c->req_framing = rq->framing;
    c->method = rq->method.id;
    c->is_upgrade = rq->is_upgrade;
    c->buffer = rq->buffer;
    c->keep_alive = false;
    c->has_answered = false;
    c->wants_drain = false;
    c->infos = 0;
    c->scanned = 0;
    c->sent_before = c->conn.stream->bytes_out;
    tls_client_begin_request(c->conn.stream);
}

/* The request is asked of a parent, with the Host that its target has (RFC 9112 section 3.2.2).
 * Gives what the head needs besides. A parent that answers TRACE itself would give credentials
 * away. */
static size_t up_h1_ask_parent(const struct up_h1 *c, const struct up_request *rq,
                               struct h1_start *start)
{
    const struct origin *o = c->conn.origin;
    start->prefix = str_from(o->prefix);
    start->host = str_from_byte(start->prefix, sizeof("http://") - 1);
    if (o->parent_auth != NULL && rq->method.id != METHOD_TRACE)
        start->auth = str_from(o->parent_auth);
    return start->prefix.len + start->auth.len;
}

static void up_h1_op_start(struct ustream *us, const struct up_request *rq, struct str body,
                           bool end)
{
    struct up_h1 *c = up_h1_of(us);
    struct h1_out out = {
        .framing = rq->framing,
        .length = rq->length,
        .keep_alive = true,
        .is_upgrade = rq->is_upgrade,
        .te_trailers = rq->te_trailers,
    };
    struct h1_start start = {.method = rq->method.name, .target = rq->target, .host = rq->host};
    char stack[HEAD_ON_STACK];
    size_t room = h1_request_size(rq->method.name, rq->target, rq->fields) + body.len + FRAME_ROOM;
    if (c->conn.origin->prefix != NULL)
        room += up_h1_ask_parent(c, rq, &start);
    char *p = room <= sizeof(stack) ? stack : xmalloc(room);
    size_t n = h1_write_request(p, &start, rq->fields, &out);
    n += up_h1_put_body(p + n, rq->framing, body, end);
    up_h1_begin(c, rq, end);
    stream_put(c->conn.stream, p, n);
    if (p != stack)
        free(p);
}

/* Writes one piece of body and, with ENDING, what ends it, at once. */
static void up_h1_write_body(struct up_h1 *c, struct str data, struct str ending)
{
    char head[H1_CHUNK_HEAD_MAX];
    struct iovec iov[4] = {{0}, {(void *)data.p, data.len}, {0}, {(void *)ending.p, ending.len}};
    if (c->req_framing == H1_FRAMING_CHUNKED && data.len > 0) {
        iov[0] = (struct iovec){head, h1_write_chunk_head(head, data.len)};
        iov[2] = (struct iovec){(void *)"\r\n", 2};
    }
    stream_write(c->conn.stream, iov, 4);
}

static bool up_h1_op_body(struct ustream *us, struct str data)
{
    struct up_h1 *c = up_h1_of(us);
    if (c->state != UP_H1_ACTIVE || data.len == 0)
        return true;
    up_h1_write_body(c, data, str_make(NULL, 0));
    c->wants_drain = stream_pending(c->conn.stream) > c->buffer;
    return !c->wants_drain;
}

static void up_h1_op_end(struct ustream *us, struct str last, const struct fields *trailers)
{
    struct up_h1 *c = up_h1_of(us);
    if (c->state != UP_H1_ACTIVE || c->req == UP_H1_DONE)
        return;
    c->req = UP_H1_DONE;
    if (c->req_framing != H1_FRAMING_CHUNKED) {
        stream_put(c->conn.stream, last.p, last.len);
        return;
    }
    char stack[1024];
    size_t room = h1_trailers_size(trailers);
    char *p = room <= sizeof(stack) ? stack : xmalloc(room);
    up_h1_write_body(c, last, str_make(p, h1_write_trailers(p, trailers)));
    if (p != stack)
        free(p);
}

static void up_h1_op_pause(struct ustream *us, bool paused)
{
    struct up_h1 *c = up_h1_of(us);
    if (c->state != UP_H1_ACTIVE)
        return;
    if (paused)
        stream_pause(c->conn.stream);
    else
        stream_resume(c->conn.stream);
}

static void up_h1_op_cancel(struct ustream *us)
{
    struct up_h1 *c = up_h1_of(us);
    us->events = NULL;
    if (c->state == UP_H1_IDLE && c->conn.n_requests > 0)
        pool_conn_done(&c->conn); /* given out, never started: as good as before */
    else
        up_h1_close(c);
}

static struct stream *up_h1_op_take(struct ustream *us, void **slot)
{
    struct up_h1 *c = up_h1_of(us);
    struct stream *s = c->conn.stream;
    *slot = pool_conn_taken(&c->conn);
    up_h1_drop(c);
    return s;
}

static const struct ustream_ops up_h1_ops = {
    .start = up_h1_op_start,
    .body = up_h1_op_body,
    .end = up_h1_op_end,
    .pause = up_h1_op_pause,
    .cancel = up_h1_op_cancel,
    .take = up_h1_op_take,
};

static struct ustream *up_h1_conn_open(struct pool_conn *conn)
{
    struct up_h1 *c = container_of(conn, struct up_h1, conn);
    struct up_facts *facts = &conn->facts;
    facts->seat.position = conn->n_begun;
    c->us.facts = *facts;
    c->us.is_silent = &conn->origin->is_silent;
    facts->is_reused = true;
    facts->dns_us = facts->connect_us = facts->tls_us = 0;
    return &c->us;
}

static const struct pool_conn_ops up_h1_conn_ops = {
    .open = up_h1_conn_open,
    .close = up_h1_conn_close,
};

struct pool_conn *up_h1_new(const struct pool_made *made)
{
    struct up_h1 *c = xcalloc(1, sizeof(*c));
    struct stream *s = made->stream;
    MAGIC_SET(up_h1, c);
    c->loop = made->loop;
    c->us.ops = &up_h1_ops;
    c->conn.ops = &up_h1_conn_ops;
    pool_conn_init(&c->conn, made);
    c->conn.facts.protocol = "h1";
    s->rest_max = made->origin->max_head + made->loop->rcap;
    stream_set_user(s, &up_h1_stream_user, c);
    if (s->state == STREAM_HANDSHAKE) /* neither TLS nor the tunnel of a parent */
        stream_start(s);
    stream_resume(s);
    return &c->conn;
}
