/* SPDX-License-Identifier: Apache-2.0 */
/* Messages out: order, case and what stands for framing and connection fields. */
#include "http/h1_write.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define EACH(i, table)                    \
    size_t i = 0;                         \
    i < sizeof(table) / sizeof(table[0]); \
    i++

static const struct out_case {
    const char *in; /* a head that is parsed, then written with OUT */
    struct h1_out out;
    const char *text;
} cases[] = {
    {"GET /a HTTP/1.1\r\nAccept: x\r\nhost: old\r\nB:\r\n\r\n",
     {.keep_alive = true},
     "GET /a HTTP/1.1\r\nAccept: x\r\nhost: new:1\r\nB: \r\n\r\n"},
    {"GET /a HTTP/1.0\r\nAccept: x\r\n\r\n",
     {.keep_alive = true},
     "GET /a HTTP/1.1\r\nHost: new:1\r\nAccept: x\r\n\r\n"},
    {"GET /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
     {.keep_alive = true},
     "GET /a HTTP/1.1\r\nHost: new:1\r\n\r\n"},
    {"GET / HTTP/1.1\r\nHost: a\r\nConnection: x\r\nKeep-Alive: 5\r\nProxy-Connection: y\r\nTE: "
     "gzip\r\nZ: z\r\n\r\n",
     {.keep_alive = false},
     "GET / HTTP/1.1\r\nHost: new:1\r\nZ: z\r\nConnection: close\r\n\r\n"},
    {"POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 007\r\nZ: z\r\n\r\n",
     {.keep_alive = true, .framing = H1_FRAMING_LENGTH, .length = 7},
     "POST / HTTP/1.1\r\nHost: new:1\r\ncontent-length: 7\r\nZ: z\r\n\r\n"},
    {"POST / HTTP/1.1\r\nHost: a\r\nZ: z\r\n\r\n",
     {.keep_alive = true, .framing = H1_FRAMING_LENGTH, .length = 0},
     "POST / HTTP/1.1\r\nHost: new:1\r\nZ: z\r\nContent-Length: 0\r\n\r\n"},
    {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-encoding: Chunked\r\nZ: z\r\n\r\n",
     {.keep_alive = true, .framing = H1_FRAMING_CHUNKED},
     "POST / HTTP/1.1\r\nHost: new:1\r\nTransfer-encoding: chunked\r\nZ: z\r\n\r\n"},
    {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nZ: z\r\n\r\n",
     {.keep_alive = true, .framing = H1_FRAMING_CHUNKED},
     "POST / HTTP/1.1\r\nHost: new:1\r\nTransfer-Encoding: chunked\r\nZ: z\r\n\r\n"},
    {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n",
     {.keep_alive = true, .framing = H1_FRAMING_NONE},
     "POST / HTTP/1.1\r\nHost: new:1\r\n\r\n"},
    {"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
     {.keep_alive = true, .is_upgrade = true},
     "GET / HTTP/1.1\r\nHost: new:1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"},
    {"GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n",
     {.keep_alive = true, .te_trailers = true},
     "GET / HTTP/1.1\r\nHost: new:1\r\nTE: trailers\r\nConnection: TE\r\n\r\n"},
    {"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
     {.keep_alive = false, .te_trailers = true},
     "GET / HTTP/1.1\r\nHost: new:1\r\nTE: trailers\r\nConnection: close, TE\r\n\r\n"},
    {"HTTP/1.0 200 Fine\r\nHost: kept\r\nServer: x\r\n\r\n",
     {.keep_alive = true, .framing = H1_FRAMING_CHUNKED},
     "HTTP/1.1 200 Fine\r\nHost: kept\r\nServer: x\r\nTransfer-Encoding: chunked\r\n\r\n"},
    {"HTTP/1.1 404\r\nA: b\r\nContent-LENGTH: 12\r\nC: d\r\n\r\n",
     {.keep_alive = true, .peer_is_1_0 = true, .framing = H1_FRAMING_LENGTH, .length = 12},
     "HTTP/1.1 404 \r\nA: b\r\nContent-LENGTH: 12\r\nC: d\r\nConnection: keep-alive\r\n\r\n"},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
     {.keep_alive = false, .peer_is_1_0 = true, .framing = H1_FRAMING_CLOSE},
     "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"},
    {"HTTP/1.1 304 No\r\nContent-Length: 9\r\n\r\n",
     {.keep_alive = true, .omit_framing = true},
     "HTTP/1.1 304 No\r\nContent-Length: 9\r\n\r\n"},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
     {.keep_alive = true, .omit_framing = true, .framing = H1_FRAMING_LENGTH},
     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
     {.keep_alive = true, .omit_framing = true, .peer_is_1_0 = true},
     "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n"},
    {"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n",
     {.keep_alive = true, .framing = H1_FRAMING_LENGTH, .length = UINT64_MAX},
     "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n"},
};

static void test_heads(void **state)
{
    (void)state;
    for (EACH(i, cases)) {
        struct arena arena;
        struct h1_head head = {.status = 0};
        struct h1_error e;
        size_t n, room;
        char *dst;
        arena_init(&arena, NULL, 0);
        fields_init(&head.fields, &arena, NULL, 0);
        if (cases[i].in[0] == 'H') {
            assert_true(h1_parse_response(&head, cases[i].in, strlen(cases[i].in), false, &e));
            room = h1_response_size(head.reason, &head.fields);
            dst = xmalloc(room);
            n = h1_write_response(dst, head.status, head.reason, &head.fields, &cases[i].out);
        } else {
            assert_true(h1_parse_request(&head, cases[i].in, strlen(cases[i].in), false, &e));
            room = h1_request_size(head.method.name, head.target, &head.fields);
            dst = xmalloc(room);
            n = h1_write_request(dst,
                                 &(struct h1_start){.method = head.method.name,
                                                    .target = head.target,
                                                    .host = STR("new:1")},
                                 &head.fields, &cases[i].out);
        }
        assert_true(n <= room);
        if (!str_eq(str_make(dst, n), str_from(cases[i].text)))
            fail_msg("case %zu:\n%.*s", i, (int)n, dst);
        free(dst);
        arena_clear(&arena);
    }
}

/* The most that is ever written fits. */
static void test_room(void **state)
{
    struct fields none;
    struct arena arena;
    char host[H1_HOST_MAX];
    const struct h1_out out = {.framing = H1_FRAMING_LENGTH,
                               .length = UINT64_MAX,
                               .peer_is_1_0 = true,
                               .keep_alive = true,
                               .te_trailers = true};
    (void)state;
    memset(host, 'h', sizeof(host));
    arena_init(&arena, NULL, 0);
    fields_init(&none, &arena, NULL, 0);
    size_t room = h1_request_size(STR("G"), STR("/"), &none);
    char *dst = xmalloc(room);
    assert_true(h1_write_request(dst,
                                 &(struct h1_start){.method = STR("G"),
                                                    .target = STR("/"),
                                                    .host = str_make(host, sizeof(host))},
                                 &none, &out) <= room);
    free(dst);
}

/* As a proxy is asked: see struct h1_start. */
static void test_absolute(void **state)
{
    static const struct {
        struct h1_start start;
        const char *text;
    } asked[] = {
        {{STR_INIT("GET"), STR_INIT("/a?b"), STR_INIT("h"), STR_INIT("http://h:81"),
          STR_INIT("Basic x")},
         "GET http://h:81/a?b HTTP/1.1\r\nProxy-Authorization: Basic x\r\nHost: h\r\n\r\n"},
        {{STR_INIT("OPTIONS"), STR_INIT("*"), STR_INIT("h"), STR_INIT("http://h"), {0}},
         "OPTIONS http://h HTTP/1.1\r\nHost: h\r\n\r\n"},
        {{STR_INIT("OPTIONS"), STR_INIT("*"), STR_INIT("h"), {0}, {0}},
         "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"},
    };
    struct arena arena;
    struct fields none;
    const struct h1_out out = {.keep_alive = true};
    char dst[1024];
    (void)state;
    arena_init(&arena, NULL, 0);
    fields_init(&none, &arena, NULL, 0);
    for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
        size_t n = h1_write_request(dst, &asked[i].start, &none, &out);
        dst[n] = '\0';
        assert_string_equal(dst, asked[i].text);
    }
}

static void test_removed(void **state)
{
    struct fields f;
    struct arena arena;
    char dst[1024];
    (void)state;
    arena_init(&arena, NULL, 0);
    fields_init(&f, &arena, NULL, 0);
    fields_put(&f, STR("A"), STR("1"));
    fields_put(&f, STR("Via"), STR("2"));
    fields_put(&f, STR("B"), STR("3"));
    fields_remove(&f, FIELD_VIA);
    size_t n = h1_write_trailers(dst, &f);
    assert_true(n <= h1_trailers_size(&f));
    assert_true(str_eq(str_make(dst, n), STR("0\r\nA: 1\r\nB: 3\r\n\r\n")));
    n = h1_write_trailers(dst, NULL);
    assert_int_equal(n, h1_trailers_size(NULL));
    assert_true(str_eq(str_make(dst, n), STR("0\r\n\r\n")));
    arena_clear(&arena);
}

static void test_chunk_head(void **state)
{
    char dst[H1_CHUNK_HEAD_MAX];
    (void)state;
    assert_true(str_eq(str_make(dst, h1_write_chunk_head(dst, 1)), STR("1\r\n")));
    assert_true(str_eq(str_make(dst, h1_write_chunk_head(dst, 0x4000)), STR("4000\r\n")));
    assert_true(
        str_eq(str_make(dst, h1_write_chunk_head(dst, UINT64_MAX)), STR("ffffffffffffffff\r\n")));
}

static void test_reason(void **state)
{
    (void)state;
    assert_true(str_eq(h1_reason(200), STR("OK")));
    assert_true(str_eq(h1_reason(502), STR("Bad Gateway")));
    assert_int_equal(h1_reason(299).len, 0);
    assert_int_equal(h1_reason(999).len, 0);
    assert_non_null(h1_reason(999).p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heads),      cmocka_unit_test(test_room),
        cmocka_unit_test(test_absolute),   cmocka_unit_test(test_removed),
        cmocka_unit_test(test_chunk_head), cmocka_unit_test(test_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
