/* SPDX-License-Identifier: Apache-2.0 */
/* The length of a message and the decoder: every case is fed whole and byte by byte. */
#include "http/h1_body.h"

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

/* What is left in a head of the fields that frame: "name=value;…" */
static char left[256];

static void note_left(const struct fields *fields)
{
    size_t n = 0;
    left[0] = '\0';
    for (unsigned i = 0; i < fields->n; i++) {
        struct field f = fields->v[i];
        if (f.name.p != NULL && f.id != FIELD_OTHER)
            n += (size_t)snprintf(left + n, sizeof(left) - n, "%.*s=%.*s;", STR_ARG(f.name),
                                  STR_ARG(f.value));
    }
}

/* Parses HEAD (request or response) and chooses the framing; LENIENT: of an old origin. */
static bool choose_as(struct h1_body *b, const char *text, enum method_id method, bool lenient,
                      struct h1_error *e)
{
    char buf[512];
    struct arena arena;
    struct h1_head head = {.status = 0};
    int n = snprintf(buf, sizeof(buf), "%s\r\n\r\n", text);
    arena_init(&arena, NULL, 0);
    fields_init(&head.fields, &arena, NULL, 0);
    bool is_response = strncmp(text, "HTTP/", 5) == 0, ok;
    if (is_response)
        ok = h1_parse_response(&head, buf, (size_t)n, lenient, e) &&
             h1_body_of_response(b, &head, method, lenient, e);
    else
        ok = h1_parse_request(&head, buf, (size_t)n, false, e) && h1_body_of_request(b, &head, e);
    note_left(&head.fields);
    arena_clear(&arena);
    return ok;
}

static bool choose(struct h1_body *b, const char *text, enum method_id method, struct h1_error *e)
{
    return choose_as(b, text, method, false, e);
}

#define REQ  "POST / HTTP/1.1\r\n"
#define REQ0 "POST / HTTP/1.0\r\n"
#define RES  "HTTP/1.1 200 OK\r\n"
#define RES0 "HTTP/1.0 200 OK\r\n"
#define CL   "Content-Length: "
#define TE   "Transfer-Encoding: "

static const struct framing_case {
    const char *text;
    enum method_id method; /* of the request a response answers */
    int framing;           /* -1: refused */
    uint64_t length;       /* or the fault's code */
} framing_cases[] = {
    {REQ "A: b", 0, H1_FRAMING_NONE, 0},
    {REQ CL "0", 0, H1_FRAMING_LENGTH, 0},
    {REQ CL "5", 0, H1_FRAMING_LENGTH, 5},
    {REQ "content-LENGTH:  0005 ", 0, H1_FRAMING_LENGTH, 5},
    {REQ CL "9223372036854775807", 0, H1_FRAMING_LENGTH, INT64_MAX},
    {REQ CL "9223372036854775808", 0, -1, FAULT_BAD_REQUEST},
    {REQ CL "18446744073709551616", 0, -1, FAULT_BAD_REQUEST},
    {REQ CL "18446744073709551621", 0, -1, FAULT_BAD_REQUEST},
    {REQ CL "", 0, -1, FAULT_BAD_REQUEST},
    {REQ CL "+5", 0, -1, FAULT_BAD_REQUEST},
    {REQ CL "-5", 0, -1, FAULT_BAD_REQUEST},
    {REQ CL "0x5", 0, -1, FAULT_BAD_REQUEST},
    {REQ CL "5 5", 0, -1, FAULT_BAD_REQUEST},
    {REQ CL "5, 5", 0, -1, FAULT_BAD_REQUEST},
    {REQ CL "5,", 0, -1, FAULT_BAD_REQUEST},
    {REQ CL "5;", 0, -1, FAULT_BAD_REQUEST},
    {REQ CL "\"5\"", 0, -1, FAULT_BAD_REQUEST},
    {REQ CL "5.0", 0, -1, FAULT_BAD_REQUEST},
    {REQ CL "5\xa0", 0, -1, FAULT_BAD_REQUEST},
    {REQ CL "5\r\n" CL "5", 0, -1, FAULT_BAD_REQUEST},
    {REQ CL "5\r\nA: b\r\n" CL "6", 0, -1, FAULT_BAD_REQUEST},
    {REQ CL "5\r\n" TE "chunked", 0, -1, FAULT_BAD_REQUEST},
    {REQ TE "chunked\r\n" CL "5", 0, -1, FAULT_BAD_REQUEST},
    {REQ TE "gzip\r\n" CL "5", 0, -1, FAULT_BAD_REQUEST},
    {REQ TE "chunked", 0, H1_FRAMING_CHUNKED, 0},
    {REQ TE "CHUNKED", 0, H1_FRAMING_CHUNKED, 0},
    {REQ TE "chunked, chunked", 0, -1, FAULT_BAD_REQUEST},
    {REQ TE "chunked\r\n" TE "chunked", 0, -1, FAULT_BAD_REQUEST},
    {REQ TE "gzip\r\n" TE "chunked", 0, -1, FAULT_BAD_REQUEST},
    {REQ TE "gzip, chunked", 0, -1, FAULT_NOT_IMPLEMENTED},
    {REQ TE "gzip", 0, -1, FAULT_NOT_IMPLEMENTED},
    {REQ TE "identity", 0, -1, FAULT_NOT_IMPLEMENTED},
    {REQ TE "xchunked", 0, -1, FAULT_NOT_IMPLEMENTED},
    {REQ TE "chunked, gzip", 0, -1, FAULT_BAD_REQUEST},
    {REQ TE "chunked, identity", 0, -1, FAULT_BAD_REQUEST},
    {REQ TE "chunked,", 0, -1, FAULT_NOT_IMPLEMENTED},
    {REQ TE "", 0, -1, FAULT_BAD_REQUEST},
    {REQ TE "chunked;a=b", 0, -1, FAULT_BAD_REQUEST},
    {REQ TE "\"chunked\"", 0, -1, FAULT_BAD_REQUEST},
    {REQ TE "chunked\xa0", 0, -1, FAULT_BAD_REQUEST},
    {REQ TE "chunked foo", 0, -1, FAULT_BAD_REQUEST},
    {REQ0 TE "chunked", 0, -1, FAULT_BAD_REQUEST},
    {REQ0 CL "5", 0, H1_FRAMING_LENGTH, 5},
    {REQ0 "A: b", 0, H1_FRAMING_NONE, 0},
    {RES "A: b", METHOD_GET, H1_FRAMING_CLOSE, 0},
    {RES0 "A: b", METHOD_GET, H1_FRAMING_CLOSE, 0},
    {RES CL "7", METHOD_GET, H1_FRAMING_LENGTH, 7},
    {RES TE "chunked", METHOD_GET, H1_FRAMING_CHUNKED, 0},
    {RES CL "7", METHOD_HEAD, H1_FRAMING_NONE, 7},
    {RES TE "chunked", METHOD_HEAD, H1_FRAMING_NONE, 0},
    {RES "A: b", METHOD_HEAD, H1_FRAMING_NONE, 0},
    {RES CL "7", METHOD_CONNECT, H1_FRAMING_NONE, 0},
    {"HTTP/1.1 407 No\r\n" CL "7", METHOD_CONNECT, H1_FRAMING_LENGTH, 7},
    {"HTTP/1.1 204 No\r\n" CL "7", METHOD_GET, H1_FRAMING_NONE, 0},
    {"HTTP/1.1 204 No\r\n" TE "chunked", METHOD_GET, H1_FRAMING_NONE, 0},
    {"HTTP/1.1 100 Go\r\n" CL "7", METHOD_GET, H1_FRAMING_NONE, 0},
    {"HTTP/1.1 101 Go\r\nUpgrade: x", METHOD_GET, H1_FRAMING_NONE, 0},
    {"HTTP/1.1 304 No\r\n" CL "7", METHOD_GET, H1_FRAMING_NONE, 7},
    {"HTTP/1.1 205 No\r\n" CL "0", METHOD_GET, H1_FRAMING_LENGTH, 0},
    {RES CL "7\r\n" CL "7", METHOD_GET, -1, FAULT_UP_PROTOCOL},
    {RES CL "7\r\n" TE "chunked", METHOD_GET, -1, FAULT_UP_PROTOCOL},
    {RES CL "x", METHOD_HEAD, -1, FAULT_UP_PROTOCOL},
    {RES TE "gzip, chunked", METHOD_GET, -1, FAULT_UP_PROTOCOL},
    {RES TE "gzip", METHOD_GET, -1, FAULT_UP_PROTOCOL},
    {RES0 TE "chunked", METHOD_GET, -1, FAULT_UP_PROTOCOL},
};

static void test_framing(void **state)
{
    (void)state;
    for (EACH(i, framing_cases)) {
        const struct framing_case *c = &framing_cases[i];
        struct h1_body b;
        struct h1_error e = {.code = FAULT_NONE};
        bool ok = choose(&b, c->text, c->method, &e);
        if (ok != (c->framing >= 0))
            fail_msg("%s: %s", c->text, ok ? "taken" : e.reason);
        if (ok && ((int)b.framing != c->framing || b.length != c->length))
            fail_msg("%s: %d %llu", c->text, (int)b.framing, (unsigned long long)b.length);
        if (!ok && e.code != (enum fault_code)c->length)
            fail_msg("%s: %d %s", c->text, (int)e.code, e.reason);
        if (ok && b.framing == H1_FRAMING_NONE)
            assert_true(h1_body_is_done(&b) && h1_body_at_close(&b));
    }
}

/* What old origins send: strict and lenient. */
static const struct old_case {
    const char *text;
    enum method_id method;
    int framing; /* -1: refused by the lenient as well */
    uint64_t length;
    const char *left; /* of the fields that frame, when lenient */
} old_cases[] = {
    {RES CL "5\r\n" CL "5", METHOD_GET, H1_FRAMING_LENGTH, 5, "Content-Length=5;"},
    {RES CL "5\r\n" CL "5\r\ncontent-length: 5", METHOD_HEAD, H1_FRAMING_NONE, 5,
     "Content-Length=5;"},
    {RES CL "5, 5", METHOD_GET, H1_FRAMING_LENGTH, 5, "Content-Length=5;"},
    {RES CL "5 \t,5,5", METHOD_HEAD, H1_FRAMING_NONE, 5, "Content-Length=5;"},
    {RES CL "5, 5\r\n" CL "5", METHOD_GET, H1_FRAMING_LENGTH, 5, "Content-Length=5;"},
    {"HTTP/1.1 304 No\r\n" CL "5, 5", METHOD_GET, H1_FRAMING_NONE, 5, "Content-Length=5;"},
    {RES "content-LENGTH : 5", METHOD_GET, H1_FRAMING_LENGTH, 5, "content-LENGTH=5;"},
    {RES "Transfer-Encoding\t : chunked", METHOD_GET, H1_FRAMING_CHUNKED, 0,
     "Transfer-Encoding=chunked;"},
    {RES TE "identity", METHOD_GET, H1_FRAMING_CLOSE, 0, ""},
    {RES0 TE "Identity", METHOD_GET, H1_FRAMING_CLOSE, 0, ""},
    {RES TE "identity\r\n" CL "5", METHOD_GET, H1_FRAMING_LENGTH, 5, "Content-Length=5;"},
    {RES CL "5,5\r\n" TE " IDENTITY ", METHOD_HEAD, H1_FRAMING_NONE, 5, "Content-Length=5;"},
    {RES CL "5\r\n" CL "6", METHOD_GET, -1, 0, NULL},
    {RES CL "5\r\n" CL "05", METHOD_GET, -1, 0, NULL},
    {RES CL "5, 6", METHOD_GET, -1, 0, NULL},
    {RES CL "5,", METHOD_GET, -1, 0, NULL},
    {RES CL ",5", METHOD_GET, -1, 0, NULL},
    {RES CL "5,,5", METHOD_GET, -1, 0, NULL},
    {RES CL "5 5", METHOD_GET, -1, 0, NULL},
    {RES CL "5;5", METHOD_GET, -1, 0, NULL},
    {RES CL "+5, +5", METHOD_GET, -1, 0, NULL},
    {RES CL ",", METHOD_GET, -1, 0, NULL},
    {RES CL "", METHOD_GET, -1, 0, NULL},
    {RES CL "\r\n" CL "", METHOD_GET, -1, 0, NULL},
    {RES CL "\r\n" CL "5", METHOD_GET, -1, 0, NULL},
    {RES CL "9223372036854775808, 9223372036854775808", METHOD_GET, -1, 0, NULL},
    {RES CL "5\r\n" TE "chunked", METHOD_GET, -1, 0, NULL},
    {RES CL "5\r\n" TE "chunked", METHOD_HEAD, -1, 0, NULL},
    {RES CL "5\r\nTransfer-Encoding : chunked", METHOD_GET, -1, 0, NULL},
    {RES "Content-Length : 5\r\n" TE "chunked", METHOD_GET, -1, 0, NULL},
    {RES CL "5\r\n" CL "6\r\n" TE "identity", METHOD_GET, -1, 0, NULL},
    {RES TE "identity, chunked", METHOD_GET, -1, 0, NULL},
    {RES TE "chunked, identity", METHOD_GET, -1, 0, NULL},
    {RES TE "identity, identity", METHOD_GET, -1, 0, NULL},
    {RES TE "identity\r\n" TE "chunked", METHOD_GET, -1, 0, NULL},
    {RES TE "chunked\r\n" TE "identity", METHOD_GET, -1, 0, NULL},
    {RES TE "identity\r\n" TE "identity", METHOD_GET, -1, 0, NULL},
    {RES TE "identity;q=1", METHOD_GET, -1, 0, NULL},
    {RES TE "\"identity\"", METHOD_GET, -1, 0, NULL},
    {RES TE "gzip\r\n" CL "5", METHOD_GET, -1, 0, NULL},
    {RES0 TE "chunked", METHOD_GET, -1, 0, NULL},
    {RES CL "5\r\n 5", METHOD_GET, -1, 0, NULL},
    {RES CL "\r\n 5", METHOD_GET, -1, 0, NULL},
    {RES "Content-Length : \r\n\t5", METHOD_GET, -1, 0, NULL},
    {RES TE "\r\n chunked", METHOD_GET, -1, 0, NULL},
};

/* The strict reader refuses all, and says of those that the lenient takes that it would. */
static void test_old_origins(void **state)
{
    (void)state;
    for (EACH(i, old_cases)) {
        const struct old_case *c = &old_cases[i];
        struct h1_body b;
        struct h1_error e = {.code = FAULT_NONE};
        if (choose(&b, c->text, c->method, &e) || e.code != FAULT_UP_PROTOCOL)
            fail_msg("%s: taken", c->text);
        /* The blank before a colon is met before what it leads to. */
        bool is_named = c->framing >= 0 || strstr(e.reason, "before the colon") != NULL;
        if (e.lenient_takes != is_named)
            fail_msg("%s: %s, lenient %d", c->text, e.reason, e.lenient_takes);
        bool ok = choose_as(&b, c->text, c->method, true, &e);
        if (ok != (c->framing >= 0))
            fail_msg("%s: %s", c->text, ok ? "taken" : e.reason);
        if (!ok)
            assert_false(e.lenient_takes);
        if (ok && ((int)b.framing != c->framing || b.length != c->length))
            fail_msg("%s: %d %llu", c->text, (int)b.framing, (unsigned long long)b.length);
        if (ok)
            assert_string_equal(left, c->left);
    }
}

enum { SHORT = -2, BAD = -1 };

static const struct chunk_case {
    struct str wire;
    const char *data;
    int end;              /* bytes consumed when done, or SHORT, or BAD */
    const char *trailers; /* "name=value;…" */
} chunk_cases[] = {
    {STR_INIT("0\r\n\r\n"), "", 5, ""},
    {STR_INIT("0\r\n\r\nGET"), "", 5, ""},
    {STR_INIT("000\r\n\r\n"), "", 7, ""},
    {STR_INIT("5\r\nhello\r\n0\r\n\r\n"), "hello", 15, ""},
    {STR_INIT("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nX"), "hello world", 26, ""},
    {STR_INIT("00000005\r\nhello\r\n0\r\n\r\n"), "hello", 22, ""},
    {STR_INIT("A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n"), "01234567890123456789", 35, ""},
    {STR_INIT("2\r\n\r\n\r\n0\r\n\r\n"), "\r\n", 12, ""},
    {STR_INIT("5;a=b\r\nhello\r\n0;x\r\n\r\n"), "hello", 21, ""},
    {STR_INIT("5 \t ;a=\"\\\";\x80\"\r\nhello\r\n0 ;a\r\n\r\n"), "hello", 30, ""},
    {STR_INIT("1;a;b=c ; \td = \"\" ;e= \"\\\\\"\r\nx\r\n0\r\n\r\n"), "x", 36, ""},
    {STR_INIT("1;!#$%&'*+-.^_`|~09aZ=|\r\nx\r\n0\r\n\r\n"), "x", 33, ""},
    {STR_INIT("0000000000000001\r\nx\r\n0\r\n\r\n"), "x", 26, ""},
    {STR_INIT("0\r\nA: b\r\nC: d\r\n\r\nX"), "", 17, "A=b;C=d;"},
    {STR_INIT("1\r\nx\r\n0\r\nX-Sum: 1 \r\nContent-Length: 5\r\nhost: x\r\nSet-Cookie: a\r\n\r\n"),
     "x", 65, "X-Sum=1;"},
    /* cut short */
    {STR_INIT(""), "", SHORT, NULL},
    {STR_INIT("5"), "", SHORT, NULL},
    {STR_INIT("5\r"), "", SHORT, NULL},
    {STR_INIT("5\r\nhel"), "hel", SHORT, NULL},
    {STR_INIT("5\r\nhello"), "hello", SHORT, NULL},
    {STR_INIT("5\r\nhello\r"), "hello", SHORT, NULL},
    {STR_INIT("0\r\n"), "", SHORT, NULL},
    {STR_INIT("0\r\n\r"), "", SHORT, NULL},
    {STR_INIT("0\r\nA: b\r\n"), "", SHORT, NULL},
    {STR_INIT("0\r\nA: b\r\n\r"), "", SHORT, NULL},
    {STR_INIT("7fffffffffffffff\r\nabc"), "abc", SHORT, NULL},
    {STR_INIT("8000000000000000\r\nabc"), "", BAD, NULL},
    /* refused */
    {STR_INIT("\r\n"), "", BAD, NULL},
    {STR_INIT("g\r\n"), "", BAD, NULL},
    {STR_INIT(";a\r\n"), "", BAD, NULL},
    {STR_INIT(" 5\r\n"), "", BAD, NULL},
    {STR_INIT("+5\r\n"), "", BAD, NULL},
    {STR_INIT("-5\r\n"), "", BAD, NULL},
    {STR_INIT("0x5\r\n"), "", BAD, NULL},
    {STR_INIT("5 \r\n"), "", BAD, NULL},
    {STR_INIT("5 5\r\n"), "", BAD, NULL},
    {STR_INIT("5_\r\n"), "", BAD, NULL},
    {STR_INIT("5,\r\n"), "", BAD, NULL},
    {STR_INIT("5\0\r\n"), "", BAD, NULL},
    {STR_INIT("00000000000000005\r\n"), "", BAD, NULL},
    {STR_INIT("10000000000000000\r\n"), "", BAD, NULL},
    {STR_INIT("5\nhello\n0\n\n"), "", BAD, NULL},
    {STR_INIT("5\r\nhello\n0\r\n\r\n"), "hello", BAD, NULL},
    {STR_INIT("5\r\nhelloX\r\n"), "hello", BAD, NULL},
    {STR_INIT("5\r\nhello0\r\n\r\n"), "hello", BAD, NULL},
    {STR_INIT("5\r\nhello\rX"), "hello", BAD, NULL},
    {STR_INIT("5\rhello"), "", BAD, NULL},
    {STR_INIT("5\r\rhello"), "", BAD, NULL},
    {STR_INIT("5;a\nhello"), "", BAD, NULL},
    {STR_INIT("5;a\rb\r\nhello"), "", BAD, NULL},
    {STR_INIT("5;a\x01\r\nhello"), "", BAD, NULL},
    {STR_INIT("0\r\n\rX"), "", BAD, NULL},
    {STR_INIT("0\r\n\n"), "", BAD, NULL},
    {STR_INIT("0\r\nA: b\n\r\n"), "", BAD, NULL},
    {STR_INIT("0\r\nA : b\r\n\r\n"), "", BAD, NULL},
    {STR_INIT("0\r\nA: b\r\n c\r\n\r\n"), "", BAD, NULL},
    {STR_INIT("0\r\nGET / HTTP/1.1\r\n\r\n"), "", BAD, NULL},
    /* extensions against their grammar */
    {STR_INIT("5;\r\n"), "", BAD, NULL},
    {STR_INIT("5; \r\n"), "", BAD, NULL},
    {STR_INIT("5 ;\r\n"), "", BAD, NULL},
    {STR_INIT("0;\r\n"), "", BAD, NULL},
    {STR_INIT("5;a b\r\n"), "", BAD, NULL},
    {STR_INIT("5;a \r\n"), "", BAD, NULL},
    {STR_INIT("5;a;\r\n"), "", BAD, NULL},
    {STR_INIT("5;;a\r\n"), "", BAD, NULL},
    {STR_INIT("5;a=\r\n"), "", BAD, NULL},
    {STR_INIT("5;a= \r\n"), "", BAD, NULL},
    {STR_INIT("5;a=;b\r\n"), "", BAD, NULL},
    {STR_INIT("5;=b\r\n"), "", BAD, NULL},
    {STR_INIT("5;a==b\r\n"), "", BAD, NULL},
    {STR_INIT("5;a=b=c\r\n"), "", BAD, NULL},
    {STR_INIT("5;a=b c\r\n"), "", BAD, NULL},
    {STR_INIT("5;a=b \r\n"), "", BAD, NULL},
    {STR_INIT("5;a,b\r\n"), "", BAD, NULL},
    {STR_INIT("5;a:b\r\n"), "", BAD, NULL},
    {STR_INIT("5;a\x80\r\n"), "", BAD, NULL},
    {STR_INIT("5;\"a\"\r\n"), "", BAD, NULL},
    {STR_INIT("5;a\"b\"\r\n"), "", BAD, NULL},
    {STR_INIT("5;a=b\"c\"\r\n"), "", BAD, NULL},
    {STR_INIT("5;a=\"b\"c\r\n"), "", BAD, NULL},
    {STR_INIT("5;a=\"b\" c\r\n"), "", BAD, NULL},
    {STR_INIT("5;a=\"b\"\"c\"\r\n"), "", BAD, NULL},
    {STR_INIT("5;a=\"b\r\n"), "", BAD, NULL},
    {STR_INIT("5;a=\"b\n\"\r\n"), "", BAD, NULL},
    {STR_INIT("5;a=\"\\\r\n"), "", BAD, NULL},
    {STR_INIT("5;a=\"\\\n\"\r\n"), "", BAD, NULL},
    {STR_INIT("5;a=\"\0\"\r\n"), "", BAD, NULL},
    {STR_INIT("5;a=\"\x7f\"\r\n"), "", BAD, NULL},
    /* never a bare LF: these lines are lengths */
    {STR_INIT("5\nhello\n0\n\n"), "", BAD, NULL},
    {STR_INIT("5;x\nhello\r\n0\r\n\r\n"), "", BAD, NULL},
    {STR_INIT("0\r\nA: b\r\n\n"), "", BAD, NULL},
};

/* Feeds WIRE in pieces of PIECE bytes; OUT gets the data. The result is as chunk_case.end. */
static int feed(struct h1_body *b, struct str wire, size_t piece, char *out, size_t *out_len)
{
    size_t i = 0;
    *out_len = 0;
    while (i < wire.len && !h1_body_is_done(b)) {
        size_t n = wire.len - i < piece ? wire.len - i : piece;
        /* Memory of just that size: a sanitizer sees a read behind its end. */
        char *copy = xmalloc(n);
        struct str data;
        memcpy(copy, wire.p + i, n);
        ssize_t used = h1_body_feed(b, copy, n, &data);
        if (used >= 0)
            memcpy(out + *out_len, data.p, data.len);
        if (used >= 0)
            *out_len += data.len;
        free(copy);
        if (used < 0)
            return BAD;
        assert_in_range(used, 1, n);
        i += (size_t)used;
    }
    return h1_body_is_done(b) ? (int)i : SHORT;
}

/* The same bodies to a strict and to a lenient reader. END and DATA are of the lenient. */
static const struct old_chunks {
    struct str wire;
    const char *data;
    int end;
    const char *trailers;
    bool is_named; /* the strict one says that the other goes on behind its fault */
} old_chunks[] = {
    {STR_INIT("5\nhello\n0\n\nX"), "hello", 11, "", true},
    {STR_INIT("5\r\nhello\n0\r\n\r\n"), "hello", 14, "", true},
    {STR_INIT("5\r\nhello\r\n0\n\r\n"), "hello", 14, "", true},
    {STR_INIT("5\r\nhello\r\n0\r\n\nX"), "hello", 14, "", true},
    {STR_INIT("5  \t\r\nhello\r\n0     \r\n\r\n"), "hello", 23, "", true},
    {STR_INIT("5 \nhello\n0 \n\n"), "hello", 13, "", true},
    {STR_INIT("5;a=b\nhello\n0;c\n\n"), "hello", 17, "", true},
    {STR_INIT("5;a=\"b\"\nhello\n0\n\n"), "hello", 17, "", true},
    {STR_INIT("0\nA: b\nC : d\r\nE: f\n\tg\n\nX"), "", 23, "A=b;C=d;E=f g;", true},
    {STR_INIT("0\r\nA : b\r\n\r\n"), "", 12, "A=b;", true},
    {STR_INIT("0\r\nA: b\r\n c\r\n\r\n"), "", 15, "A=b c;", true},
    {STR_INIT("0\r\nA: b\r\n\n"), "", 10, "A=b;", true},
    {STR_INIT("0\nContent-Length: 5\nTransfer-Encoding: chunked\n\n"), "", 48, "", true},
    {STR_INIT("5 \r\nhel"), "hel", SHORT, NULL, true},
    {STR_INIT("5 5\r\nhello\r\n0\r\n\r\n"), "", BAD, NULL, false},
    {STR_INIT("5 \rhello"), "", BAD, NULL, false},
    {STR_INIT("5\rhello"), "", BAD, NULL, false},
    {STR_INIT("5\r\rhello"), "", BAD, NULL, false},
    {STR_INIT("5\r\nhello\r0\r\n\r\n"), "hello", BAD, NULL, false},
    {STR_INIT("5\r\nhellox\n0\r\n\r\n"), "hello", BAD, NULL, false},
    {STR_INIT("5\n\nhello\n"), "\nhell", BAD, NULL, true},
    {STR_INIT(" 5\r\nhello\r\n0\r\n\r\n"), "", BAD, NULL, false},
    {STR_INIT("\n5\r\nhello"), "", BAD, NULL, false},
    {STR_INIT("0x5\n"), "", BAD, NULL, false},
    {STR_INIT("5;\n"), "", BAD, NULL, false},
    {STR_INIT("5;a \n"), "", BAD, NULL, false},
    {STR_INIT("5;a \r\n"), "", BAD, NULL, false},
    {STR_INIT("5;a b\n"), "", BAD, NULL, false},
    {STR_INIT("5;a=\"\n\"\n"), "", BAD, NULL, false},
    {STR_INIT("5;a=\"b\n"), "", BAD, NULL, false},
    {STR_INIT("5;a\rb\n"), "", BAD, NULL, false},
    {STR_INIT("0\r\n\rX"), "", BAD, NULL, false},
    {STR_INIT("0\r\n A: b\r\n\r\n"), "", BAD, NULL, false},
    {STR_INIT("0\r\nA: b\r\n \r\n\r\n"), "", 14, "A=b;", true},
    {STR_INIT("0\r\nA: b\rc\r\n\r\n"), "", BAD, NULL, false},
    {STR_INIT("0\r\nA: b\r\r\n\r\n"), "", BAD, NULL, false},
    {STR_INIT("0\r\nA b: c\r\n\r\n"), "", BAD, NULL, false},
    {STR_INIT("0\r\nContent-Length: 5\r\n 6\r\n\r\n"), "", BAD, NULL, false},
};

static void check_trailers(struct h1_body *b, const char *expected)
{
    struct arena arena;
    struct fields trailers;
    char text[256] = "";
    size_t n = 0;
    arena_init(&arena, NULL, 0);
    fields_init(&trailers, &arena, NULL, 0);
    assert_true(h1_body_trailers(b, &trailers));
    for (unsigned i = 0; i < trailers.n; i++) {
        struct field f = trailers.v[i];
        if (f.name.p != NULL)
            n += (size_t)snprintf(text + n, sizeof(text) - n, "%.*s=%.*s;", STR_ARG(f.name),
                                  STR_ARG(f.value));
    }
    assert_string_equal(text, expected);
    arena_clear(&arena);
}

static void test_chunked(void **state)
{
    (void)state;
    for (EACH(i, chunk_cases)) {
        const struct chunk_case *c = &chunk_cases[i];
        for (size_t piece = 1; piece <= 64; piece = piece < 4 ? piece + 1 : piece * 16) {
            struct h1_body b;
            struct h1_error e;
            char out[128];
            size_t len;
            assert_true(choose(&b, REQ TE "chunked", METHOD_OTHER, &e));
            int end = feed(&b, c->wire, piece, out, &len);
            if (end != c->end || len != strlen(c->data) || memcmp(out, c->data, len) != 0)
                fail_msg("case %zu by %zu: end %d, %zu bytes: %s", i, piece, end, len,
                         end == BAD ? b.error.reason : "");
            assert_int_equal(h1_body_at_close(&b), end >= 0);
            if (end >= 0)
                check_trailers(&b, c->trailers);
            h1_body_clear(&b);
        }
    }
}

/* What a lenient reader takes is the same in pieces of any size, and cut anywhere; a strict one
 * refuses all of it. */
static void test_old_chunks(void **state)
{
    (void)state;
    for (EACH(i, old_chunks)) {
        const struct old_chunks *c = &old_chunks[i];
        for (size_t piece = 1; piece <= c->wire.len; piece++) {
            struct h1_body b;
            struct h1_error e;
            char out[128];
            size_t len;
            assert_true(choose_as(&b, RES TE "chunked", METHOD_GET, true, &e));
            int end = feed(&b, c->wire, piece, out, &len);
            if (end != c->end || len != strlen(c->data) || memcmp(out, c->data, len) != 0)
                fail_msg("case %zu by %zu: end %d, %zu bytes: %s", i, piece, end, len,
                         end == BAD ? b.error.reason : "");
            if (end >= 0)
                check_trailers(&b, c->trailers);
            assert_false(b.error.lenient_takes);
            h1_body_clear(&b);
            assert_true(choose(&b, RES TE "chunked", METHOD_GET, &e));
            assert_int_equal(feed(&b, c->wire, piece, out, &len), BAD);
            if (b.error.lenient_takes != c->is_named)
                fail_msg("case %zu by %zu: %s", i, piece, b.error.reason);
            h1_body_clear(&b);
        }
    }
}

static void test_old_chunks_cut(void **state)
{
    (void)state;
    for (EACH(i, old_chunks)) {
        const struct old_chunks *c = &old_chunks[i];
        for (size_t cut = 1; cut < c->wire.len; cut++) {
            struct h1_body b;
            struct h1_error e;
            char out[128];
            size_t len, more = 0;
            assert_true(choose_as(&b, RES TE "chunked", METHOD_GET, true, &e));
            int end = feed(&b, str_make(c->wire.p, cut), cut, out, &len);
            if (end == SHORT) {
                end = feed(&b, str_from_byte(c->wire, cut), c->wire.len, out + len, &more);
                end = end < 0 ? end : end + (int)cut;
            }
            if (end != c->end || len + more != strlen(c->data) ||
                memcmp(out, c->data, len + more) != 0)
                fail_msg("case %zu cut at %zu: end %d, %zu bytes", i, cut, end, len + more);
            h1_body_clear(&b);
        }
    }
}

static void test_length(void **state)
{
    struct h1_body b;
    struct h1_error e;
    char out[64];
    size_t len;
    (void)state;
    for (size_t piece = 1; piece < 16; piece += 7) {
        assert_true(choose(&b, REQ CL "5", METHOD_OTHER, &e));
        assert_int_equal(feed(&b, STR("hel"), piece, out, &len), SHORT);
        assert_false(h1_body_at_close(&b));
        assert_int_equal(feed(&b, STR("loGET"), piece, out, &len), 2);
        assert_memory_equal(out, "lo", 2);
        assert_true(h1_body_at_close(&b));
    }
    assert_true(choose(&b, REQ CL "0", METHOD_OTHER, &e));
    assert_true(h1_body_is_done(&b));
}

static void test_close(void **state)
{
    struct h1_body b;
    struct h1_error e;
    char out[64];
    size_t len;
    (void)state;
    assert_true(choose(&b, RES "A: b", METHOD_GET, &e));
    assert_int_equal(feed(&b, STR("anything"), 3, out, &len), SHORT);
    assert_memory_equal(out, "anything", 8);
    assert_true(h1_body_at_close(&b));
    assert_true(h1_body_is_done(&b));
}

/* A bad body is the client's fault in a request and the origin's in a response. */
static void test_fault(void **state)
{
    static const char *const bad[] = {"x", "1\r\nxx", "0\r\nA : b\r\n\r\n"};
    (void)state;
    for (EACH(i, bad)) {
        struct h1_body b;
        struct h1_error e;
        char out[16];
        size_t len;
        assert_true(choose(&b, REQ TE "chunked", METHOD_OTHER, &e));
        assert_int_equal(feed(&b, str_from(bad[i]), 64, out, &len), BAD);
        assert_int_equal(b.error.code, FAULT_BAD_REQUEST);
        h1_body_clear(&b);
        assert_true(choose(&b, RES TE "chunked", METHOD_GET, &e));
        assert_int_equal(feed(&b, str_from(bad[i]), 64, out, &len), BAD);
        assert_int_equal(b.error.code, FAULT_UP_PROTOCOL);
        h1_body_clear(&b);
    }
}

/* A peer that sends little but framing is stopped; one that sends data with some is not. */
static void test_bounds(void **state)
{
    struct h1_body b;
    struct h1_error e;
    struct str data;
    char chunk[3100];
    (void)state;
    memset(chunk, 'x', sizeof(chunk));
    memcpy(chunk, "1;", 2);
    memcpy(chunk + sizeof(chunk) - 5, "\r\nx\r\n", 5);
    assert_true(choose(&b, REQ TE "chunked", METHOD_OTHER, &e));
    unsigned rounds = 0;
    for (bool ok = true; ok && rounds < 100; rounds++) {
        for (size_t i = 0; ok && i < sizeof(chunk);) {
            ssize_t used = h1_body_feed(&b, chunk + i, sizeof(chunk) - i, &data);
            ok = used > 0;
            i += ok ? (size_t)used : 0;
        }
    }
    assert_in_range(rounds, 5, 8);
    assert_non_null(strstr(b.error.reason, "extensions"));

    assert_true(choose(&b, REQ TE "chunked", METHOD_OTHER, &e));
    for (unsigned i = 0; i < 100000; i++) {
        static const char small[] = "8;ieof\r\n01234567\r\n";
        for (size_t at = 0; at < sizeof(small) - 1;) {
            ssize_t used = h1_body_feed(&b, small + at, sizeof(small) - 1 - at, &data);
            assert_true(used > 0);
            at += (size_t)used;
        }
    }

    for (unsigned lenient = 0; lenient <= 1; lenient++) {
        static const char padded[] = "1       \r\nx\r\n";
        static char blanks[5000] = "1";
        assert_true(choose_as(&b, RES TE "chunked", METHOD_GET, lenient, &e));
        bool ok = true;
        for (unsigned i = 0; ok && i < 100000; i++) {
            size_t len;
            char x[2];
            ok = feed(&b, STR(padded), sizeof(padded), x, &len) == SHORT && len == 1;
        }
        assert_int_equal(ok, lenient);
        memset(blanks + 1, ' ', sizeof(blanks) - 1);
        assert_true(choose_as(&b, RES TE "chunked", METHOD_GET, lenient, &e));
        assert_int_equal(h1_body_feed(&b, blanks, sizeof(blanks), &data), -1);
    }

    assert_true(choose(&b, REQ TE "chunked", METHOD_OTHER, &e));
    b.max_trailer = 64;
    assert_true(h1_body_feed(&b, "0\r\n", 3, &data) == 3);
    size_t sent = 0;
    while (sent < 1000 && h1_body_feed(&b, "A: b\r\n", 6, &data) == 6)
        sent += 6;
    assert_int_equal(sent, 60);
    assert_non_null(strstr(b.error.reason, "trailer"));
    h1_body_clear(&b);
}

/* Feeds all of IN by h1_body_feed_joined(); gives the calls that gave data, and the data in OUT. */
static unsigned feed_joined(struct h1_body *b, struct str in, char *out, size_t *len)
{
    char room[H1_BODY_JOIN];
    unsigned calls = 0;
    *len = 0;
    while (in.len > 0 && !h1_body_is_done(b)) {
        struct str data = {NULL, 0};
        ssize_t used = h1_body_feed_joined(b, &in, room, &data);
        if (used < 0)
            break;
        assert_true(used > 0 && (size_t)used <= in.len);
        memcpy(out + *len, data.p, data.len);
        *len += data.len;
        calls += data.len > 0;
        in = str_from_byte(in, (size_t)used);
    }
    return calls;
}

/* Chunks of a byte come in as few runs as there are records to fill, large ones as they lie, and a
 * fault behind good bytes costs none of them. */
static void test_joined(void **state)
{
    enum { TINY = 40000, LARGE = 5000 };
    struct h1_body b;
    struct h1_error e;
    size_t n = 0;
    size_t len;
    char *in = xmalloc(TINY * 6 + 2 * LARGE + 100);
    char *out = xmalloc(TINY + 2 * LARGE + 100);
    (void)state;
    for (int i = 0; i < TINY; i++)
        n += (size_t)snprintf(in + n, 10, "1\r\n%c\r\n", 'a' + i % 26);
    size_t tiny = n;
    n += (size_t)snprintf(in + n, LARGE + 50, "%x\r\n%0*d\r\n0\r\nA: b\r\n\r\n", LARGE, LARGE, 7);
    assert_true(choose(&b, REQ TE "chunked", METHOD_OTHER, &e));
    assert_int_equal(feed_joined(&b, str_make(in, n), out, &len), TINY / H1_BODY_JOIN + 1);
    assert_true(h1_body_is_done(&b));
    assert_int_equal(len, TINY + LARGE);
    for (int i = 0; i < TINY; i++)
        assert_int_equal(out[i], 'a' + i % 26);
    assert_int_equal(out[TINY + LARGE - 1], '7');
    assert_int_equal(b.trailer_len, 8);
    h1_body_clear(&b);

    memcpy(in + tiny, "1x", 2);
    assert_true(choose(&b, REQ TE "chunked", METHOD_OTHER, &e));
    feed_joined(&b, str_make(in, tiny + 2), out, &len);
    assert_int_equal(len, TINY);
    assert_non_null(b.error.reason);
    assert_false(h1_body_is_done(&b));
    h1_body_clear(&b);
    free(in);
    free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_framing),    cmocka_unit_test(test_chunked),
        cmocka_unit_test(test_length),     cmocka_unit_test(test_close),
        cmocka_unit_test(test_bounds),     cmocka_unit_test(test_fault),
        cmocka_unit_test(test_joined),     cmocka_unit_test(test_old_origins),
        cmocka_unit_test(test_old_chunks), cmocka_unit_test(test_old_chunks_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
