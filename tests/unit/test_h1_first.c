/* SPDX-License-Identifier: Apache-2.0 */
/* http/h1_first.c: what first bytes say, in whatever pieces they come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "base/mem.h"
#include "http/h1_first.h"

enum { MORE = H1_FIRST_MORE, HTTP = H1_FIRST_HTTP, TLS = H1_FIRST_TLS, OTHER = H1_FIRST_OTHER };

#define BYTES(lit) STR_INIT(lit)

static const struct first_case {
    struct str p;
    unsigned is;
    unsigned settled; /* where it is MORE */
} cases[] = {
    {BYTES("GET / HTTP/1.1\r\n"), HTTP, 0},
    {BYTES("GET / HTTP/1.1\n"), HTTP, 0},
    {BYTES("\r\n\r\nGET / HTTP/1.0\r\nHost"), HTTP, 0},
    {BYTES("FROB-x http://a/ HTTP/1.1\r\n"), HTTP, 0},
    {BYTES("GET /a b HTTP/1.1\r\n"), HTTP, 0}, /* its reader says what is wrong with it */
    {BYTES("GET / HTTP/9.9\r\n"), HTTP, 0},
    {BYTES("GET /\xc3\xa4 HTTP/1.1\r\n"), HTTP, 0},
    {BYTES("GET / HTTP/1.1"), MORE, HTTP},
    {BYTES("GET / HTTP/1.1\r"), MORE, HTTP},
    {BYTES("GET "), MORE, HTTP},
    {BYTES("GET"), MORE, OTHER},
    {BYTES("\r"), MORE, OTHER},
    {BYTES("\r\n"), MORE, OTHER},
    {BYTES("GET /\r\n"), OTHER, 0},
    {BYTES("GET  HTTP/1.1\r\n"), HTTP, 0},
    {BYTES("GET HTTP/1.1\r\n"), OTHER, 0},
    {BYTES("GET / HTTP/1.1x\r\n"), OTHER, 0},
    {BYTES("GET / http/1.1\r\n"), OTHER, 0},
    {BYTES("GET / HTTP/1.1\r\r\n"), OTHER, 0},
    {BYTES("GET /\0 HTTP/1.1\r\n"), OTHER, 0},
    {BYTES("PRI * HTTP/2.0\r\n"), OTHER, 0},
    {BYTES("SSH-2.0-OpenSSH_9.6\r\n"), OTHER, 0},
    {BYTES("SSH-2.0-x y\r\n"), OTHER, 0},
    {BYTES("PING\r\n"), OTHER, 0},
    {BYTES("get key\r\n"), OTHER, 0},
    {BYTES("*1\r\n$4\r\nPING\r\n"), OTHER, 0},
    {BYTES(" GET / HTTP/1.1\r\n"), OTHER, 0},
    {BYTES("\r\n\x16\x03\x01"), OTHER, 0},
    {BYTES("\0\0\0\x08"), OTHER, 0},
    {BYTES("\x05\x01\0"), OTHER, 0},
    {BYTES("\x16"), MORE, TLS},
    {BYTES("\x16\x03"), TLS, 0},
    {BYTES("\x16\x02"), OTHER, 0},
    {BYTES("\x80"), MORE, OTHER},
    {BYTES("\x80\x2e\x01\x03\x01"), TLS, 0},
    {BYTES("\x80\x2e\x02"), OTHER, 0},
    {BYTES("\x17\x03\x03"), OTHER, 0},
};

static enum h1_first_is at_once(struct str s)
{
    struct h1_first f = {0};
    return h1_first_look(&f, s.p, s.len);
}

static void whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct h1_first f = {0};
        const struct first_case *c = &cases[i];
        enum h1_first_is is = h1_first_look(&f, c->p.p, c->p.len);
        if (is != c->is)
            fail_msg("%.*s: %u, not %u", STR_ARG(c->p), is, c->is);
        if (is == H1_FIRST_MORE)
            assert_int_equal(h1_first_settle(&f, c->p.p, c->p.len), c->settled);
    }
}

/* Byte by byte it is known no later than at once, and is the same. */
static void pieces(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct h1_first f = {0};
        enum h1_first_is is = H1_FIRST_MORE;
        for (size_t n = 1; n <= cases[i].p.len && is == H1_FIRST_MORE; n++)
            is = h1_first_look(&f, cases[i].p.p, n);
        if (is != cases[i].is)
            fail_msg("%.*s: %u, not %u", STR_ARG(cases[i].p), is, cases[i].is);
    }
}

static void bounds(void **state)
{
    char *p = xmalloc(H1_FIRST_LINE + 1);
    (void)state;
    memset(p, 'x', H1_FIRST_LINE + 1);
    memcpy(p, "GET /", 5);
    assert_int_equal(at_once(str_make(p, H1_FIRST_LINE - 1)), H1_FIRST_MORE);
    assert_int_equal(at_once(str_make(p, H1_FIRST_LINE)), H1_FIRST_HTTP);
    memset(p, 'x', 5);
    assert_int_equal(at_once(str_make(p, H1_FIRST_METHOD)), H1_FIRST_MORE);
    assert_int_equal(at_once(str_make(p, H1_FIRST_METHOD + 1)), H1_FIRST_OTHER);
    for (size_t i = 0; i + 1 < H1_FIRST_LINE; i += 2)
        memcpy(p + i, "\r\n", 2);
    assert_int_equal(at_once(str_make(p, H1_FIRST_LINE - 2)), H1_FIRST_MORE);
    assert_int_equal(at_once(str_make(p, H1_FIRST_LINE)), H1_FIRST_OTHER);
    free(p);
}

static void answerable(void **state)
{
    static const struct {
        struct str p;
        bool is;
    } lines[] = {
        {BYTES("GET /\r\n"), true},     {BYTES("PRI * HTTP/2.0\r\n"), true},
        {BYTES("get key\r\n"), false},  {BYTES("PING\r\n"), false},
        {BYTES("EHLO a b\r\n"), false}, {BYTES("\x16\x03"), false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
        struct h1_first f = {0};
        h1_first_look(&f, lines[i].p.p, lines[i].p.len);
        assert_int_equal(h1_first_is_request(&f, lines[i].p.p, lines[i].p.len), lines[i].is);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole),
        cmocka_unit_test(pieces),
        cmocka_unit_test(bounds),
        cmocka_unit_test(answerable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
