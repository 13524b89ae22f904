/* SPDX-License-Identifier: Apache-2.0 */
/* One request on an HTTP/2 connection, as a ustream. It leaves its place on the connection as soon
 * as all has come, even if its reader is slow: what waits is told from memory, at most a window of
 * it. The window is opened by what the reader has taken, so a slow one holds back its own stream
 * and no other. It grows to client.buffer while the reader keeps up, and further where an origin is
 * far away, see up_h2_window.c.
 *
 *     NEW -> ACTIVE -> [TAIL] -> OVER */
#include <stdlib.h>

#include "base/state.h"
#include "http/forward.h"
#include "http/h1_write.h"
#include "upstream/up_h2_spare.h"
#include "upstream/up_h2_stream_impl.h"

#define TO(state) STATE_BIT(UP_H2_##state)

void up_h2_stream_set_state(struct up_h2_stream *s, enum up_h2_stream_state to)
{
    static const struct state_row states[] = {
        [UP_H2_NEW] = {"NEW", TO(ACTIVE) | TO(OVER)},
        [UP_H2_ACTIVE] = {"ACTIVE", TO(TAIL) | TO(OVER)},
        [UP_H2_TAIL] = {"TAIL", TO(OVER)},
        [UP_H2_OVER] = {"OVER", 0},
    };
    state_check("up_h2_stream", (uintptr_t)s, states, s->state, to);
    s->state = to;
}

/* ---- the end */

static size_t up_h2_block_holds(const struct up_h2_block *block)
{
    return block == NULL ? 0 : sizeof(*block) + block->arena.total;
}

void up_h2_stream_recount(struct up_h2_stream *s)
{
    size_t n = sizeof(*s) + s->head + up_h2_block_holds(s->block) + up_h2_block_holds(s->ending);
    share_set(&s->share, s->state == UP_H2_OVER ? 0 : n);
}

static void up_h2_stream_free(void *object)
{
    struct up_h2_stream *s = CHECKED(up_h2_stream, object);
    backlog_clear(&s->in); /* not before: on_body() may be looking at it */
    up_h2_block_free(s->block);
    up_h2_block_free(s->ending);
    free(s->trailers);
    free(s->fault);
    slab_put(s->slab, s);
}

/* S leaves its connection. CODE: what the origin is told where one side has not ended. */
static void up_h2_stream_leave(struct up_h2_stream *s, uint32_t code, bool is_closed)
{
    struct up_h2 *c = s->c;
    nghttp2_session *session = up_h2_stream_session(s);
    s->c = NULL;
    s->head = 0;
    if (c != NULL && c->found == s)
        c->found = NULL;
    list_remove(&s->link);
    backlog_clear(&s->out);
    backlog_promise(&s->in, 0);
    if (session == NULL)
        return;
    if (s->state == UP_H2_ACTIVE) {
        nghttp2_session_set_stream_user_data(session, s->id, NULL);
        if (!is_closed && !(s->has_ended && s->is_out_done)) {
            nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, s->id, code);
            up_h2_excuse(c, (size_t)s->window.size);
        }
        if (nghttp2_session_want_write(session) != 0)
            up_h2_want_flush(c);
    }
    pool_conn_done(&c->conn);
}

static void up_h2_stream_over(struct up_h2_stream *s)
{
    up_h2_stream_set_state(s, UP_H2_OVER);
    s->us.events = NULL;
    loop_unpost(&s->deliver);
    up_h2_stream_recount(s);
    loop_reap(s->loop, &s->reap, up_h2_stream_free, s);
}

/* Tells the end, or what broke S, when nothing waits before it. */
static void up_h2_stream_tell_end(struct up_h2_stream *s)
{
    const struct ustream_events *events = s->us.events;
    void *arg = s->us.arg;
    struct up_h2_block *ending = s->ending;
    struct fault *f = s->fault;
    s->ending = NULL;
    s->fault = NULL;
    up_h2_stream_over(s);
    if (f != NULL)
        events->on_fault(arg, f, LOSS_FINAL);
    else
        events->on_end(arg, ending != NULL && ending->fields.n > 0 ? &ending->fields : NULL);
    free(f);
    up_h2_block_free(ending);
}

static bool up_h2_stream_has_waiting(const struct up_h2_stream *s)
{
    return s->paused || backlog_len(&s->in) > 0;
}

/* S fails with F. What came before is told first. */
static void up_h2_stream_fail(struct up_h2_stream *s, const struct fault *f, enum up_loss loss)
{
    const struct ustream_events *events = s->us.events;
    void *arg = s->us.arg;
    struct fault told = *f;
    if (s->has_head)
        fault_set(&told, FAULT_RESPONSE_INCOMPLETE, "inside the response body: %s", f->text);
    if (s->has_head && up_h2_stream_has_waiting(s)) {
        up_h2_stream_set_state(s, UP_H2_TAIL);
        up_h2_stream_recount(s);
        s->fault = xmalloc(sizeof(*s->fault));
        *s->fault = told;
        return;
    }
    up_h2_stream_over(s);
    if (events != NULL)
        events->on_fault(arg, &told, loss);
}

/* The response is not what it should be; S ends, its connection goes on. */
static void up_h2_stream_fail_response(struct up_h2_stream *s, const char *what)
{
    struct fault f;
    fault_set(&f, FAULT_UP_PROTOCOL, "the origin's response is not valid HTTP: %s", what);
    up_h2_stream_leave(s, NGHTTP2_PROTOCOL_ERROR, false);
    up_h2_stream_fail(s, &f, LOSS_FINAL);
}

/* It is BLOCK, which is ours, that is not. */
static void up_h2_stream_fail_block(struct up_h2_stream *s, struct up_h2_block *block)
{
    struct fault f;
    size_t max = s->c->conn.origin->max_head;
    if (block->size > max)
        fault_set(&f, FAULT_UP_PROTOCOL,
                  "the origin's response is not valid HTTP: its head is larger than "
                  "upstream.max_head (%zu bytes)",
                  max);
    else
        fault_set(&f, FAULT_UP_PROTOCOL, "the origin%s: %s",
                  block->is_of_h1 ? " does not keep to HTTP/2" : "'s response is not valid HTTP",
                  block->why);
    up_h2_block_free(block);
    up_h2_stream_leave(s, NGHTTP2_PROTOCOL_ERROR, false);
    up_h2_stream_fail(s, &f, LOSS_FINAL);
}

/* ---- what came */

static bool up_h2_stream_is_live(const struct up_h2_stream *s)
{
    return s->state == UP_H2_ACTIVE && !s->has_ended;
}

/* All has come. */
static void up_h2_stream_finish(struct up_h2_stream *s, struct up_h2_block *trailers)
{
    s->has_ended = true;
    s->ending = trailers;
    up_h2_stream_leave(s, NGHTTP2_CANCEL, false);
    up_h2_stream_set_state(s, UP_H2_TAIL);
    if (!up_h2_stream_has_waiting(s))
        up_h2_stream_tell_end(s);
    else
        up_h2_stream_recount(s);
}

void up_h2_stream_end(struct up_h2_stream *s, struct up_h2_block *trailers)
{
    if (!up_h2_stream_is_live(s)) {
        up_h2_block_free(trailers);
        return;
    }
    if (!s->has_head) {
        up_h2_block_free(trailers);
        up_h2_stream_fail_response(s, "it ends before its head");
        return;
    }
    if (s->left > 0 && s->left != UINT64_MAX) {
        up_h2_block_free(trailers);
        up_h2_stream_fail_response(s, "its body is shorter than its Content-Length");
        return;
    }
    if (trailers != NULL)
        fields_remove_known(&trailers->fields);
    up_h2_stream_finish(s, trailers);
}

static void up_h2_stream_take_info(struct up_h2_stream *s, struct h1_head *head, bool is_end)
{
    bool keep_alive;
    const struct pool_conn *conn = &s->c->conn;
    if (head->status == 101) {
        up_h2_stream_fail_response(s, "it is 101, which HTTP/2 does not know");
        return;
    }
    if (is_end) {
        up_h2_stream_fail_response(s, "it ends with an interim response");
        return;
    }
    if (s->infos > UP_H2_INFOS) {
        up_h2_stream_fail_response(s, "more than 32 interim responses");
        return;
    }
    forward_response(head, conn->id, conn->origin->via, &keep_alive);
    s->us.events->on_info(s->us.arg, head);
}

static void up_h2_stream_take_head(struct up_h2_stream *s, struct h1_head *head, bool is_end)
{
    struct h1_body body;
    struct h1_error e = {0};
    bool keep_alive;
    const struct pool_conn *conn = &s->c->conn;
    if (!h1_body_of_response(&body, head, s->method, false, &e)) {
        up_h2_stream_fail_response(s, e.reason);
        return;
    }
    if (is_end && body.framing == H1_FRAMING_CLOSE) {
        body.framing = H1_FRAMING_LENGTH;
        body.length = body.left = 0;
    }
    if (body.framing != H1_FRAMING_CLOSE)
        s->left = body.framing == H1_FRAMING_LENGTH ? body.length : 0;
    if (is_end && s->left > 0) {
        up_h2_stream_fail_response(s, "its body is shorter than its Content-Length");
        return;
    }
    forward_response(head, conn->id, conn->origin->via, &keep_alive);
    s->has_head = true;
    pool_conn_answered(&s->c->conn);
    if (!is_end)
        up_h2_window_begin(s, s->left);
    s->us.events->on_head(s->us.arg, head, &body);
    if (is_end && up_h2_stream_is_live(s))
        up_h2_stream_finish(s, NULL);
}

void up_h2_stream_headers(struct up_h2_stream *s, struct up_h2_block *block)
{
    if (!up_h2_stream_is_live(s)) {
        up_h2_block_free(block);
        return;
    }
    if (s->has_head && block->why == NULL && (block->has_pseudo || !block->is_end))
        block->why = "trailers with a pseudo field, or that are not its end";
    if (block->size > s->c->conn.origin->max_head || block->why != NULL) {
        up_h2_stream_fail_block(s, block);
        return;
    }
    if (s->has_head) {
        up_h2_stream_end(s, block);
        return;
    }
    struct h1_head head = {
        .status = block->status,
        .reason = h1_reason(block->status),
        .minor = 1,
        .fields = block->fields,
    };
    if (head.status == 0)
        up_h2_stream_fail_response(s, "it has no :status of three digits");
    else if (head.status < 200)
        up_h2_stream_take_info(s, &head, block->is_end);
    else
        up_h2_stream_take_head(s, &head, block->is_end);
    up_h2_block_free(block);
}

static void up_h2_stream_give_window(struct up_h2_stream *s, size_t n, bool has_waited)
{
    if (up_h2_stream_session(s) != NULL && s->state == UP_H2_ACTIVE)
        up_h2_window_give(s, n, has_waited);
}

void up_h2_stream_data(struct up_h2_stream *s, struct str data)
{
    if (!up_h2_stream_is_live(s))
        return;
    if (data.len == 0) {
        if (s->window.is_padded)
            up_h2_stream_give_window(s, 0, true);
        return;
    }
    if (!s->has_head || data.len > s->left) {
        up_h2_stream_fail_response(s, s->has_head ? "its body is longer than it says"
                                                  : "its body comes before its head");
        return;
    }
    s->left -= s->left == UINT64_MAX ? 0 : data.len;
    if (up_h2_stream_has_waiting(s)) {
        backlog_add(&s->in, data);
        return;
    }
    s->us.events->on_body(s->us.arg, data.p, data.len);
    up_h2_stream_give_window(s, data.len, false);
}

void up_h2_stream_reset(struct up_h2_stream *s, uint32_t code)
{
    struct fault f;
    if (!up_h2_stream_is_live(s))
        return;
    /* All of it is there, though Node does not say so when the window is used up. */
    if (s->by_peer && code == NGHTTP2_NO_ERROR && s->has_head && s->left == 0) {
        up_h2_stream_finish(s, NULL);
        return;
    }
    const char *name = nghttp2_http2_strerror(code);
    if (s->why != NULL && !s->by_peer)
        fault_set(&f, FAULT_UP_PROTOCOL, "the origin's response is not valid HTTP: %s", s->why);
    else if (s->by_peer && code == NGHTTP2_HTTP_1_1_REQUIRED)
        fault_set(&f, FAULT_UP_WANTS_H1, "the origin wants HTTP/1.1 for this request");
    else if (s->by_peer)
        fault_set(&f, code == NGHTTP2_REFUSED_STREAM ? FAULT_UP_REFUSED : FAULT_UP_CLOSED,
                  "the origin reset the HTTP/2 stream (%s)", name);
    else if (s->is_refused && !s->c->has_goaway)
        fault_set(&f, FAULT_UP_PROTOCOL, "the origin does not keep to HTTP/2: %s",
                  s->c->why == NULL ? name : s->c->why);
    else if (s->is_refused)
        fault_set(&f, FAULT_UP_CLOSED, "the origin ended the HTTP/2 connection (GOAWAY)");
    else
        fault_set(&f, FAULT_UP_PROTOCOL, "the origin's response is not valid HTTP: %s", name);
    bool is_unsent = !s->has_answered && (s->is_refused || f.code == FAULT_UP_WANTS_H1);
    if (code == NGHTTP2_REFUSED_STREAM && s->by_peer)
        pool_conn_refused(&s->c->conn);
    up_h2_stream_leave(s, code, true);
    up_h2_stream_fail(s, &f, is_unsent ? LOSS_UNSENT : LOSS_FINAL);
}

bool up_h2_stream_give_back(struct up_h2 *c)
{
    struct fault f;
    struct up_h2_stream *s = NULL;
    list_foreach (it, &c->streams) {
        struct up_h2_stream *one = container_of(it, struct up_h2_stream, link);
        if (one->state == UP_H2_ACTIVE && !one->is_sent)
            s = one;
    }
    if (s == NULL)
        return false;
    fault_set(&f, FAULT_UP_CLOSED, "the origin takes fewer HTTP/2 streams than before");
    up_h2_stream_leave(s, NGHTTP2_CANCEL, false);
    up_h2_stream_fail(s, &f, LOSS_UNSENT);
    return true;
}

void up_h2_stream_lost(struct up_h2_stream *s, const struct fault *f)
{
    struct pool_conn *conn = &s->c->conn;
    enum up_loss loss = LOSS_FINAL;
    /* Before its HEADERS are complete the origin cannot have begun with it. */
    if (!s->has_answered && (!s->is_sent || s->c->out_left < s->sent_at))
        loss = LOSS_UNSENT;
    else if (!s->has_answered && conn->n_answered > s->answered)
        loss = LOSS_AMID;
    else if (!s->has_answered && s->us.facts.is_reused)
        loss = LOSS_REUSED;
    if (!s->has_answered && conn->refusal > loss)
        loss = conn->refusal;
    if (conn->n_answered > s->answered && !s->has_answered && !s->c->has_goaway)
        pool_conn_carried(conn, conn->n_answered, true);
    s->c->found = NULL;
    s->c = NULL;
    backlog_clear(&s->out);
    backlog_promise(&s->in, 0);
    up_h2_stream_fail(s, f, loss);
}

/* ---- what waits */

static void up_h2_stream_deliver_body(struct up_h2_stream *s)
{
    while (backlog_len(&s->in) > 0 && !s->paused) {
        struct str first = backlog_first(&s->in);
        s->us.events->on_body(s->us.arg, first.p, first.len);
        if (s->state == UP_H2_OVER)
            return;
        backlog_drain(&s->in, first.len);
        up_h2_stream_give_window(s, first.len, true);
    }
}

static void up_h2_stream_on_deliver(void *arg)
{
    struct up_h2_stream *s = CHECKED(up_h2_stream, arg);
    if (s->is_drained && s->state == UP_H2_ACTIVE && s->us.events != NULL) {
        s->is_drained = false;
        s->us.events->on_drain(s->us.arg);
    }
    if (s->state == UP_H2_OVER || s->us.events == NULL)
        return;
    if (s->state == UP_H2_ACTIVE && s->id < 0) {
        struct fault f;
        fault_set(&f, FAULT_UP_CLOSED, "the HTTP/2 connection takes no other request");
        up_h2_stream_leave(s, NGHTTP2_NO_ERROR, true);
        up_h2_stream_fail(s, &f, LOSS_UNSENT);
        return;
    }
    up_h2_stream_deliver_body(s);
    if (s->state == UP_H2_TAIL && !up_h2_stream_has_waiting(s))
        up_h2_stream_tell_end(s);
}

static void up_h2_stream_op_pause(struct ustream *us, bool paused)
{
    struct up_h2_stream *s = up_h2_stream_of(us);
    s->paused = paused;
    up_h2_window_pause(s, paused);
    if (!paused && (backlog_len(&s->in) > 0 || s->state == UP_H2_TAIL))
        loop_post(s->loop, &s->deliver);
}

static void up_h2_stream_op_cancel(struct ustream *us)
{
    struct up_h2_stream *s = up_h2_stream_of(us);
    up_h2_stream_leave(s, NGHTTP2_CANCEL, false);
    up_h2_stream_over(s);
}

static struct stream *up_h2_stream_op_take(struct ustream *us, void **slot)
{
    (void)us;
    (void)slot;
    return NULL;
}

static const struct ustream_ops up_h2_stream_ops = {
    .start = up_h2_stream_op_start,
    .body = up_h2_stream_op_body,
    .end = up_h2_stream_op_end,
    .pause = up_h2_stream_op_pause,
    .cancel = up_h2_stream_op_cancel,
    .take = up_h2_stream_op_take,
};

struct up_h2_stream *up_h2_stream_new(struct up_h2 *c)
{
    struct up_h2_stream *s = slab_get(&c->spare->streams);
    memset(s, 0, sizeof(*s));
    s->slab = &c->spare->streams;
    MAGIC_SET(up_h2_stream, s);
    s->us.ops = &up_h2_stream_ops;
    s->c = c;
    s->loop = c->loop;
    s->share.budget = c->budget;
    backlog_init(&s->in, c->budget);
    backlog_init(&s->out, c->budget);
    s->window.size = c->path.first;
    s->left = UINT64_MAX;
    s->answered = c->conn.n_answered;
    post_init(&s->deliver, up_h2_stream_on_deliver, s);
    list_push_back(&c->streams, &s->link);
    return s;
}
