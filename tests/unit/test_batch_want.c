/* SPDX-License-Identifier: Apache-2.0 */
/* own/batch_want.c: one element, or one line, as the head of a request; what is wrong with it is
 * said of it, and its id is kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/mem.h"
#include "own/batch_want.h"

static struct batch_want w;

static int tear_down(void **state)
{
    (void)state;
    batch_want_clear(&w);
    return 0;
}

static void element(const char *text)
{
    struct batch_element e = {.text = str_from(text), .memory = 1 << 20};
    batch_want_clear(&w);
    if (!batch_want_element(&w, &e))
        fail_msg("%s: %s", text, e.why);
}

static void heads(void **state)
{
    static const struct {
        const char *element, *head;
    } cases[] = {
        {"{\"url\":\"http://h/a\"}", "GET http://h/a HTTP/1.1\r\nHost: h\r\n\r\n"},
        {"{\"url\":\"https://h:444/\",\"method\":\"HEAD\"}",
         "HEAD https://h:444/ HTTP/1.1\r\nHost: h:444\r\n\r\n"},
        {"{\"url\":\"http://h/\",\"headers\":null,\"id\":null,\"timeout_ms\":null}",
         "GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n"},
        {"{\"url\":\"http://h/\",\"headers\":{\"A\":\"1\",\"B\":[\"2\",\"3\"]}}",
         "GET http://h/ HTTP/1.1\r\nHost: h\r\nA: 1\r\nB: 2\r\nB: 3\r\n\r\n"},
        {"{\"url\":\"http://h/\",\"headers\":[[\"C\",\"4\"],[\"C\",\"\"]]}",
         "GET http://h/ HTTP/1.1\r\nHost: h\r\nC: 4\r\nC: \r\n\r\n"},
        {"{\"url\":\"http://h/\",\"method\":\"PUT\"}",
         "PUT http://h/ HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"},
        {"{\"url\":\"http://h/\",\"body\":\"\\u0000\"}",
         "GET http://h/ HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        element(cases[i].element);
        if (w.head == NULL)
            fail_msg("%s: %s", cases[i].element, w.wrong);
        assert_string_equal(w.head, cases[i].head);
        assert_int_equal(w.head_len, strlen(cases[i].head));
    }
}

static void members(void **state)
{
    (void)state;
    element("{\"url\":\"http://h/\",\"id\":\"a<\\u00e9\",\"timeout_ms\":7,"
            "\"body_base64\":\"/wA=\"}");
    assert_string_equal(w.id, "\"a<\u00e9\"");
    assert_string_equal(w.name, "a%3C%C3%A9");
    assert_int_equal(w.timeout_ms, 7);
    assert_int_equal(w.body_len, 2);
    assert_memory_equal(w.body, "\xff\0", 2);
}

static void numbers_as_ids(void **state)
{
    static const char *const ids[] = {"0",    "-7",  "9007199254740993",    "0.1",
                                      "-1.5", "0.3", "0.30000000000000004", "123456789.12345678"};
    (void)state;
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        char text[128];
        snprintf(text, sizeof text, "{\"url\":\"http://h/\",\"id\":%s}", ids[i]);
        element(text);
        assert_string_equal(w.id, ids[i]);
        assert_string_equal(w.name, ids[i]);
    }
}

/* One request cannot become two, nor one that the caller may not make; each says why. */
static void wrong_elements(void **state)
{
    static const struct {
        const char *element, *why;
    } cases[] = {
        {"1", "object with a url"},
        {"{}", "url: not given"},
        {"{\"url\":1}", "url: no string"},
        {"{\"url\":\"/a\"}", "http:// or https://"},
        {"{\"url\":\"ftp://h/\"}", "http:// or https://"},
        {"{\"url\":\"http://h/\\r\\n\"}", "url: "},
        {"{\"url\":\"http://h/ \"}", "url: "},
        {"{\"url\":\"http://tlsfan.LOCALHOST/batch\"}", "inside a batch"},
        {"{\"url\":\"http://h/\",\"headers\":1}", "neither an object"},
        {"{\"url\":\"http://h/\",\"headers\":{\"Host\":\"a\"}}", "Host may not be given"},
        {"{\"url\":\"http://h/\",\"headers\":{\"content-length\":\"1\"}}", "may not be given"},
        {"{\"url\":\"http://h/\",\"headers\":{\"Proxy-X\":\"1\"}}", "may not be given"},
        {"{\"url\":\"http://h/\",\"headers\":{\"A\":\"\\n\"}}", "control byte"},
        {"{\"url\":\"http://h/\",\"headers\":{\"A\":[\"b\",\"\\u0000\"]}}", "control byte"},
        {"{\"url\":\"http://h/\",\"headers\":{\"A b\":\"\"}}", "no field name"},
        {"{\"url\":\"http://h/\",\"headers\":{\"\":\"\"}}", "no field name"},
        {"{\"url\":\"http://h/\",\"headers\":{\"A\":1}}", "no string"},
        {"{\"url\":\"http://h/\",\"headers\":[[\"A\",\"b\",\"c\"]]}", "no [name, value]"},
        {"{\"url\":\"http://h/\",\"method\":\"A B\"}", "no method"},
        {"{\"url\":\"http://h/\",\"method\":\"CONNECT\"}", "no sense"},
        {"{\"url\":\"http://h/\",\"method\":1}", "method: no string"},
        {"{\"url\":\"http://h/\",\"body\":1}", "body: no string"},
        {"{\"url\":\"http://h/\",\"body\":\"\",\"body_base64\":\"\"}", "both given"},
        {"{\"url\":\"http://h/\",\"body_base64\":\"=\"}", "no base64"},
        {"{\"url\":\"http://h/\",\"timeout_ms\":0}", "whole number"},
        {"{\"url\":\"http://h/\",\"timeout_ms\":1.5}", "whole number"},
        {"{\"url\":\"http://h/\",\"id\":{}}", "neither a string nor a number"},
        {"{\"url\":\"http://h/\",\"x\":1}", "no member"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        element(cases[i].element);
        if (w.wrong == NULL || w.head != NULL || strstr(w.wrong, cases[i].why) == NULL)
            fail_msg("%s: %s", cases[i].element, w.wrong == NULL ? "taken" : w.wrong);
    }
}

/* The error of an element carries its id, whatever else is wrong. */
static void id_of_a_wrong_one(void **state)
{
    (void)state;
    element("{\"url\":1,\"x\":1,\"id\":\"me\"}");
    assert_non_null(w.wrong);
    assert_string_equal(w.id, "\"me\"");
}

/* A long body has been decoded before: W has it already. */
static void body_from_before(void **state)
{
    struct batch_element e = {.text = STR("{\"url\":\"http://h/\",\"body_base64\":\"\"}"),
                              .memory = 1 << 20};
    (void)state;
    for (int is_bad = 0; is_bad < 2; is_bad++) {
        batch_want_clear(&w);
        w.body = xstrdup("long");
        w.body_len = 4;
        e.is_bad_base64 = is_bad;
        assert_true(batch_want_element(&w, &e));
        assert_int_equal(w.wrong != NULL, is_bad);
        if (!is_bad)
            assert_non_null(strstr(w.head, "Content-Length: 4\r\n"));
    }
}

static void no_json(void **state)
{
    static const char *const texts[] = {"{", "{\"url\" 1}", "{\"a\":1,\"a\":2}", "[1]]"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct batch_element e = {.text = str_from(texts[i]), .memory = 1 << 20};
        batch_want_clear(&w);
        assert_false(batch_want_element(&w, &e));
        assert_true(e.wrong_at <= e.text.len);
        assert_true(e.why[0] != '\0');
    }
}

static void lines(void **state)
{
    (void)state;
    batch_want_line(&w, STR("http://H:81/b?c"), 100);
    assert_string_equal(w.head, "GET http://H:81/b?c HTTP/1.1\r\nHost: h:81\r\n\r\n");
    batch_want_clear(&w);
    batch_want_line(&w, STR("http://h/long"), 5);
    assert_non_null(strstr(w.wrong, "longer than 5 bytes"));
    batch_want_clear(&w);
    batch_want_line(&w, STR("http://h/a b"), 100);
    assert_non_null(w.wrong);
    assert_null(w.head);
}

#define TEST(name) cmocka_unit_test_teardown(name, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(heads),
        TEST(members),
        TEST(numbers_as_ids),
        TEST(wrong_elements),
        TEST(id_of_a_wrong_one),
        TEST(body_from_before),
        TEST(no_json),
        TEST(lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
