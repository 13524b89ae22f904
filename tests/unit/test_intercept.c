/* SPDX-License-Identifier: Apache-2.0 */
/* client/intercept.c with a client of OpenSSL's over TCP: names, handshakes that wait for a leaf or
 * for what is written before, that fail or are left at any moment, and what is counted of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "client/intercept_impl.h"
#include "inside_fixture.h"
#include "net/tls_mint.h"

static struct rig rig;
static SSL_CTX *ctx;
static SSL *ssl;
static int fd;

static const char connect_a[] = "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n";

static int set_up(void **state)
{
    char *why = NULL;
    (void)state;
    rig_open(&rig, NULL);
    struct tls_ca *ca = tls_ca_make(NULL, 0, 1, &why);
    rig.conf->intercept.mint = tls_mint_new(ca, TLS1_VERSION);
    rig.conf->rules[0].intercept = true;
    ctx = SSL_CTX_new(TLS_client_method());
    return 0;
}

static void close_client(void)
{
    SSL_free(ssl);
    ssl = NULL;
    close(fd);
}

static int tear_down(void **state)
{
    (void)state;
    SSL_CTX_free(ctx);
    struct tls_mint *mint = rig.conf->intercept.mint;
    rig_close(&rig);
    tls_mint_stop();
    tls_mint_unref(mint);
    return 0;
}

static struct client *begin(const char *sni)
{
    fd = rig_connect(&rig);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    ssl = SSL_new(ctx);
    SSL_set_fd(ssl, fd);
    if (sni != NULL)
        SSL_set_tlsext_host_name(ssl, sni);
    return rig_client(&rig);
}

static void established(void)
{
    const char *head = rig_read(&rig, fd, "\r\n\r\n", NULL);
    assert_non_null(strstr(head, " 200 "));
}

static bool shake(void)
{
    return inside_shake(&rig, ssl);
}

static const char *ask(const char *text)
{
    return inside_ask(&rig, ssl, text);
}

static void leaf_is_for(const char *name)
{
    X509 *cert = SSL_get1_peer_certificate(ssl);
    assert_int_equal(X509_check_host(cert, name, 0, 0, NULL), 1);
    X509_free(cert);
}

static void names(void **state)
{
    static const char *const bad[] = {"",      ".",    "..",   "a..b",       ".a",   "1.2.3.4",
                                      "a.1",   "9",    "::1",  "*.a",        "a b",  "a/b",
                                      "a:443", "a%00", "\xff", "a..",        "[a]",  "a@b",
                                      "a\n",   "a,b",  "a\"b", "0x7f000001", "a.0x1"};
    char dst[INTERCEPT_NAME], label[70], longest[300];
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        intercept_name(dst, str_from(bad[i]), STR("host.test"));
        assert_string_equal(dst, "host.test");
    }
    intercept_name(dst, str_make("a\0b", 3), STR("host.test"));
    assert_string_equal(dst, "host.test");
    intercept_name(dst, STR("A.Test."), STR("host.test"));
    assert_string_equal(dst, "a.test");
    intercept_name(dst, STR("_x-1.test2"), STR("host.test"));
    assert_string_equal(dst, "_x-1.test2");
    memset(label, 'x', sizeof(label));
    intercept_name(dst, str_make(label, 63), STR("h"));
    assert_int_equal(strlen(dst), 63);
    intercept_name(dst, str_make(label, 64), STR("h"));
    assert_string_equal(dst, "h");
    for (size_t i = 0; i < sizeof(longest); i++)
        longest[i] = i % 2 == 0 ? 'x' : '.';
    intercept_name(dst, str_make(longest, 253), STR("h"));
    assert_int_equal(strlen(dst), 253);
    intercept_name(dst, str_make(longest, 255), STR("h"));
    assert_string_equal(dst, "h");
    intercept_name(dst, STR(""), str_make(longest, 300)); /* never, but never more than there is */
    assert_int_equal(strlen(dst), INTERCEPT_NAME - 1);
}

static void inside(void **state)
{
    (void)state;
    struct client *c = begin(NULL);
    rig_send(&rig, fd, connect_a);
    established();
    assert_int_equal(c->state, CLIENT_SHAKES);
    assert_true(shake());
    leaf_is_for("a.test");
    const char *answer = ask("GET / HTTP/1.1\r\nHost: b.test\r\n\r\n");
    assert_non_null(strstr(answer, "HTTP/1.1 421 "));
    assert_int_equal(c->state, CLIENT_HEAD);
    assert_int_equal(c->from.kind, SOURCE_INTERCEPTED);
    assert_null(c->intercept);
    assert_int_equal(counter_get(&rig.engine.stats->intercepted), 1);
    close_client();
    rig_check_empty(&rig);
}

/* The name that is asked for, of a client that waits for nothing. */
static void early(void **state)
{
    (void)state;
    begin("B.Test");
    assert_int_equal(send(fd, connect_a, sizeof(connect_a) - 1, 0), (ssize_t)sizeof(connect_a) - 1);
    BIO *out = BIO_new(BIO_s_mem());
    SSL_set0_wbio(ssl, out);
    assert_int_equal(SSL_connect(ssl), -1);
    char *hello;
    long n = BIO_get_mem_data(out, &hello);
    assert_int_equal(send(fd, hello, (size_t)n, 0), n);
    SSL_set_fd(ssl, fd);
    fixture_settle(&rig.f);
    char head[39];
    for (int64_t limit = loop_now() + 10000000; recv(fd, head, 39, MSG_PEEK) < 39;)
        assert_true(loop_now() < limit);
    assert_int_equal(recv(fd, head, 39, 0), 39);
    assert_true(shake());
    leaf_is_for("b.test");
    close_client();
    rig_check_empty(&rig);
}

/* TLS begins behind what is still to be written. */
static void pending(void **state)
{
    enum { MUCH = 4000000 };
    (void)state;
    struct client *c = begin(NULL);
    char *much = xcalloc(1, MUCH);
    int small = 4096;
    setsockopt(c->stream->line.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    stream_put(c->stream, much, MUCH);
    assert_true(stream_pending(c->stream) > 0);
    rig_send(&rig, fd, connect_a);
    assert_int_equal(c->state, CLIENT_SHAKES);
    assert_true(stream_pending(c->stream) > 0);
    size_t got = 0;
    for (int64_t limit = loop_now() + 20000000; got < MUCH + 39; loop_turn(&rig.f.loop, false)) {
        size_t room = MUCH + 39 - got;
        ssize_t n = recv(fd, much, room < MUCH ? room : MUCH, 0);
        assert_true(loop_now() < limit);
        got += n > 0 ? (size_t)n : 0;
    }
    free(much);
    assert_true(shake());
    leaf_is_for("a.test");
    close_client();
    rig_check_empty(&rig);
}

/* While a leaf is made nobody looks whether the client is there. */
static void until_gone(void)
{
    for (int64_t limit = loop_now() + 10000000; rig.clients.n > 0; loop_turn(&rig.f.loop, false))
        assert_true(loop_now() < limit);
}

static void gone(const char *what, size_t n, bool settles)
{
    struct linger reset = {.l_onoff = 1};
    for (int how = 0; how < 2; how++) {
        begin(NULL);
        rig_send(&rig, fd, connect_a);
        established();
        assert_int_equal(send(fd, what, n, 0), (ssize_t)n);
        if (settles)
            fixture_settle(&rig.f);
        if (how == 1)
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
        close_client();
        until_gone();
        rig_check_empty(&rig);
    }
}

static uint64_t unshaken(enum tls_failure failure)
{
    return counter_get(&rig.engine.stats->unshaken[failure]);
}

static void left(void **state)
{
    (void)state;
    SSL *s = SSL_new(ctx);
    BIO *out = BIO_new(BIO_s_mem());
    SSL_set_bio(s, BIO_new(BIO_s_mem()), out);
    assert_int_equal(SSL_connect(s), -1);
    char *hello;
    size_t n = (size_t)BIO_get_mem_data(out, &hello);
    gone("", 0, false);
    gone(hello, 5, true);
    gone(hello, n - 1, true);
    gone(hello, n, false);
    gone(hello, n, true);
    assert_int_equal(unshaken(TLS_FAILURE_GONE), 10);
    SSL_free(s);
}

static void foreign(void **state)
{
    (void)state;
    begin(NULL);
    rig_send(&rig, fd, connect_a);
    established();
    rig_send(&rig, fd, "SSH-2.0-x\r\n");
    int end = 0;
    rig_read(&rig, fd, NULL, &end);
    assert_int_not_equal(end, 0);
    assert_int_equal(unshaken(TLS_FAILURE_FOREIGN), 1);
    close_client();
    rig_check_empty(&rig);
}

static void distrust(void **state)
{
    (void)state;
    begin(NULL);
    SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    rig_send(&rig, fd, connect_a);
    established();
    assert_false(shake());
    until_gone();
    assert_int_equal(unshaken(TLS_FAILURE_TRUST), 1);
    close_client();
    rig_check_empty(&rig);
}

/* The worker ends with one whose leaf is being made, and with one that has sent half a hello. */
static void closed(void **state)
{
    (void)state;
    begin("c.test");
    rig_send(&rig, fd, connect_a);
    established();
    for (int i = 0; i < 3; i++) {
        SSL_connect(ssl);
        loop_turn(&rig.f.loop, false);
    }
    clients_close(&rig.clients);
    close_client();
    rig_check_empty(&rig);
    begin(NULL);
    rig_send(&rig, fd, connect_a);
    established();
    rig_send(&rig, fd, "\x16\x03\x01");
    clients_close(&rig.clients);
    close_client();
    rig_check_empty(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test_setup_teardown(inside, set_up, tear_down),
        cmocka_unit_test_setup_teardown(early, set_up, tear_down),
        cmocka_unit_test_setup_teardown(pending, set_up, tear_down),
        cmocka_unit_test_setup_teardown(left, set_up, tear_down),
        cmocka_unit_test_setup_teardown(foreign, set_up, tear_down),
        cmocka_unit_test_setup_teardown(distrust, set_up, tear_down),
        cmocka_unit_test_setup_teardown(closed, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
