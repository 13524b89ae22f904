/* SPDX-License-Identifier: Apache-2.0 */
/* net/tls_client.c and net/tls_verify.c against a server in the same thread: what verifies and
 * what the fault says, resumption, large bodies, ends, and closing in every callback. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <signal.h>

#include "loopback_fixture.h"
#include "net/linger.h"
#include "net/tls_client.h"
#include "net/tls_wire.h"
#include "tls_fixture.h"

enum callback { NOWHERE, IN_READY, IN_DATA, IN_EOF, IN_DRAIN, IN_FAULT };

static struct loop loop;
static struct pair ca;
static char dir[64];
static char *ca_path;
static char empty[] = "";

static struct user {
    struct stream *s;
    int ready, data, eof, drain, faults;
    bool eof_clean, gone;
    enum callback close_in;
    int how; /* 0 close, 1 abort, 2 linger */
    size_t n_got;
    char head[64]; /* the first bytes */
    struct fault fault;
} u;

/* The other end. */
static struct server {
    SSL_CTX *ctx;
    SSL *ssl;
    int fd;
    struct pair cert;
    size_t n_got;
} srv;

static struct conf conf;
static struct rule rule;
static struct tls_sessions sessions;

static void maybe_close(enum callback here)
{
    assert_false(u.gone);
    if (u.close_in != here)
        return;
    u.gone = true;
    if (u.how == 0)
        stream_close(u.s);
    else if (u.how == 1)
        stream_abort(u.s);
    else
        stream_linger(u.s);
}

static void on_ready(void *arg)
{
    (void)arg;
    u.ready++;
    maybe_close(IN_READY);
}

static size_t on_data(void *arg, const char *p, size_t n)
{
    (void)arg;
    u.data++;
    maybe_close(IN_DATA);
    for (size_t i = 0; i < n && u.n_got + i < sizeof(u.head); i++)
        u.head[u.n_got + i] = p[i];
    for (size_t i = 0; i < n; i++)
        assert_int_equal((unsigned char)p[i], (unsigned char)((u.n_got + i) % 251));
    u.n_got += n;
    return n;
}

static void on_eof(void *arg, bool clean)
{
    (void)arg;
    u.eof++;
    u.eof_clean = clean;
    maybe_close(IN_EOF);
}

static void on_drain(void *arg)
{
    (void)arg;
    u.drain++;
    maybe_close(IN_DRAIN);
}

static void on_fault(void *arg, const struct fault *f)
{
    (void)arg;
    u.faults++;
    u.fault = *f;
    maybe_close(IN_FAULT);
}

static const struct stream_user user = {on_ready, on_data, on_eof, on_drain, on_fault};

static void use_rule(const char *crl)
{
    use_tls(&conf, &rule, (struct tls_policy){.ca_file = ca_path, .crl_file = (char *)crl});
}

static int set_up_group(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/test_tls_client.XXXXXX");
    if (mkdtemp(dir) == NULL)
        return -1;
    ca = make_cert(NULL, &(struct cert_want){.cn = "Test CA", .is_ca = true});
    ca_path = write_cert(dir, "ca.pem", ca.cert);
    return 0;
}

static int tear_down_group(void **state)
{
    (void)state;
    unlink(ca_path);
    free(ca_path);
    free_pair(&ca);
    return rmdir(dir);
}

static int set_up(void **state)
{
    (void)state;
    memset(&u, 0, sizeof(u));
    memset(&srv, 0, sizeof(srv));
    srv.fd = -1;
    use_rule(NULL);
    return loop_init(&loop) ? 0 : -1;
}

static void stop_server(void)
{
    SSL_free(srv.ssl);
    srv.ssl = NULL;
    if (srv.fd >= 0)
        close(srv.fd);
    srv.fd = -1;
    srv.n_got = 0;
}

static void drop_server(void)
{
    stop_server();
    SSL_CTX_free(srv.ctx);
    srv.ctx = NULL;
    free_pair(&srv.cert);
    memset(&srv.cert, 0, sizeof(srv.cert));
}

static int tear_down(void **state)
{
    (void)state;
    if (!u.gone)
        stream_close(u.s);
    linger_close_all(&loop);
    drop_server();
    loop_clear(&loop);
    forget_tls(&conf, &sessions);
    return 0;
}

/* Makes the server's context with a certificate as wanted, by ISSUER. */
static void serve(const struct pair *issuer, const struct cert_want *want)
{
    srv.cert = make_cert(issuer, want);
    srv.ctx = SSL_CTX_new(TLS_server_method());
    /* What is too weak is for the client to refuse. */
    SSL_CTX_set_security_level(srv.ctx, 0);
    assert_int_equal(SSL_CTX_use_certificate(srv.ctx, srv.cert.cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(srv.ctx, srv.cert.key), 1);
    SSL_CTX_set_mode(srv.ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    static const unsigned char id[] = "test";
    SSL_CTX_set_session_id_context(srv.ctx, id, sizeof(id));
}

static void serve_good(void)
{
    serve(&ca, &(struct cert_want){.cn = "x", .san = "DNS:a.test,DNS:*.w.test,IP:127.0.0.1"});
}

static struct addr bound;

/* A connection to the server, not started. */
static void dial(const char *name, bool is_ip)
{
    int fd = connect_pair(&bound, &srv.fd);
    if (srv.ctx != NULL) {
        srv.ssl = SSL_new(srv.ctx);
        SSL_set_fd(srv.ssl, srv.fd);
        SSL_set_accept_state(srv.ssl);
    }
    char text[64];
    snprintf(text, sizeof(text), "%s:1", name);
    struct tls_peer to = {.ctx = rule.tls.ctx,
                          .name = str_from(name),
                          .where = str_from(text),
                          .is_ip = is_ip,
                          .verify = rule.tls.verify,
                          .sessions = &sessions};
    u.s = stream_new(&loop, fd, &bound);
    tls_client_push(u.s, &to);
    stream_set_user(u.s, &user, &u);
}

/* Takes what the client sends, checking it. */
static void server_reads(void)
{
    static char buf[65536];
    for (;;) {
        ERR_clear_error();
        int n = SSL_read(srv.ssl, buf, sizeof(buf));
        if (n <= 0)
            break;
        for (int i = 0; i < n; i++)
            assert_int_equal((unsigned char)buf[i], (unsigned char)((srv.n_got + (size_t)i) % 251));
        srv.n_got += (size_t)n;
    }
}

static void turns(int n)
{
    while (n-- > 0) {
        if (srv.ssl != NULL)
            server_reads();
        loop_turn(&loop, false);
    }
}

/* Runs both ends until the handshake has an outcome. */
static void shake(void)
{
    stream_start(u.s);
    assert_int_equal(u.ready + u.faults, 0);
    for (int i = 0; i < 100000 && u.ready + u.faults == 0; i++)
        turns(1);
}

static void server_writes(size_t n)
{
    static char buf[16384];
    size_t sent = 0;
    while (sent < n) {
        size_t part = n - sent < sizeof(buf) ? n - sent : sizeof(buf);
        for (size_t i = 0; i < part; i++)
            buf[i] = (char)((sent + i) % 251);
        ERR_clear_error();
        int r = SSL_write(srv.ssl, buf, (int)part);
        if (r > 0)
            sent += (size_t)r;
        if (u.gone)
            return;
        loop_turn(&loop, false);
    }
}

static char *make_bytes(size_t n)
{
    char *p = xmalloc(n);
    for (size_t i = 0; i < n; i++)
        p[i] = (char)(i % 251);
    return p;
}

static void close_client(void)
{
    stream_close(u.s);
    loop_turn(&loop, false);
    memset(&u, 0, sizeof(u));
    u.gone = true;
}

/* ---- verification ---- */

static void names_that_verify(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool is_ip;
    } table[] = {{"a.test", false}, {"x.w.test", false}, {"127.0.0.1", true}};
    serve_good();
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        u.gone = false;
        dial(table[i].name, table[i].is_ip);
        shake();
        assert_int_equal(u.faults, 0);
        assert_int_equal(u.ready, 1);
        const char *sni = SSL_get_servername(srv.ssl, TLSEXT_NAMETYPE_host_name);
        if (table[i].is_ip)
            assert_null(sni);
        else
            assert_string_equal(sni, table[i].name);
        assert_string_equal(tls_wire_version(u.s), "TLSv1.3");
        close_client();
        stop_server();
        tls_sessions_clear(&sessions);
    }
}

/* Connects to NAME, which must fail with a certificate fault that has all of the texts. */
static void expect_bad(const char *name, bool is_ip, const char *a, const char *b)
{
    dial(name, is_ip);
    shake();
    assert_int_equal(u.faults, 1);
    assert_int_equal(u.ready, 0);
    assert_int_equal(u.fault.code, FAULT_TLS_CERTIFICATE);
    if (strstr(u.fault.text, a) == NULL || strstr(u.fault.text, b) == NULL)
        fail_msg("\"%s\" or \"%s\" is not in \"%s\"", a, b, u.fault.text);
    assert_non_null(strstr(u.fault.text, name));
    assert_int_equal(srv.n_got, 0);
    close_client();
    drop_server();
    u.gone = false;
}

static void bad_certificates(void **state)
{
    (void)state;
    struct pair other = make_cert(NULL, &(struct cert_want){.cn = "Other CA", .is_ca = true});
    struct pair middle = make_cert(&ca, &(struct cert_want){.cn = "Middle", .is_ca = true});
    serve(&ca, &(struct cert_want){.cn = "x", .san = "DNS:a.test", .from = -9 * DAY, .to = -DAY});
    expect_bad("a.test", false, "it has expired (notAfter 20", "subject CN=x, issuer CN=Test CA");
    serve(&ca, &(struct cert_want){.cn = "x", .san = "DNS:a.test", .from = DAY, .to = 9 * DAY});
    expect_bad("a.test", false, "it is not yet valid (notBefore 20", "issuer CN=Test CA");
    serve_good();
    expect_bad("b.test", false, "it is for a.test, *.w.test, 127.0.0.1, not for this host", "CN=x");
    serve_good();
    expect_bad("a.b.w.test", false, "not for this host", "CN=x");
    serve_good();
    expect_bad("127.0.0.2", true, "not for this address", "CN=x");
    serve(&ca, &(struct cert_want){.cn = "a.test"});
    expect_bad("a.test", false, "it holds no host name", "a CN does not count");
    serve(&ca, &(struct cert_want){.cn = "a.test", .san = "DNS:b.test"});
    expect_bad("a.test", false, "it is for b.test", "CN=a.test");
    serve(&ca, &(struct cert_want){.cn = "x", .san = "DNS:p*.test"});
    expect_bad("part.test", false, "it is for p*.test", "CN=x");
    serve(NULL, &(struct cert_want){.cn = "x", .san = "DNS:a.test"});
    expect_bad("a.test", false, "it is self-signed", "subject CN=x, issuer CN=x");
    serve(&other, &(struct cert_want){.cn = "x", .san = "DNS:a.test"});
    expect_bad("a.test", false, "its issuer is unknown", "issuer CN=Other CA");
    serve(&middle, &(struct cert_want){.cn = "x", .san = "DNS:a.test"});
    expect_bad("a.test", false, "does not send the intermediate", "issuer CN=Middle");
    serve(&other, &(struct cert_want){.cn = "x", .san = "DNS:a.test"});
    SSL_CTX_add1_chain_cert(srv.ctx, other.cert);
    expect_bad("a.test", false, "self-signed certificate, is not a trusted CA", "CN=Other CA");
    serve(&ca, &(struct cert_want){.cn = "\x01\"evil\\", .san = "DNS:b.test"});
    expect_bad("a.test", false, "\\x", "issuer CN=Test CA");
    free_pair(&other);
    free_pair(&middle);
}

static void expired_intermediate_is_named(void **state)
{
    (void)state;
    struct cert_want old = {.cn = "Old", .is_ca = true, .from = -9 * DAY, .to = -DAY};
    struct pair middle = make_cert(&ca, &old);
    serve(&middle, &(struct cert_want){.cn = "x", .san = "DNS:a.test"});
    SSL_CTX_add1_chain_cert(srv.ctx, middle.cert);
    expect_bad("a.test", false, "of an issuer of a.test", "subject CN=Old");
    free_pair(&middle);
}

static void revocation(void **state)
{
    (void)state;
    struct pair middle = make_cert(&ca, &(struct cert_want){.cn = "Middle", .is_ca = true});
    serve_good();
    X509_CRL *crl = make_crl(&ca, srv.cert.cert);
    char *path = write_crl(dir, "crl.pem", crl);
    use_rule(path);
    expect_bad("a.test", false, "it has been revoked", "CN=x");
    /* Another certificate of that CA is not in the list. */
    serve_good();
    dial("a.test", false);
    shake();
    assert_int_equal(u.ready, 1);
    close_client();
    drop_server();
    u.gone = false;
    /* The list does not cover this leaf's issuer. */
    serve(&middle, &(struct cert_want){.cn = "x", .san = "DNS:a.test"});
    SSL_CTX_add1_chain_cert(srv.ctx, middle.cert);
    expect_bad("a.test", false, "crl_file holds no list of its issuer", "CN=Middle");
    /* One that covers the leaf need not cover the CA above. */
    serve(&middle, &(struct cert_want){.cn = "x", .san = "DNS:a.test"});
    SSL_CTX_add1_chain_cert(srv.ctx, middle.cert);
    X509_CRL *low = make_crl(&middle, NULL);
    unlink(path);
    free(path);
    path = write_crl(dir, "crl.pem", low);
    use_rule(path);
    tls_sessions_clear(&sessions);
    dial("a.test", false);
    shake();
    assert_int_equal(u.ready, 1);
    unlink(path);
    free(path);
    X509_CRL_free(crl);
    X509_CRL_free(low);
    free_pair(&middle);
}

static void verify_off_takes_anything(void **state)
{
    (void)state;
    serve(NULL, &(struct cert_want){.cn = "y"});
    rule.tls.verify = false;
    dial("a.test", false);
    shake();
    assert_int_equal(u.ready, 1);
}

static void unusable_names(void **state)
{
    (void)state;
    static const char *const names[] = {".test", ""};
    for (size_t i = 0; i < 2; i++) {
        serve_good();
        dial(names[i], false);
        shake();
        assert_int_equal(u.faults, 1);
        assert_int_equal(u.fault.code, FAULT_TLS_CERTIFICATE);
        close_client();
        drop_server();
        u.gone = false;
    }
}

/* ---- other handshake faults ---- */

/* Answers the hello with BYTES and closes. */
static void expect_raw(const char *bytes, enum fault_code code, const char *text)
{
    char hello[4096];
    dial("a.test", false);
    stream_start(u.s);
    turns(1);
    assert_true(read(srv.fd, hello, sizeof(hello)) > 0);
    if (*bytes != '\0')
        assert_int_equal(write(srv.fd, bytes, strlen(bytes)), (ssize_t)strlen(bytes));
    stop_server();
    turns(5);
    assert_int_equal(u.faults, 1);
    assert_int_equal(u.fault.code, code);
    if (strstr(u.fault.text, text) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", text, u.fault.text);
    bool is_plain = strstr(text, "plain HTTP") != NULL || strstr(text, "without a byte") != NULL;
    assert_int_equal(u.fault.is_plain, is_plain);
    close_client();
    u.gone = false;
}

static void what_is_no_tls(void **state)
{
    (void)state;
    expect_raw("HTTP/1.1 400 Bad Request\r\n\r\n", FAULT_TLS_PROTOCOL,
               "speaks plain HTTP, not TLS");
    expect_raw("<!DOCTYPE HTML>\n<title>Bad</title>", FAULT_TLS_PROTOCOL, "speaks plain HTTP");
    expect_raw("SSH-2.0-OpenSSH_9.2\r\n", FAULT_TLS_PROTOCOL, "TLS with a.test:");
    expect_raw("\x15\x03\x03\x00\x02\x02", FAULT_UP_CLOSED, "during the TLS handshake");
    expect_raw("", FAULT_UP_CLOSED,
               "closed the connection during the TLS handshake without a byte");
    expect_raw("HT", FAULT_UP_CLOSED, "closed the connection");
}

static void alert_is_told(void **state)
{
    (void)state;
    serve_good();
    SSL_CTX_set_max_proto_version(srv.ctx, TLS1_2_VERSION);
    SSL_CTX_set_cipher_list(srv.ctx, "ECDHE-RSA-AES128-GCM-SHA256");
    dial("a.test", false);
    shake();
    assert_int_equal(u.faults, 1);
    assert_int_equal(u.fault.code, FAULT_TLS_ALERT);
    assert_non_null(strstr(u.fault.text, "handshake failure"));
}

static void old_server_is_refused(void **state)
{
    (void)state;
    serve_good();
    SSL_CTX_set_min_proto_version(srv.ctx, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(srv.ctx, TLS1_1_VERSION);
    dial("a.test", false);
    shake();
    assert_int_equal(u.faults, 1);
    assert_true(u.fault.code == FAULT_TLS_PROTOCOL || u.fault.code == FAULT_TLS_ALERT);
}

static void old_server_is_taken_where_a_rule_says_so(void **state)
{
    (void)state;
    rule.tls.min_version = TLS1_1_VERSION;
    remake_tls(&conf);
    serve_good();
    SSL_CTX_set_min_proto_version(srv.ctx, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(srv.ctx, TLS1_1_VERSION);
    dial("a.test", false);
    shake();
    assert_int_equal(u.ready, 1);
    assert_string_equal(tls_wire_version(u.s), "TLSv1.1");
}

/* ---- strength ---- */

static int allow_all(const SSL *s, const SSL_CTX *ctx, int op, int bits, int nid, void *other,
                     void *arg)
{
    (void)s;
    (void)ctx;
    (void)op;
    (void)bits;
    (void)nid;
    (void)other;
    (void)arg;
    return 1;
}

/* However a suite without a certificate has got there. */
static void no_certificate_is_a_fault(void **state)
{
    (void)state;
    static const char suite[] = "AECDH-AES128-SHA:@SECLEVEL=0";
    SSL_CTX *ssl = tls_ctx_ssl(rule.tls.ctx);
    serve_good();
    SSL_CTX_set_security_callback(ssl, allow_all);
    assert_int_equal(SSL_CTX_set_cipher_list(ssl, suite), 1);
    assert_int_equal(SSL_CTX_set_cipher_list(srv.ctx, suite), 1);
    SSL_CTX_set_max_proto_version(srv.ctx, TLS1_2_VERSION);
    expect_bad("a.test", false, "shows no certificate", "AECDH-AES128-SHA");
    assert_int_equal(sessions.n, 0);
}

static int lets_pass(X509_STORE_CTX *c, void *arg)
{
    (void)arg;
    (void)X509_verify_cert(c);
    X509_STORE_CTX_set_error(c, X509_V_ERR_CERT_REVOKED);
    return 1;
}

/* A handshake goes on though the verdict is bad. */
static void verdict_is_looked_at(void **state)
{
    (void)state;
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t i = 0; i < 2; i++) {
        serve_good();
        SSL_CTX_set_max_proto_version(srv.ctx, versions[i]);
        SSL_CTX_set_cert_verify_callback(tls_ctx_ssl(rule.tls.ctx), lets_pass, NULL);
        expect_bad("a.test", false, "it has been revoked", "CN=x");
        assert_int_equal(sessions.n, 0);
    }
}

/* Serves what WANT says, by a CA as ISSUER says. */
static void serve_weak(const struct cert_want *want, const struct cert_want *issuer, int version)
{
    struct pair middle = make_cert(&ca, issuer);
    serve(&middle, want);
    SSL_CTX_set_min_proto_version(srv.ctx, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(srv.ctx, version);
    SSL_CTX_add1_chain_cert(srv.ctx, middle.cert);
    free_pair(&middle);
}

static void weak_certificates(void **state)
{
    (void)state;
    static char low[] = "ALL:@SECLEVEL=0";
    static const struct cert_want good = {.cn = "x", .san = "DNS:a.test"};
    static const struct cert_want small = {.cn = "x", .san = "DNS:a.test", .rsa = 1024};
    static const struct cert_want sha1 = {.cn = "x", .san = "DNS:a.test", .sha1 = true};
    static const struct cert_want ca_good = {.cn = "Middle", .is_ca = true};
    static const struct cert_want ca_small = {.cn = "Middle", .is_ca = true, .rsa = 1024};
    static const struct cert_want ca_sha1 = {.cn = "Middle", .is_ca = true, .sha1 = true};
    static const struct {
        const struct cert_want *leaf, *issuer;
        const char *text;
    } table[] = {{&small, &ca_good, "its key is too small"},
                 {&good, &ca_small, "of an issuer of a.test does not verify: its key is too small"},
                 {&sha1, &ca_good, "a hash that is too weak"},
                 {&good, &ca_sha1, "a hash that is too weak"}};
    static const int versions[] = {TLS1_VERSION, TLS1_1_VERSION, TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        for (size_t k = 0; k < sizeof(versions) / sizeof(versions[0]); k++) {
            rule.tls.min_version = TLS1_VERSION;
            rule.tls.ciphers = k % 2 == 0 ? empty : low;
            remake_tls(&conf);
            serve_weak(table[i].leaf, table[i].issuer, versions[k]);
            expect_bad("a.test", false, table[i].text, "CN=");
        }
    }
}

/* A server with DH of 1,536 bits, or whose TLS 1.2 signs with SHA-1 alone. */
static void connect_to_old(int version, bool small_dh, const char *ciphers)
{
    const struct cert_want want = {.cn = "x", .san = "DNS:a.test", .rsa = 2048};
    u.gone = false;
    serve(&ca, &want);
    SSL_CTX_set_min_proto_version(srv.ctx, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(srv.ctx, version);
    SSL_CTX_set_cipher_list(srv.ctx, small_dh ? "DHE:@SECLEVEL=0" : "ALL:@SECLEVEL=0");
    if (!small_dh)
        assert_int_equal(SSL_CTX_set1_sigalgs_list(srv.ctx, "RSA+SHA1"), 1);
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_name(NULL, "DH", NULL);
    EVP_PKEY *dh = NULL;
    OSSL_PARAM group[] = {OSSL_PARAM_utf8_string("group", (char *)"modp_1536", 9), OSSL_PARAM_END};
    assert_int_equal(EVP_PKEY_keygen_init(c), 1);
    assert_int_equal(EVP_PKEY_CTX_set_params(c, group), 1);
    assert_int_equal(EVP_PKEY_generate(c, &dh), 1);
    EVP_PKEY_CTX_free(c);
    assert_int_equal(SSL_CTX_set0_tmp_dh_pkey(srv.ctx, dh), 1);
    rule.tls.min_version = TLS1_VERSION;
    rule.tls.ciphers = ciphers == NULL ? empty : (char *)ciphers;
    remake_tls(&conf);
    dial("a.test", false);
    shake();
}

static void end_old(void)
{
    close_client();
    drop_server();
    tls_sessions_clear(&sessions);
}

/* min_version = "1.0" is no reason to take from TLS 1.2 what only TLS 1.0 cannot do without. */
static void old_versions_alone_are_weak(void **state)
{
    (void)state;
    for (int small_dh = 0; small_dh < 2; small_dh++) {
        connect_to_old(TLS1_VERSION, small_dh, NULL);
        assert_int_equal(u.ready, 1);
        assert_string_equal(tls_wire_version(u.s), "TLSv1");
        end_old();
        connect_to_old(TLS1_1_VERSION, small_dh, NULL);
        assert_int_equal(u.ready, 1);
        end_old();
        connect_to_old(TLS1_2_VERSION, small_dh, NULL);
        assert_int_equal(u.ready, 0);
        assert_true(u.fault.code == FAULT_TLS_PROTOCOL || u.fault.code == FAULT_TLS_ALERT);
        end_old();
        connect_to_old(TLS1_2_VERSION, small_dh, "DEFAULT:@SECLEVEL=0");
        assert_int_equal(u.ready, 1);
        end_old();
    }
}

/* In TLS 1.3 the client is done before the server has looked at its certificate. */
static void client_certificate(void **state)
{
    (void)state;
    struct pair p = make_cert(&ca, &(struct cert_want){.cn = "client"});
    char *cert = write_cert(dir, "client.pem", p.cert);
    char *key = write_key(dir, "client.key", p.key);
    serve_good();
    X509_STORE_add_cert(SSL_CTX_get_cert_store(srv.ctx), ca.cert);
    SSL_CTX_set_verify(srv.ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    dial("a.test", false);
    shake();
    turns(5);
    assert_int_equal(u.faults, 1);
    assert_int_equal(u.fault.code, FAULT_TLS_ALERT);
    assert_non_null(strstr(u.fault.text, "certificate required"));
    close_client();
    stop_server();
    u.gone = false;
    rule.tls.client_cert = cert;
    rule.tls.client_key = key;
    remake_tls(&conf);
    tls_sessions_clear(&sessions);
    dial("a.test", false);
    shake();
    turns(5);
    assert_int_equal(u.faults, 0);
    X509 *seen = SSL_get0_peer_certificate(srv.ssl);
    assert_non_null(seen);
    assert_int_equal(X509_cmp(seen, p.cert), 0);
    unlink(cert);
    unlink(key);
    free(cert);
    free(key);
    free_pair(&p);
}

/* ---- data ---- */

static void bodies_both_ways(void **state)
{
    (void)state;
    enum { SIZE = 6 * 1024 * 1024 + 123 };
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    char *p = make_bytes(SIZE);
    for (size_t i = 0; i < 2; i++) {
        struct evbuffer *buf = evbuffer_new();
        u.gone = false;
        serve_good();
        SSL_CTX_set_max_proto_version(srv.ctx, versions[i]);
        dial("a.test", false);
        stream_put(u.s, p, 5);
        shake();
        struct iovec v[3] = {{p + 5, 10}, {p + 15, 20000}, {p + 20015, 1000000}};
        stream_write(u.s, v, 3);
        evbuffer_add(buf, p + 1020015, SIZE - 1020015 - 3);
        stream_write_buffer(u.s, buf);
        stream_put(u.s, p + SIZE - 3, 3);
        assert_true(stream_pending(u.s) > 0);
        for (int k = 0; k < 100000 && srv.n_got < SIZE; k++)
            turns(1);
        assert_int_equal(srv.n_got, SIZE);
        assert_true(u.drain >= 1);
        server_writes(SIZE);
        turns(10);
        assert_int_equal(u.n_got, SIZE);
        assert_true((size_t)u.data < SIZE / 8192);
        assert_true(stream_is_quiet(u.s, true));
        SSL_shutdown(srv.ssl);
        turns(3);
        assert_int_equal(u.eof, 1);
        assert_true(u.eof_clean);
        close_client();
        drop_server();
        tls_sessions_clear(&sessions);
        evbuffer_free(buf);
    }
    free(p);
}

/* What OpenSSL has buffered raises no event of the socket. */
/* Records of a byte cost what large ones cost: a part of them in each turn, so that others have
 * one, and all of them in the end. */
static void small_records_take_turns(void **state)
{
    enum { RECORDS = 3000, PART = 512 };
    (void)state;
    serve_good();
    dial("a.test", false);
    shake();
    for (int i = 0; i < RECORDS; i++) {
        char c = (char)(i % 251);
        assert_int_equal(SSL_write(srv.ssl, &c, 1), 1);
    }
    for (int i = 0; i < RECORDS && u.n_got < RECORDS; i++) {
        size_t before = u.n_got;
        loop_turn(&loop, false);
        assert_in_range(u.n_got - before, 0, PART);
    }
    assert_int_equal(u.n_got, RECORDS);
}

static void pause_keeps_buffered_records(void **state)
{
    (void)state;
    serve_good();
    dial("a.test", false);
    shake();
    stream_pause(u.s);
    for (int i = 0; i < 5; i++) {
        char c[2] = {(char)(2 * i), (char)(2 * i + 1)};
        SSL_write(srv.ssl, c, 2);
    }
    turns(3);
    assert_int_equal(u.n_got, 0);
    assert_false(stream_is_quiet(u.s, true));
    stream_resume(u.s);
    turns(2);
    assert_int_equal(u.n_got, 10);
}

static void cut_without_close_notify(void **state)
{
    (void)state;
    serve_good();
    dial("a.test", false);
    shake();
    server_writes(100);
    stop_server();
    turns(5);
    assert_int_equal(u.n_got, 100);
    assert_int_equal(u.eof, 1);
    assert_false(u.eof_clean);
}

static void end_says_close_notify(void **state)
{
    (void)state;
    serve_good();
    dial("a.test", false);
    shake();
    stream_end(u.s);
    turns(3);
    assert_true(SSL_get_shutdown(srv.ssl) & SSL_RECEIVED_SHUTDOWN);
    server_writes(10);
    turns(2);
    assert_int_equal(u.n_got, 10);
}

static void close_says_close_notify(void **state)
{
    (void)state;
    serve_good();
    dial("a.test", false);
    shake();
    close_client();
    turns(2);
    assert_true(SSL_get_shutdown(srv.ssl) & SSL_RECEIVED_SHUTDOWN);
}

/* An answer, then a reset while we still write. */
static void answer_before_a_reset_is_read(void **state)
{
    (void)state;
    serve_good();
    dial("a.test", false);
    shake();
    stream_pause(u.s);
    char c[2] = {0, 1};
    assert_int_equal(SSL_write(srv.ssl, c, 2), 2);
    sock_set_reset(srv.fd);
    stop_server();
    stream_put(u.s, "body", 4);
    stream_put(u.s, "body", 4);
    assert_int_equal(u.faults, 0);
    turns(1);
    stream_resume(u.s);
    turns(4);
    assert_int_equal(u.n_got, 2);
    assert_int_equal(u.faults, 1);
    assert_int_equal(u.fault.code, FAULT_UP_CLOSED);
}

/* A record that is spoilt, read together with a good one before it. */
static void fault_behind_data_is_told(void **state)
{
    (void)state;
    static const char spoilt[5 + 32] = {23, 3, 3, 0, 32};
    serve_good();
    dial("a.test", false);
    shake();
    turns(3);
    char c[2] = {0, 1};
    assert_int_equal(SSL_write(srv.ssl, c, 2), 2);
    assert_int_equal(send(srv.fd, spoilt, sizeof(spoilt), 0), sizeof(spoilt));
    turns(3);
    assert_int_equal(u.n_got, 2);
    assert_int_equal(u.faults, 1);
    assert_int_equal(u.fault.code, FAULT_TLS_PROTOCOL);
}

/* ---- sessions ---- */

static void sessions_are_resumed(void **state)
{
    (void)state;
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t i = 0; i < 2; i++) {
        serve_good();
        SSL_CTX_set_max_proto_version(srv.ctx, versions[i]);
        for (int k = 0; k < 3; k++) {
            u.gone = false;
            dial("a.test", false);
            shake();
            turns(3);
            assert_int_equal(u.ready, 1);
            assert_int_equal(tls_client_is_resumed(u.s), k > 0);
            assert_true(stream_is_quiet(u.s, true));
            assert_true(sessions.n > 0);
            close_client();
            stop_server();
        }
        drop_server();
        tls_sessions_clear(&sessions);
        u.gone = false;
    }
}

static int64_t expiry_of(X509 *cert)
{
    struct tm tm;
    assert_int_equal(ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm), 1);
    return timegm(&tm);
}

/* Connects; the session that was OFFERED, if one was, is RESUMED. */
static void expect_resumed(bool offered, bool resumed)
{
    u.gone = false;
    dial("a.test", false);
    shake();
    turns(3);
    assert_int_equal(u.ready, 1);
    assert_int_equal(tls_client_has_offered(u.s), offered);
    assert_int_equal(tls_client_is_resumed(u.s), resumed);
    assert_true(stream_is_quiet(u.s, true));
    assert_true(sessions.n > 0);
    close_client();
    stop_server();
}

/* Connects, and expects every session that is kept then to end at UNTIL. */
static void expect_until(bool resumed, int64_t until)
{
    expect_resumed(resumed, resumed);
    for (unsigned i = 0; i < sessions.n; i++)
        assert_int_equal(sessions.v[i].until, until);
}

/* All that is kept came so long ago. */
static void set_age(long seconds)
{
    long then = (long)time(NULL) - seconds;
    for (unsigned i = 0; i < sessions.n; i++)
        SSL_SESSION_set_time(sessions.v[i].session, then);
    if (sessions.again.session != NULL)
        SSL_SESSION_set_time(sessions.again.session, then);
}

/* OpenSSL does not offer a ticket that is older than its server said, and says nothing of that: it
 * is none. */
static void tickets_last_as_long_as_the_server_says(void **state)
{
    (void)state;
    serve_good();
    SSL_CTX_set_timeout(srv.ctx, 300);
    expect_resumed(false, false);
    set_age(290);
    assert_true(tls_sessions_has(&sessions));
    expect_resumed(true, true);
    set_age(302);
    assert_false(tls_sessions_has(&sessions));
    expect_resumed(false, false);
}

static void keep(unsigned n)
{
    while (sessions.n > n)
        SSL_SESSION_free(sessions.v[--sessions.n].session);
}

/* OpenSSL calls a ticket used when a handshake with it is done: it is not offered from then on. */
static void a_ticket_is_used_up(void **state)
{
    (void)state;
    serve_good();
    expect_resumed(false, false);
    expect_resumed(true, true);
    keep(0);
    assert_non_null(sessions.again.session);
    assert_false(tls_sessions_has(&sessions));
    expect_resumed(false, false);
}

/* One ticket is left, and another connection has it in a hello that the server has read. */
static void leave_again(void)
{
    struct tls_resume other = {.kept = &sessions};
    SSL *client = SSL_new(tls_ctx_ssl(rule.tls.ctx)), *server = SSL_new(srv.ctx);
    BIO *to_server, *to_client;
    tls_sessions_clear(&sessions);
    sessions.once_until = 0;
    expect_resumed(false, false);
    keep(1);
    assert_int_equal(BIO_new_bio_pair(&to_server, 0, &to_client, 0), 1);
    SSL_set_bio(client, to_server, to_server);
    SSL_set_bio(server, to_client, to_client);
    SSL_set_connect_state(client);
    SSL_set_accept_state(server);
    assert_int_equal(SSL_set_tlsext_host_name(client, "a.test"), 1);
    tls_resume_start(&other, client, true);
    SSL_do_handshake(client);
    SSL_do_handshake(server);
    assert_int_equal(SSL_session_reused(server), 1);
    tls_resume_end(&other, client);
    SSL_free(client);
    SSL_free(server);
    assert_int_equal(sessions.n, 0);
    assert_true(tls_sessions_has(&sessions));
}

/* As a server does that takes early data: a full handshake, and no fault. */
static void a_second_use_is_declined(void **state)
{
    (void)state;
    serve_good();
    SSL_CTX_set_options(srv.ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_max_early_data(srv.ctx, 1);
    leave_again();
    expect_resumed(true, false);
    assert_false(tls_sessions_once(&sessions));
    keep(1); /* the server forgets the newest with its connection, which nobody ended */
    expect_resumed(true, true);
}

/* Meets the second use with the N bytes at BYTES and the end, or a reset where these are NULL. */
static void break_again(const char *bytes, size_t n)
{
    static const struct linger at_once = {.l_onoff = 1};
    char hello[4096];
    leave_again();
    u.gone = false;
    dial("a.test", false);
    SSL_free(srv.ssl);
    srv.ssl = NULL;
    stream_start(u.s);
    turns(1);
    assert_true(read(srv.fd, hello, sizeof(hello)) > 0);
    if (bytes == NULL)
        setsockopt(srv.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    else
        assert_int_equal(write(srv.fd, bytes, n), (ssize_t)n);
    close(srv.fd);
    srv.fd = -1;
    turns(5);
    assert_int_equal(u.faults, 1);
    assert_false(tls_sessions_has(&sessions));
    close_client();
}

/* Only what TLS says may be about the ticket. */
static void a_second_use_is_refused(void **state)
{
    (void)state;
    serve_good();
    break_again("\x15\x03\x03\x00\x02\x02\x28", 7);
    assert_true(tls_sessions_once(&sessions));
    break_again("", 0);
    assert_false(tls_sessions_once(&sessions));
    break_again(NULL, 0);
    assert_false(tls_sessions_once(&sessions));
    leave_again();
    u.gone = false;
    dial("a.test", false);
    stream_start(u.s);
    assert_true(tls_client_spoil(u.s)); /* overdue */
    assert_false(tls_sessions_has(&sessions) || tls_sessions_once(&sessions));
    close_client();
    stop_server();
    /* What is wrong is what it shows instead. */
    leave_again();
    drop_server();
    serve(&ca, &(struct cert_want){.cn = "x", .san = "DNS:b.test"});
    u.gone = false;
    dial("a.test", false);
    shake();
    assert_int_equal(u.fault.code, FAULT_TLS_CERTIFICATE);
    assert_false(tls_sessions_has(&sessions) || tls_sessions_once(&sessions));
}

/* The bound comes from the handshake that verified, however often it is resumed. */
static void sessions_end_with_the_chain(void **state)
{
    (void)state;
    static const int versions[] = {TLS1_1_VERSION, TLS1_2_VERSION, TLS1_3_VERSION};
    struct cert_want soon = {.cn = "Soon", .is_ca = true, .from = -DAY, .to = DAY};
    struct cert_want leaf = {.cn = "x", .san = "DNS:a.test", .from = -DAY, .to = 2 * DAY};
    rule.tls.min_version = TLS1_1_VERSION;
    remake_tls(&conf);
    for (size_t i = 0; i < 6; i++) {
        struct pair middle = make_cert(&ca, &soon);
        serve(i < 3 ? &ca : &middle, &leaf);
        SSL_CTX_set_min_proto_version(srv.ctx, TLS1_VERSION);
        SSL_CTX_set_max_proto_version(srv.ctx, versions[i % 3]);
        SSL_CTX_add1_chain_cert(srv.ctx, middle.cert);
        int64_t until = expiry_of(i < 3 ? srv.cert.cert : middle.cert);
        expect_until(false, until);
        for (int k = 0; k < 3; k++)
            expect_until(true, until);
        /* Shortened, and then over. */
        for (unsigned k = 0; k < sessions.n; k++)
            sessions.v[k].until = time(NULL) + 3600;
        until = sessions.v[0].until;
        tls_sessions_put(&sessions, (struct tls_session){SSL_SESSION_new(), until});
        expect_until(true, until);
        for (unsigned k = 0; k < sessions.n; k++)
            sessions.v[k].until = time(NULL);
        expect_until(false, expiry_of(i < 3 ? srv.cert.cert : middle.cert));
        drop_server();
        tls_sessions_clear(&sessions);
        free_pair(&middle);
    }
}

static void sessions_end_with_the_revocation_list(void **state)
{
    (void)state;
    X509_CRL *crl = make_crl(&ca, NULL);
    char *path = write_crl(dir, "crl.pem", crl);
    struct tm tm;
    assert_int_equal(ASN1_TIME_to_tm(X509_CRL_get0_nextUpdate(crl), &tm), 1);
    use_rule(path);
    serve_good();
    expect_until(false, timegm(&tm));
    expect_until(true, timegm(&tm));
    unlink(path);
    free(path);
    X509_CRL_free(crl);
}

static void nothing_bounds_what_is_not_verified(void **state)
{
    (void)state;
    rule.tls.verify = false;
    serve(NULL, &(struct cert_want){.cn = "y", .from = -9 * DAY, .to = -DAY});
    expect_until(false, INT64_MAX);
    expect_until(true, INT64_MAX);
}

static void tickets_do_not_pile_up(void **state)
{
    (void)state;
    serve_good();
    for (int k = 0; k < 8; k++) {
        tls_sessions_put(&sessions, (struct tls_session){SSL_SESSION_new(), INT64_MAX});
        u.gone = false;
        dial("a.test", false);
        shake();
        turns(3);
        assert_true(sessions.n <= TLS_SESSIONS_KEPT);
        close_client();
        stop_server();
    }
}

/* Tickets that wait in the kernel do not make a connection unfit for the pool, once read. */
static void tickets_leave_it_quiet(void **state)
{
    (void)state;
    serve_good();
    dial("a.test", false);
    shake();
    server_reads();
    assert_true(sock_has_input(u.s->line.fd));
    assert_false(stream_is_quiet(u.s, true));
    fd_event_disarm(u.s->reads); /* it is not the event that tells */
    stream_read_soon(u.s);
    turns(1);
    assert_int_equal(u.data, 0);
    assert_true(stream_is_quiet(u.s, true));
    char c = 0;
    SSL_write(srv.ssl, &c, 1);
    assert_false(stream_is_quiet(u.s, true));
    stream_read_soon(u.s);
    turns(1);
    assert_int_equal(u.n_got, 1);
}

/* ---- closing ---- */

static void drive(const char *p, size_t n)
{
    serve_good();
    dial("a.test", false);
    shake();
    if (!u.gone)
        server_writes(100);
    turns(2);
    if (!u.gone)
        stream_put(u.s, p, n);
    for (int k = 0; k < 2000 && !u.gone && srv.n_got < n; k++)
        turns(1);
    turns(2);
    if (u.close_in == IN_EOF && srv.ssl != NULL)
        SSL_shutdown(srv.ssl);
    else
        sock_set_reset(srv.fd);
    stop_server();
    turns(5);
}

static void closes_in_every_callback(void **state)
{
    enum { SIZE = 6 * 1024 * 1024 };
    char *p = make_bytes(SIZE);
    for (int how = 0; how < 3; how++) {
        for (int in = IN_READY; in <= IN_FAULT; in++) {
            u.close_in = (enum callback)in;
            u.how = how;
            drive(p, SIZE);
            assert_true(u.gone);
            tear_down(state);
            assert_int_equal(set_up(state), 0);
        }
    }
    free(p);
}

static void closes_in_a_failed_handshake(void **state)
{
    (void)state;
    serve_good();
    u.close_in = IN_FAULT;
    dial("wrong.test", false);
    shake();
    turns(2);
    assert_true(u.gone);
    assert_int_equal(u.faults, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(names_that_verify),
        TEST(bad_certificates),
        TEST(expired_intermediate_is_named),
        TEST(revocation),
        TEST(verify_off_takes_anything),
        TEST(unusable_names),
        TEST(what_is_no_tls),
        TEST(alert_is_told),
        TEST(old_server_is_refused),
        TEST(old_server_is_taken_where_a_rule_says_so),
        TEST(no_certificate_is_a_fault),
        TEST(verdict_is_looked_at),
        TEST(weak_certificates),
        TEST(old_versions_alone_are_weak),
        TEST(client_certificate),
        TEST(bodies_both_ways),
        TEST(small_records_take_turns),
        TEST(pause_keeps_buffered_records),
        TEST(cut_without_close_notify),
        TEST(end_says_close_notify),
        TEST(close_says_close_notify),
        TEST(answer_before_a_reset_is_read),
        TEST(fault_behind_data_is_told),
        TEST(sessions_are_resumed),
        TEST(tickets_last_as_long_as_the_server_says),
        TEST(a_ticket_is_used_up),
        TEST(a_second_use_is_declined),
        TEST(a_second_use_is_refused),
        TEST(sessions_end_with_the_chain),
        TEST(sessions_end_with_the_revocation_list),
        TEST(nothing_bounds_what_is_not_verified),
        TEST(tickets_do_not_pile_up),
        TEST(tickets_leave_it_quiet),
        TEST(closes_in_every_callback),
        TEST(closes_in_a_failed_handshake),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, set_up_group, tear_down_group);
}
