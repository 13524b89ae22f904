/* SPDX-License-Identifier: Apache-2.0 */
/* upstream/up_h2_head.c: fields from HTTP/1 to HTTP/2 and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "http/chars.h"
#include "upstream/up_h2_head.h"

/* "name=value;" of each, "!" behind those that HPACK may not keep. */
static char *print(const nghttp2_nv *v, size_t n)
{
    static char text[4096];
    size_t len = 0;
    for (size_t i = 0; i < n; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%.*s=%.*s%s;", (int)v[i].namelen,
                                v[i].name, (int)v[i].valuelen, v[i].value,
                                v[i].flags & NGHTTP2_NV_FLAG_NO_INDEX ? "!" : "");
    text[len] = '\0';
    return text;
}

static void requests(void **state)
{
    (void)state;
    struct arena arena;
    struct fields fields;
    size_t n;
    arena_init(&arena, NULL, 0);
    fields_init(&fields, &arena, NULL, 0);
    static const char *const in[][2] = {
        {"Host", "old.example"}, {"User-Agent", "x"},          {"Connection", "close"},
        {"Keep-Alive", "5"},     {"TE", "trailers, deflate"},  {"Transfer-Encoding", "chunked"},
        {"Content-Length", "7"}, {"Proxy-Connection", "x"},    {"Upgrade", "websocket"},
        {"HTTP2-Settings", "x"}, {"Authorization", "Basic x"}, {"COOKIE", "a=1"},
        {"Cookie", "b=2"},       {"X-Odd_Name", "Kept Case"},
    };
    for (size_t i = 0; i < sizeof(in) / sizeof(in[0]); i++)
        fields_put(&fields, str_from(in[i][0]), str_from(in[i][1]));
    fields_put(&fields, STR("X-Gone"), STR("1"));
    fields_remove_name(&fields, STR("x-gone"));
    fields_add(&fields, (struct field){.name = STR("X-Key"), .value = STR("k"), .is_secret = true});
    struct up_request rq = {.method = method_lookup(STR("POST")),
                            .target = STR("/a?b"),
                            .host = STR("h.example:8443"),
                            .fields = &fields,
                            .framing = H1_FRAMING_LENGTH,
                            .length = 12,
                            .te_trailers = true};
    nghttp2_nv *v = up_h2_head_request(&arena, &rq, &n);
    assert_string_equal(
        print(v, n), ":method=POST;:scheme=https;:authority=h.example:8443;:path=/a?b;User-Agent=x;"
                     "Authorization=Basic x!;COOKIE=a=1; b=2!;X-Odd_Name=Kept Case;X-Key=k!;"
                     "content-length=12;te=trailers;");
    rq.framing = H1_FRAMING_CHUNKED;
    rq.te_trailers = false;
    v = up_h2_head_request(&arena, &rq, &n);
    assert_null(strstr(print(v, n), "content-length"));
    assert_null(strstr(print(v, n), "te="));
    arena_clear(&arena);
}

static void trailers(void **state)
{
    (void)state;
    struct arena arena;
    struct fields fields;
    size_t n = 1;
    assert_null(up_h2_head_trailers(NULL, &n));
    assert_int_equal(n, 0);
    arena_init(&arena, NULL, 0);
    fields_init(&fields, &arena, NULL, 0);
    assert_null(up_h2_head_trailers(&fields, &n));
    fields_put(&fields, STR("Connection"), STR("x"));
    assert_null(up_h2_head_trailers(&fields, &n));
    fields_put(&fields, STR("X-Sum"), STR("Abc"));
    fields_put(&fields, STR("X-Empty"), STR(""));
    nghttp2_nv *v = up_h2_head_trailers(&fields, &n);
    arena_clear(&arena); /* they are its own */
    assert_string_equal(print(v, n), "X-Sum=Abc;X-Empty=;");
    free(v);
}

static struct slab blocks = {.size = sizeof(struct up_h2_block)}; /* keeps none */

static struct up_h2_block *block(const char *const (*in)[2], size_t n, size_t max)
{
    struct up_h2_block *b = up_h2_block_new(&blocks);
    for (size_t i = 0; i < n; i++)
        up_h2_block_add(b, str_from(in[i][0]), str_from(in[i][1]), max);
    return b;
}

static void responses(void **state)
{
    (void)state;
    static const char *const in[][2] = {{":status", "200"},
                                        {"content-type", " text/plain\t"},
                                        {"x-b3-traceid", "1"},
                                        {"etag", ""},
                                        {"-odd-", "x"}};
    static const char *const out[][2] = {
        {"Content-Type", "text/plain"}, {"X-B3-Traceid", "1"}, {"Etag", ""}, {"-Odd-", "x"}};
    struct up_h2_block *b = block(in, 5, 1000);
    assert_null(b->why);
    assert_int_equal(b->status, 200);
    assert_int_equal(b->fields.n, 4);
    for (unsigned i = 0; i < 4; i++) {
        assert_true(str_eq(b->fields.v[i].name, str_from(out[i][0])));
        assert_true(str_eq(b->fields.v[i].value, str_from(out[i][1])));
    }
    assert_int_equal(b->fields.v[0].id, field_lookup(STR("content-type")));
    up_h2_block_free(b);
    up_h2_block_free(NULL);
}

/* What is wrong is said once, with the field's name where that is one; H1: HTTP/1.1 knows it. */
static void faults(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value, *says;
        bool is_of_h1;
    } bad[] = {
        {":status", "200", "twice", false},
        {":path", "/", "pseudo", false},
        {":", "", "pseudo", false},
        {"X-Up", "1", "name", false},
        {"", "x", "name", false},
        {"a b", "x", "name", false},
        {"x-a", "a\nb", "field x-a", false},
        {"x-a", "a\x7f", "field x-a", false},
        {"upgrade", "h2,h2c", "field Upgrade", true},
        {"connection", "Upgrade", "field Connection", true},
        {"keep-alive", "timeout=5", "field Keep-Alive", true},
        {"proxy-connection", "close", "field Proxy-Connection", true},
        {"transfer-encoding", "chunked", "field Transfer-Encoding", true},
        {"te", "gzip", "field Te", true},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const char *const in[][2] = {
            {":status", "204"}, {bad[i].name, bad[i].value}, {"x\n", "later"}, {"a", "b"}};
        struct up_h2_block *b = block(in, 4, 1000);
        assert_non_null(b->why);
        assert_non_null(strstr(b->why, bad[i].says));
        assert_int_equal(b->is_of_h1, bad[i].is_of_h1);
        assert_int_equal(strstr(b->why, "http2 = off") != NULL, bad[i].is_of_h1);
        assert_int_equal(b->status, 204);
        assert_int_equal(b->fields.n, 0);
        up_h2_block_free(b);
    }
    static const char *const late[][2] = {{"te", "trailers"}, {":status", "200"}};
    struct up_h2_block *b = block(late, 2, 1000);
    assert_non_null(strstr(b->why, "behind"));
    assert_int_equal(b->fields.n, 1);
    up_h2_block_free(b);
}

static void statuses(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "20", "2000", "20x", "099", "+20", " 20", "-10", "2 0"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const char *const in[][2] = {{":status", bad[i]}};
        struct up_h2_block *b = block(in, 1, 1000);
        assert_int_equal(b->status, 0);
        up_h2_block_free(b);
    }
    const char *const in[][2] = {{":status", "999"}};
    struct up_h2_block *b = block(in, 1, 1000);
    assert_int_equal(b->status, 999);
    up_h2_block_free(b);
}

/* What is beyond the bound is counted, and not kept. */
static void sizes(void **state)
{
    (void)state;
    static const char *const in[][2] = {{"a", "1234567"}, {"b", "1234567"}, {"c", "1"}};
    struct up_h2_block *b = block(in, 2, 80);
    assert_int_equal(b->size, 80);
    assert_int_equal(b->fields.n, 2);
    up_h2_block_free(b);
    b = block(in, 3, 80);
    assert_true(b->size > 80);
    assert_int_equal(b->fields.n, 2);
    up_h2_block_free(b);
    b = up_h2_block_new(&blocks);
    for (unsigned i = 0; i < H1_MAX_FIELDS + 10; i++)
        up_h2_block_add(b, STR("n"), STR("v"), 1000000);
    assert_int_equal(b->fields.n, H1_MAX_FIELDS);
    assert_true(b->size > 1000000);
    up_h2_block_free(b);
}

/* Each byte, at each place of a value, is taken or refused as it is in HTTP/1. */
static void bytes(void **state)
{
    (void)state;
    char value[21];
    for (unsigned c = 0; c < 256; c++) {
        for (size_t at = 0; at < sizeof(value); at++) {
            memset(value, 'v', sizeof(value));
            value[at] = (char)c;
            struct up_h2_block *b = up_h2_block_new(&blocks);
            up_h2_block_add(b, STR("a"), str_make(value, sizeof(value)), 1000);
            assert_int_equal(b->why == NULL, chars_is((char)c, CHAR_VALUE));
            up_h2_block_free(b);
            b = up_h2_block_new(&blocks);
            up_h2_block_add(b, str_make(value, at + 1), STR("v"), 1000);
            bool is_name = chars_is((char)c, CHAR_TOKEN) && (c < 'A' || c > 'Z');
            assert_int_equal(b->why == NULL, is_name);
            up_h2_block_free(b);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests), cmocka_unit_test(trailers), cmocka_unit_test(responses),
        cmocka_unit_test(statuses), cmocka_unit_test(sizes),    cmocka_unit_test(faults),
        cmocka_unit_test(bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
