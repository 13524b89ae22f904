/* SPDX-License-Identifier: Apache-2.0 */
/* upstream/up_h2*.c against an origin that the test plays with nghttp2's server side, frame by
 * frame, on a socket pair. */
#include "up_h2_fixture.h"
#include "upstream/up_h2_pages.h"

#include <nghttp2/nghttp2.h>

enum { PROBES = 8 };

static const struct up_how any;

/* ---- the origin */

static struct origin_side {
    int fd;
    nghttp2_session *session;
    char heads[65536]; /* "1:name=value;" of all requests */
    size_t body[64];   /* bytes by stream */
    bool ended[64];
    uint32_t reset[64], goaway;
    bool has_goaway, is_closed;
    unsigned pings, writes;
    size_t longest;     /* bytes of a DATA frame, with its header */
    size_t to_send[64]; /* bytes of response body still to be sent */
    bool trailers[64];
} side;

static int side_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                       size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                       void *arg)
{
    size_t len = strlen(side.heads);
    (void)session;
    (void)flags;
    (void)arg;
    snprintf(side.heads + len, sizeof(side.heads) - len, "%d:%.*s=%.*s;", frame->hd.stream_id,
             (int)name_len, name, (int)value_len, value);
    return 0;
}

static int side_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    int32_t stream = frame->hd.stream_id;
    (void)session;
    (void)arg;
    if (stream < 64 && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 &&
        (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS))
        side.ended[stream] = true;
    if (frame->hd.type == NGHTTP2_DATA && side.longest < frame->hd.length + 9)
        side.longest = frame->hd.length + 9;
    if (frame->hd.type == NGHTTP2_RST_STREAM)
        side.reset[stream] = frame->rst_stream.error_code;
    if (frame->hd.type == NGHTTP2_PING && (frame->hd.flags & NGHTTP2_FLAG_ACK) == 0)
        side.pings++;
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        side.has_goaway = true;
        side.goaway = frame->goaway.error_code;
    }
    return 0;
}

static int side_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data,
                     size_t len, void *arg)
{
    (void)session;
    (void)flags;
    (void)data;
    (void)arg;
    side.body[stream] += len;
    return 0;
}

static ssize_t side_read(nghttp2_session *session, int32_t stream, uint8_t *buf, size_t n,
                         uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    static const nghttp2_nv trailer = {(uint8_t *)"x-sum", (uint8_t *)"42", 5, 2, 0};
    (void)source;
    (void)arg;
    n = n < side.to_send[stream] ? n : side.to_send[stream];
    memset(buf, 'a' + stream % 26, n);
    side.to_send[stream] -= n;
    if (side.to_send[stream] > 0)
        return (ssize_t)n;
    *flags = NGHTTP2_DATA_FLAG_EOF;
    if (side.trailers[stream]) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        assert_int_equal(nghttp2_submit_trailer(session, stream, &trailer, 1), 0);
    }
    return (ssize_t)n;
}

/* Reads and writes what there is. */
static void side_pump(void)
{
    static uint8_t buf[65536];
    ssize_t n;
    const uint8_t *p;
    while ((n = recv(side.fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0) {
        side.writes++;
        assert_int_equal(nghttp2_session_mem_recv(side.session, buf, (size_t)n), n);
    }
    side.is_closed = side.is_closed || n == 0;
    while (!side.is_closed && (n = nghttp2_session_mem_send(side.session, &p)) > 0)
        assert_int_equal(send(side.fd, p, (size_t)n, MSG_NOSIGNAL), n);
}

static void settle(void)
{
    for (int i = 0; i < 50; i++) {
        loop_turn(&fix.loop, false);
        side_pump();
    }
}

static void side_open(int fd, uint32_t max_streams)
{
    nghttp2_session_callbacks *callbacks;
    nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, max_streams}};
    memset(&side, 0, sizeof(side));
    side.fd = fd;
    assert_int_equal(nghttp2_session_callbacks_new(&callbacks), 0);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, side_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, side_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, side_data);
    assert_int_equal(nghttp2_session_server_new(&side.session, callbacks, NULL), 0);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(side.session, NGHTTP2_FLAG_NONE, settings, 1);
}

static nghttp2_nv nv(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), 0};
}

/* A response with N bytes of body. */
static void answer(int32_t stream, const char *status, size_t n)
{
    nghttp2_nv head[] = {nv(":status", status), nv("x-stream-id", "kept")};
    nghttp2_data_provider body = {.read_callback = side_read};
    side.to_send[stream] = n;
    bool is_bare = n == 0 && !side.trailers[stream];
    assert_int_equal(nghttp2_submit_response(side.session, stream, head, 2, is_bare ? NULL : &body),
                     0);
}

/* ---- exchanges */

static struct probe {
    struct ustream *us;
    unsigned status, infos, drains, heads, bodies;
    size_t body;
    enum up_loss loss;
    bool over, failed, pauses, cancels_in_head, cancels_in_body, asks_again;
    enum fault_code code;
    enum h1_framing framing;
    uint64_t length;
    char last, text[512], name[64], trailer[64];
} probes[PROBES];

static struct probe *ask(unsigned i, const char *method, bool end);

static void on_info(void *arg, struct h1_head *head)
{
    struct probe *p = arg;
    (void)head;
    p->infos++;
}

static void on_head(void *arg, struct h1_head *head, const struct h1_body *body)
{
    struct probe *p = arg;
    p->heads++;
    p->status = head->status;
    p->framing = body->framing;
    p->length = body->length;
    if (head->fields.n > 0)
        snprintf(p->name, sizeof(p->name), "%.*s %.*s", STR_ARG(head->reason),
                 STR_ARG(head->fields.v[0].name));
    if (p->cancels_in_head)
        p->us->ops->cancel(p->us);
}

static void on_body(void *arg, const char *bytes, size_t n)
{
    struct probe *p = arg;
    assert_false(p->over);
    if (p->cancels_in_body)
        p->us->ops->cancel(p->us);
    /* Valid all the same: ASan would tell. */
    for (size_t i = 1; i < n; i++)
        assert_int_equal(bytes[i], bytes[0]);
    p->last = bytes[0];
    p->bodies++;
    p->body += n;
    if (p->pauses)
        p->us->ops->pause(p->us, true);
}

static void on_end(void *arg, const struct fields *trailers)
{
    struct probe *p = arg;
    assert_false(p->over);
    p->over = true;
    if (trailers != NULL)
        snprintf(p->trailer, sizeof(p->trailer), "%.*s=%.*s", STR_ARG(trailers->v[0].name),
                 STR_ARG(trailers->v[0].value));
    if (p->asks_again)
        ask(PROBES - 1, "GET", true);
}

static void on_fault(void *arg, const struct fault *f, enum up_loss loss)
{
    struct probe *p = arg;
    assert_false(p->over);
    p->over = p->failed = true;
    p->loss = loss;
    p->code = f->code;
    memcpy(p->text, f->text, sizeof(p->text));
}

static void on_drain(void *arg)
{
    struct probe *p = arg;
    p->drains++;
}

static const struct ustream_events events = {on_info, on_head, on_body, on_end, on_fault, on_drain};

static struct probe *ask(unsigned i, const char *method, bool end)
{
    struct probe *p = &probes[i];
    p->us = up_h2_use(&events, p);
    up_h2_start(p->us, method, 100000, "", end);
    return p;
}

static void connect_side(uint32_t max_streams)
{
    int size = 1 << 20;
    memset(probes, 0, sizeof(probes));
    int fd = up_h2_connect();
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    side_open(fd, max_streams);
}

static int set_up(void **state)
{
    (void)state;
    up_h2_open_pool();
    connect_side(100);
    return 0;
}

/* Whatever happened, every place and every byte has been given back, but for its pages. */
static int tear_down(void **state)
{
    (void)state;
    settle();
    assert_int_equal(origin->slots, 0);
    assert_int_equal(origin->n_settling, 0);
    if (atomic_load(&budget.used) != 0)
        assert_int_equal(atomic_load(&budget.used), UP_H2_PAGES_MORE);
    pool_close(pool);
    settle();
    assert_int_equal(atomic_load(&budget.used), 0);
    nghttp2_session_del(side.session);
    close(side.fd);
    fixture_close(&fix);
    return 0;
}

/* ---- tests */

static void a_request(void **state)
{
    (void)state;
    struct probe *p = ask(0, "GET", true);
    settle();
    assert_string_equal(side.heads, "1::method=GET;1::scheme=https;1::authority=h;1::path=/x;");
    assert_true(side.ended[1]);
    side.trailers[1] = true;
    answer(1, "200", 5);
    settle();
    assert_true(p->over && !p->failed);
    assert_int_equal(p->status, 200);
    assert_int_equal(p->body, 5);
    assert_string_equal(p->name, "OK X-Stream-Id");
    assert_string_equal(p->trailer, "X-Sum=42");
    assert_int_equal(p->framing, H1_FRAMING_CLOSE); /* not known before the end */
    assert_int_equal(origin->streams, 100);
    assert_int_equal(conn->n_requests, 0);
    assert_int_equal(atomic_load(&budget.used), 0);
}

static void no_body(void **state)
{
    (void)state;
    struct probe *p = ask(0, "GET", true);
    struct probe *q = ask(1, "HEAD", true);
    settle();
    answer(1, "200", 0);
    answer(3, "404", 0);
    settle();
    assert_true(p->over && p->framing == H1_FRAMING_LENGTH && p->length == 0);
    assert_true(q->over && q->status == 404 && q->framing == H1_FRAMING_NONE);
}

/* What they say in one turn comes in one piece, and answers find whom they are for. */
static void many_at_once(void **state)
{
    (void)state;
    settle();
    side.writes = 0;
    for (unsigned i = 0; i < 7; i++)
        ask(i, "GET", true);
    settle();
    assert_int_equal(side.writes, 1);
    for (int i = 6; i >= 0; i--)
        answer(2 * i + 1, "200", 30000 + (size_t)i);
    settle();
    for (unsigned i = 0; i < 7; i++) {
        assert_true(probes[i].over && !probes[i].failed);
        assert_int_equal(probes[i].body, 30000 + i);
        assert_int_equal(probes[i].last, 'a' + (2 * i + 1) % 26);
    }
}

/* Answers with N fields of LEN bytes each, which HPACK makes one byte, and some body. */
static void answer_wide(int32_t stream, unsigned n, size_t len)
{
    static char value[3001];
    static nghttp2_nv head[2000];
    nghttp2_data_provider body = {.read_callback = side_read};
    memset(value, 'v', len);
    value[len] = '\0';
    head[0] = nv(":status", "200");
    for (unsigned i = 1; i <= n; i++)
        head[i] = nv("x", value);
    side.to_send[stream] = 25000;
    assert_int_equal(nghttp2_submit_response(side.session, stream, head, n + 1, &body), 0);
}

/* After a read that brought many fields, or large ones, others have their turn. */
static void wide_heads(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 2; round++) {
        size_t body = 0;
        for (unsigned i = 0; i < 6; i++) {
            memset(&probes[i], 0, sizeof(probes[i]));
            ask(i, "GET", true);
        }
        settle();
        for (unsigned i = 0; i < 6; i++)
            answer_wide((int32_t)(12 * round + 2 * i + 1), round == 0 ? 20 : 1900,
                        round == 0 ? 3000 : 1);
        side_pump();
        for (int i = 0; i < 50 && probes[0].heads == 0; i++)
            loop_turn(&fix.loop, false);
        for (unsigned i = 0; i < 6; i++) {
            assert_int_equal(probes[i].heads, 1);
            body += probes[i].body;
        }
        assert_in_range(body, 1, 65536);
        settle();
        for (unsigned i = 0; i < 6; i++)
            assert_true(probes[i].over && !probes[i].failed && probes[i].body == 25000);
    }
}

static ssize_t nothing_yet(nghttp2_session *session, int32_t stream, uint8_t *buf, size_t n,
                           uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    (void)session;
    (void)stream;
    (void)buf;
    (void)n;
    (void)flags;
    (void)source;
    (void)arg;
    return NGHTTP2_ERR_DEFERRED;
}

/* Bodies of two streams in frames of a byte, now of the one and now of the other: each is told in
 * one run, and nothing is told to the other. */
static void small_frames(void **state)
{
    enum { FRAMES = 500, FRAME = 10 };
    static uint8_t raw[2 * FRAMES * FRAME];
    nghttp2_data_provider body = {.read_callback = nothing_yet};
    nghttp2_nv head = nv(":status", "200");
    (void)state;
    for (unsigned i = 0; i < 2; i++)
        ask(i, "GET", true);
    settle();
    for (int32_t stream = 1; stream <= 3; stream += 2)
        assert_int_equal(nghttp2_submit_response(side.session, stream, &head, 1, &body), 0);
    settle();
    for (unsigned i = 0; i < 2 * FRAMES; i++) {
        uint8_t stream = i % 2 == 0 ? 1 : 3;
        uint8_t is_end = i >= 2 * FRAMES - 2;
        uint8_t frame[FRAME] = {0, 0, 1, NGHTTP2_DATA, is_end, 0, 0, 0, stream, 'a' + stream};
        memcpy(raw + (size_t)i * FRAME, frame, FRAME);
    }
    assert_int_equal(send(side.fd, raw, sizeof(raw), MSG_NOSIGNAL), sizeof(raw));
    settle();
    for (unsigned i = 0; i < 2; i++) {
        assert_true(probes[i].over && !probes[i].failed);
        assert_int_equal(probes[i].body, FRAMES);
        assert_int_equal(probes[i].last, 'a' + 2 * i + 1);
        assert_in_range(probes[i].bodies, 1, 2);
    }
}

/* A reader that takes nothing holds back its own stream, to a window; the others go on. */
static void a_slow_reader(void **state)
{
    (void)state;
    struct probe *p = ask(0, "GET", true);
    struct probe *q = ask(1, "GET", true);
    p->pauses = true;
    settle();
    answer(1, "200", 1000000);
    answer(3, "200", 1000000);
    settle();
    assert_true(q->over && q->body == 1000000);
    assert_true(!p->over && p->body < 65536);
    assert_true(atomic_load(&budget.used) >= 65535 && atomic_load(&budget.used) < 65535 + 1024);
    assert_true(side.to_send[1] >= 1000000 - 65535);
    p->pauses = false;
    p->us->ops->pause(p->us, false);
    settle();
    assert_true(p->over && p->body == 1000000);
}

/* All of it has come, and so has the end of the connection, before the reader wants it. */
static void a_slow_reader_outlives_the_connection(void **state)
{
    (void)state;
    struct probe *p = ask(0, "GET", true);
    p->pauses = true;
    settle();
    answer(1, "200", 40000);
    settle();
    shutdown(side.fd, SHUT_WR);
    settle();
    assert_false(p->over);
    assert_int_equal(origin->conns, 0);
    p->pauses = false;
    p->us->ops->pause(p->us, false);
    settle();
    assert_true(p->over && !p->failed && p->body == 40000);
}

/* What waits is given from a buffer that must outlive its reader's leaving. */
static void a_slow_reader_leaves(void **state)
{
    (void)state;
    struct probe *p = ask(0, "GET", true);
    p->pauses = true;
    settle();
    answer(1, "200", 40000);
    settle();
    size_t before = p->body;
    p->pauses = false;
    p->cancels_in_body = true;
    p->us->ops->pause(p->us, false);
    settle();
    assert_true(!p->over && p->body > before);
    assert_int_equal(conn->n_requests, 0);
}

static void an_upload(void **state)
{
    (void)state;
    static char block[50000];
    struct probe *p = ask(0, "POST", false);
    size_t sent = 0;
    while (p->us->ops->body(p->us, str_make(block, sizeof(block))))
        sent += sizeof(block);
    sent += sizeof(block);
    assert_true(sent >= 100000 && sent <= 200000);
    settle();
    assert_int_equal(p->drains, 1);
    assert_true(p->us->ops->body(p->us, STR("end")));
    p->us->ops->end(p->us, STR(""), NULL);
    settle();
    assert_true(side.ended[1]);
    assert_int_equal(side.body[1], sent + 3);
    assert_int_equal(side.longest, 16384); /* fills a TLS record, and begins no other */
    answer(1, "200", 0);
    settle();
    assert_true(p->over && !p->failed);
    assert_int_equal(atomic_load(&budget.used), UP_H2_PAGES_MORE);
}

/* The answer does not wait for the whole request: what is left of that is not sent. */
static void an_early_answer(void **state)
{
    (void)state;
    struct probe *p = ask(0, "POST", false);
    p->us->ops->body(p->us, STR("begun"));
    settle();
    answer(1, "413", 3);
    settle();
    assert_true(p->over && !p->failed && p->status == 413);
    assert_int_equal(side.reset[1], NGHTTP2_CANCEL);
    assert_false(side.ended[1]);
    assert_int_equal(conn->n_requests, 0);
}

static void goaway(void **state)
{
    (void)state;
    struct probe *p = ask(0, "GET", true);
    struct probe *q = ask(1, "POST", true);
    settle();
    nghttp2_submit_goaway(side.session, NGHTTP2_FLAG_NONE, 1, NGHTTP2_NO_ERROR, NULL, 0);
    settle();
    assert_true(q->failed && q->loss == LOSS_UNSENT);
    assert_false(p->over);
    assert_true(conn->is_going);
    assert_int_equal(origin->carry.once, 1);
    answer(1, "200", 10);
    settle();
    assert_true(p->over && !p->failed && p->body == 10);
    assert_int_equal(origin->conns, 0);
}

/* In one read: the next connection is known to take as many all the same. */
static void goaway_behind_settings(void **state)
{
    (void)state;
    struct probe *p = ask(0, "GET", true);
    nghttp2_submit_goaway(side.session, NGHTTP2_FLAG_NONE, 0, NGHTTP2_NO_ERROR, NULL, 0);
    settle();
    assert_true(p->failed && p->loss == LOSS_UNSENT);
    assert_int_equal(origin->conns, 0);
    assert_int_equal(origin->streams, 100);
}

/* A server on its way out takes less and less; that says nothing of its successor. */
static void settings_behind_goaway(void **state)
{
    (void)state;
    nghttp2_settings_entry one = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1};
    settle();
    ask(0, "GET", true);
    settle();
    nghttp2_submit_goaway(side.session, NGHTTP2_FLAG_NONE, 1, NGHTTP2_NO_ERROR, NULL, 0);
    settle();
    nghttp2_submit_settings(side.session, NGHTTP2_FLAG_NONE, &one, 1);
    settle();
    assert_int_equal(origin->streams, 100);
    answer(1, "200", 0);
    settle();
    assert_int_equal(origin->conns, 0);
}

/* As many as its origin's connections carry; then one at a time, but nothing that was lost before.
 */
static void a_spent_connection(void **state)
{
    (void)state;
    struct up_how again = {.not_before = 1};
    settle();
    origin->carry.most = 2;
    origin->carry.until = INT64_MAX;
    ask(0, "GET", true);
    assert_int_equal(pool_dial_room(origin), 0);
    ask(1, "GET", true);
    assert_null(pool_conn_find(origin, &any));
    settle();
    answer(1, "200", 0);
    settle();
    assert_null(pool_conn_find(origin, &any));
    answer(3, "200", 0);
    settle();
    assert_null(pool_conn_find(origin, &again));
    ask(2, "GET", true);
    assert_null(pool_conn_find(origin, &any));
    settle();
    answer(5, "200", 0);
    settle();
    assert_int_equal(origin->carry.most, 4);
    assert_int_equal(origin->answers, 3);
    ask(3, "GET", true);
    settle();
    nghttp2_submit_rst_stream(side.session, NGHTTP2_FLAG_NONE, 7, NGHTTP2_REFUSED_STREAM);
    settle();
    assert_int_equal(origin->conns, 0);
    assert_int_equal(origin->carry.most, 3);
}

static void resets(void **state)
{
    (void)state;
    static const struct {
        uint32_t code;
        bool is_unsent;
        enum fault_code fault;
    } cases[] = {
        {NGHTTP2_REFUSED_STREAM, true, FAULT_UP_REFUSED},
        {NGHTTP2_HTTP_1_1_REQUIRED, true, FAULT_UP_WANTS_H1},
        {NGHTTP2_INTERNAL_ERROR, false, FAULT_UP_CLOSED},
        {NGHTTP2_NO_ERROR, false, FAULT_UP_CLOSED},
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct probe *p = ask(i, "GET", true);
        settle();
        nghttp2_submit_rst_stream(side.session, NGHTTP2_FLAG_NONE, (int32_t)(2 * i + 1),
                                  cases[i].code);
        settle();
        assert_true(p->failed);
        assert_int_equal(p->loss, cases[i].is_unsent ? LOSS_UNSENT : LOSS_FINAL);
        assert_int_equal(p->code, cases[i].fault);
    }
    assert_int_equal(origin->conns, 1);
}

static void cut_inside_the_body(void **state)
{
    (void)state;
    struct probe *p = ask(0, "GET", true);
    struct probe *q = ask(1, "GET", true);
    settle();
    answer(1, "200", 200000);
    p->pauses = true;
    settle();
    shutdown(side.fd, SHUT_WR);
    settle();
    assert_true(q->failed && q->loss == LOSS_AMID && q->code == FAULT_UP_CLOSED);
    assert_false(p->over); /* what came is told first */
    p->pauses = false;
    p->us->ops->pause(p->us, false);
    settle();
    assert_true(p->failed && p->code == FAULT_RESPONSE_INCOMPLETE && p->body > 0);
}

static void cancelled(void **state)
{
    (void)state;
    struct probe *p = ask(0, "GET", true);
    p->us->ops->cancel(p->us); /* it has not left */
    struct probe *q = ask(1, "GET", true);
    q->cancels_in_head = true;
    settle();
    assert_null(strstr(side.heads, "1::path"));
    answer(3, "200", 100000);
    settle();
    assert_true(q->heads == 1 && q->body == 0 && !q->over);
    assert_int_equal(side.reset[3], NGHTTP2_CANCEL);
    assert_int_equal(conn->n_requests, 0);
    assert_int_equal(origin->conns, 1);
}

static void another_inside_the_end(void **state)
{
    (void)state;
    struct probe *p = ask(0, "GET", true);
    p->asks_again = true;
    settle();
    answer(1, "200", 3);
    settle();
    assert_true(p->over);
    answer(3, "200", 4);
    settle();
    assert_true(probes[PROBES - 1].over && probes[PROBES - 1].body == 4);
}

static void fewer_streams(void **state)
{
    (void)state;
    settle();
    nghttp2_settings_entry fewer = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 2};
    ask(0, "GET", true);
    ask(1, "GET", true);
    settle();
    nghttp2_submit_settings(side.session, NGHTTP2_FLAG_NONE, &fewer, 1);
    side_pump();
    struct probe *late = ask(2, "POST", true); /* has not left when SETTINGS is read */
    loop_turn(&fix.loop, false);
    settle();
    assert_int_equal(conn->room, 2);
    assert_int_equal(origin->streams, 2);
    assert_true(!late->failed || late->loss == LOSS_UNSENT);
    answer(1, "200", 0);
    answer(3, "200", 0);
    settle();
    if (!late->over) {
        answer(5, "200", 0);
        settle();
    }
    assert_true(probes[0].over && probes[1].over && late->over);
}

static void a_flood(void **state)
{
    (void)state;
    struct probe *p = ask(0, "GET", true);
    settle();
    for (int i = 0; i < 3000 && !side.is_closed; i++) {
        nghttp2_submit_ping(side.session, NGHTTP2_FLAG_NONE, NULL);
        if (i % 100 == 0)
            settle();
    }
    settle();
    assert_true(side.is_closed && side.has_goaway);
    assert_int_equal(side.goaway, NGHTTP2_ENHANCE_YOUR_CALM);
    assert_true(p->failed && p->code == FAULT_UP_PROTOCOL);
}

/* One that has been used, and is idle. */
static void make_idle(void)
{
    struct probe *p = ask(0, "GET", true);
    settle();
    answer(1, "200", 0);
    settle();
    assert_true(p->over);
}

/* What has come to an idle connection is taken in before the next request goes on it, but not by
 * who looks for a connection: another stream's bytes may be in the loop's buffer then. */
static void unread(void **state)
{
    (void)state;
    make_idle();
    nghttp2_submit_ping(side.session, NGHTTP2_FLAG_NONE, NULL);
    side_pump();
    uint64_t had = conn->stream->bytes_in;
    memset(fix.loop.rbuf, 'x', fix.loop.rcap);
    assert_null(pool_conn_find(origin, &any));
    assert_int_equal(conn->stream->bytes_in, had);
    for (size_t i = 0; i < fix.loop.rcap; i++)
        assert_int_equal(fix.loop.rbuf[i], 'x');
    loop_turn(&fix.loop, false);
    assert_int_equal(conn->stream->bytes_in, had + 17);
    struct ustream *us = pool_conn_find(origin, &any);
    assert_non_null(us);
    assert_int_equal(conn->n_requests, 1);
    assert_true(limit_take(origin->limit, 0));
    origin->slots++;
    us->ops->cancel(us); /* never started */
    settle();
    assert_int_equal(origin->conns, 1);
    nghttp2_submit_goaway(side.session, NGHTTP2_FLAG_NONE, 1, NGHTTP2_NO_ERROR, NULL, 0);
    side_pump();
    assert_null(pool_conn_find(origin, &any));
    assert_int_equal(origin->conns, 1);
    loop_turn(&fix.loop, false);
    assert_int_equal(origin->conns, 0);
    side.is_closed = true;
}

static void on_place(void *arg, struct ustream *us)
{
    struct ustream **given = arg;
    *given = us;
}

static void on_no_place(void *arg, const struct fault *f)
{
    (void)arg;
    fail_msg("%s", f->text);
}

/* Who asked for a place then gets it in the same turn, and nothing is dialled for it. */
static void unread_is_waited_for(void **state)
{
    (void)state;
    struct ustream *given = NULL;
    struct up_where where = fixture_where(&fix, "127.0.0.1", 1);
    struct pool_wait wait = {.on_ready = on_place, .on_fault = on_no_place, .arg = &given};
    make_idle();
    for (int i = 0; i < 20; i++)
        nghttp2_submit_ping(side.session, NGHTTP2_FLAG_NONE, NULL);
    side_pump();
    assert_null(pool_get(pool, &where, &any, &wait));
    assert_true(list_is_empty(&origin->dials));
    loop_turn(&fix.loop, false);
    assert_non_null(given);
    assert_true(list_is_empty(&origin->dials));
    assert_int_equal(conn->n_requests, 1);
    given->ops->cancel(given);
    settle();
    assert_int_equal(origin->conns, 1);
}

/* `serve` looks, while something more has come behind what was read. */
static void look(void)
{
    loop_unpost(&conn->stream->later);
    loop_unpost(&origin->serve);
    origin->serve.fn(origin);
}

/* An origin that never comes to rest is not waited for: the second look ends in a dial. */
static void never_at_rest(void **state)
{
    (void)state;
    struct ustream *given = NULL;
    struct up_where where = fixture_where(&fix, "127.0.0.1", 1);
    struct pool_wait wait = {.on_ready = on_place, .on_fault = on_no_place, .arg = &given};
    make_idle();
    nghttp2_submit_ping(side.session, NGHTTP2_FLAG_NONE, NULL);
    side_pump();
    assert_null(pool_get(pool, &where, &any, &wait));
    look();
    assert_true(origin->has_looked);
    assert_true(list_is_empty(&origin->dials));
    look();
    assert_false(list_is_empty(&origin->dials));
    assert_null(given);
    pool_cancel(&wait);
    loop_post(&fix.loop, &conn->stream->later);
    settle();
    assert_int_equal(origin->conns, 1);
}

static void unread_end(void **state)
{
    (void)state;
    make_idle();
    shutdown(side.fd, SHUT_WR);
    assert_null(pool_conn_find(origin, &any));
    assert_int_equal(origin->conns, 1);
    loop_turn(&fix.loop, false);
    assert_int_equal(origin->conns, 0);
    side.is_closed = true;
}

static void not_http2(void **state)
{
    (void)state;
    struct probe *p = ask(0, "GET", true);
    fixture_write(side.fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    for (int i = 0; i < 10; i++)
        loop_turn(&fix.loop, false);
    side.is_closed = true;
    assert_true(p->failed && p->code == FAULT_UP_PROTOCOL);
    assert_non_null(strstr(p->text, "does not keep to HTTP/2"));
    assert_int_equal(origin->conns, 0);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_request),
        TEST(no_body),
        TEST(many_at_once),
        TEST(wide_heads),
        TEST(small_frames),
        TEST(a_slow_reader),
        TEST(a_slow_reader_outlives_the_connection),
        TEST(a_slow_reader_leaves),
        TEST(an_upload),
        TEST(an_early_answer),
        TEST(goaway),
        TEST(goaway_behind_settings),
        TEST(settings_behind_goaway),
        TEST(a_spent_connection),
        TEST(resets),
        TEST(cut_inside_the_body),
        TEST(cancelled),
        TEST(another_inside_the_end),
        TEST(fewer_streams),
        TEST(a_flood),
        TEST(unread),
        TEST(unread_is_waited_for),
        TEST(never_at_rest),
        TEST(unread_end),
        TEST(not_http2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
