/* SPDX-License-Identifier: Apache-2.0 */
/* net/tls_asked.c: a server that asks for a client certificate behind the request, by either
 * version, too often, or with another certificate than before. The server is played in the same
 * thread; its bytes go through memory, so that a test says how many of them arrive. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <openssl/err.h>
#include <signal.h>
#include <sys/socket.h>

#include "loopback_fixture.h"
#include "net/linger.h"
#include "net/tls_client.h"
#include "tls_fixture.h"

enum { BIG = 200000, HUGE_BODY = 16 * 1024 * 1024, FRAGMENT = 512, BUSY_TURNS = 20 };

static struct loop loop;
static char dir[64];
static char *ca_path, *cert_path, *key_path;
static struct pair ca, client, leaf, other, stranger;
static struct conf conf;
static struct rule rule;
static struct tls_sessions sessions;

static struct {
    struct stream *s;
    int ready, drained, faults;
    size_t n_got;
    struct fault fault;
} u;

static struct {
    SSL_CTX *ctx;
    SSL *ssl;
    int fd;
    size_t n_got;
    char last; /* byte of what came */
    bool deaf; /* reads nothing more */
    int alert; /* that came: level << 8 | description */
} srv;

static void on_ready(void *arg)
{
    (void)arg;
    u.ready++;
}

static size_t on_data(void *arg, const char *p, size_t n)
{
    (void)arg;
    (void)p;
    u.n_got += n;
    return n;
}

static void on_eof(void *arg, bool clean)
{
    (void)arg;
    (void)clean;
}

static void on_drain(void *arg)
{
    (void)arg;
    u.drained++;
}

static void on_fault(void *arg, const struct fault *f)
{
    (void)arg;
    u.faults++;
    u.fault = *f;
}

static const struct stream_user user = {on_ready, on_data, on_eof, on_drain, on_fault};

static void use_rule(bool has_cert)
{
    use_tls(&conf, &rule,
            (struct tls_policy){.ca_file = ca_path,
                                .client_cert = has_cert ? cert_path : NULL,
                                .client_key = has_cert ? key_path : NULL});
}

static int set_up_group(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/test_tls_asked.XXXXXX");
    if (mkdtemp(dir) == NULL)
        return -1;
    ca = make_cert(NULL, &(struct cert_want){.cn = "Test CA", .is_ca = true});
    client = make_cert(&ca, &(struct cert_want){.cn = "client"});
    leaf = make_cert(&ca, &(struct cert_want){.cn = "x", .san = "DNS:a.test"});
    other = make_cert(&ca, &(struct cert_want){.cn = "y", .san = "DNS:a.test"});
    stranger = make_cert(&ca, &(struct cert_want){.cn = "z", .san = "DNS:b.test"});
    ca_path = write_cert(dir, "ca.pem", ca.cert);
    cert_path = write_cert(dir, "client.pem", client.cert);
    key_path = write_key(dir, "client.key", client.key);
    return 0;
}

static int tear_down_group(void **state)
{
    (void)state;
    char *paths[] = {ca_path, cert_path, key_path};
    for (size_t i = 0; i < 3; i++) {
        unlink(paths[i]);
        free(paths[i]);
    }
    struct pair *pairs[] = {&ca, &client, &leaf, &other, &stranger};
    for (size_t i = 0; i < 5; i++)
        free_pair(pairs[i]);
    return rmdir(dir);
}

static int set_up(void **state)
{
    (void)state;
    memset(&u, 0, sizeof(u));
    memset(&srv, 0, sizeof(srv));
    srv.fd = -1;
    return loop_init(&loop) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    stream_close(u.s);
    linger_close_all(&loop);
    SSL_free(srv.ssl);
    SSL_CTX_free(srv.ctx);
    close(srv.fd);
    loop_clear(&loop);
    forget_tls(&conf, &sessions);
    return 0;
}

/* ---- the server */

static void on_info(const SSL *ssl, int where, int ret)
{
    (void)ssl;
    if ((where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT)
        srv.alert = ret;
}

/* Sends at most MAX bytes of what the server has to say. */
static void deliver(size_t max)
{
    char buf[4096];
    while (max > 0) {
        size_t part = max < sizeof(buf) ? max : sizeof(buf);
        int n = BIO_read(SSL_get_wbio(srv.ssl), buf, (int)part);
        if (n <= 0)
            return;
        assert_int_equal(send(srv.fd, buf, (size_t)n, MSG_NOSIGNAL), n);
        max -= (size_t)n;
    }
}

static void server_reads(void)
{
    static char buf[65536];
    ssize_t r;
    int n;
    while ((r = recv(srv.fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0)
        BIO_write(SSL_get_rbio(srv.ssl), buf, (int)r);
    if (srv.deaf)
        return;
    ERR_clear_error();
    while ((n = SSL_read(srv.ssl, buf, sizeof(buf))) > 0) {
        srv.n_got += (size_t)n;
        srv.last = buf[n - 1];
    }
}

static void turns(int n)
{
    while (n-- > 0) {
        server_reads();
        deliver(SIZE_MAX);
        loop_turn(&loop, false);
    }
}

/* A connection that is open, by VERSION. */
static void open_both(int version)
{
    struct addr bound;
    srv.ctx = SSL_CTX_new(TLS_server_method());
    SSL_CTX_use_certificate(srv.ctx, leaf.cert);
    SSL_CTX_use_PrivateKey(srv.ctx, leaf.key);
    SSL_CTX_set_max_proto_version(srv.ctx, version);
    SSL_CTX_set_session_id_context(srv.ctx, (const unsigned char *)"test", 4);
    SSL_CTX_set_info_callback(srv.ctx, on_info);
    SSL_CTX_set_options(srv.ctx, SSL_OP_NO_SESSION_RESUMPTION_ON_RENEGOTIATION);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(srv.ctx), ca.cert);
    int fd = connect_pair(&bound, &srv.fd);
    srv.ssl = SSL_new(srv.ctx);
    SSL_set_bio(srv.ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_accept_state(srv.ssl);
    struct tls_peer to = {
        .ctx = rule.tls.ctx, .name = STR("a.test"), .verify = true, .sessions = &sessions};
    u.s = stream_new(&loop, fd, &bound);
    tls_client_push(u.s, &to);
    stream_set_user(u.s, &user, &u);
    stream_start(u.s);
    for (int i = 0; i < 100000 && u.ready + u.faults == 0; i++)
        turns(1);
    turns(5);
    assert_int_equal(u.ready, 1);
    assert_int_equal(u.faults, 0);
}

static void wait_for(const size_t *n, size_t want)
{
    for (int i = 0; i < 100000 && *n < want && u.faults == 0; i++)
        turns(1);
    assert_int_equal(*n, want);
}

static void send_request(size_t n)
{
    size_t want = srv.n_got + n;
    char *p = xcalloc(1, n);
    p[n - 1] = 'z';
    tls_client_begin_request(u.s);
    stream_put(u.s, p, n);
    free(p);
    if (!srv.deaf)
        wait_for(&srv.n_got, want);
}

/* Asks for a certificate, as its version does that; what follows is in the same flight. */
static void ask(void)
{
    SSL_set_verify(srv.ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    if (SSL_version(srv.ssl) == TLS1_3_VERSION)
        assert_int_equal(SSL_verify_client_post_handshake(srv.ssl), 1);
    else
        assert_int_equal(SSL_renegotiate(srv.ssl), 1);
    assert_int_equal(SSL_do_handshake(srv.ssl), 1);
}

static void answer(void)
{
    size_t want = u.n_got + 5;
    assert_int_equal(SSL_write(srv.ssl, "reply", 5), 5);
    wait_for(&u.n_got, want);
}

static bool is_client_known(void)
{
    X509 *seen = SSL_get0_peer_certificate(srv.ssl);
    return seen != NULL && X509_cmp(seen, client.cert) == 0;
}

/* ---- tests */

static void is_shown(void **state)
{
    (void)state;
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    use_rule(true);
    for (size_t i = 0; i < 2; i++) {
        open_both(versions[i]);
        for (int k = 0; k < 3; k++) {
            send_request(10);
            ask();
            turns(10);
            assert_true(is_client_known());
            answer();
        }
        assert_true(stream_is_quiet(u.s, true));
        tear_down(state);
        assert_int_equal(set_up(state), 0);
        use_rule(true);
    }
    open_both(TLS1_3_VERSION);
}

/* What is written while it lasts waits, without an event that comes for nothing. */
static void writes_wait(void **state)
{
    (void)state;
    use_rule(true);
    open_both(TLS1_2_VERSION);
    send_request(10);
    ask();
    deliver(SIZE_MAX);
    for (int i = 0; i < BUSY_TURNS; i++)
        loop_turn(&loop, false);
    char *p = xcalloc(1, BIG);
    p[BIG - 1] = 'y';
    size_t before = srv.n_got;
    stream_put(u.s, p, BIG);
    assert_int_equal(stream_pending(u.s), BIG);
    assert_true(u.s->writes == NULL || !u.s->writes->is_armed);
    stream_put(u.s, p + BIG - 1, 1);
    assert_true(u.s->writes == NULL || !u.s->writes->is_armed);
    free(p);
    wait_for(&srv.n_got, before + BIG + 1);
    turns(2);
    assert_int_equal(u.drained, 1);
    assert_int_equal(srv.last, 'y');
    assert_true(is_client_known());
    answer();
}

/* A record that the kernel took a part of is written to its end before anything else is said; by
 * TLS 1.3 OpenSSL cannot. */
static void asked_within_a_body(void **state)
{
    (void)state;
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t i = 0; i < 2; i++) {
        use_rule(true);
        open_both(versions[i]);
        send_request(10);
        char *p = xcalloc(1, HUGE_BODY);
        p[HUGE_BODY - 1] = 'x';
        stream_put(u.s, p, HUGE_BODY);
        free(p);
        assert_true(stream_pending(u.s) > 0);
        ask();
        deliver(SIZE_MAX);
        for (int k = 0; k < BUSY_TURNS; k++)
            loop_turn(&loop, false);
        if (versions[i] == TLS1_3_VERSION) {
            assert_int_equal(u.faults, 1);
            assert_non_null(strstr(u.fault.text, "while the request was being sent"));
            return;
        }
        wait_for(&srv.n_got, 10 + HUGE_BODY);
        turns(10);
        assert_int_equal(srv.last, 'x');
        assert_true(is_client_known());
        answer();
        assert_int_equal(u.drained, 1);
        tear_down(state);
        assert_int_equal(set_up(state), 0);
    }
}

/* A server that goes on all the same gets no second renegotiation, and is heard. */
static void once_a_request(void **state)
{
    (void)state;
    use_rule(true);
    open_both(TLS1_2_VERSION);
    send_request(10);
    ask();
    turns(10);
    assert_int_equal(srv.alert, 0);
    srv.deaf = true;
    for (int i = 0; i < 100; i++) {
        ask();
        answer();
    }
    assert_int_equal(u.faults, 0);
    srv.deaf = false;
    server_reads();
    assert_int_equal(srv.alert, SSL3_AL_WARNING << 8 | SSL_AD_NO_RENEGOTIATION);
}

static void declined_without_a_certificate(void **state)
{
    (void)state;
    use_rule(false);
    open_both(TLS1_2_VERSION);
    send_request(10);
    srv.deaf = true;
    ask();
    answer();
    answer();
    assert_int_equal(u.faults, 0);
    srv.deaf = false;
    server_reads();
    assert_int_equal(srv.alert, SSL3_AL_WARNING << 8 | SSL_AD_NO_RENEGOTIATION);
}

/* Who it is does not change, and nothing is told to somebody else. */
static void another_certificate(void **state)
{
    (void)state;
    static const struct {
        struct pair *pair;
        enum fault_code code;
        const char *text, *phrase;
    } table[] = {
        {&other, FAULT_TLS_PROTOCOL, "another certificate",
         "Certificate of %s changed in a renegotiation"},
        {&stranger, FAULT_TLS_CERTIFICATE, "it is for b.test",
         "Certificate is for another host than %s"},
    };
    for (size_t i = 0; i < 2; i++) {
        use_rule(true);
        open_both(TLS1_2_VERSION);
        send_request(10);
        SSL_use_certificate(srv.ssl, table[i].pair->cert);
        SSL_use_PrivateKey(srv.ssl, table[i].pair->key);
        ask();
        deliver(SIZE_MAX);
        loop_turn(&loop, false);
        loop_turn(&loop, false);
        stream_put(u.s, "secret", 6);
        turns(20);
        assert_int_equal(srv.n_got, 10);
        assert_int_equal(u.n_got, 0);
        assert_int_equal(u.faults, 1);
        assert_int_equal(u.fault.code, table[i].code);
        assert_non_null(strstr(u.fault.text, table[i].text));
        assert_string_equal(u.fault.phrase, table[i].phrase);
        assert_int_equal(sessions.n, 0);
        tear_down(state);
        assert_int_equal(set_up(state), 0);
    }
    use_rule(true);
    open_both(TLS1_2_VERSION);
}

static void expect_fault(const char *text, const char *phrase)
{
    for (int i = 0; i < 1000 && u.faults == 0; i++)
        turns(1);
    assert_int_equal(u.faults, 1);
    assert_int_equal(u.fault.code, FAULT_TLS_PROTOCOL);
    assert_non_null(strstr(u.fault.text, text));
    assert_string_equal(u.fault.phrase, phrase);
}

static void twice_by_tls_1_3(void **state)
{
    (void)state;
    use_rule(true);
    open_both(TLS1_3_VERSION);
    send_request(10);
    ask();
    turns(10);
    assert_true(is_client_known());
    ask();
    expect_fault("more than once", "Client certificate asked for more than once by %s");
}

/* One that is not done keeps OpenSSL from writing: a ticket of which the first record has come. */
static void half_a_ticket(void **state)
{
    (void)state;
    use_rule(true);
    open_both(TLS1_3_VERSION);
    send_request(10);
    ask();
    turns(10);
    static const char padding[FRAGMENT]; /* a ticket of more than one record */
    assert_int_equal(SSL_SESSION_set1_ticket_appdata(SSL_get_session(srv.ssl), padding, FRAGMENT),
                     1);
    SSL_set_max_send_fragment(srv.ssl, FRAGMENT);
    assert_int_equal(SSL_new_session_ticket(srv.ssl), 1);
    assert_int_equal(SSL_do_handshake(srv.ssl), 1);
    assert_true(BIO_pending(SSL_get_wbio(srv.ssl)) > FRAGMENT + 5 + 1 + 16);
    deliver(FRAGMENT + 5 + 1 + 16);
    for (int i = 0; i < BUSY_TURNS; i++)
        loop_turn(&loop, false);
    size_t before = srv.n_got;
    stream_put(u.s, "hello", 5);
    assert_int_equal(stream_pending(u.s), 5);
    assert_true(u.s->writes == NULL || !u.s->writes->is_armed);
    wait_for(&srv.n_got, before + 5);
    answer();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(is_shown),
        TEST(writes_wait),
        TEST(asked_within_a_body),
        TEST(once_a_request),
        TEST(declined_without_a_certificate),
        TEST(another_certificate),
        TEST(twice_by_tls_1_3),
        TEST(half_a_ticket),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, set_up_group, tear_down_group);
}
