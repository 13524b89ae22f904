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

#include <stdio.h>
#include <stdlib.h>

#include "http/forward.h"
#include "http/h1_write.h"

enum {
    INFOS_MAX = 32, /* interim responses to one request */
    FIELDS_ON_STACK = 64,
    ARENA_ON_STACK = 2048, /* bytes */
    HEAD_ON_STACK = 16384, /* bytes: one TLS record */
    GATHER_FREE = 16384,   /* bytes of a head or of trailers that are always kept */
    FRAME_ROOM = H1_CHUNK_HEAD_MAX + 8
};

enum up_h1_state {
    UP_H1_IDLE,     /* in the pool, or given out and not started */
    UP_H1_ACTIVE,   /* carries a request */
    UP_H1_SWITCHED, /* 101 has come: waits to be taken */
    UP_H1_CLOSED    /* waits for the reaper */
};

enum up_h1_half { UP_H1_HEAD, UP_H1_BODY, UP_H1_DONE };

/* Owner: see struct pool_conn. Closed by up_h1_close(). */
struct up_h1 {
    struct pool_conn conn;
    struct ustream us;
    struct loop *loop;
    enum up_h1_state state;
    enum up_h1_half req, res;
    enum h1_framing req_framing;
    enum method_id method;
    bool is_upgrade;      /* 101 was asked for */
    bool keep_alive;      /* as the response says */
    bool has_answered;    /* a byte of an answer has come */
    bool wants_drain;     /* body() said false */
    unsigned infos;       /* interim responses so far */
    size_t scanned;       /* bytes of an incomplete head that were searched */
    size_t buffer;        /* bytes of body that may wait */
    uint64_t sent_before; /* stream->bytes_out when the request began */
    struct h1_body body;  /* of the response */
    struct reap reap;
};

static struct up_h1 *up_h1_of(struct ustream *us)
{
    return container_of(us, struct up_h1, us);
}

static void up_h1_free(void *object)
{
    struct up_h1 *c = object;
    h1_body_clear(&c->body);
    free(c);
}

/* Lets go of the connection object; the stream has been closed or handed over. */
static void up_h1_drop(struct up_h1 *c)
{
    c->state = UP_H1_CLOSED;
    c->us.events = NULL;
    c->conn.stream = NULL;
    loop_reap(c->loop, &c->reap, up_h1_free, c);
}

static void up_h1_close(struct up_h1 *c)
{
    if (c->state == UP_H1_CLOSED)
        return;
    stream_close(c->conn.stream);
    pool_conn_gone(&c->conn);
    up_h1_drop(c);
}

static void conn_close(struct pool_conn *conn)
{
    up_h1_close(container_of(conn, struct up_h1, conn));
}

/* The one way in which an exchange fails here. */
static void up_h1_fail(struct up_h1 *c, const struct fault *f)
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

static void up_h1_fail_parse(struct up_h1 *c, const struct h1_error *e)
{
    struct fault f;
    struct str host = origin_host(c->conn.origin);
    if (e->lenient_takes) {
        fault_set(&f, FAULT_UP_PROTOCOL,
                  "the origin's response is not valid HTTP: %s; a rule for %.*s with lenient = on "
                  "takes it",
                  e->reason, STR_ARG(host));
        f.phrase = "Invalid response from %s, which lenient = on takes";
    } else
        fault_set(&f, FAULT_UP_PROTOCOL, "the origin's response is not valid HTTP: %s", e->reason);
    up_h1_fail(c, &f);
}

static void up_h1_give_back(struct up_h1 *c)
{
    if (c->conn.stream->paused)
        stream_resume(c->conn.stream);
    pool_conn_done(&c->conn);
}

/* The response is complete. SURPLUS: bytes came behind it. */
static void up_h1_finish(struct up_h1 *c, bool surplus)
{
    const struct ustream_events *events = c->us.events;
    void *arg = c->us.arg;
    bool reusable = c->req == UP_H1_DONE && c->body.framing != H1_FRAMING_CLOSE && c->keep_alive &&
                    !surplus && stream_pending(c->conn.stream) == 0;
    /* The connection may carry the next request before on_end() has returned, so what on_end()
     * looks at leaves it first. */
    struct h1_body body = c->body;
    struct arena arena;
    struct fields trailers;
    struct field first[4];
    arena_init(&arena, NULL, 0);
    fields_init(&trailers, &arena, first, sizeof(first) / sizeof(first[0]));
    bool valid = body.framing != H1_FRAMING_CHUNKED || h1_body_trailers(&body, &trailers);
    memset(&c->body, 0, sizeof(c->body));
    if (body.trailer_cap > 0)
        pool_conn_holds(&c->conn, 0);
    c->us.events = NULL;
    c->state = UP_H1_IDLE;
    if (reusable && valid)
        up_h1_give_back(c);
    else
        up_h1_close(c);
    if (valid) {
        events->on_end(arg, trailers.n > 0 ? &trailers : NULL);
    } else {
        struct fault f;
        fault_set(&f, FAULT_UP_PROTOCOL, "the origin's trailer section is not valid HTTP");
        events->on_fault(arg, &f, LOSS_FINAL);
    }
    arena_clear(&arena);
    h1_body_clear(&body);
}

/* A 1xx. False: stop, C may be closed or switched. */
static bool up_h1_info(struct up_h1 *c, struct h1_head *head)
{
    struct fault f;
    const struct ustream_events *events = c->us.events;
    if (head->status == 101 && c->is_upgrade) {
        struct h1_body none = {.framing = H1_FRAMING_NONE};
        c->state = UP_H1_SWITCHED;
        c->res = UP_H1_DONE;
        stream_pause(c->conn.stream);
        events->on_head(c->us.arg, head, &none);
        return false;
    }
    c->infos++;
    if (head->status == 101 || c->infos > INFOS_MAX) {
        fault_set(&f, FAULT_UP_PROTOCOL, "the origin sent %s",
                  head->status == 101 ? "101 although no upgrade was asked for"
                                      : "more than 32 interim responses");
        up_h1_fail(c, &f);
        return false;
    }
    events->on_info(c->us.arg, head);
    return c->state == UP_H1_ACTIVE;
}

/* A head that has been parsed. False: stop. */
static bool up_h1_take_head(struct up_h1 *c, struct h1_head *head)
{
    struct h1_error e = {0};
    bool keep_alive = false;
    if (head->status < 200) {
        forward_response(head, c->conn.id, c->conn.origin->via, &keep_alive);
        return up_h1_info(c, head);
    }
    if (!h1_body_of_response(&c->body, head, c->method, c->conn.origin->lenient, &e)) {
        up_h1_fail_parse(c, &e);
        return false;
    }
    forward_response(head, c->conn.id, c->conn.origin->via, &keep_alive);
    c->keep_alive = keep_alive;
    pool_conn_answered(&c->conn);
    c->res = h1_body_is_done(&c->body) ? UP_H1_DONE : UP_H1_BODY;
    c->us.events->on_head(c->us.arg, head, &c->body);
    return c->state == UP_H1_ACTIVE;
}

/* True when N bytes of a head or trailers are more than there is memory for, and C has failed. */
static bool up_h1_is_full(struct up_h1 *c, size_t n)
{
    struct fault f;
    if (n <= GATHER_FREE || !pool_conn_is_full(&c->conn, &f))
        return false;
    up_h1_fail(c, &f);
    return true;
}

/* Takes a head off P; gives its bytes, 0 when it is not complete or C has failed. */
static size_t up_h1_read_head(struct up_h1 *c, const char *p, size_t n, bool *go_on)
{
    size_t max = c->conn.origin->max_head;
    bool lenient = c->conn.origin->lenient;
    size_t len = h1_head_end(p, n, &c->scanned, lenient);
    *go_on = false;
    if (len > max || (len == 0 && n > max)) {
        struct fault f;
        fault_set(&f, FAULT_UP_PROTOCOL,
                  "the head of the origin's response is larger than upstream.max_head (%zu bytes)",
                  max);
        up_h1_fail(c, &f);
        return 0;
    }
    if (len == 0 && up_h1_is_full(c, n))
        return 0;
    if (len == 0)
        return 0;
    c->scanned = 0;
    struct h1_head head = {0};
    struct h1_error e = {0};
    struct arena arena;
    struct field fields[FIELDS_ON_STACK];
    uint64_t memory[ARENA_ON_STACK / sizeof(uint64_t)];
    arena_init(&arena, memory, sizeof(memory));
    fields_init(&head.fields, &arena, fields, FIELDS_ON_STACK);
    if (h1_parse_response(&head, p, len, lenient, &e))
        *go_on = up_h1_take_head(c, &head);
    else
        up_h1_fail_parse(c, &e);
    arena_clear(&arena);
    return len;
}

/* USED bytes of the body, or a fault, were taken off the wire, with DATA among them. Gives how many
 * were taken. */
static size_t up_h1_take_body(struct up_h1 *c, ssize_t used, struct str data, bool *go_on)
{
    *go_on = false;
    if (used < 0) {
        struct h1_error e = c->body.error;
        up_h1_fail_parse(c, &e);
        return 0;
    }
    if (h1_body_is_done(&c->body))
        c->res = UP_H1_DONE;
    if (c->body.trailer_cap > 0) {
        pool_conn_holds(&c->conn, c->body.trailer_cap);
        if (up_h1_is_full(c, c->body.trailer_len))
            return 0;
    }
    if (data.len > 0)
        c->us.events->on_body(c->us.arg, data.p, data.len);
    *go_on = c->state == UP_H1_ACTIVE;
    return (size_t)used;
}

/* Small chunks are told together. */
static size_t up_h1_read_chunks(struct up_h1 *c, const char *p, size_t n, bool *go_on)
{
    char room[H1_BODY_JOIN];
    struct str in = str_make(p, n);
    struct str data = {0};
    ssize_t used = h1_body_feed_joined(&c->body, &in, room, &data);
    return up_h1_take_body(c, used, data, go_on);
}

/* Takes body bytes off P; gives how many. */
static size_t up_h1_read_body(struct up_h1 *c, const char *p, size_t n, bool *go_on)
{
    struct str data = {0};
    if (c->body.framing == H1_FRAMING_CHUNKED)
        return up_h1_read_chunks(c, p, n, go_on);
    ssize_t used = h1_body_feed(&c->body, p, n, &data);
    return up_h1_take_body(c, used, data, go_on);
}

static size_t on_data(void *arg, const char *p, size_t n)
{
    struct up_h1 *c = arg;
    size_t used = 0;
    bool go_on = true;
    if (c->state == UP_H1_IDLE) {
        /* Nobody has asked: these bytes must not become anybody's answer. */
        struct fault f;
        fault_set(&f, FAULT_UP_CLOSED, "the origin sent bytes that nobody had asked for");
        up_h1_fail(c, &f);
        return n;
    }
    if (c->state != UP_H1_ACTIVE)
        return 0;
    c->has_answered = true;
    while (go_on && used < n && c->res != UP_H1_DONE && !c->conn.stream->paused) {
        size_t got = c->res == UP_H1_HEAD ? up_h1_read_head(c, p + used, n - used, &go_on)
                                          : up_h1_read_body(c, p + used, n - used, &go_on);
        used += got;
    }
    if (c->state == UP_H1_ACTIVE && c->res == UP_H1_DONE) {
        up_h1_finish(c, used < n);
        return n;
    }
    return used;
}

static void on_eof(void *arg, bool clean)
{
    struct up_h1 *c = arg;
    struct fault f;
    if (c->state == UP_H1_ACTIVE && c->res == UP_H1_BODY && clean && h1_body_at_close(&c->body)) {
        c->res = UP_H1_DONE;
        up_h1_finish(c, false);
        return;
    }
    if (c->state == UP_H1_ACTIVE && c->res == UP_H1_BODY)
        fault_set(&f, FAULT_RESPONSE_INCOMPLETE,
                  "the origin closed the connection inside the body%s",
                  clean ? "" : " (without a TLS close_notify)");
    else if (c->has_answered)
        fault_set(&f, FAULT_UP_CLOSED, "the origin closed the connection inside the response head");
    else
        fault_set(&f, FAULT_UP_CLOSED, "the origin closed the connection before it answered");
    up_h1_fail(c, &f);
}

static void on_fault(void *arg, const struct fault *cause)
{
    struct up_h1 *c = arg;
    struct fault f = *cause;
    if (c->state == UP_H1_ACTIVE && c->res == UP_H1_BODY)
        fault_set(&f, FAULT_RESPONSE_INCOMPLETE, "inside the response body: %s", cause->text);
    up_h1_fail(c, &f);
}

static void on_drain(void *arg)
{
    struct up_h1 *c = arg;
    if (!c->wants_drain || c->state != UP_H1_ACTIVE)
        return;
    c->wants_drain = false;
    if (c->req == UP_H1_BODY)
        c->us.events->on_drain(c->us.arg);
}

static const struct stream_user stream_user = {
    .on_data = on_data,
    .on_eof = on_eof,
    .on_drain = on_drain,
    .on_fault = on_fault,
};

/* Appends one piece of body to DST; END: the end of a chunked one too. */
static size_t put_body(char *dst, enum h1_framing framing, struct str body, bool end)
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
    c->state = UP_H1_ACTIVE;
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

static void op_start(struct ustream *us, const struct up_request *rq, struct str body, bool end)
{
    struct up_h1 *c = up_h1_of(us);
    struct h1_out out = {
        .framing = rq->framing,
        .length = rq->length,
        .keep_alive = true,
        .is_upgrade = rq->is_upgrade,
        .te_trailers = rq->te_trailers,
    };
    struct h1_start start = {rq->method.name, rq->target, rq->host};
    char stack[HEAD_ON_STACK];
    size_t room = h1_request_size(rq->method.name, rq->target, rq->fields) + body.len + FRAME_ROOM;
    char *p = room <= sizeof(stack) ? stack : xmalloc(room);
    size_t n = h1_write_request(p, &start, rq->fields, &out);
    n += put_body(p + n, rq->framing, body, end);
    up_h1_begin(c, rq, end);
    stream_put(c->conn.stream, p, n);
    if (p != stack)
        free(p);
}

/* Writes one piece of body and, with ENDING, what ends it, at once. */
static void write_body(struct up_h1 *c, struct str data, struct str ending)
{
    char head[H1_CHUNK_HEAD_MAX];
    struct iovec iov[4] = {{0}, {(void *)data.p, data.len}, {0}, {(void *)ending.p, ending.len}};
    if (c->req_framing == H1_FRAMING_CHUNKED && data.len > 0) {
        iov[0] = (struct iovec){head, h1_write_chunk_head(head, data.len)};
        iov[2] = (struct iovec){(void *)"\r\n", 2};
    }
    stream_write(c->conn.stream, iov, 4);
}

static bool op_body(struct ustream *us, struct str data)
{
    struct up_h1 *c = up_h1_of(us);
    if (c->state != UP_H1_ACTIVE || data.len == 0)
        return true;
    write_body(c, data, str_make(NULL, 0));
    c->wants_drain = stream_pending(c->conn.stream) > c->buffer;
    return !c->wants_drain;
}

static void op_end(struct ustream *us, struct str last, const struct fields *trailers)
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
    write_body(c, last, str_make(p, h1_write_trailers(p, trailers)));
    if (p != stack)
        free(p);
}

static void op_pause(struct ustream *us, bool paused)
{
    struct up_h1 *c = up_h1_of(us);
    if (c->state != UP_H1_ACTIVE)
        return;
    if (paused)
        stream_pause(c->conn.stream);
    else
        stream_resume(c->conn.stream);
}

static void op_cancel(struct ustream *us)
{
    struct up_h1 *c = up_h1_of(us);
    us->events = NULL;
    if (c->state == UP_H1_IDLE && c->conn.n_requests > 0)
        pool_conn_done(&c->conn); /* given out, never started: as good as before */
    else
        up_h1_close(c);
}

static struct stream *op_take(struct ustream *us, void **slot)
{
    struct up_h1 *c = up_h1_of(us);
    struct stream *s = c->conn.stream;
    *slot = pool_conn_taken(&c->conn);
    up_h1_drop(c);
    return s;
}

static const struct ustream_ops ops = {
    .start = op_start,
    .body = op_body,
    .end = op_end,
    .pause = op_pause,
    .cancel = op_cancel,
    .take = op_take,
};

static struct ustream *conn_open(struct pool_conn *conn)
{
    struct up_h1 *c = container_of(conn, struct up_h1, conn);
    struct up_facts *facts = &conn->facts;
    c->us.facts = *facts;
    c->us.is_silent = &conn->origin->is_silent;
    facts->is_reused = true;
    facts->dns_us = facts->connect_us = facts->tls_us = 0;
    return &c->us;
}

static const struct pool_conn_ops conn_ops = {
    .open = conn_open,
    .close = conn_close,
};

struct pool_conn *up_h1_new(const struct pool_made *made)
{
    struct up_h1 *c = xcalloc(1, sizeof(*c));
    struct stream *s = made->stream;
    c->loop = made->loop;
    c->us.ops = &ops;
    c->conn.ops = &conn_ops;
    pool_conn_init(&c->conn, made);
    c->conn.facts.protocol = "h1";
    s->rest_max = made->origin->max_head + made->loop->rcap;
    stream_set_user(s, &stream_user, c);
    if (!made->origin->tls)
        stream_start(s);
    stream_resume(s);
    return &c->conn;
}
