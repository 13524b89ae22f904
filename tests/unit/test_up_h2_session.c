/* SPDX-License-Identifier: Apache-2.0 */
/* upstream/up_h2_session.c: what is said at the start, what the callbacks record of frames written
 * by hand, and how much that is of no use may come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "upstream/up_h2_spare.h"
#include "upstream/up_h2_stream_impl.h"

enum { MAX_HEAD = 1000, STREAMS = 2, OUT = 4096 };

static struct loop loop;
static struct origin origin;
static struct up_h2_spare spare;
static struct up_h2 conn;
static struct up_h2_stream streams[STREAMS]; /* 1 and 3 */
static uint8_t out[OUT];
static size_t n_out;

/* Reads all that the session has to say to `out`. */
static void send_all(void)
{
    const uint8_t *p;
    ssize_t n;
    n_out = 0;
    while ((n = nghttp2_session_mem_send(conn.session, &p)) > 0) {
        assert_true(n_out + (size_t)n <= OUT);
        memcpy(out + n_out, p, (size_t)n);
        n_out += (size_t)n;
    }
}

static void open_with(int32_t first)
{
    up_h2_spare_init(&spare);
    conn = (struct up_h2){.loop = &loop,
                          .spare = &spare,
                          .conn.origin = &origin,
                          .credit = UP_H2_CREDIT,
                          .rounds = 1,
                          .now = 1};
    MAGIC_SET(up_h2, &conn);
    conn.path.first = first;
    origin.max_head = MAX_HEAD;
    up_h2_session_open(&conn, MAX_HEAD);
}

static int begin(void **state)
{
    nghttp2_nv get = {(uint8_t *)":method", (uint8_t *)"GET", 7, 3, NGHTTP2_NV_FLAG_NONE};
    (void)state;
    if (!loop_init(&loop))
        return -1;
    open_with(UP_H2_WINDOW);
    for (int i = 0; i < STREAMS; i++) {
        streams[i] = (struct up_h2_stream){.c = &conn, .loop = &loop, .state = UP_H2_ACTIVE};
        MAGIC_SET(up_h2_stream, &streams[i]);
        streams[i].id = nghttp2_submit_request(conn.session, NULL, &get, 1, NULL, &streams[i]);
    }
    send_all();
    return streams[1].id == 3 ? 0 : -1;
}

static void close_session(void)
{
    conn.state = UP_H2_CLOSED;
    nghttp2_session_del(conn.session);
    for (unsigned i = 0; i < conn.n_events; i++)
        up_h2_block_free(conn.events[i].block);
    free(conn.events);
}

static int end(void **state)
{
    (void)state;
    close_session();
    for (int i = 0; i < STREAMS; i++)
        up_h2_block_free(streams[i].block);
    up_h2_spare_clear(&spare);
    loop_clear(&loop);
    return 0;
}

static uint8_t burst[OUT];
static size_t n_burst;

/* A frame is to come, behind others of its burst. */
static void add(uint8_t type, uint8_t flags, uint8_t id, struct str payload)
{
    const uint8_t head[] = {(uint8_t)(payload.len >> 16),
                            (uint8_t)(payload.len >> 8),
                            (uint8_t)payload.len,
                            type,
                            flags,
                            0,
                            0,
                            0,
                            id};
    assert_true(n_burst + sizeof(head) + payload.len <= sizeof(burst));
    memcpy(burst + n_burst, head, sizeof(head));
    if (payload.len > 0)
        memcpy(burst + n_burst + sizeof(head), payload.p, payload.len);
    n_burst += sizeof(head) + payload.len;
}

/* All of a burst comes at once. What nghttp2 says. */
static ssize_t take_burst(void)
{
    size_t n = n_burst;
    n_burst = 0;
    return nghttp2_session_mem_recv(conn.session, burst, n);
}

/* A frame comes. What nghttp2 says. */
static ssize_t take(uint8_t type, uint8_t flags, uint8_t id, struct str payload)
{
    add(type, flags, id, payload);
    return take_burst();
}

static void settings(void)
{
    assert_true(take(NGHTTP2_SETTINGS, 0, 0, STR("")) > 0);
    send_all();
}

static void head_of(uint8_t id)
{
    assert_true(take(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, id, STR("\x88")) > 0);
}

static void the_first_words(void **state)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    static const uint8_t said[] = {0, 0, 12, 4, 0, 0,  0, 0, 0, /* SETTINGS */
                                   0, 2, 0,  0, 0, 0,           /* no push */
                                   0, 6, 0,  0, 3, 232};        /* a head of 1,000 bytes */
    (void)state;
    open_with(UP_H2_WINDOW);
    send_all();
    assert_memory_equal(out, preface, sizeof(preface) - 1);
    assert_memory_equal(out + sizeof(preface) - 1, said, sizeof(said));
    assert_int_equal(nghttp2_session_get_local_window_size(conn.session), UP_H2_WINDOW_ALL);
    close_session();
    /* Another window is said. */
    open_with(16384);
    send_all();
    assert_int_equal(out[sizeof(preface) - 1 + 2], 18);
    close_session();
}

static int begin_bare(void **state)
{
    (void)state;
    return loop_init(&loop) ? 0 : -1;
}

static int end_bare(void **state)
{
    (void)state;
    loop_clear(&loop);
    return 0;
}

static void only_recorded(void **state)
{
    (void)state;
    assert_true(streams[0].is_sent && streams[0].is_out_done);
    settings();
    assert_true(conn.has_settings);
    head_of(1);
    assert_true(streams[0].has_answered);
    assert_true(take(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1, STR("body")) > 0);
    assert_int_equal(conn.n_events, 4);
    assert_int_equal(conn.events[0].kind, UP_H2_HEADERS);
    assert_int_equal(conn.events[0].block->status, 200);
    assert_false(conn.events[0].block->is_end);
    assert_int_equal(conn.events[1].kind, UP_H2_DATA);
    assert_int_equal(conn.events[1].data.len, 4);
    assert_int_equal(conn.events[2].kind, UP_H2_END);
    assert_int_equal(conn.events[3].kind, UP_H2_RESET);
    assert_int_equal(conn.events[3].code, 0);
    for (int i = 0; i < 4; i++)
        assert_ptr_equal(conn.events[i].s, &streams[0]);
    assert_int_equal(conn.taken, 4);
    assert_int_equal(streams[0].window.unread, 4);
    assert_false(streams[1].has_answered);
}

/* DATA of a stream is one chain, whatever comes for others between. */
static void data_is_linked(void **state)
{
    (void)state;
    settings();
    head_of(1);
    head_of(3);
    assert_true(take(NGHTTP2_DATA, 0, 1, STR("a")) > 0);
    assert_true(take(NGHTTP2_DATA, 0, 3, STR("b")) > 0);
    assert_true(take(NGHTTP2_DATA, 0, 1, STR("c")) > 0);
    assert_true(
        take(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, 1, STR("")) > 0);
    assert_int_equal(conn.events[2].next, 4);
    assert_int_equal(conn.events[3].next, 0);
    assert_int_equal(conn.events[4].next, 0);
    assert_int_equal(conn.events[5].kind, UP_H2_HEADERS);
    assert_true(conn.events[5].block->is_end);
}

/* What was looked up for a stream is nothing for another, nor for what comes behind its end. */
static void each_its_own(void **state)
{
    static const struct {
        enum up_h2_kind kind;
        unsigned stream;
    } expected[] = {{UP_H2_HEADERS, 0}, {UP_H2_HEADERS, 1}, {UP_H2_DATA, 1}, {UP_H2_RESET, 0},
                    {UP_H2_DATA, 1},    {UP_H2_END, 1},     {UP_H2_RESET, 1}};
    (void)state;
    settings();
    add(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, STR("\x88"));
    add(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 3, STR("\x88"));
    add(NGHTTP2_DATA, 0, 3, STR("ab"));
    add(NGHTTP2_RST_STREAM, 0, 1, STR("\0\0\0\x08"));
    add(NGHTTP2_DATA, 0, 1, STR("no"));
    add(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 3, STR("c"));
    assert_true(take_burst() > 0);
    assert_int_equal(conn.n_events, sizeof(expected) / sizeof(expected[0]));
    for (unsigned i = 0; i < conn.n_events; i++) {
        assert_int_equal(conn.events[i].kind, expected[i].kind);
        assert_ptr_equal(conn.events[i].s, &streams[expected[i].stream]);
    }
    assert_int_equal(streams[0].window.unread, 0);
    assert_int_equal(streams[1].window.unread, 3);
    assert_true(streams[0].by_peer);
    assert_false(streams[1].by_peer);
}

/* A reset behind the end of an answer says nothing about it. */
static void reset_behind_the_end(void **state)
{
    (void)state;
    settings();
    add(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, STR("\x88"));
    add(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1, STR("body"));
    add(NGHTTP2_RST_STREAM, 0, 1, STR("\0\0\0\x02"));
    assert_true(take_burst() > 0);
    assert_int_equal(conn.n_events, 4);
    assert_int_equal(conn.events[3].kind, UP_H2_RESET);
    assert_int_equal(conn.events[3].code, 0);
    assert_false(streams[0].by_peer);
}

static void ends_of_the_peer(void **state)
{
    (void)state;
    settings();
    assert_true(take(NGHTTP2_RST_STREAM, 0, 1, STR("\0\0\0\x08")) > 0);
    assert_true(streams[0].by_peer);
    assert_false(streams[0].is_refused);
    assert_int_equal(conn.events[0].kind, UP_H2_RESET);
    assert_int_equal(conn.events[0].code, NGHTTP2_CANCEL);
    assert_true(take(NGHTTP2_RST_STREAM, 0, 3, STR("\0\0\0\x07")) > 0);
    assert_true(streams[1].is_refused);
}

/* Of a stream that was given up the window is still to be given back. */
static void what_nobody_wants(void **state)
{
    (void)state;
    settings();
    nghttp2_session_set_stream_user_data(conn.session, 1, NULL);
    head_of(1);
    assert_true(take(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1, STR("body")) > 0);
    assert_int_equal(conn.n_events, 0);
    assert_int_equal(conn.taken, 4);
}

static void padding_uses_the_window(void **state)
{
    (void)state;
    settings();
    head_of(1);
    assert_true(take(NGHTTP2_DATA, NGHTTP2_FLAG_PADDED, 1, STR("\x02\0\0")) > 0);
    assert_true(streams[0].window.is_padded);
    assert_int_equal(conn.n_events, 2);
    assert_int_equal(conn.events[1].data.len, 0);
}

static void each_frame_costs(void **state)
{
    (void)state;
    settings();
    conn.credit = 2;
    for (int i = 0; i < 2; i++)
        assert_true(take(NGHTTP2_PING, 0, 0, STR("12345678")) > 0);
    assert_int_equal(conn.credit, 0);
    assert_false(conn.is_flood);
    assert_true(take(NGHTTP2_PING, 0, 0, STR("12345678")) > 0);
    assert_true(conn.is_flood);
}

/* Up to a bound: nobody saves up for a flood. */
static void what_is_of_use_pays(void **state)
{
    (void)state;
    settings();
    conn.credit = 1;
    head_of(1);
    assert_int_equal(conn.credit, 8);
    assert_true(take(NGHTTP2_DATA, 0, 1, STR("a")) > 0);
    assert_int_equal(conn.credit, 9);
    conn.credit = UP_H2_CREDIT;
    assert_true(take(NGHTTP2_DATA, 0, 1, STR("a")) > 0);
    assert_int_equal(conn.credit, UP_H2_CREDIT);
    /* Body that was sent pays for the windows opened for it. */
    conn.updates = 1;
    assert_true(take(NGHTTP2_WINDOW_UPDATE, 0, 0, STR("\0\0\0\x01")) > 0);
    assert_int_equal(conn.credit, UP_H2_CREDIT);
    assert_int_equal(conn.updates, 0);
    assert_true(take(NGHTTP2_WINDOW_UPDATE, 0, 0, STR("\0\0\0\x01")) > 0);
    assert_int_equal(conn.credit, UP_H2_CREDIT - 1);
}

/* A field "x" of LEN bytes: HPACK without indexing, without Huffman (RFC 7541 §6.2.2). */
static struct str long_field(size_t len)
{
    static char block[OUT];
    size_t rest = len - 127, n = 0;
    block[n++] = '\x88';
    block[n++] = 0;
    block[n++] = 1;
    block[n++] = 'x';
    block[n++] = 127;
    for (; rest >= 128; rest >>= 7)
        block[n++] = (char)(0x80 | (rest & 127));
    block[n++] = (char)rest;
    memset(block + n, 'v', len);
    return str_make(block, n + len);
}

/* Four times of max_head is no accident, and the rest is not even decoded. */
static void a_bomb(void **state)
{
    (void)state;
    settings();
    assert_true(take(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, long_field(2 * MAX_HEAD)) > 0);
    assert_false(conn.is_flood);
    assert_int_equal(conn.n_events, 1);
    (void)take(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 3, long_field(4 * MAX_HEAD));
    assert_true(conn.is_flood);
    assert_int_equal(conn.n_events, 1);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_first_words, begin_bare, end_bare),
        CASE(only_recorded),
        CASE(data_is_linked),
        CASE(each_its_own),
        CASE(reset_behind_the_end),
        CASE(ends_of_the_peer),
        CASE(what_nobody_wants),
        CASE(padding_uses_the_window),
        CASE(each_frame_costs),
        CASE(what_is_of_use_pays),
        CASE(a_bomb),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
