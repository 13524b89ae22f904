/* SPDX-License-Identifier: Apache-2.0 */
/* http/forward.c: what a message loses and gains on its way through. Each case is a field
 * section as text before and after; '|' stands for the end of a field line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "http/forward.h"

static struct forward_id id;

/* Adds the fields of TEXT, "Name: value|Name: value". */
static void put_fields(struct fields *f, const char *text)
{
    while (*text != '\0') {
        size_t n = strcspn(text, "|");
        struct str line = str_make(text, n);
        size_t colon = str_find(line, ':');
        fields_put(f, str_make(line.p, colon), str_trim(str_from_byte(line, colon + 1)));
        text += n + (text[n] == '|');
    }
}

/* The same text of what is in F, in ARENA. */
static const char *print_fields(const struct fields *f, struct arena *arena)
{
    struct str out = STR("");
    for (unsigned i = 0; i < f->n; i++)
        if (f->v[i].name.p != NULL)
            out = arena_printf(arena, "%.*s%s%.*s: %.*s", STR_ARG(out), out.len == 0 ? "" : "|",
                               STR_ARG(f->v[i].name), STR_ARG(f->v[i].value));
    return out.p;
}

struct request_case {
    const char *method;
    int minor;
    const char *in;
    const char *out;
    /* k: forward_keep_alive(), c: forward_expects_continue(), t: te_trailers, w: is_websocket */
    const char *info;
};

static const struct request_case requests[] = {
    {"GET", 1, "", "", "k"},
    {"GET", 0, "", "", ""},
    {"GET", 1, "Host: a|Accept: */*", "Host: a|Accept: */*", "k"},
    /* Connection of both versions, lists, case, several fields; close wins. */
    {"GET", 1, "Connection: close", "", ""},
    {"GET", 1, "connection: foo, CLOSE", "", ""},
    {"GET", 1, "Connection: keep-alive|Connection: close", "", ""},
    {"GET", 0, "Connection: Keep-Alive", "", "k"},
    {"GET", 0, "Connection: KEEP-alive", "", "k"},
    {"GET", 1, "Connection: close|Connection: Keep-Alive", "", ""},
    {"GET", 0, "Connection: keep-alive|Connection: X-A, close|X-A: 1", "", ""},
    {"GET", 1, "Connection: Keep-Alive|Connection: X-A|X-A: 1", "", "k"},
    {"GET", 0, "Connection: keep-alive, close", "", ""},
    {"GET", 0, "Keep-Alive: timeout=5|Connection: keep-alive", "", "k"},
    {"GET", 0, "Keep-Alive: timeout=5", "", ""},
    /* Proxy-Connection counts only where Connection says nothing. */
    {"GET", 0, "Proxy-Connection: keep-alive", "", "k"},
    {"GET", 1, "Proxy-Connection: Keep-Alive", "", "k"},
    {"GET", 1, "Proxy-Connection: close", "", ""},
    {"GET", 1, "Proxy-Connection: close|Connection: keep-alive", "", "k"},
    {"GET", 0, "Proxy-Connection: keep-alive|Connection: close", "", ""},
    {"GET", 1, "Proxy-Connection: Accept|Accept: x", "Accept: x", "k"},
    /* What Connection names, in any case, however often; but never what routes or frames. */
    {"GET", 1, "X-A: 1|Connection: x-a, X-B|X-b: 2|X-C: 3|x-A: 4", "X-C: 3", "k"},
    {"GET", 1, "Connection: X-Long-Name, ,x-a,,|X-A: 1|X-LONG-NAME: 2|X-Long-Nam: 3",
     "X-Long-Nam: 3", "k"},
    {"GET", 1, "Connection: Authorization|Authorization: Basic x", "", "k"},
    {"GET", 1, "Connection: Cookie|Cookie: a=b", "", "k"},
    {"POST", 1, "Connection: host, content-length, transfer-encoding|Host: a|Content-Length: 3",
     "Host: a|Content-Length: 3", "k"},
    {"POST", 1, "Connection: transfer-encoding|Transfer-Encoding: chunked",
     "Transfer-Encoding: chunked", "k"},
    {"POST", 1, "Trailer: X-Sum|Transfer-Encoding: chunked",
     "Trailer: X-Sum|Transfer-Encoding: chunked", "k"},
    {"GET", 0, "Connection: X-A|X-A: 1", "", ""},
    /* Proxy-* */
    {"GET", 1, "Proxy-Authorization: Basic x|proxy-foo: 1|PROXY-Status: a|Proxyfoo: 2|Proxy-: 3",
     "Proxyfoo: 2|Proxy-: 3", "k"},
    /* TE */
    {"GET", 1, "TE: trailers|Connection: TE", "", "kt"},
    {"GET", 1, "TE: gzip, Trailers|Connection: TE", "", "kt"},
    {"GET", 1, "TE: gzip|Connection: TE", "", "k"},
    {"GET", 0, "TE: trailers", "", ""},
    /* Expect */
    {"PUT", 1, "Expect: 100-continue", "Expect: 100-continue", "kc"},
    {"PUT", 1, "Expect: 100-Continue", "Expect: 100-Continue", "kc"},
    {"PUT", 1, "Expect: foo, 100-continue", "Expect: 100-continue", "kc"},
    {"PUT", 1, "Expect: 100-continue|Expect: 100-continue", "Expect: 100-continue", "kc"},
    {"PUT", 1, "Expect: foo", "", "k"},
    {"PUT", 0, "Expect: 100-continue", "", ""},
    {"PUT", 1, "Connection: expect|Expect: 100-continue", "Expect: 100-continue", "kc"},
    /* Upgrade */
    {"GET", 1, "Upgrade: websocket|Connection: Upgrade|Sec-WebSocket-Key: x",
     "Upgrade: websocket|Sec-WebSocket-Key: x", "kw"},
    {"GET", 1, "Upgrade: WebSocket|Connection: keep-alive, upgrade", "Upgrade: WebSocket", "kw"},
    {"GET", 1, "Upgrade: h2c, websocket|Connection: upgrade", "Upgrade: websocket", "kw"},
    {"GET", 1, "Upgrade: h2c|Upgrade: websocket|Connection: upgrade", "Upgrade: websocket", "kw"},
    {"GET", 1, "Upgrade: h2c|HTTP2-Settings: AA|Connection: Upgrade, HTTP2-Settings", "", "k"},
    {"GET", 1, "HTTP2-Settings: AA", "", "k"},
    {"GET", 1, "Upgrade: websocket", "", "k"},
    {"GET", 1, "Upgrade: websocket|Proxy-Connection: upgrade", "", "k"},
    {"POST", 1, "Upgrade: websocket|Connection: Upgrade", "", "k"},
    {"GET", 0, "Upgrade: websocket|Connection: Upgrade", "", ""},
    {"GET", 1, "Upgrade: TLS/1.2|Connection: Upgrade", "", "k"},
};

static void make_head(struct h1_head *head, struct arena *arena, const char *text, int minor)
{
    *head = (struct h1_head){.minor = (uint8_t)minor};
    fields_init(&head->fields, arena, NULL, 0);
    put_fields(&head->fields, text);
}

static void test_request(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(requests) / sizeof(*requests); i++) {
        const struct request_case *c = &requests[i];
        struct arena arena;
        arena_init(&arena, NULL, 0);
        struct h1_head head;
        make_head(&head, &arena, c->in, c->minor);
        head.method = method_lookup(str_from(c->method));
        struct forward_info info;
        bool keep_alive = forward_keep_alive(&head);
        bool expects_continue = forward_expects_continue(&head);
        forward_request(&head, &id, false, &info);
        char letters[8];
        snprintf(letters, sizeof(letters), "%s%s%s%s", keep_alive ? "k" : "",
                 expects_continue ? "c" : "", info.te_trailers ? "t" : "",
                 info.is_websocket ? "w" : "");
        const char *out = print_fields(&head.fields, &arena);
        if (strcmp(out, c->out) != 0 || strcmp(letters, c->info) != 0)
            fail_msg("%s: got \"%s\" %s", c->in, out, letters);
        arena_clear(&arena);
    }
}

static const struct response_case {
    unsigned status;
    int minor;
    const char *in, *out;
    bool keep_alive;
} responses[] = {
    {200, 1, "Content-Length: 3", "Content-Length: 3", true},
    {200, 0, "Content-Length: 3", "Content-Length: 3", false},
    {200, 0, "Connection: keep-alive|Keep-Alive: timeout=5", "", true},
    {200, 0, "Connection: Keep-Alive", "", true},
    {200, 1, "Connection: keep-alive|Connection: close", "", false},
    {200, 1, "Connection: close|Connection: Keep-Alive", "", false},
    {200, 1, "Connection: Keep-Alive|Connection: X-A|X-A: 1", "", true},
    {200, 1, "Connection: close", "", false},
    {200, 1, "Proxy-Connection: close", "", true},
    {200, 0, "Proxy-Connection: keep-alive", "", false},
    {200, 1, "Connection: X-A, content-length|X-A: 1|Content-Length: 3", "Content-Length: 3", true},
    {407, 1, "Proxy-Authenticate: Basic|Proxy-Status: x; error=y|proxy-support: z", "", true},
    {200, 1, "Upgrade: h2,h2c|Connection: Upgrade|Server: x", "Server: x", true},
    {101, 1, "Upgrade: websocket|Connection: Upgrade", "Upgrade: websocket", true},
    {200, 1, "Trailer: X|Transfer-Encoding: chunked|TE: trailers",
     "Trailer: X|Transfer-Encoding: chunked", true},
    {204, 1, "Content-Length: 0|Transfer-Encoding: identity|X: y", "X: y", true},
    {103, 1, "Transfer-Encoding: chunked|Link: </a>", "Link: </a>", true},
    {304, 1, "Transfer-Encoding: chunked", "Transfer-Encoding: chunked", true},
    {304, 1, "ETag: \"x\"|Via: 1.1 cdn", "ETag: \"x\"|Via: 1.1 cdn", true},
};

static void test_response(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(responses) / sizeof(*responses); i++) {
        const struct response_case *c = &responses[i];
        struct arena arena;
        arena_init(&arena, NULL, 0);
        struct h1_head head;
        make_head(&head, &arena, c->in, c->minor);
        head.status = c->status;
        bool keep_alive = !c->keep_alive;
        forward_response(&head, &id, false, &keep_alive);
        assert_string_equal(print_fields(&head.fields, &arena), c->out);
        assert_int_equal(keep_alive, c->keep_alive);
        arena_clear(&arena);
    }
}

static void test_via(void **state)
{
    (void)state;
    assert_int_equal(strlen(id.via), strlen("1.1 tlsfan-01234567"));
    assert_true(str_starts(id.received, STR("tlsfan-")));
    struct arena arena;
    arena_init(&arena, NULL, 0);
    struct h1_head head;
    struct forward_info info;
    make_head(&head, &arena, "Host: a|Via: 1.0 x", 1);
    assert_false(forward_is_loop(&head.fields, &id));
    forward_request(&head, &id, true, &info);
    struct str want = arena_printf(&arena, "Host: a|Via: 1.0 x|Via: %s", id.via);
    assert_string_equal(print_fields(&head.fields, &arena), want.p);
    assert_true(forward_is_loop(&head.fields, &id));
    bool keep_alive;
    make_head(&head, &arena, "", 1);
    forward_response(&head, &id, true, &keep_alive);
    want = arena_printf(&arena, "Via: %s", id.via);
    assert_string_equal(print_fields(&head.fields, &arena), want.p);
    arena_clear(&arena);
}

/* A Via that no Connection can hide from the loop test, and what is no loop. %s is our name. */
static void test_loop(void **state)
{
    (void)state;
    static const struct {
        const char *via;
        bool is_loop;
    } cases[] = {
        {"Via: 1.1 %s", true},
        {"Via: 1.0 fred, 1.1 %s (comment), 1.1 x", true},
        {"Via: 1.1 a|via: HTTP/1.1  %s", true},
        {"Via: 1.1 %s(comment)", true},
        {"Via: 1.1 %sx", false},
        {"Via: 1.1 x%s", false},
        {"Via: 1.1 x (%s)", false},
        {"Via: %s", false},
        {"X-Via: 1.1 %s", false},
        {"Via: ", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct arena arena;
        arena_init(&arena, NULL, 0);
        const char *name = strstr(cases[i].via, "%s");
        struct str text = str_from(cases[i].via);
        if (name != NULL)
            text = arena_printf(&arena, "%.*s%.*s%s", (int)(name - cases[i].via), cases[i].via,
                                STR_ARG(id.received), name + 2);
        struct fields fields;
        fields_init(&fields, &arena, NULL, 0);
        put_fields(&fields, text.p);
        assert_int_equal(forward_is_loop(&fields, &id), cases[i].is_loop);
        arena_clear(&arena);
    }
}

static void test_max_forwards(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        enum method_id method;
        bool ok, answer_here;
        const char *out;
    } cases[] = {
        {"Max-Forwards: 0", METHOD_TRACE, true, true, "Max-Forwards: 0"},
        {"Max-Forwards: 000", METHOD_OPTIONS, true, true, "Max-Forwards: 000"},
        {"Max-Forwards: 1", METHOD_OPTIONS, true, false, "Max-Forwards: 0"},
        {"max-forwards: 10", METHOD_TRACE, true, false, "max-forwards: 9"},
        {"Max-Forwards: 0", METHOD_GET, true, false, "Max-Forwards: 0"},
        {"Max-Forwards: x", METHOD_GET, true, false, "Max-Forwards: x"},
        {"Max-Forwards: 99999999999999999999999", METHOD_TRACE, true, false,
         "Max-Forwards: 18446744073709551614"},
        {"Max-Forwards: ", METHOD_TRACE, false, false, NULL},
        {"Max-Forwards: -1", METHOD_TRACE, false, false, NULL},
        {"Max-Forwards: 5, 5", METHOD_TRACE, false, false, NULL},
        {"Max-Forwards: 5|Max-Forwards: 5", METHOD_OPTIONS, false, false, NULL},
        {"X: 1", METHOD_TRACE, true, false, "X: 1"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct arena arena;
        arena_init(&arena, NULL, 0);
        struct fields fields;
        fields_init(&fields, &arena, NULL, 0);
        put_fields(&fields, cases[i].in);
        bool answer_here = true;
        const char *why = NULL;
        assert_int_equal(forward_max_forwards(&fields, cases[i].method, &answer_here, &why),
                         cases[i].ok);
        assert_int_equal(why == NULL, cases[i].ok);
        if (cases[i].ok) {
            assert_int_equal(answer_here, cases[i].answer_here);
            assert_string_equal(print_fields(&fields, &arena), cases[i].out);
        }
        arena_clear(&arena);
    }
}

/* Thousands of options against thousands of fields: what is named goes, all else stays, and it
 * takes no time. */
static void test_many_options(void **state)
{
    (void)state;
    enum { N = 5000 };
    struct arena arena;
    arena_init(&arena, NULL, 0);
    struct h1_head head;
    make_head(&head, &arena, "", 1);
    char *list = arena_alloc(&arena, N * 8);
    size_t len = 0;
    for (unsigned i = 0; i < N; i++) {
        fields_put(&head.fields, arena_printf(&arena, "X%u", i), STR("1"));
        if (i % 2 == 0)
            len += (size_t)snprintf(list + len, 8, "x%u,", i);
    }
    fields_put(&head.fields, STR("Connection"), str_make(list, len));
    struct forward_info info;
    forward_request(&head, &id, false, &info);
    unsigned left = 0;
    for (unsigned i = 0; i < head.fields.n; i++)
        left += head.fields.v[i].name.p != NULL;
    assert_int_equal(left, N / 2);
    arena_clear(&arena);
}

/* A usual request takes nothing from the heap. */
static void test_no_allocation(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, NULL, 0);
    struct field room[16];
    struct h1_head head = {.minor = 1};
    fields_init(&head.fields, &arena, room, 16);
    put_fields(&head.fields, "Host: a|User-Agent: x|Accept: */*|Connection: keep-alive");
    struct forward_info info;
    forward_request(&head, &id, true, &info);
    assert_int_equal(arena.total, 0);
    arena_clear(&arena);
}

static void test_pass(void **state)
{
    (void)state;
    struct forward_id other, none = {.pass = ""};
    forward_id_init(&other);
    assert_int_equal(strlen(id.pass), strlen("tlsfan ") + 32);
    assert_string_not_equal(id.pass, other.pass);
    assert_true(forward_is_pass(&id, str_from(id.pass)));
    assert_false(forward_is_pass(&id, str_from(other.pass)));
    assert_false(forward_is_pass(&id, str_make(id.pass, strlen(id.pass) - 1)));
    assert_false(forward_is_pass(&id, STR("")));
    assert_false(forward_is_pass(&none, STR("")));
}

int main(void)
{
    forward_id_init(&id);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request),       cmocka_unit_test(test_response),
        cmocka_unit_test(test_via),           cmocka_unit_test(test_loop),
        cmocka_unit_test(test_max_forwards),  cmocka_unit_test(test_many_options),
        cmocka_unit_test(test_no_allocation), cmocka_unit_test(test_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
