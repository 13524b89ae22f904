/* SPDX-License-Identifier: Apache-2.0 */
/* own/batch_line.c: an item of a batch as a line of JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/mem.h"
#include "own/batch_line.h"

static struct evbuffer *out;
static struct arena arena;
static struct fields fields;

static int begin(void **state)
{
    (void)state;
    out = evbuffer_new();
    arena_init(&arena, NULL, 0);
    fields_init(&fields, &arena, NULL, 0);
    return out != NULL ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    evbuffer_free(out);
    arena_clear(&arena);
    return 0;
}

/* What was written is TEXT; drains it. */
static void wrote(const char *text)
{
    size_t n = evbuffer_get_length(out);
    const char *got = (const char *)evbuffer_pullup(out, -1);
    char *copy = n == 0 ? xstrdup("") : xstrndup(got, n);
    evbuffer_drain(out, n);
    assert_string_equal(copy, text);
    free(copy);
}

static void heads(void **state)
{
    (void)state;
    char id[] = "\"x\"";
    struct batch_want none = {.id = NULL}, named = {.id = id};
    batch_line_begin(out, 0, &none, 0, NULL);
    wrote("{\"index\":0,\"id\":null,\"status\":0,\"headers\":{},");
    fields_put(&fields, STR("Content-Type"), STR("text/plain"));
    batch_line_begin(out, 41, &named, 200, &fields);
    wrote(
        "{\"index\":41,\"id\":\"x\",\"status\":200,\"headers\":{\"Content-Type\":\"text/plain\"},");
}

static void fields_as(const char *text)
{
    struct batch_want none = {.id = NULL};
    char *line = xasprintf("{\"index\":1,\"id\":null,\"status\":200,\"headers\":{%s},", text);
    batch_line_begin(out, 1, &none, 200, &fields);
    wrote(line);
    free(line);
}

/* In the order of arrival, with the spelling of the first. */
static void one_name_is_an_array(void **state)
{
    (void)state;
    fields_put(&fields, STR("Set-Cookie"), STR("a=1"));
    fields_put(&fields, STR("X"), STR("x"));
    fields_put(&fields, STR("set-cookie"), STR("b=2"));
    fields_put(&fields, STR("Y"), STR(""));
    fields_put(&fields, STR("SET-COOKIE"), STR("c=3"));
    fields_as("\"Set-Cookie\":[\"a=1\",\"b=2\",\"c=3\"],\"X\":\"x\",\"Y\":\"\"");
}

static void removed_ones_are_left_out(void **state)
{
    (void)state;
    fields_put(&fields, STR("Date"), STR("today"));
    fields_put(&fields, STR("X"), STR("x"));
    fields_put(&fields, STR("Y"), STR("y"));
    fields_remove(&fields, FIELD_DATE);
    fields_as("\"X\":\"x\",\"Y\":\"y\"");
    fields_remove_name(&fields, STR("X"));
    fields_remove_name(&fields, STR("Y"));
    fields_as("");
}

static void any_byte_is_latin_1(void **state)
{
    (void)state;
    fields_put(&fields, STR("A"), STR("caf\xc3\xa9"));
    fields_put(&fields, STR("B"), STR("caf\xe9"));
    fields_put(&fields, STR("C"), STR("\x80\xff\xc3"));
    fields_put(&fields, STR("D"), STR("a\"b\\c"));
    fields_as("\"A\":\"caf\xc3\xa9\",\"B\":\"caf\xc3\xa9\",\"C\":\"\xc2\x80\xc3\xbf\xc3\x83\","
              "\"D\":\"a\\\"b\\\\c\"");
}

static void bodies(void **state)
{
    (void)state;
    batch_line_begin_body(out, true);
    batch_line_body(out, true, STR("a\n\""));
    batch_line_body(out, true, STR("b"));
    batch_line_end(out, NULL, 1234567);
    wrote("\"body\":\"a\\n\\\"b\",\"error\":null,\"ms\":1234.567}\n");
    batch_line_begin_body(out, false);
    batch_line_body(out, false, STR("foobar"));
    batch_line_body(out, false, STR("\xff"));
    batch_line_end(out, "dns_error", 7);
    wrote("\"body_base64\":\"Zm9vYmFy/w==\",\"error\":\"dns_error\",\"ms\":0.007}\n");
    /* A clock that was set back. */
    batch_line_end(out, NULL, -5);
    wrote("\",\"error\":null,\"ms\":0.000}\n");
}

/* The worst of a whole piece: each byte takes six. */
static void a_piece_of_escapes(void **state)
{
    char piece[BATCH_LINE_PIECE];
    (void)state;
    memset(piece, 1, sizeof(piece));
    batch_line_body(out, true, str_make(piece, sizeof(piece)));
    assert_int_equal(evbuffer_get_length(out), 6 * BATCH_LINE_PIECE);
    evbuffer_drain(out, 6 * BATCH_LINE_PIECE - 6);
    wrote("\\u0001");
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(heads),
        CASE(one_name_is_an_array),
        CASE(removed_ones_are_left_out),
        CASE(any_byte_is_latin_1),
        CASE(bodies),
        CASE(a_piece_of_escapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
