/* SPDX-License-Identifier: Apache-2.0 */
/* net/tls_hello.c with hellos of OpenSSL's: whole, in pieces, in many records, and none at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <openssl/ssl.h>
#include <stdlib.h>

#include "base/mem.h"
#include "net/tls_hello.h"

enum { HELLO_MAX = 65536, RECORD = 5 };

static char hello[HELLO_MAX];

/* A client's first flight; NAME NULL: it asks for none. Gives its length. */
static size_t make(const char *name, int version, const char *alpn)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_max_proto_version(ctx, version);
    SSL *ssl = SSL_new(ctx);
    BIO *out = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), out);
    if (name != NULL)
        SSL_set_tlsext_host_name(ssl, name);
    if (alpn != NULL)
        SSL_set_alpn_protos(ssl, (const unsigned char *)alpn, (unsigned)strlen(alpn));
    assert_int_equal(SSL_connect(ssl), -1);
    int n = BIO_read(out, hello, HELLO_MAX);
    assert_true(n > 0);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    return (size_t)n;
}

/* Looks at N bytes, STEP more each time; what came of it, and at which byte. */
static enum tls_hello_is feed(const char *p, size_t n, size_t step, size_t *at, char *name)
{
    enum tls_hello_is is = TLS_HELLO_MORE;
    for (*at = 0; *at < n && is == TLS_HELLO_MORE;) {
        *at = *at + step < n ? *at + step : n;
        /* A copy of just that: nothing behind it may be looked at. */
        char *copy = xmalloc(*at);
        memcpy(copy, p, *at);
        is = tls_hello_read(copy, *at, name);
        free(copy);
    }
    return is;
}

static void names(void **state)
{
    static const int versions[] = {TLS1_VERSION, TLS1_2_VERSION, TLS1_3_VERSION};
    static const size_t steps[] = {1, 7, 200, HELLO_MAX};
    char name[TLS_HELLO_NAME], alpn[] = "\2h2\10http/1.1";
    size_t at;
    (void)state;
    for (size_t v = 0; v < 3; v++) {
        for (size_t i = 0; i < 4; i++) {
            size_t n = make("A.Test", versions[v], alpn);
            assert_int_equal(feed(hello, n, steps[i], &at, name), TLS_HELLO_READ);
            assert_string_equal(name, "A.Test");
            assert_true(steps[i] > 1 || at == n);
            n = make(NULL, versions[v], alpn);
            assert_int_equal(feed(hello, n, steps[i], &at, name), TLS_HELLO_READ);
            assert_string_equal(name, "");
        }
    }
}

/* What comes behind it changes nothing, and what is missing is waited for. */
static void edges(void **state)
{
    char name[TLS_HELLO_NAME];
    size_t at, n = make("a.test", TLS1_3_VERSION, NULL);
    (void)state;
    memset(hello + n, 0x17, 100);
    assert_int_equal(feed(hello, n + 100, HELLO_MAX, &at, name), TLS_HELLO_READ);
    assert_string_equal(name, "a.test");
    assert_int_equal(feed(hello, n - 1, 1, &at, name), TLS_HELLO_MORE);
}

/* One that is split over records of SIZE bytes. Gives its length, in TO. */
static size_t split(char *to, size_t n, size_t size)
{
    size_t len = 0;
    for (size_t from = RECORD; from < n;) {
        size_t part = n - from < size ? n - from : size;
        memcpy(to + len, hello, 3);
        to[len + 3] = (char)(part >> 8);
        to[len + 4] = (char)part;
        memcpy(to + len + RECORD, hello + from, part);
        len += RECORD + part;
        from += part;
    }
    return len;
}

static void records(void **state)
{
    static const size_t sizes[] = {1, 2, 100, 4000};
    char name[TLS_HELLO_NAME], *all = xmalloc(6 * HELLO_MAX);
    size_t at, n = make("many.records.test", TLS1_3_VERSION, NULL);
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        size_t len = split(all, n, sizes[i]);
        assert_int_equal(feed(all, len, i % 2 == 0 ? 1 : len, &at, name), TLS_HELLO_READ);
        assert_string_equal(name, "many.records.test");
    }
    free(all);
}

/* A hello that is longer than will be looked at, and one that just is not. */
static void bounds(void **state)
{
    char name[TLS_HELLO_NAME], *alpn = xcalloc(1, 20000);
    size_t at;
    (void)state;
    for (size_t len = 15000; len <= 20000 - 100; len += 4000) {
        size_t n = 0;
        for (; n + 101 < len; n += 101) {
            alpn[n] = 100;
            memset(alpn + n + 1, 'x', 100);
        }
        alpn[n] = '\0';
        n = make("a.test", TLS1_3_VERSION, alpn);
        assert_int_equal(feed(hello, n, 1000, &at, name), TLS_HELLO_READ);
        assert_string_equal(name, n <= TLS_HELLO_MAX ? "a.test" : "");
        assert_true(at <= TLS_HELLO_MAX + 1000);
    }
    free(alpn);
}

static void none(void **state)
{
    char name[TLS_HELLO_NAME], bytes[600];
    size_t at, n = make("a.test", TLS1_2_VERSION, NULL);
    (void)state;
    memset(bytes, 0xff, sizeof(bytes));
    memcpy(bytes, "\x16\x03\x01\x02\x00", RECORD);
    assert_int_equal(feed(bytes, sizeof(bytes), 1, &at, name), TLS_HELLO_NONE);
    assert_int_equal(feed(bytes, sizeof(bytes), 600, &at, name), TLS_HELLO_NONE);
    assert_int_equal(feed("\x16\x02\0\0\1\1", 6, 1, &at, name), TLS_HELLO_NONE);
    assert_int_equal(feed("GET / HTTP/1.1\r\n", 16, 1, &at, name), TLS_HELLO_NONE);
    hello[RECORD] = 2; /* a server's */
    assert_int_equal(feed(hello, n, 1, &at, name), TLS_HELLO_NONE);
    assert_string_equal(name, "");
}

/* The format of SSL 2, in which old clients offer TLS: no name. */
static void of_ssl2(void **state)
{
    static const char old[] = "\x80\x1c\x01\x03\x01\x00\x03\x00\x00\x00\x10\x00\x00\x2f"
                              "0123456789abcdef";
    char name[TLS_HELLO_NAME];
    size_t at;
    (void)state;
    assert_int_equal(feed(old, sizeof(old) - 1, 1, &at, name), TLS_HELLO_READ);
    assert_int_equal(at, sizeof(old) - 1);
    assert_string_equal(name, "");
    assert_int_equal(feed("\x80\x1c\x02", 3, 1, &at, name), TLS_HELLO_NONE);
    assert_int_equal(feed("\x80\x03\x01\x03\x01", 5, 1, &at, name), TLS_HELLO_NONE);
}

/* Nothing that is not in the name's place, and no name that is cut: not even by its own zero. */
static void strange_names(void **state)
{
    char name[TLS_HELLO_NAME];
    size_t at, n = make("zero.test", TLS1_3_VERSION, NULL);
    (void)state;
    char *zero = memmem(hello, n, "zero.test", 9);
    assert_non_null(zero);
    zero[4] = '\0';
    assert_int_equal(feed(hello, n, HELLO_MAX, &at, name), TLS_HELLO_READ);
    assert_string_equal(name, "");
    zero[4] = ' ';
    assert_int_equal(feed(hello, n, HELLO_MAX, &at, name), TLS_HELLO_READ);
    assert_string_equal(name, "zero test");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),         cmocka_unit_test(edges), cmocka_unit_test(records),
        cmocka_unit_test(bounds),        cmocka_unit_test(none),  cmocka_unit_test(of_ssl2),
        cmocka_unit_test(strange_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
