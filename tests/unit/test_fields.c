/* SPDX-License-Identifier: Apache-2.0 */
/* Field lists, the known names and methods, and the classes of bytes. */
#include "http/fields.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "http/chars.h"

static const char *const names[FIELD_COUNT] = {
    [FIELD_ACCESS_CONTROL_ALLOW_ORIGIN] = "Access-Control-Allow-Origin",
    [FIELD_ALT_SVC] = "Alt-Svc",
    [FIELD_AUTHORIZATION] = "Authorization",
    [FIELD_CONNECTION] = "Connection",
    [FIELD_CONTENT_LENGTH] = "Content-Length",
    [FIELD_CONTENT_LOCATION] = "Content-Location",
    [FIELD_CONTENT_SECURITY_POLICY] = "Content-Security-Policy",
    [FIELD_CONTENT_TYPE] = "Content-Type",
    [FIELD_COOKIE] = "Cookie",
    [FIELD_DATE] = "Date",
    [FIELD_DESTINATION] = "Destination",
    [FIELD_EXPECT] = "Expect",
    [FIELD_HOST] = "Host",
    [FIELD_HTTP2_SETTINGS] = "HTTP2-Settings",
    [FIELD_IF] = "If",
    [FIELD_KEEP_ALIVE] = "Keep-Alive",
    [FIELD_LINK] = "Link",
    [FIELD_LOCATION] = "Location",
    [FIELD_MAX_FORWARDS] = "Max-Forwards",
    [FIELD_ORIGIN] = "Origin",
    [FIELD_PROXY_AUTHENTICATE] = "Proxy-Authenticate",
    [FIELD_PROXY_AUTHORIZATION] = "Proxy-Authorization",
    [FIELD_PROXY_CONNECTION] = "Proxy-Connection",
    [FIELD_REFERER] = "Referer",
    [FIELD_REFRESH] = "Refresh",
    [FIELD_RETRY_AFTER] = "Retry-After",
    [FIELD_SEC_FETCH_SITE] = "Sec-Fetch-Site",
    [FIELD_SET_COOKIE] = "Set-Cookie",
    [FIELD_STRICT_TRANSPORT_SECURITY] = "Strict-Transport-Security",
    [FIELD_TE] = "TE",
    [FIELD_TRAILER] = "Trailer",
    [FIELD_TRANSFER_ENCODING] = "Transfer-Encoding",
    [FIELD_UPGRADE] = "Upgrade",
    [FIELD_VIA] = "Via",
    [FIELD_WWW_AUTHENTICATE] = "WWW-Authenticate",
    [FIELD_X_FORWARDED_PROTO] = "X-Forwarded-Proto",
};

static void test_lookup(void **state)
{
    (void)state;
    for (unsigned id = FIELD_OTHER + 1; id < FIELD_COUNT; id++) {
        char text[64];
        size_t n = strlen(names[id]);
        assert_int_equal(field_lookup(str_from(names[id])), id);
        for (size_t i = 0; i < n; i++)
            text[i] = (char)toupper((unsigned char)names[id][i]);
        assert_int_equal(field_lookup(str_make(text, n)), id);
        for (size_t i = 0; i < n; i++)
            text[i] = (char)tolower((unsigned char)text[i]);
        assert_int_equal(field_lookup(str_make(text, n)), id);
        /* One byte off, anywhere, is another name. */
        for (size_t i = 0; i < n; i++) {
            text[i] ^= 1;
            assert_int_equal(field_lookup(str_make(text, n)), FIELD_OTHER);
            text[i] ^= 1;
        }
        assert_int_equal(field_lookup(str_make(text, n - 1)), FIELD_OTHER);
    }
    assert_int_equal(field_lookup(STR("")), FIELD_OTHER);
    assert_int_equal(field_lookup(STR("x")), FIELD_OTHER);
    assert_int_equal(field_lookup(STR("A-Name-That-Is-Longer-Than-All-That-Are-Known")),
                     FIELD_OTHER);
}

static void test_list(void **state)
{
    struct arena arena;
    struct field first[2];
    struct fields f;
    (void)state;
    arena_init(&arena, NULL, 0);
    fields_init(&f, &arena, first, 2);
    assert_null(fields_find(&f, FIELD_VIA, NULL));
    fields_put(&f, STR("Via"), STR("a"));
    for (unsigned i = 0; i < 100; i++)
        fields_put(&f, STR("X"), STR("y"));
    fields_put(&f, STR("VIA"), STR(""));
    fields_put(&f, STR("via"), STR("b, c"));
    assert_int_equal(f.n, 103);
    assert_true(fields_has(&f, FIELD_VIA));
    assert_false(fields_has(&f, FIELD_HOST));
    struct field *x = fields_find(&f, FIELD_VIA, NULL);
    assert_true(str_eq(x->value, STR("a")));
    x = fields_find(&f, FIELD_VIA, x);
    x = fields_find(&f, FIELD_VIA, x);
    assert_true(str_eq(x->value, STR("b, c")));
    assert_null(fields_find(&f, FIELD_VIA, x));

    fields_set(&f, FIELD_VIA, STR("New"), STR("d"));
    x = fields_find(&f, FIELD_VIA, NULL);
    assert_true(str_eq(x->value, STR("d")));
    assert_null(fields_find(&f, FIELD_VIA, x));
    assert_true(str_eq(f.v[0].name, STR("Via")));
    fields_set(&f, FIELD_HOST, STR("Host"), STR("h"));
    assert_true(str_eq(f.v[103].value, STR("h")));

    fields_remove(&f, FIELD_VIA);
    assert_false(fields_has(&f, FIELD_VIA));
    assert_null(f.v[0].name.p);
    fields_remove_name(&f, STR("x"));
    fields_remove_name(&f, STR("HOST"));
    for (unsigned i = 0; i < f.n; i++)
        assert_null(f.v[i].name.p);
    fields_put(&f, STR("Via"), STR("again"));
    assert_true(str_eq(fields_find(&f, FIELD_VIA, NULL)->value, STR("again")));
    arena_clear(&arena);
}

static void test_methods(void **state)
{
    static const struct {
        struct str name;
        enum method_id id;
        bool is_safe, is_idempotent;
    } cases[] = {
        {STR_INIT("GET"), METHOD_GET, true, true},
        {STR_INIT("HEAD"), METHOD_HEAD, true, true},
        {STR_INIT("POST"), METHOD_POST, false, false},
        {STR_INIT("PUT"), METHOD_PUT, false, true},
        {STR_INIT("DELETE"), METHOD_DELETE, false, true},
        {STR_INIT("CONNECT"), METHOD_CONNECT, false, false},
        {STR_INIT("OPTIONS"), METHOD_OPTIONS, true, true},
        {STR_INIT("TRACE"), METHOD_TRACE, true, true},
        {STR_INIT("PROPFIND"), METHOD_OTHER, true, true},
        {STR_INIT("MKCOL"), METHOD_OTHER, false, true},
        {STR_INIT("PATCH"), METHOD_OTHER, false, false},
        {STR_INIT("LOCK"), METHOD_OTHER, false, false},
        {STR_INIT("get"), METHOD_OTHER, false, false},
        {STR_INIT("GETX"), METHOD_OTHER, false, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct method m = method_lookup(cases[i].name);
        assert_int_equal(m.id, cases[i].id);
        assert_int_equal(m.is_safe, cases[i].is_safe);
        assert_int_equal(m.is_idempotent, cases[i].is_idempotent);
        assert_ptr_equal(m.name.p, cases[i].name.p);
    }
}

/* What it was made of may go. */
static void test_copy(void **state)
{
    struct arena arena;
    struct fields from;
    struct fields to;
    struct field room[4];
    char bytes[] = "Set-CookieaX1";
    (void)state;
    arena_init(&arena, NULL, 0);
    fields_init(&from, &arena, room, 4);
    fields_put(&from, str_make(bytes, 10), str_make(bytes + 10, 1));
    fields_put(&from, STR("Via"), STR("gone"));
    fields_put(&from, str_make(bytes + 11, 1), str_make(bytes + 12, 1));
    fields_remove(&from, FIELD_VIA);
    from.v[2].is_secret = true;
    fields_copy(&arena, &to, &from);
    memset(bytes, '-', sizeof bytes);
    assert_int_equal(to.n, 2);
    assert_true(fields_has(&to, FIELD_SET_COOKIE) && !fields_has(&to, FIELD_VIA));
    assert_true(str_eq(to.v[0].name, STR("Set-Cookie")) && str_eq(to.v[0].value, STR("a")));
    assert_true(str_eq(to.v[1].name, STR("X")) && str_eq(to.v[1].value, STR("1")));
    assert_true(to.v[1].is_secret && !to.v[0].is_secret);
    arena_clear(&arena);
}

static void test_accept(void **state)
{
    struct fields f;
    struct field room[4];
    (void)state;
    fields_init(&f, NULL, room, 4);
    assert_false(fields_accept(&f, STR("text/html")));
    fields_put(&f, STR("accept"), STR("image/png, text/HTML ; q=0.9"));
    fields_put(&f, STR("X-Accept"), STR("text/plain"));
    fields_put(&f, STR("Accept"), STR("a/b;x=text/css"));
    assert_true(fields_accept(&f, STR("text/html")) && fields_accept(&f, STR("a/b")));
    assert_false(fields_accept(&f, STR("text/plain")) || fields_accept(&f, STR("text/css")));
    assert_true(str_eq(media_type(STR(" a/b ;charset=x")), STR("a/b")));
}

static void test_chars(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        bool alnum = c < 128 && isalnum(c);
        bool token = alnum || (c != 0 && c < 128 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
        bool host = alnum || (c != 0 && c < 128 && strchr("-._~!$&'()*+,;=%", c) != NULL);
        assert_int_equal(chars_is((char)c, CHAR_TOKEN), token);
        assert_int_equal(chars_is((char)c, CHAR_HOST), host);
        assert_int_equal(chars_is((char)c, CHAR_TARGET), c > ' ' && c < 0x7f);
        assert_int_equal(chars_is((char)c, CHAR_VALUE), c == '\t' || (c >= ' ' && c != 0x7f));
        assert_int_equal(chars_is((char)c, CHAR_DIGIT), c >= '0' && c <= '9');
        assert_int_equal(chars_is((char)c, CHAR_HEX), c < 128 && isxdigit(c) != 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lookup), cmocka_unit_test(test_list),  cmocka_unit_test(test_methods),
        cmocka_unit_test(test_copy),   cmocka_unit_test(test_chars), cmocka_unit_test(test_accept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
