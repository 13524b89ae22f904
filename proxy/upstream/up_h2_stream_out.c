/* SPDX-License-Identifier: Apache-2.0 */
/* One request on an HTTP/2 connection: what goes out. Its body waits until nghttp2 asks for it. */
#include "upstream/up_h2_stream_impl.h"

enum { NV_ON_STACK = 6144 };

ssize_t up_h2_stream_read(struct up_h2_stream *s, uint8_t *dst, size_t n, uint32_t *flags)
{
    size_t left = backlog_len(&s->out);
    if (left == 0 && !s->out_end) {
        s->is_deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    n = backlog_take(&s->out, dst, n);
    left -= n;
    if (s->wants_drain && left <= s->buffer / 2) {
        s->wants_drain = false;
        s->is_drained = true;
        loop_post(s->loop, &s->deliver);
    }
    if (left > 0 || !s->out_end)
        return (ssize_t)n;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (s->trailers != NULL &&
        nghttp2_submit_trailer(s->c->session, s->id, s->trailers, s->n_trailers) == 0)
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    return (ssize_t)n;
}

/* nghttp2 may go on with the body. */
static void up_h2_stream_wake(struct up_h2_stream *s)
{
    if (s->is_deferred)
        nghttp2_session_resume_data(s->c->session, s->id);
    s->is_deferred = false;
    up_h2_want_flush(s->c);
}

static size_t up_h2_nv_size(const nghttp2_nv *nv, size_t n)
{
    size_t size = n * sizeof(*nv);
    for (size_t i = 0; i < n; i++)
        size += nv[i].namelen + nv[i].valuelen;
    return size;
}

void up_h2_stream_op_start(struct ustream *us, const struct up_request *rq, struct str body,
                           bool end)
{
    struct up_h2_stream *s = up_h2_stream_of(us);
    uint64_t memory[NV_ON_STACK / sizeof(uint64_t)];
    struct arena arena;
    size_t n;
    nghttp2_data_provider provider = up_h2_session_body();
    if (up_h2_stream_session(s) == NULL)
        return; /* lost already: its fault is being told */
    arena_init(&arena, memory, sizeof(memory));
    nghttp2_nv *nv = up_h2_head_request(&arena, rq, &n);
    s->head = up_h2_nv_size(nv, n);
    s->method = rq->method.id;
    s->buffer = rq->buffer;
    s->out_end = end;
    backlog_add(&s->out, body);
    backlog_promise(&s->in, (size_t)s->window.size);
    bool is_bare = end && body.len == 0;
    up_h2_stream_set_state(s, UP_H2_ACTIVE);
    s->id = nghttp2_submit_request(s->c->session, NULL, nv, n, is_bare ? NULL : &provider, s);
    s->us.facts.seat.stream = s->id > 0 ? (uint32_t)s->id : 0;
    arena_clear(&arena);
    if (s->id < 0) {
        /* Its numbers are used up: that is told later, and another connection serves. */
        if (!s->c->conn.is_going)
            pool_conn_retire(&s->c->conn);
        loop_post(s->loop, &s->deliver);
        return;
    }
    up_h2_stream_recount(s);
    up_h2_want_flush(s->c);
}

bool up_h2_stream_op_body(struct ustream *us, struct str data)
{
    struct up_h2_stream *s = up_h2_stream_of(us);
    if (up_h2_stream_session(s) == NULL || s->state != UP_H2_ACTIVE || data.len == 0)
        return true;
    backlog_add(&s->out, data);
    up_h2_stream_wake(s);
    s->wants_drain = backlog_len(&s->out) > s->buffer;
    return !s->wants_drain;
}

void up_h2_stream_op_end(struct ustream *us, struct str last, const struct fields *trailers)
{
    struct up_h2_stream *s = up_h2_stream_of(us);
    if (up_h2_stream_session(s) == NULL || s->state != UP_H2_ACTIVE || s->out_end)
        return;
    backlog_add(&s->out, last);
    s->out_end = true;
    s->trailers = up_h2_head_trailers(trailers, &s->n_trailers);
    s->head += up_h2_nv_size(s->trailers, s->n_trailers);
    up_h2_stream_recount(s);
    up_h2_stream_wake(s);
}
