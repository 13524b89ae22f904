/* SPDX-License-Identifier: Apache-2.0 */
/* client/secure.c with a client of OpenSSL's over TCP: requests inside, what is not TLS, who leaves
 * or is too slow at any moment, and what is counted of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "client/secure_impl.h"
#include "inside_fixture.h"
#include "net/tls_ca.h"
#include "net/tls_server.h"

static struct rig rig;
static SSL_CTX *ctx, *server_ctx;
static SSL *ssl;
static int fd;

static const char *const *options;

static void make_server_ctx(void)
{
    char *why = NULL;
    struct tls_ca *ca = tls_ca_make(NULL, 0, 1, &why);
    EVP_PKEY *key = tls_ca_new_key(false);
    X509 *leaf = tls_ca_sign(ca, key, "localhost", tls_ca_not_after(ca));
    server_ctx = SSL_CTX_new(TLS_server_method());
    assert_int_equal(SSL_CTX_use_cert_and_key(server_ctx, leaf, key, NULL, 1), 1);
    tls_server_init_ctx(server_ctx);
    X509_free(leaf);
    EVP_PKEY_free(key);
    tls_ca_unref(ca);
}

static int set_up(void **state)
{
    (void)state;
    rig_open(&rig, options);
    make_server_ctx();
    rig.tls = true;
    rig.conf->client.tls = server_ctx;
    ctx = SSL_CTX_new(TLS_client_method());
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    SSL_CTX_free(ctx);
    rig_close(&rig);
    SSL_CTX_free(server_ctx);
    return 0;
}

static void set_up_with(const char *const *with)
{
    tear_down(NULL);
    options = with;
    set_up(NULL);
    options = NULL;
}

static struct client *begin(void)
{
    fd = rig_connect(&rig);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    ssl = SSL_new(ctx);
    SSL_set_fd(ssl, fd);
    return rig_client(&rig);
}

static void end(void)
{
    SSL_free(ssl);
    ssl = NULL;
    close(fd);
    for (int64_t limit = loop_now() + 10000000; rig.clients.n > 0; loop_turn(&rig.f.loop, false))
        assert_true(loop_now() < limit);
    rig_check_empty(&rig);
}

static bool shake(void)
{
    return inside_shake(&rig, ssl);
}

static const char *ask(const char *text)
{
    return inside_ask(&rig, ssl, text);
}

static uint64_t insecure(enum tls_failure failure)
{
    return counter_get(&rig.engine.stats->insecure[failure]);
}

static void inside(void **state)
{
    (void)state;
    struct client *c = begin();
    assert_int_equal(c->state, CLIENT_SHAKES);
    size_t plain = c->stream->fixed;
    assert_int_equal(SSL_connect(ssl), -1);
    fixture_settle(&rig.f);
    assert_int_equal(c->stream->fixed, plain + CLIENT_SHAKES_TLS);
    assert_true(shake());
    const char *answer = ask("GET / HTTP/1.1\r\nHost: b.test\r\n\r\n");
    assert_non_null(strstr(answer, "HTTP/1.1 400 "));
    assert_int_equal(c->from.kind, SOURCE_PROXY);
    assert_int_equal(c->stream->fixed, plain + CLIENT_HOLDS_TLS);
    assert_null(c->secure);
    answer = ask("OPTIONS * HTTP/1.1\r\nHost: b.test\r\n\r\n");
    assert_non_null(strstr(answer, "HTTP/1.1 200 "));
    assert_int_equal(c->timer_is, TIMER_IDLE);
    assert_int_equal(rig.clients.n_resting, 0);
    end();
}

/* A hello of which each byte comes by itself, as some middle boxes send them. */
static void in_pieces(void **state)
{
    (void)state;
    begin();
    BIO *out = BIO_new(BIO_s_mem());
    SSL_set0_wbio(ssl, out);
    assert_int_equal(SSL_connect(ssl), -1);
    char *hello;
    long n = BIO_get_mem_data(out, &hello);
    for (long i = 0; i < n; i++) {
        assert_int_equal(send(fd, hello + i, 1, 0), 1);
        loop_turn(&rig.f.loop, false);
    }
    SSL_set_fd(ssl, fd);
    assert_true(shake());
    end();
}

static void plain_text(void **state)
{
    (void)state;
    const char *const texts[] = {"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
                                 "CONNECT a.test:443 HTTP/1.1\r\n\r\n", "G", "\r\n"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        int how = 0;
        begin();
        rig_send(&rig, fd, texts[i]);
        const char *answer = rig_read(&rig, fd, NULL, &how);
        assert_non_null(strstr(answer, "HTTP/1.1 400 This port speaks TLS"));
        assert_non_null(strstr(answer, "write the proxy's URL with https://"));
        assert_int_equal(how, 1);
        end();
        assert_int_equal(insecure(TLS_FAILURE_FOREIGN), i + 1);
    }
}

static void other_protocols(void **state)
{
    (void)state;
    int how = 0;
    begin();
    rig_send(&rig, fd, "\x05\x01");
    assert_string_equal(rig_read(&rig, fd, NULL, &how), "");
    end();
    begin(); /* a record, but not of a handshake */
    rig_send(&rig, fd, "\x17\x03\x03");
    assert_string_equal(rig_read(&rig, fd, NULL, &how), "");
    end();
    assert_int_equal(insecure(TLS_FAILURE_FOREIGN), 2);
    begin(); /* not a hello */
    assert_int_equal(send(fd, "\x16\x03\x01\x00\x04\x02\x00\x00\x00", 9, 0), 9);
    rig_read(&rig, fd, NULL, &how);
    end();
    assert_int_equal(insecure(TLS_FAILURE_PROTOCOL), 1);
}

/* Who only looks whether somebody is there is no failure. */
static void left(void **state)
{
    (void)state;
    begin();
    end();
    begin();
    rig_send(&rig, fd, "\x16\x03\x01");
    end();
    begin();
    SSL_connect(ssl);
    fixture_settle(&rig.f);
    end();
    assert_int_equal(insecure(TLS_FAILURE_GONE), 2);
}

static void distrust(void **state)
{
    (void)state;
    begin();
    SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    assert_false(shake());
    end();
    assert_int_equal(insecure(TLS_FAILURE_TRUST), 1);
}

static void until_gone(void);

/* A client of TLS 1.3 goes on writing until it reads that it lacks a certificate. */
static void refused_late(void **state)
{
    char got;
    (void)state;
    tls_server_demand_cert(server_ctx);
    begin();
    assert_true(shake());
    until_gone();
    for (int i = 0; i < 3; i++) {
        assert_int_equal(SSL_write(ssl, "GET ", 4), 4);
        fixture_settle(&rig.f);
    }
    assert_true(SSL_read(ssl, &got, 1) <= 0);
    assert_int_equal(ERR_GET_REASON(ERR_get_error()), SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED);
    end();
    assert_int_equal(insecure(TLS_FAILURE_UNKNOWN), 1);
}

static void until_gone(void)
{
    for (int64_t limit = loop_now() + 10000000; rig.clients.n > 0; loop_turn(&rig.f.loop, false))
        assert_true(loop_now() < limit);
}

static void too_slow(void **state)
{
    static const char *const quick[] = {"client.header_timeout=30ms", "client.idle_timeout=20ms",
                                        NULL};
    (void)state;
    set_up_with(quick);
    begin(); /* says nothing: idle */
    until_gone();
    end();
    assert_int_equal(insecure(TLS_FAILURE_TIMEOUT), 0);
    begin();
    assert_int_equal(send(fd, "\x16\x03\x01\x02", 4, 0), 4);
    until_gone();
    end();
    assert_int_equal(insecure(TLS_FAILURE_TIMEOUT), 1);
}

static void drained(void **state)
{
    (void)state;
    begin();
    clients_drain(&rig.clients, 10);
    until_gone();
    end();
    begin(); /* comes in the drain, and is served if it is quick */
    rig.engine.draining = true;
    assert_true(shake());
    assert_non_null(strstr(ask("GET / HTTP/1.1\r\nHost: b\r\n\r\n"), "Connection: close"));
    end();
    begin(); /* has begun */
    rig.clients.grace_ms = 0;
    assert_int_equal(send(fd, "\x16\x03\x01\x02", 4, 0), 4);
    fixture_settle(&rig.f);
    clients_drain(&rig.clients, 1);
    assert_int_equal(rig.clients.n, 1);
    end();
}

/* The worker ends with one that has said nothing, and with one that has sent half a hello. */
static void closed(void **state)
{
    (void)state;
    begin();
    clients_close(&rig.clients);
    end();
    begin();
    rig_send(&rig, fd, "\x16\x03\x01");
    clients_close(&rig.clients);
    end();
    begin();
    SSL_connect(ssl);
    loop_turn(&rig.f.loop, false);
    clients_close(&rig.clients);
    end();
}

static void refused(void **state)
{
    static const char *const others[] = {"client.allow=192.0.2.0/24", NULL};
    static const char alert[] = {21, 3, 3, 0, 2, 2, 49};
    char got[16];
    int how = 0;
    (void)state;
    set_up_with(others);
    assert_null(begin());
    assert_int_equal(recv(fd, got, sizeof(got), 0), (ssize_t)sizeof(alert));
    assert_memory_equal(got, alert, sizeof(alert));
    rig_read(&rig, fd, NULL, &how);
    assert_int_equal(how, 1);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(inside, set_up, tear_down),
        cmocka_unit_test_setup_teardown(in_pieces, set_up, tear_down),
        cmocka_unit_test_setup_teardown(plain_text, set_up, tear_down),
        cmocka_unit_test_setup_teardown(other_protocols, set_up, tear_down),
        cmocka_unit_test_setup_teardown(left, set_up, tear_down),
        cmocka_unit_test_setup_teardown(distrust, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refused_late, set_up, tear_down),
        cmocka_unit_test_setup_teardown(too_slow, set_up, tear_down),
        cmocka_unit_test_setup_teardown(drained, set_up, tear_down),
        cmocka_unit_test_setup_teardown(closed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refused, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
