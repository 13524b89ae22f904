/* SPDX-License-Identifier: Apache-2.0 */
/* own/batch_write.c: the parts of a multipart answer, byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "own/batch_write.h"

static struct evbuffer *out;

static int begin(void **state)
{
    (void)state;
    out = evbuffer_new();
    return out != NULL ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    evbuffer_free(out);
    return 0;
}

static void wrote(const char *text)
{
    size_t n = evbuffer_get_length(out);
    assert_int_equal(n, strlen(text));
    assert_memory_equal(evbuffer_pullup(out, -1), text, n);
    evbuffer_drain(out, n);
}

static void boundaries(void **state)
{
    char one[BATCH_BOUNDARY], two[BATCH_BOUNDARY];
    (void)state;
    batch_boundary(one);
    batch_boundary(two);
    assert_int_equal(strlen(one), BATCH_BOUNDARY - 1);
    assert_int_equal(strspn(one, "0123456789abcdef"), BATCH_BOUNDARY - 1);
    assert_string_not_equal(one, two);
}

/* RFC 2046 §5.1.1: the CRLF before a boundary is of the boundary, so the first has none. */
static void parts(void **state)
{
    char name[] = "my id";
    struct batch_want bare = {.name = NULL}, named = {.name = name};
    (void)state;
    batch_put_part(out, "b", 0, &bare);
    wrote("--b\r\nContent-Type: application/http; msgtype=response\r\nContent-ID: <0>\r\n\r\n");
    batch_put_part(out, "b", 12, &named);
    wrote("\r\n--b\r\nContent-Type: application/http; msgtype=response\r\n"
          "Content-ID: <my id>\r\n\r\n");
    batch_put_close(out, "b");
    wrote("\r\n--b--\r\n");
}

static void chunks(void **state)
{
    struct arena arena;
    struct fields trailers;
    (void)state;
    batch_put_chunk(out, "0123456789abcdef", 16);
    wrote("10\r\n0123456789abcdef\r\n");
    arena_init(&arena, NULL, 0);
    fields_init(&trailers, &arena, NULL, 0);
    batch_put_last_chunk(out, &trailers);
    wrote("0\r\n\r\n");
    fields_put(&trailers, STR("X"), STR("y"));
    batch_put_last_chunk(out, &trailers);
    wrote("0\r\nX: y\r\n\r\n");
    arena_clear(&arena);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(boundaries), CASE(parts), CASE(chunks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
