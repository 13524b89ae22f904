/* SPDX-License-Identifier: Apache-2.0 */
/* Heads: what is taken, what is refused and why, and where a head ends, fed whole and byte by byte.
 */
#include "http/chars.h"
#include "http/h1_parse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define EACH(i, table)                    \
    size_t i = 0;                         \
    i < sizeof(table) / sizeof(table[0]); \
    i++

/* A copy in memory of just that size, so that a sanitizer sees a read behind its end. */
static char *exact(struct str s)
{
    char *copy = xmalloc(s.len > 0 ? s.len : 1);
    memcpy(copy, s.p, s.len);
    return copy;
}

static bool parse(struct h1_head *head, struct arena *arena, struct str text, bool lenient,
                  struct h1_error *e)
{
    *head = (struct h1_head){.status = 0};
    fields_init(&head->fields, arena, NULL, 0);
    if (text.len > 5 && memcmp(text.p, "HTTP/", 5) == 0)
        return h1_parse_response(head, text.p, text.len, lenient, e);
    return h1_parse_request(head, text.p, text.len, lenient, e);
}

static const struct refused {
    struct str text;
    enum fault_code code;
    const char *reason; /* a part of it */
} refused[] = {
    {STR_INIT(""), FAULT_BAD_REQUEST, "line end"},
    {STR_INIT("\r\n"), FAULT_BAD_REQUEST, "begin with a method"},
    {STR_INIT("GET\r\n\r\n"), FAULT_BAD_REQUEST, "begin with a method"},
    {STR_INIT("GET /\r\n\r\n"), FAULT_BAD_REQUEST, "without HTTP version"},
    {STR_INIT("GET  / HTTP/1.1\r\n\r\n"), FAULT_BAD_REQUEST, "more than one space"},
    {STR_INIT("GET /  HTTP/1.1\r\n\r\n"), FAULT_BAD_REQUEST, "no HTTP version"},
    {STR_INIT("GET / a HTTP/1.1\r\n\r\n"), FAULT_BAD_REQUEST, "no HTTP version"},
    {STR_INIT("GET\t/ HTTP/1.1\r\n\r\n"), FAULT_BAD_REQUEST, "begin with a method"},
    {STR_INIT("GET /\t HTTP/1.1\r\n\r\n"), FAULT_BAD_REQUEST, "without HTTP version"},
    {STR_INIT(" GET / HTTP/1.1\r\n\r\n"), FAULT_BAD_REQUEST, "begin with a method"},
    {STR_INIT("G(T / HTTP/1.1\r\n\r\n"), FAULT_BAD_REQUEST, "begin with a method"},
    {STR_INIT("GET / HTTP/1.1 \r\n\r\n"), FAULT_BAD_REQUEST, "behind the HTTP version"},
    {STR_INIT("GET / HTTP/1.10\r\n\r\n"), FAULT_BAD_REQUEST, "behind the HTTP version"},
    {STR_INIT("GET / http/1.1\r\n\r\n"), FAULT_BAD_REQUEST, "no HTTP version"},
    {STR_INIT("GET / HTTP/11\r\n\r\n"), FAULT_BAD_REQUEST, "no HTTP version"},
    {STR_INIT("GET / HTTP/1,1\r\n\r\n"), FAULT_BAD_REQUEST, "no HTTP version"},
    {STR_INIT("GET / HTTP/2.0\r\n\r\n"), FAULT_VERSION, "other than 1.0"},
    {STR_INIT("GET / HTTP/0.9\r\n\r\n"), FAULT_VERSION, "other than 1.0"},
    {STR_INIT("GET /\0 HTTP/1.1\r\n\r\n"), FAULT_BAD_REQUEST, "NUL"},
    {STR_INIT("GET /\x7f HTTP/1.1\r\n\r\n"), FAULT_BAD_REQUEST, "control"},
    {STR_INIT("GET /\rx HTTP/1.1\r\n\r\n"), FAULT_BAD_REQUEST, "bare CR"},
    {STR_INIT("GET / HTTP/1.1\n\r\n"), FAULT_BAD_REQUEST, "bare LF"},
    {STR_INIT("GET / HTTP/1.1\r\nA: b\n\r\n"), FAULT_BAD_REQUEST, "bare LF"},
    {STR_INIT("GET / HTTP/1.1\r\nA: b\r\n\n"), FAULT_BAD_REQUEST, "bare LF"},
    {STR_INIT("GET / HTTP/1.1\r\nA: b\rc\r\n\r\n"), FAULT_BAD_REQUEST, "bare CR"},
    {STR_INIT("GET / HTTP/1.1\r\n\rA: b\r\n\r\n"), FAULT_BAD_REQUEST, "bare CR"},
    {STR_INIT("GET / HTTP/1.1\r\r\nA: b\r\n\r\n"), FAULT_BAD_REQUEST, "bare CR"},
    {STR_INIT("GET / HTTP/1.1\r\nA: b\0c\r\n\r\n"), FAULT_BAD_REQUEST, "NUL"},
    {STR_INIT("GET / HTTP/1.1\r\nA: 0123456\x01"
              "9\r\n\r\n"),
     FAULT_BAD_REQUEST, "control"},
    {STR_INIT("GET / HTTP/1.1\r\nA: 01234567\x7f\r\n\r\n"), FAULT_BAD_REQUEST, "control"},
    {STR_INIT("GET / HTTP/1.1\r\nA: \x1f\r\n\r\n"), FAULT_BAD_REQUEST, "control"},
    {STR_INIT("GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n"), FAULT_BAD_REQUEST, "folded"},
    {STR_INIT("GET / HTTP/1.1\r\nA: b\r\n\tc\r\n\r\n"), FAULT_BAD_REQUEST, "folded"},
    {STR_INIT("GET / HTTP/1.1\r\n A: b\r\n\r\n"), FAULT_BAD_REQUEST, "folded"},
    {STR_INIT("GET / HTTP/1.1\r\nA : b\r\n\r\n"), FAULT_BAD_REQUEST, "before the colon"},
    {STR_INIT("GET / HTTP/1.1\r\nA\t: b\r\n\r\n"), FAULT_BAD_REQUEST, "before the colon"},
    {STR_INIT("GET / HTTP/1.1\r\n: b\r\n\r\n"), FAULT_BAD_REQUEST, "empty field name"},
    {STR_INIT("GET / HTTP/1.1\r\nA\r\n\r\n"), FAULT_BAD_REQUEST, "without a colon"},
    {STR_INIT("GET / HTTP/1.1\r\nA(: b\r\n\r\n"), FAULT_BAD_REQUEST, "in a field name"},
    {STR_INIT("GET / HTTP/1.1\r\n\xc3\xa4: b\r\n\r\n"), FAULT_BAD_REQUEST, "in a field name"},
    {STR_INIT("GET / HTTP/1.1\r\nA\0: b\r\n\r\n"), FAULT_BAD_REQUEST, "NUL"},
    {STR_INIT("GET / HTTP/1.1\r\nA: b\r\n"), FAULT_BAD_REQUEST, "no empty line"},
    {STR_INIT("GET / HTTP/1.1\r\n\r\nA: b\r\n"), FAULT_BAD_REQUEST, "behind the empty line"},
    {STR_INIT("GET / HTTP/1.1\r\n\r\nA"), FAULT_BAD_REQUEST, "line end"},
    {STR_INIT("HTTP/1.1\r\n\r\n"), FAULT_UP_PROTOCOL, "three digits"},
    {STR_INIT("HTTP/1.1 \r\n\r\n"), FAULT_UP_PROTOCOL, "three digits"},
    {STR_INIT("HTTP/1.1 20\r\n\r\n"), FAULT_UP_PROTOCOL, "three digits"},
    {STR_INIT("HTTP/1.1 2000 OK\r\n\r\n"), FAULT_UP_PROTOCOL, "status line"},
    {STR_INIT("HTTP/1.1 099 OK\r\n\r\n"), FAULT_UP_PROTOCOL, "three digits"},
    {STR_INIT("HTTP/1.1 2x0 OK\r\n\r\n"), FAULT_UP_PROTOCOL, "three digits"},
    {STR_INIT("HTTP/1.1  200 OK\r\n\r\n"), FAULT_UP_PROTOCOL, "three digits"},
    {STR_INIT("HTTP/2.0 200 OK\r\n\r\n"), FAULT_UP_PROTOCOL, "other than 1.0"},
    {STR_INIT("HTTP/1.1 200 O\x01K\r\n\r\n"), FAULT_UP_PROTOCOL, "control"},
    {STR_INIT("HTTP/1.1 200 O\rK\r\n\r\n"), FAULT_UP_PROTOCOL, "bare CR"},
    {STR_INIT("HTTP/1.1 200 OK\n\n"), FAULT_UP_PROTOCOL, "bare LF"},
    {STR_INIT("HTTP/1.1 200 OK\r\nA : b\r\n\r\n"), FAULT_UP_PROTOCOL, "before the colon"},
};

static void test_refused(void **state)
{
    (void)state;
    for (EACH(i, refused)) {
        struct h1_error e = {.code = FAULT_NONE};
        struct h1_head head;
        struct arena arena;
        char *copy = exact(refused[i].text);
        arena_init(&arena, NULL, 0);
        if (parse(&head, &arena, str_make(copy, refused[i].text.len), false, &e))
            fail_msg("%zu is taken", i);
        if (e.code != refused[i].code || strstr(e.reason, refused[i].reason) == NULL)
            fail_msg("%zu: %d, %s", i, (int)e.code, e.reason);
        assert_true(e.pos <= refused[i].text.len);
        arena_clear(&arena);
        free(copy);
    }
}

/* Each byte at each place of a value, alone and behind one that is let through. */
static void test_bytes_of_a_value(void **state)
{
    static const char before[] = {'x', '\t', '\xff'};
    const size_t first = strlen("GET / HTTP/1.1\r\nA: ");
    (void)state;
    for (unsigned i = 0; i < 3 * 256 * 20; i++) {
        char text[] = "GET / HTTP/1.1\r\nA: xxxxxxxxxxxxxxxxxxxx\r\n\r\n";
        char *at = text + first + i % 20;
        struct h1_error e;
        struct h1_head head;
        struct arena arena;
        at[0] = (char)(i / 20 % 256);
        if (i % 20 > 0)
            at[-1] = before[i / 20 / 256];
        arena_init(&arena, NULL, 0);
        bool ok = parse(&head, &arena, str_make(text, sizeof(text) - 1), false, &e);
        if (ok != chars_is(at[0], CHAR_VALUE))
            fail_msg("byte %d at %u: %d", at[0], i % 20, ok);
        assert_true(ok || e.pos == (size_t)(at - text));
        arena_clear(&arena);
    }
}

static void test_request(void **state)
{
    static const char text[] =
        "PROPFIND http://h/a?b%20c HTTP/1.1\r\nHost: h\r\nACCEPT:*/*\r\n"
        "X-Long: \t caf\xe9 \"x\\\"\tand so on  \t\r\nEmpty:\r\nEmpty2:  \r\n"
        "!#$%&'*+-.^_`|~: odd\r\n\r\n";
    struct h1_error e;
    struct h1_head head;
    struct arena arena;
    (void)state;
    arena_init(&arena, NULL, 0);
    assert_true(parse(&head, &arena, STR(text), false, &e));
    assert_true(str_eq(head.method.name, STR("PROPFIND")));
    assert_true(head.method.is_safe);
    assert_true(str_eq(head.target, STR("http://h/a?b%20c")));
    assert_int_equal(head.minor, 1);
    assert_int_equal(head.fields.n, 6);
    const struct field *v = head.fields.v;
    assert_int_equal(v[0].id, FIELD_HOST);
    assert_true(str_eq(v[1].name, STR("ACCEPT")));
    assert_true(str_eq(v[1].value, STR("*/*")));
    assert_true(str_eq(v[2].value, STR("caf\xe9 \"x\\\"\tand so on")));
    assert_int_equal(v[3].value.len, 0);
    assert_int_equal(v[4].value.len, 0);
    assert_true(str_eq(v[5].name, STR("!#$%&'*+-.^_`|~")));
    arena_clear(&arena);
}

static void test_versions(void **state)
{
    static const struct {
        struct str text;
        unsigned minor;
    } cases[] = {
        {STR_INIT("GET / HTTP/1.0\r\n\r\n"), 0},  {STR_INIT("GET / HTTP/1.1\r\n\r\n"), 1},
        {STR_INIT("GET / HTTP/1.9\r\n\r\n"), 1},  {STR_INIT("HTTP/1.0 200 OK\r\n\r\n"), 0},
        {STR_INIT("HTTP/1.7 200 OK\r\n\r\n"), 1},
    };
    (void)state;
    for (EACH(i, cases)) {
        struct h1_error e;
        struct h1_head head;
        struct arena arena;
        arena_init(&arena, NULL, 0);
        assert_true(parse(&head, &arena, cases[i].text, false, &e));
        assert_int_equal(head.minor, cases[i].minor);
        arena_clear(&arena);
    }
}

static void test_response(void **state)
{
    static const struct {
        struct str text;
        unsigned status;
        struct str reason;
    } cases[] = {
        {STR_INIT("HTTP/1.1 200 OK\r\n\r\n"), 200, STR_INIT("OK")},
        {STR_INIT("HTTP/1.1 200 \r\n\r\n"), 200, STR_INIT("")},
        {STR_INIT("HTTP/1.1 200\r\n\r\n"), 200, STR_INIT("")},
        {STR_INIT("HTTP/1.1 999 Odd \t\xfc one\r\n\r\n"), 999, STR_INIT("Odd \t\xfc one")},
        {STR_INIT("HTTP/1.1 100 Continue\r\nA: b\r\n\r\n"), 100, STR_INIT("Continue")},
    };
    (void)state;
    for (EACH(i, cases)) {
        struct h1_error e;
        struct h1_head head;
        struct arena arena;
        arena_init(&arena, NULL, 0);
        assert_true(parse(&head, &arena, cases[i].text, false, &e));
        assert_int_equal(head.status, cases[i].status);
        assert_true(str_eq(head.reason, cases[i].reason));
        arena_clear(&arena);
    }
}

static void test_lenient(void **state)
{
    struct h1_error e;
    struct h1_head head;
    struct arena arena;
    (void)state;
    arena_init(&arena, NULL, 0);
    assert_true(parse(&head, &arena, STR("GET / HTTP/1.1\nA: b\r\nC: d\n\n"), true, &e));
    assert_int_equal(head.fields.n, 2);
    assert_true(str_eq(head.fields.v[1].value, STR("d")));
    assert_false(parse(&head, &arena, STR("GET / HTTP/1.1\nA: b\rc\n\n"), true, &e));
    assert_false(parse(&head, &arena, STR("GET / HTTP/1.1\nA: b\n c\n\n"), true, &e));
    assert_false(parse(&head, &arena, STR("GET / HTTP/1.1\nA : b\n\n"), true, &e));
    arena_clear(&arena);
}

/* Heads of old origins: FIELDS ("name=value;…") is what a lenient reader sees, NULL when it refuses
 * as well; IS_NAMED: the strict one says that the lenient goes on behind its fault. */
static const struct old_head {
    struct str text;
    const char *fields;
    bool is_named;
} old_heads[] = {
    {STR_INIT("HTTP/1.1 200 OK\nA: b\n\n"), "A=b;", true},
    {STR_INIT("HTTP/1.1 200\n\n"), "", true},
    {STR_INIT("HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n"), "A=b;C=d;", true},
    {STR_INIT("HTTP/1.1 200 OK\nA: b\r\n\r\n"), "A=b;", true},
    {STR_INIT("HTTP/1.1 200 OK\r\nA: b\r\n\n"), "A=b;", true},
    {STR_INIT("HTTP/1.1 200 OK\r\nA \t: b\r\n\r\n"), "A=b;", true},
    {STR_INIT("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n"), "A=b c;", true},
    {STR_INIT("HTTP/1.1 200 OK\r\nA: b \t\r\n \t c  \r\n\td\r\nE:f\r\n\r\n"), "A=b c d;E=f;", true},
    {STR_INIT("HTTP/1.1 200 OK\nA:\n b\nC:\n\td\n  e\n\n"), "A=b;C=d e;", true},
    {STR_INIT("HTTP/1.1 200 OK\r\nA: b\r\n X: y\r\n\r\n"), "A=b X: y;", true},
    {STR_INIT("HTTP/1.1 200 OK\r\nA : b\r\n :c\r\n\r\n"), "A=b :c;", true},
    {STR_INIT("HTTP/1.1 200 OK\r\nA: b\r\n \r\n\r\n"), "A=b;", true},
    {STR_INIT("HTTP/1.1 200 OK\r\nA:\r\n \r\n\t\n\r\n"), "A=;", true},
    {STR_INIT("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\t\r\n d\nE: f\r\n\r\n"), "A=b c d;E=f;", true},
    /* refused whoever reads */
    {STR_INIT("HTTP/1.1 200 OK\r\n A: b\r\n\r\n"), NULL, false},
    {STR_INIT("HTTP/1.1 200 OK\r\n\tb\r\nA: b\r\n\r\n"), NULL, false},
    {STR_INIT("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n 5\r\n\r\n"), NULL, false},
    {STR_INIT("HTTP/1.1 200 OK\r\ncontent-length :\r\n 5\r\n\r\n"), NULL, true},
    {STR_INIT("HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n chunked\r\n\r\n"), NULL, false},
    {STR_INIT("HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n"), NULL, false},
    {STR_INIT("HTTP/1.1 200 OK\r\nA: b\r\n c\rd\r\n\r\n"), NULL, false},
    {STR_INIT("HTTP/1.1 200 OK\r\nA: b\r\r\n\r\n"), NULL, false},
    {STR_INIT("HTTP/1.1 200 OK\r\r\nA: b\r\n\r\n"), NULL, false},
    {STR_INIT("HTTP/1.1 200 OK\nA: b\rc\n\n"), NULL, true},
    {STR_INIT("HTTP/1.1 200 OK\r\nA: b\r\n c\0\r\n\r\n"), NULL, false},
    {STR_INIT("HTTP/1.1 200 OK\r\nA b: c\r\n\r\n"), NULL, false},
    {STR_INIT("HTTP/1.1 200 OK\r\nA \r\n: c\r\n\r\n"), NULL, false},
    {STR_INIT("HTTP/1.1 200 OK\r\n : c\r\n\r\n"), NULL, false},
    {STR_INIT("HTTP/1.1 200 OK\r\nA\n\n"), NULL, false},
    {STR_INIT("HTTP/1.1 20\n\n"), NULL, false},
    {STR_INIT("HTTP/1.1 200 O\x01K\n\n"), NULL, false},
};

static void check_fields(const struct fields *f, const char *expected)
{
    char text[256] = "";
    size_t n = 0;
    for (unsigned i = 0; i < f->n; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%.*s=%.*s;", STR_ARG(f->v[i].name),
                              STR_ARG(f->v[i].value));
    assert_string_equal(text, expected);
}

/* Reads what h1_head_end() finds of a head that comes byte by byte. */
static bool parse_old(const struct old_head *c, bool lenient, struct h1_head *head,
                      struct arena *arena, struct h1_error *e)
{
    size_t scanned = 0, end = 0;
    char *copy = exact(c->text);
    for (size_t n = 0; n <= c->text.len && end == 0; n++)
        end = h1_head_end(copy, n, &scanned, lenient);
    assert_true(end > 0 && (!lenient || end == c->text.len));
    char *whole = exact(str_make(copy, end));
    bool ok = parse(head, arena, str_make(whole, end), lenient, e);
    if (ok)
        check_fields(&head->fields, c->fields);
    free(copy);
    free(whole);
    return ok;
}

static void test_old_origins(void **state)
{
    (void)state;
    for (EACH(i, old_heads)) {
        const struct old_head *c = &old_heads[i];
        struct h1_error e;
        struct h1_head head;
        struct arena arena;
        arena_init(&arena, NULL, 0);
        if (parse_old(c, false, &head, &arena, &e))
            fail_msg("%zu is taken", i);
        if (e.lenient_takes != c->is_named)
            fail_msg("%zu: %s, lenient %d", i, e.reason, e.lenient_takes);
        bool ok = parse_old(c, true, &head, &arena, &e);
        if (ok != (c->fields != NULL))
            fail_msg("%zu: %s", i, ok ? "is taken" : e.reason);
        assert_true(ok || !e.lenient_takes);
        arena_clear(&arena);
    }
}

/* The memory that folds take is no more than they are long, however many there are. */
static void test_many_folds(void **state)
{
    enum { LINES = 20000 };
    static char text[32 + LINES * 4 + 4];
    static char small[8 * sizeof(text)];
    struct h1_error e;
    struct h1_head head;
    struct arena arena;
    size_t n = (size_t)snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nA: b\r\n");
    (void)state;
    for (unsigned i = 0; i < LINES; i++, n += 4)
        memcpy(text + n, " c\r\n", 4);
    memcpy(text + n, "\r\n", 2);
    arena_init(&arena, small, sizeof(small));
    assert_true(parse(&head, &arena, str_make(text, n + 2), true, &e));
    assert_int_equal(head.fields.n, 1);
    assert_int_equal(head.fields.v[0].value.len, 1 + 2 * LINES);
    assert_true(head.fields.v[0].value.p >= small &&
                head.fields.v[0].value.p < small + sizeof(small));
    arena_clear(&arena);
}

static void test_field_limit(void **state)
{
    struct h1_error e;
    struct h1_head head;
    struct arena arena;
    (void)state;
    arena_init(&arena, NULL, 0);
    for (unsigned n = H1_MAX_FIELDS; n <= H1_MAX_FIELDS + 1; n++) {
        char *text = xmalloc(64 + n * 4);
        size_t len = 0;
        memcpy(text, "GET / HTTP/1.1\r\n", 16);
        len = 16;
        for (unsigned i = 0; i < n; i++, len += 4)
            memcpy(text + len, "a:\r\n", 4);
        memcpy(text + len, "\r\n", 2);
        bool ok = parse(&head, &arena, str_make(text, len + 2), false, &e);
        assert_int_equal(ok, n == H1_MAX_FIELDS);
        assert_true(ok || e.code == FAULT_HEAD_TOO_LARGE);
        free(text);
    }
    arena_clear(&arena);
}

static void test_head_end(void **state)
{
    static const struct {
        struct str text;
        bool lenient;
        size_t end;
    } cases[] = {
        {STR_INIT(""), false, 0},
        {STR_INIT("\r\n"), false, 2},
        {STR_INIT("\n"), true, 1},
        {STR_INIT("\rX"), false, 0},
        {STR_INIT("A\r\n\r\n"), false, 5},
        {STR_INIT("A\r\nB\r\n\r\nC\r\n\r\n"), false, 8},
        {STR_INIT("A\r\nB\r\n\r"), false, 0},
        {STR_INIT("A\r\n\rB\r\n\r\n"), false, 9},
        {STR_INIT("A\nB\r\n\r\n"), false, 2}, /* refused by the parser then */
        {STR_INIT("A\r\n\nB"), false, 4},
        {STR_INIT("A\nB\n\nC"), true, 5},
        {STR_INIT("A\nB\r\n\nC"), true, 6},
        {STR_INIT("A\nB\n\r\nC"), true, 6},
    };
    (void)state;
    for (EACH(i, cases)) {
        size_t scanned = 0;
        char *copy = exact(cases[i].text);
        assert_int_equal(h1_head_end(copy, cases[i].text.len, &scanned, cases[i].lenient),
                         cases[i].end);
        scanned = 0;
        size_t end = 0;
        for (size_t n = 0; n <= cases[i].text.len && end == 0; n++)
            end = h1_head_end(copy, n, &scanned, cases[i].lenient);
        assert_int_equal(end, cases[i].end);
        free(copy);
    }
}

static void test_foreign(void **state)
{
    static const struct {
        struct str text;
        const char *part; /* NULL: may be HTTP/1 */
        bool is_silent;
    } cases[] = {
        {STR_INIT(""), NULL, false},
        {STR_INIT("GET / HTTP/1.1\r\n"), NULL, false},
        {STR_INIT("PRI * HTTP/"), NULL, false},
        {STR_INIT("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "HTTP/2", false},
        {STR_INIT("\x16\x03\x01"), "TLS", true},
        {STR_INIT("\x80\x2e\x01\x03\x01"), "SSL 2", true},
        {STR_INIT("\x05\x01"), "SOCKS", true},
        {STR_INIT("\x04\x01"), "SOCKS", true},
    };
    (void)state;
    for (EACH(i, cases)) {
        bool is_silent = true;
        const char *text = h1_foreign(cases[i].text.p, cases[i].text.len, &is_silent);
        assert_int_equal(text != NULL, cases[i].part != NULL);
        assert_true(text == NULL || strstr(text, cases[i].part) != NULL);
        assert_int_equal(is_silent, cases[i].is_silent);
    }
}

static void test_request_fault(void **state)
{
    (void)state;
    static const struct h1_error bad = {.code = FAULT_BAD_REQUEST, .reason = "an empty field name"};
    static const struct h1_error other = {.code = FAULT_VERSION, .reason = "another version"};
    struct fault f;
    h1_request_fault(&f, &bad);
    assert_int_equal(f.code, FAULT_BAD_REQUEST);
    assert_string_equal(f.text, "the request is not valid HTTP: an empty field name");
    assert_string_equal(f.phrase, "an empty field name");
    h1_request_fault(&f, &other);
    assert_int_equal(f.code, FAULT_VERSION);
    assert_string_equal(f.text, "the request has another version");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_fault), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_request),       cmocka_unit_test(test_versions),
        cmocka_unit_test(test_response),      cmocka_unit_test(test_lenient),
        cmocka_unit_test(test_field_limit),   cmocka_unit_test(test_head_end),
        cmocka_unit_test(test_foreign),       cmocka_unit_test(test_old_origins),
        cmocka_unit_test(test_many_folds),    cmocka_unit_test(test_bytes_of_a_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
