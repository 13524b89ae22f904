/* SPDX-License-Identifier: Apache-2.0 */
/* own/batch_read.c: what a batch call asks for, element by element. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/mem.h"
#include "own/batch_read.h"

/* Reads all, in *STEPS; the caller clears. */
static enum batch_read_result read_steps(struct batch_reader *r, const char *text, bool is_json,
                                         unsigned *steps)
{
    enum batch_read_result result;
    *steps = 0;
    batch_read_init(r, str_from(text), is_json, 3, 65536);
    do {
        result = batch_read_step(r);
        ++*steps;
    } while (result == BATCH_READ_MORE);
    return result;
}

static enum batch_read_result read_all(struct batch_reader *r, const char *text, bool is_json)
{
    unsigned steps;
    return read_steps(r, text, is_json, &steps);
}

static void heads(const char *text, bool is_json, const char *first, const char *second)
{
    struct batch_reader r;
    if (read_all(&r, text, is_json) != BATCH_READ_DONE)
        fail_msg("%s: %s", text, r.fault.text);
    assert_int_equal(r.n, second == NULL ? 1 : 2);
    assert_non_null(r.v[0].head);
    assert_string_equal(r.v[0].head, first);
    assert_int_equal(r.v[0].head_len, strlen(first));
    if (second != NULL)
        assert_string_equal(r.v[1].head, second);
    batch_read_clear(&r);
}

static void what_is_sent(void **state)
{
    (void)state;
    heads("http://h/a\r\n\n  http://H:81/b?c ", false, "GET http://h/a HTTP/1.1\r\nHost: h\r\n\r\n",
          "GET http://H:81/b?c HTTP/1.1\r\nHost: h:81\r\n\r\n");
    heads(" [ {\"url\": \"https://h\", \"method\": \"POST\", \"headers\": {\"A\": \"1\", \"B\": "
          "[\"2\", \"3\"]}, \"body\": \"hi\"} , {\"url\":\"http://[::1]:1/\", \"headers\": "
          "[[\"C\", \"4\"], [\"C\", \"\"]]}]\n",
          true,
          "POST https://h HTTP/1.1\r\nHost: h\r\nA: 1\r\nB: 2\r\nB: 3\r\nContent-Length: "
          "2\r\n\r\n",
          "GET http://[::1]:1/ HTTP/1.1\r\nHost: [::1]:1\r\nC: 4\r\nC: \r\n\r\n");
    heads("[{\"url\":\"http://h/\",\"method\":\"PUT\"}]", true,
          "PUT http://h/ HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", NULL);
}

static void wrong_as_a_whole(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum fault_code code;
    } bodies[] = {{"", FAULT_BAD_REQUEST},
                  {"{}", FAULT_BAD_REQUEST},
                  {"[", FAULT_BAD_REQUEST},
                  {"[]", FAULT_BAD_REQUEST},
                  {"[1", FAULT_BAD_REQUEST},
                  {"[1,", FAULT_BAD_REQUEST},
                  {"[1,]", FAULT_BAD_REQUEST},
                  {"[1 2]", FAULT_BAD_REQUEST},
                  {"[1]]", FAULT_BAD_REQUEST},
                  {"[1,2,3,4]", FAULT_TOO_LARGE},
                  {"[\"\\ud800\"]", FAULT_BAD_REQUEST}};
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        struct batch_reader r;
        if (read_all(&r, bodies[i].text, true) != BATCH_READ_BAD || r.fault.code != bodies[i].code)
            fail_msg("%s is taken", bodies[i].text);
        batch_read_clear(&r);
    }
    struct batch_reader r;
    assert_int_equal(read_all(&r, "a\nb\nc\nd\n", false), BATCH_READ_BAD);
    assert_int_equal(r.fault.code, FAULT_TOO_LARGE);
    batch_read_clear(&r);
}

/* FIRST, N times AGAIN, LAST. Heap. */
static char *long_text(const char *first, const char *again, size_t n, const char *last)
{
    size_t len = strlen(again);
    char *text = xmalloc(strlen(first) + n * len + strlen(last) + 1), *to = text;
    to = stpcpy(to, first);
    for (size_t i = 0; i < n; i++)
        to = stpcpy(to, again);
    stpcpy(to, last);
    return text;
}

/* A body beyond what the parser sees is what it means, wherever it stands. */
static void long_bodies(void **state)
{
    (void)state;
    static const struct {
        const char *first, *again, *last, *byte;
        size_t len; /* of the body; 0: WRONG says why not */
        const char *wrong;
    } bodies[] = {
        {"[{\"body\":\"", "a", "\",\"url\":\"http://h/\"}]", "a", 1, NULL},
        {"[{\"url\":\"http://h/\", \"body\" : \"", "\\u0061", "\" } ]", "a", 1, NULL},
        {"[{\"url\":\"http://h/\",\"body_base64\":\"", "YW\\u0046h", "\"}]", "aaa", 3, NULL},
        {"[{\"url\":\"http://h/\",\"b\\u006fdy\":\"", "a", "\"}]", "a", 1, NULL},
        {"[{\"url\":\"http://h/\",\"body_base64\":\"", "A=AA", "\"}]", "", 0, "no base64"},
        {"[{\"url\":\"http://h/\",\"body_base64\":\"", "AAAA", "A\"}]", "", 0, "no base64"},
        {"[{\"url\":\"http://h/\",\"body\":\"\",\"body_base64\":\"", "AAAA", "\"}]", "", 0, "both"},
        {"[{\"url\":\"http://h/\",\"bod\":\"", "a", "\"}]", "", 0, "no member"},
        {"[{\"url\":\"http://h/\",\"headers\":{\"body\":\"", "a", "\"}}]", "", -1, NULL},
    };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        char *text = long_text(bodies[i].first, bodies[i].again, 30000, bodies[i].last);
        struct batch_reader r;
        if (read_all(&r, text, true) != BATCH_READ_DONE)
            fail_msg("%s: %s", bodies[i].first, r.fault.text);
        assert_int_equal(r.n, 1);
        if (bodies[i].wrong != NULL && strstr(r.v[0].wrong, bodies[i].wrong) == NULL)
            fail_msg("%s: %s", bodies[i].first, r.v[0].wrong);
        if (bodies[i].len == 1 || bodies[i].len == 3) {
            assert_null(r.v[0].wrong);
            assert_int_equal(r.v[0].body_len, 30000 * bodies[i].len);
            assert_memory_equal(r.v[0].body, "aaa", bodies[i].len);
            assert_non_null(
                strstr(r.v[0].head, i == 2 ? "Length: 90000\r\n" : "Length: 30000\r\n"));
        }
        batch_read_clear(&r);
        free(text);
    }
}

/* Whatever it is that is long: what one step looks at is bounded, so there are many. */
static void long_ones_take_steps(void **state)
{
    (void)state;
    enum { BYTES = 4 * 1024 * 1024, LEAST = 32 };
    static const struct {
        const char *first, *again, *last, *fault; /* NULL: none */
    } texts[] = {
        {"[{\"url\":\"http://h/\",\"body\":\"", "aaaa", "\"}]", NULL},
        {"[{\"url\":\"http://h/\",\"body_base64\":\"", "AAAA", "\"}]", NULL},
        {"[{\"url\":\"http://h/\",\"body\":\"", "aaaa", "\xff\"}]", "not UTF-8"},
        {"[{\"url\":\"http://h/\",\"body\":\"", "aaaa", "\n\"}]", "control byte"},
        {"[{\"body\":\"a\",\"url\":\"http://h/\",\"body\":\"", "aaaa", "\"}]", "duplicate"},
        {"[{\"url\":\"http://h/\",\"b\\u006fdy\":\"", "aaaa", "\"}]", "besides its body"},
        {"[{\"url\":\"http://h/\",\"id\":\"", "aaaa", "\"}]", "besides its body"},
        {"[{\"url\":\"http://h/\",\"body\":\"", "aaaa", "", "besides its body"},
        {"[", "[[[[", "]", "besides its body"},
        {"[", "    ", "{}]", NULL},
        {"[{}", "    ", "]", NULL},
        {"[{}]", "    ", "", NULL},
        {"", "    ", "[{}]", NULL},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char *text = long_text(texts[i].first, texts[i].again, BYTES / 4, texts[i].last);
        struct batch_reader r;
        unsigned steps;
        enum batch_read_result result = read_steps(&r, text, true, &steps);
        if (steps < LEAST || (result == BATCH_READ_BAD) != (texts[i].fault != NULL))
            fail_msg("%s: %u steps, %s", texts[i].first, steps, r.fault.text);
        if (result == BATCH_READ_BAD && strstr(r.fault.text, texts[i].fault) == NULL)
            fail_msg("%s: %s", texts[i].first, r.fault.text);
        batch_read_clear(&r);
        free(text);
    }
}

/* The place that is told is that of the first wrong byte, not of the piece that it came in. */
static void where_a_long_body_is_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *wrong;
        size_t right; /* bytes of it */
    } texts[] = {{"\n", 0},       {"\xff", 0},       {"a\xed\xa0\x80", 2},
                 {"\\x", 1},      {"\\u00g0", 4},    {"\\udc00", 5},
                 {"\\ud800a", 6}, {"\\ud800\\n", 7}, {"\xc3\\n", 1}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char *more = long_text(texts[i].wrong, "tail", 20000, "\"}]");
        char *text = long_text("[{\"body\":\"", "head", 5000, more);
        struct batch_reader r;
        char place[64];
        snprintf(place, sizeof place, " byte %zu:", 10 + 5000 * 4 + texts[i].right);
        if (read_all(&r, text, true) != BATCH_READ_BAD || strstr(r.fault.text, place) == NULL)
            fail_msg("%zu: %s instead of %s", i, r.fault.text, place);
        batch_read_clear(&r);
        free(text);
        free(more);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_sent), cmocka_unit_test(wrong_as_a_whole),
        cmocka_unit_test(long_bodies), cmocka_unit_test(long_ones_take_steps),
        cmocka_unit_test(where_a_long_body_is_wrong)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
