/* SPDX-License-Identifier: Apache-2.0 */
/* nghttp2 and its callbacks. These only record, for nghttp2 must not be called again from inside
 * them: what there is to tell is told by up_h2.c when nghttp2 has returned.
 *
 * nghttp2 checks the frames, their order, flow control and HPACK. Fields and lengths (RFC 9113 §8)
 * are checked by us: it would not say which field it is that it refuses, and it refuses the 204
 * with a length that many servers send. What is counted here is how much of what comes is of use,
 * so that an origin cannot keep us busy for nothing. */
#include <pthread.h>
#include <stdlib.h>

#include "upstream/up_h2_spare.h"
#include "upstream/up_h2_stream_impl.h"

enum {
    HEAD_SEND_MAX = 4 * 1024 * 1024,   /* bytes: above client.max_head */
    CREDIT_HEAD = 8,                   /* for a header section of a request of ours, or to one */
    CREDIT_DATA = 2,                   /* for a DATA frame, either way */
    HEADERS_AT_ONCE = 2 * 1024 * 1024, /* bytes of fields in one read */
    FRAME_MAX = 16384,                 /* bytes, SETTINGS_MAX_FRAME_SIZE as it is */
    CONTINUATIONS = 8,                 /* more than what a head is cut into at least */
    FRAME_HEAD = 9,                    /* bytes */
    BODY_MOST = 16384 - FRAME_HEAD,    /* bytes of one frame: as many as fill a TLS record */
    UPDATE_STEP = 512,                 /* bytes of body that account for a WINDOW_UPDATE */
    UPDATES_MAX = 65536,
    BOMB = 4 /* times max_head: no accident any more */
};

static nghttp2_session_callbacks *callbacks;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* DATA in frames of a few bytes, perhaps of many streams in turn, is told together. */
static void up_h2_session_link_data(struct up_h2 *c, struct up_h2_stream *s, bool is_data)
{
    if (is_data && s->round == c->rounds && s->last_data < c->n_events)
        c->events[s->last_data].next = c->n_events;
    s->round = c->rounds;
    s->last_data = is_data ? c->n_events : UINT32_MAX;
}

static void up_h2_session_add_event(struct up_h2 *c, struct up_h2_event event)
{
    up_h2_session_link_data(c, event.s, event.kind == UP_H2_DATA);
    if (c->n_events == c->cap_events) {
        c->cap_events = c->cap_events == 0 ? 16 : 2 * c->cap_events;
        c->events = xrealloc(c->events, c->cap_events * sizeof(c->events[0]));
    }
    c->events[c->n_events++] = event;
}

/* Callbacks that follow each other are mostly about one stream. */
static struct up_h2_stream *up_h2_session_find(struct up_h2 *c, int32_t id)
{
    if (c->found != NULL && c->found->id == id)
        return c->found;
    void *s = nghttp2_session_get_stream_user_data(c->session, id);
    c->found = s == NULL ? NULL : CHECKED(up_h2_stream, s);
    return c->found;
}

static void up_h2_session_credit(struct up_h2 *c, int n)
{
    c->credit = c->credit + n < UP_H2_CREDIT ? c->credit + n : UP_H2_CREDIT;
}

/* Every frame costs; what is of use gives more back. Body that was sent accounts for the windows
 * that are opened for it, in however small steps. Frames that nghttp2 passes over are not told. */
static int up_h2_session_on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd,
                                        void *arg)
{
    struct up_h2 *c = CHECKED(up_h2, arg);
    (void)session;
    c->ignored -= FRAME_HEAD + (int64_t)hd->length;
    if (hd->type == NGHTTP2_WINDOW_UPDATE && c->updates > 0)
        c->updates--;
    else
        c->credit--;
    c->is_flood = c->is_flood || c->credit < 0;
    return 0;
}

static int up_h2_session_on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame,
                                          void *arg)
{
    struct up_h2 *c = CHECKED(up_h2, arg);
    struct up_h2_stream *s = up_h2_session_find(c, frame->hd.stream_id);
    (void)session;
    if (s == NULL || frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    s->has_answered = true;
    up_h2_block_free(s->block);
    s->block = up_h2_block_new(&c->spare->blocks);
    return 0;
}

static int up_h2_session_on_header(nghttp2_session *session, const nghttp2_frame *frame,
                                   const uint8_t *name, size_t name_len, const uint8_t *value,
                                   size_t value_len, uint8_t flags, void *arg)
{
    struct up_h2 *c = CHECKED(up_h2, arg);
    struct up_h2_stream *s = up_h2_session_find(c, frame->hd.stream_id);
    size_t max = c->conn.origin->max_head;
    (void)session;
    (void)flags;
    if (s == NULL || s->block == NULL)
        return 0;
    c->headers += name_len + value_len;
    c->fields++;
    up_h2_block_add(s->block, str_make((const char *)name, name_len),
                    str_make((const char *)value, value_len), max);
    if (s->block->arena.total > 0)
        up_h2_stream_recount(s);
    /* What is left of it is not even decoded. */
    c->is_flood = c->is_flood || s->block->size / BOMB > max ||
                  (c->headers > HEADERS_AT_ONCE && c->headers / BOMB > max);
    return c->is_flood ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int up_h2_session_on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame,
                                          int code, void *arg)
{
    struct up_h2 *c = CHECKED(up_h2, arg);
    struct up_h2_stream *s = up_h2_session_find(c, frame->hd.stream_id);
    (void)session;
    if (s != NULL && s->why == NULL)
        s->why = nghttp2_strerror(code);
    if (s == NULL && c->why == NULL)
        c->why = nghttp2_strerror(code);
    return 0;
}

static void up_h2_session_take_headers(struct up_h2 *c, struct up_h2_stream *s, bool is_end)
{
    struct up_h2_block *block = s->block;
    s->block = NULL;
    if (block == NULL)
        return;
    up_h2_window_answered(s);
    if (block->arena.total > 0)
        up_h2_stream_recount(s);
    bool is_info = block->status >= 100 && block->status < 200;
    s->infos += is_info;
    /* The first one too many ends the stream, when it is told. */
    if (c->is_flood || (is_info && s->infos > UP_H2_INFOS + 1)) {
        up_h2_block_free(block);
        return;
    }
    if (block->status == 0 || block->status >= 200)
        up_h2_session_credit(c, CREDIT_HEAD);
    block->is_end = is_end;
    up_h2_session_add_event(c, (struct up_h2_event){.kind = UP_H2_HEADERS, .s = s, .block = block});
}

/* What is behind the last id is asked elsewhere: how many came before it is worth knowing. */
static void up_h2_session_take_goaway(struct up_h2 *c, const nghttp2_goaway *goaway)
{
    unsigned begun = ((unsigned)goaway->last_stream_id + 1) / 2;
    unsigned asked = nghttp2_session_get_next_stream_id(c->session) / 2;
    c->has_goaway = true;
    pool_conn_carried(&c->conn, begun < asked ? begun : asked, begun < asked);
    if (goaway->error_code == NGHTTP2_HTTP_1_1_REQUIRED)
        origin_want_h1(c->conn.origin);
}

/* It takes from the window what the body was to have. */
static void up_h2_session_take_padding(struct up_h2 *c, struct up_h2_stream *s)
{
    s->window.is_padded = true;
    if (!c->is_flood)
        up_h2_session_add_event(c,
                                (struct up_h2_event){.kind = UP_H2_DATA, .s = s, .data = STR("")});
}

static int up_h2_session_on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct up_h2 *c = CHECKED(up_h2, arg);
    bool is_end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    struct up_h2_stream *s;
    (void)session;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        s = up_h2_session_find(c, frame->hd.stream_id);
        if (s != NULL)
            up_h2_session_take_headers(c, s, is_end);
        break;
    case NGHTTP2_DATA:
        s = up_h2_session_find(c, frame->hd.stream_id);
        if (s != NULL && frame->data.padlen > 0)
            up_h2_session_take_padding(c, s);
        if (s != NULL && is_end)
            up_h2_session_add_event(c, (struct up_h2_event){.kind = UP_H2_END, .s = s});
        break;
    case NGHTTP2_RST_STREAM:
        s = up_h2_session_find(c, frame->hd.stream_id);
        if (s != NULL)
            s->by_peer = true;
        break;
    case NGHTTP2_SETTINGS:
        if (frame->hd.flags & NGHTTP2_FLAG_ACK)
            up_h2_path_acked(&c->path, c->now);
        else
            c->has_settings = true;
        break;
    case NGHTTP2_GOAWAY:
        up_h2_session_take_goaway(c, &frame->goaway);
        break;
    default:
        break;
    }
    return 0;
}

/* What nobody wants any more has used the connection's window all the same. */
static int up_h2_session_on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t id,
                                       const uint8_t *data, size_t len, void *arg)
{
    struct up_h2 *c = CHECKED(up_h2, arg);
    struct up_h2_stream *s = up_h2_session_find(c, id);
    (void)session;
    (void)flags;
    c->taken += len;
    if (s == NULL || c->is_flood)
        return 0;
    up_h2_session_credit(c, CREDIT_DATA);
    s->has_answered = true;
    s->window.unread += (int32_t)len;
    up_h2_session_add_event(c, (struct up_h2_event){.kind = UP_H2_DATA,
                                                    .s = s,
                                                    .data = str_make((const char *)data, len)});
    return 0;
}

static int up_h2_session_on_stream_close(nghttp2_session *session, int32_t id, uint32_t code,
                                         void *arg)
{
    struct up_h2 *c = CHECKED(up_h2, arg);
    struct up_h2_stream *s = up_h2_session_find(c, id);
    (void)session;
    if (s == NULL || c->state == UP_H2_CLOSED)
        return 0;
    s->is_refused = s->is_refused || code == NGHTTP2_REFUSED_STREAM;
    up_h2_session_add_event(c, (struct up_h2_event){.kind = UP_H2_RESET, .s = s, .code = code});
    c->found = NULL; /* nghttp2 does not know it any more */
    return 0;
}

static void up_h2_session_count_sent(struct up_h2 *c, size_t n)
{
    unsigned more = (unsigned)(n / UPDATE_STEP);
    up_h2_session_credit(c, CREDIT_DATA);
    c->updates = more < UPDATES_MAX - c->updates ? c->updates + more : UPDATES_MAX;
}

static int up_h2_session_on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame,
                                       void *arg)
{
    struct up_h2 *c = CHECKED(up_h2, arg);
    struct up_h2_stream *s = up_h2_session_find(c, frame->hd.stream_id);
    (void)session;
    if (s == NULL)
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS) {
        s->sent_at = s->is_sent ? s->sent_at : c->out;
        s->is_sent = true;
        up_h2_window_asked(s);
        up_h2_session_credit(c, CREDIT_HEAD);
    }
    if (frame->hd.type == NGHTTP2_DATA)
        up_h2_session_count_sent(c, frame->hd.length);
    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
        s->is_out_done = true;
    return 0;
}

/* GOAWAY has come before the request could leave. */
static int up_h2_session_on_frame_not_sent(nghttp2_session *session, const nghttp2_frame *frame,
                                           int code, void *arg)
{
    struct up_h2 *c = CHECKED(up_h2, arg);
    struct up_h2_stream *s = up_h2_session_find(c, frame->hd.stream_id);
    (void)session;
    (void)code;
    if (s != NULL && frame->hd.type == NGHTTP2_HEADERS)
        s->is_refused = true;
    return 0;
}

static ssize_t up_h2_session_on_read(nghttp2_session *session, int32_t id, uint8_t *dst, size_t n,
                                     uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    struct up_h2 *c = CHECKED(up_h2, arg);
    struct up_h2_stream *s = up_h2_session_find(c, id);
    (void)session;
    (void)source;
    if (s == NULL)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    return up_h2_stream_read(s, dst, n < BODY_MOST ? n : BODY_MOST, flags);
}

static void up_h2_session_make_callbacks(void)
{
    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        abort();
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, up_h2_session_on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks,
                                                            up_h2_session_on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, up_h2_session_on_header);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks,
                                                                 up_h2_session_on_invalid_frame);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, up_h2_session_on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks,
                                                              up_h2_session_on_data_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks,
                                                           up_h2_session_on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, up_h2_session_on_frame_sent);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks,
                                                             up_h2_session_on_frame_not_sent);
}

/* Windows open as far as bodies are passed on. How many streams there may be is the pool's affair.
 * Nothing may be pushed. What a response says is judged by us. Heads may be as large as
 * upstream.max_head says, though in many frames. */
static nghttp2_option *up_h2_session_make_options(size_t max_head)
{
    nghttp2_option *o;
    if (nghttp2_option_new(&o) != 0)
        abort();
    nghttp2_option_set_no_auto_window_update(o, 1);
    nghttp2_option_set_peer_max_concurrent_streams(o, UINT32_MAX);
    nghttp2_option_set_max_reserved_remote_streams(o, 0);
    nghttp2_option_set_max_send_header_block_length(o, HEAD_SEND_MAX);
    nghttp2_option_set_no_http_messaging(o, 1);
    nghttp2_option_set_max_continuations(o, max_head / FRAME_MAX + CONTINUATIONS);
    return o;
}

void up_h2_session_open(struct up_h2 *c, size_t max_head)
{
    nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)max_head},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, (uint32_t)c->path.first},
    };
    /* The last one is said where it is not what HTTP/2 begins with. */
    size_t n = sizeof(settings) / sizeof(settings[0]) - (c->path.first == UP_H2_WINDOW);
    pthread_once(&once, up_h2_session_make_callbacks);
    nghttp2_option *options = up_h2_session_make_options(max_head);
    c->pages.pieces = &c->spare->pieces;
    nghttp2_mem mem = up_h2_pages_mem(&c->pages);
    if (nghttp2_session_client_new3(&c->session, callbacks, c, options, &mem) != 0 ||
        nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings, n) != 0 ||
        nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, UP_H2_WINDOW_ALL) !=
            0)
        abort();
    nghttp2_option_del(options);
}

nghttp2_data_provider up_h2_session_body(void)
{
    return (nghttp2_data_provider){.read_callback = up_h2_session_on_read};
}
