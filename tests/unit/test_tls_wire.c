/* SPDX-License-Identifier: Apache-2.0 */
/* net/tls_wire.c, with memory beneath and a server of OpenSSL's behind that: bursts of records
 * however they are cut, what stands at their end, and readers with little and with much room. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dlfcn.h>

#include "net/tls_wire.h"
#include "tls_fixture.h"

enum {
    SMALL = 100,
    SEALED = SMALL + 22, /* as a record of TLS 1.3: header, type, tag */
    HEADER = FEED_HEADER,
    ROOM = 64 * 1024,
    LARGE_ROOM = 256 * 1024
};

static SSL_CTX *client_ctx, *server_ctx;
static struct pair cert;
static SSL *server;
static BIO *to_server, *to_client;
static size_t passed; /* bytes of `to_client` that have come */
static struct line line;
static struct wire below;
static struct tls_wire wire;
static size_t n_put, n_got;
static char buf[LARGE_ROOM];

/* In front of OpenSSL's: how often it was called, and how often while the buffer was in use. */
static unsigned n_freed, n_wrong;

int SSL_free_buffers(SSL *ssl)
{
    int (*real)(SSL *);
    void *found = dlsym(RTLD_NEXT, "SSL_free_buffers");
    memcpy(&real, &found, sizeof(real));
    n_freed++;
    n_wrong += SSL_has_pending(ssl) != 0 || strcmp(SSL_rstate_string(ssl), "RB") == 0;
    return real(ssl);
}

static ssize_t below_read(struct wire *w, char *p, size_t n)
{
    size_t most = n < passed ? n : passed;
    int got = most == 0 ? 0 : BIO_read(to_client, p, (int)most);
    if (got <= 0) {
        w->line->drained = true;
        return WIRE_AGAIN;
    }
    passed -= passed == SIZE_MAX ? 0 : (size_t)got;
    w->line->drained = (size_t)got < n;
    return got;
}

static ssize_t below_write(struct wire *w, const struct iovec *iov, int n)
{
    (void)w;
    return n == 0 ? 0 : BIO_write(to_server, iov->iov_base, (int)iov->iov_len);
}

static const struct wire_ops below_ops = {.read = below_read, .write = below_write};

static void failed(struct tls_wire *t, int ssl_error, unsigned long err)
{
    (void)t;
    fail_msg("TLS gave up: %d, %s", ssl_error, ERR_error_string(err, NULL));
}

static void freed(struct tls_wire *t)
{
    (void)t;
}

static const struct tls_role role = {.failed = failed, .freed = freed};

/* All that has come is as it was sent. */
static void take_all(size_t room)
{
    for (;;) {
        line.drained = false; /* as an event tells */
        ssize_t n = wire_read(&wire.wire, buf, room);
        if (n == WIRE_AGAIN)
            return;
        assert_true(n > 0 && (size_t)n <= room);
        for (ssize_t i = 0; i < n; i++)
            assert_int_equal((unsigned char)buf[i], (n_got + (size_t)i) % 251);
        n_got += (size_t)n;
    }
}

/* The server makes N records of LEN bytes, which have not come. */
static void seal(unsigned n, size_t len)
{
    char text[FEED_RECORD];
    while (n-- > 0) {
        for (size_t i = 0; i < len; i++)
            text[i] = (char)((n_put + i) % 251);
        assert_int_equal(SSL_write(server, text, (int)len), (int)len);
        n_put += len;
    }
}

/* All that the server has made has come. */
static void pass_all(void)
{
    passed = (size_t)BIO_pending(to_client);
}

/* A burst is read, so the next one is looked at record by record. */
static void burst_first(void)
{
    seal(3, SMALL);
    pass_all();
    take_all(ROOM);
    assert_int_equal(n_got, n_put);
    assert_true(wire.feed.has_many);
}

static int set_up_group(void **state)
{
    (void)state;
    cert = make_cert(NULL, &(struct cert_want){.cn = "x"});
    server_ctx = SSL_CTX_new(TLS_server_method());
    client_ctx = SSL_CTX_new(TLS_client_method());
    tls_wire_init_ctx(client_ctx);
    SSL_CTX_set_min_proto_version(client_ctx, TLS1_3_VERSION);
    return SSL_CTX_use_certificate(server_ctx, cert.cert) == 1 &&
                   SSL_CTX_use_PrivateKey(server_ctx, cert.key) == 1
               ? 0
               : -1;
}

static int tear_down_group(void **state)
{
    (void)state;
    SSL_CTX_free(client_ctx);
    SSL_CTX_free(server_ctx);
    free_pair(&cert);
    return 0;
}

static int set_up(void **state)
{
    (void)state;
    server = SSL_new(server_ctx);
    to_server = BIO_new(BIO_s_mem());
    to_client = BIO_new(BIO_s_mem());
    SSL_set_bio(server, to_server, to_client);
    SSL_set_accept_state(server);
    line = (struct line){.fd = -1};
    below = (struct wire){.ops = &below_ops, .line = &line};
    wire = (struct tls_wire){.wire = {.below = &below, .line = &line}};
    tls_wire_init(&wire, client_ctx, &role);
    SSL_set_connect_state(wire.ssl);
    passed = SIZE_MAX;
    n_put = n_got = 0;
    for (int i = 0; i < 4 && wire.state != TLS_WIRE_OPEN; i++) {
        line.drained = false;
        (void)wire.wire.ops->handshake(&wire.wire);
        (void)SSL_do_handshake(server);
    }
    take_all(ROOM); /* tickets */
    passed = 0;
    n_freed = n_wrong = 0;
    return wire.state == TLS_WIRE_OPEN && SSL_is_init_finished(server) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    wire_free(&wire.wire);
    SSL_free(server);
    ERR_clear_error();
    return 0;
}

/* ---- tests */

/* Two bursts, the second one cut after each of its bytes: nothing is lost, and the buffer is given
 * up where no record has begun. So not behind a header, where SSL_has_pending() says that there is
 * nothing. */
static void any_cut(void **state)
{
    (void)state;
    for (size_t cut = 1; cut <= 3 * SEALED; cut++) {
        burst_first();
        seal(3, SMALL);
        assert_int_equal(BIO_pending(to_client), 3 * SEALED);
        n_freed = 0;
        passed = cut;
        take_all(ROOM);
        assert_int_equal(n_got, n_put - (3 - cut / SEALED) * SMALL);
        assert_int_equal(n_freed, cut > SEALED && cut % SEALED == 0);
        if (cut == SEALED + HEADER)
            assert_string_equal(SSL_rstate_string(wire.ssl), "RB");
        pass_all();
        take_all(ROOM);
        assert_int_equal(n_got, n_put);
        assert_int_equal(n_wrong, 0);
    }
}

/* Who has no room for the whole of a record gets the rest the next time: it is in the buffer. */
static void little_room(void **state)
{
    (void)state;
    static const size_t rooms[] = {40 * 1024, 2 * FEED_RECORD, FEED_RECORD + 1, 1000};
    for (size_t i = 0; i < sizeof(rooms) / sizeof(rooms[0]); i++) {
        burst_first();
        seal(6, FEED_RECORD);
        pass_all();
        line.drained = false;
        size_t before = n_got;
        assert_int_equal(wire_read(&wire.wire, buf, rooms[i]), rooms[i]);
        assert_int_equal((unsigned char)buf[rooms[i] - 1], (before + rooms[i] - 1) % 251);
        n_got += rooms[i];
        if (rooms[i] % FEED_RECORD != 0)
            assert_true(SSL_pending(wire.ssl) > 0);
        assert_true(wire.wire.ops->has_buffered(&wire.wire));
        take_all(rooms[i]);
        assert_int_equal(n_got, n_put);
        assert_false(wire.wire.ops->has_buffered(&wire.wire));
        assert_int_equal(line.unread, 0);
        assert_int_equal(n_wrong, 0);
    }
}

/* However much room there is, no more is read from beneath than is taken: nothing is put back, and
 * a call gives no more than others can wait for. */
static void much_room(void **state)
{
    (void)state;
    burst_first();
    seal(40, FEED_RECORD);
    pass_all();
    for (int calls = 0; n_got < n_put; calls++) {
        line.drained = false;
        ssize_t n = wire_read(&wire.wire, buf, LARGE_ROOM);
        assert_true(calls < 12);
        assert_in_range(n, 1, ROOM);
        assert_int_equal(line.unread, 0);
        for (ssize_t k = 0; k < n; k++)
            assert_int_equal((unsigned char)buf[k], (n_got + (size_t)k) % 251);
        n_got += (size_t)n;
    }
    assert_int_equal(n_got, n_put);
    assert_int_equal(n_wrong, 0);
}

/* What is behind close_notify in one burst, a record or not, is nobody's. */
static void behind_close_notify(void **state)
{
    (void)state;
    static const char tail[] = "\x17\x03\x03\x00\x20HTTP/1.1 200 OK\r\n\r\n and so on";
    burst_first();
    seal(3, SMALL);
    (void)SSL_shutdown(server);
    BIO_write(to_client, tail, sizeof(tail));
    pass_all();
    line.drained = false;
    assert_int_equal(wire_read(&wire.wire, buf, ROOM), 3 * SMALL);
    assert_true(wire.wire.ops->has_buffered(&wire.wire)); /* the end itself */
    for (int i = 0; i < 3; i++) {
        line.drained = false;
        assert_int_equal(wire_read(&wire.wire, buf, ROOM), WIRE_EOF);
        assert_true(line.eof_clean);
    }
    assert_int_equal(line.unread, sizeof(tail));
    assert_int_equal(n_wrong, 0);
}

static void server_updates_keys(void)
{
    assert_int_equal(SSL_key_update(server, SSL_KEY_UPDATE_REQUESTED), 1);
    assert_int_equal(SSL_do_handshake(server), 1);
}

/* New keys inside a burst and as its end, which the other side is to answer with its own. */
static void new_keys(void **state)
{
    (void)state;
    static char text[] = "behind them";
    char got[sizeof(text)];
    const struct iovec v = {text, sizeof(text)};
    burst_first();
    seal(2, SMALL);
    server_updates_keys();
    seal(3, SMALL);
    server_updates_keys();
    pass_all();
    take_all(ROOM);
    assert_int_equal(n_got, n_put);
    assert_int_equal(wire.wire.ops->write(&wire.wire, &v, 1), sizeof(text));
    assert_int_equal(SSL_read(server, got, sizeof(got)), sizeof(got));
    assert_memory_equal(got, text, sizeof(text));
    burst_first();
    assert_int_equal(n_wrong, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(any_cut),  TEST(little_room), TEST(much_room), TEST(behind_close_notify),
        TEST(new_keys),
    };
    return cmocka_run_group_tests(tests, set_up_group, tear_down_group);
}
