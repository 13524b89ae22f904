/* SPDX-License-Identifier: Apache-2.0 */
/* net/tls_listener.c: the faults of its files, and handshakes with a client of OpenSSL's: what is
 * shown, which versions and protocols are spoken, and which certificates of clients are taken. */
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "tls_fixture.h"

#include "net/tls_listener.h"
#include "net/tls_server.h"

static char dir[64];
static struct pair ca, mid, leaf, other;
static char *ca_file, *mid_file, *cert_file, *chain_file, *key_file, *other_key, *rsa_file,
    *rsa_key, *old_file, *old_key, *junk;
static struct conf conf;
static struct rule rule;
static struct conf_faults faults;
static struct loop loop;

static char *append(const char *path, X509 *cert)
{
    FILE *f = fopen(path, "a");
    PEM_write_X509(f, cert);
    fclose(f);
    return NULL;
}

static char *secret(const char *name, EVP_PKEY *key)
{
    char *path = write_key(dir, name, key);
    assert_int_equal(chmod(path, 0600), 0);
    return path;
}

static int set_up_all(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/test_tls_listener.XXXXXX");
    if (mkdtemp(dir) == NULL || !loop_init(&loop))
        return -1;
    ca = make_cert(NULL, &(struct cert_want){.cn = "CA", .is_ca = true});
    mid = make_cert(&ca, &(struct cert_want){.cn = "Issuer", .is_ca = true});
    leaf = make_cert(&mid, &(struct cert_want){.cn = "leaf", .san = "DNS:proxy.test"});
    other = make_cert(NULL, &(struct cert_want){.cn = "stranger"});
    struct pair rsa = make_cert(&ca, &(struct cert_want){.cn = "rsa", .rsa = 2048});
    struct pair old = make_cert(&ca, &(struct cert_want){.cn = "old", .from = -9, .to = -3});
    ca_file = write_cert(dir, "ca.pem", ca.cert);
    mid_file = write_cert(dir, "mid.pem", mid.cert);
    cert_file = write_cert(dir, "leaf.pem", leaf.cert);
    chain_file = write_cert(dir, "chain.pem", leaf.cert);
    append(chain_file, mid.cert);
    key_file = secret("leaf.key", leaf.key);
    other_key = secret("other.key", other.key);
    rsa_file = write_cert(dir, "rsa.pem", rsa.cert);
    rsa_key = secret("rsa.key", rsa.key);
    old_file = write_cert(dir, "old.pem", old.cert);
    old_key = secret("old.key", old.key);
    junk = secret("junk", leaf.key);
    assert_int_equal(truncate(junk, 60), 0);
    free_pair(&rsa);
    free_pair(&old);
    return 0;
}

static int tear_down_all(void **state)
{
    (void)state;
    char *files[] = {ca_file,  mid_file, cert_file, chain_file, key_file, other_key,
                     rsa_file, rsa_key,  old_file,  old_key,    junk};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        unlink(files[i]);
        free(files[i]);
    }
    free_pair(&ca);
    free_pair(&mid);
    free_pair(&leaf);
    free_pair(&other);
    loop_clear(&loop);
    return rmdir(dir);
}

static bool make(const char *cert, const char *key, const char *client_ca)
{
    memset(&conf, 0, sizeof(conf));
    faults = (struct conf_faults){0};
    rule = tls_rule((struct tls_policy){0});
    rule.where = "";
    conf.rules = &rule;
    conf.n_rules = 1;
    conf.client.cert = cert;
    conf.client.key = key;
    conf.client.client_ca = client_ca;
    bool ok = tls_listener_make(&conf, &faults);
    assert_int_equal(ok, faults.n == 0);
    return ok;
}

static void forget(void)
{
    tls_listener_free(&conf);
    conf_files_clear(&conf.files);
    free(faults.text);
    ERR_clear_error();
}

static void refuses(const char *cert, const char *key, const char *client_ca, const char *why)
{
    assert_false(make(cert, key, client_ca));
    assert_null(conf.client.tls);
    if (strstr(faults.text, why) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", why, faults.text);
    forget();
}

static void faults_of_files(void **state)
{
    (void)state;
    refuses("/nowhere", key_file, "", "client.cert: /nowhere: No such file");
    refuses(cert_file, "/nowhere", "", "client.key: /nowhere: No such file");
    refuses(cert_file, key_file, "/nowhere", "client.client_ca: /nowhere: No such file");
    refuses(key_file, key_file, "", "no certificate in it");
    refuses(junk, key_file, "", "client.cert: ");
    refuses(cert_file, cert_file, "", "no private key in it");
    refuses(cert_file, junk, "", "no private key in it");
    refuses(cert_file, other_key, "", "it is not the key of the first certificate in client.cert");
    refuses(cert_file, rsa_key, "", "it is not the key of the first certificate in client.cert");
    refuses(cert_file, key_file, key_file, "client.client_ca: ");
    assert_int_equal(chmod(key_file, 0604), 0);
    refuses(cert_file, key_file, "", "others can read or write this key");
    assert_int_equal(chmod(key_file, 0660), 0);
    refuses(cert_file, key_file, "", "others can read or write this key");
    assert_int_equal(chmod(key_file, 0640), 0); /* a container's */
    assert_true(make(cert_file, key_file, ""));
    forget();
    assert_int_equal(chmod(key_file, 0600), 0);
    assert_true(make("", "", ""));
    assert_null(conf.client.tls);
    forget();
    assert_true(make(old_file, old_key, "")); /* is warned of */
    forget();
}

/* ---- handshakes */

static struct {
    int ready, faults;
    struct fault fault;
    enum tls_failure failure;
    struct stream *s;
} server;

static void on_ready(void *arg)
{
    (void)arg;
    server.ready++;
}

static size_t on_data(void *arg, const char *p, size_t n)
{
    (void)arg;
    (void)p;
    return n;
}

static void on_eof(void *arg, bool clean)
{
    (void)arg;
    (void)clean;
}

static void on_fault(void *arg, const struct fault *f)
{
    (void)arg;
    server.faults++;
    server.fault = *f;
    server.failure = tls_server_failure(server.s);
}

static const struct stream_user user = {
    .on_ready = on_ready, .on_data = on_data, .on_eof = on_eof, .on_fault = on_fault};

/* A handshake between CTX and the listener of CONF. The client's side, to be freed. */
static SSL *shake(SSL_CTX *ctx, SSL_SESSION *session)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    memset(&server, 0, sizeof(server));
    server.s = stream_new(&loop, fds[0], NULL);
    stream_set_user(server.s, &user, NULL);
    struct tls_server_want want = {.ctx = conf.client.tls, .where = STR("the client")};
    tls_server_push(server.s, &want);
    stream_start(server.s);
    SSL *ssl = SSL_new(ctx);
    SSL_set_fd(ssl, fds[1]);
    if (session != NULL)
        SSL_set_session(ssl, session);
    char byte;
    for (int64_t limit = loop_now() + 10000000; server.ready + server.faults == 0;) {
        assert_true(loop_now() < limit);
        if (SSL_connect(ssl) == 1)
            SSL_read(ssl, &byte, 1);
        loop_turn(&loop, false);
    }
    for (int i = 0; i < 3; i++) { /* tickets */
        SSL_read(ssl, &byte, 1);
        loop_turn(&loop, false);
    }
    return ssl;
}

static void part(SSL *ssl)
{
    int fd = SSL_get_fd(ssl);
    SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* its session is good */
    SSL_free(ssl);
    close(fd);
    stream_close(server.s);
    loop_turn(&loop, false);
    ERR_clear_error();
}

static void shows_the_chain(void **state)
{
    (void)state;
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_load_verify_locations(ctx, ca_file, NULL);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    assert_true(make(chain_file, key_file, ""));
    SSL *ssl = shake(ctx, NULL);
    assert_int_equal(server.ready, 1);
    assert_int_equal(SSL_version(ssl), TLS1_3_VERSION);
    assert_int_equal(SSL_get_verify_result(ssl), X509_V_OK);
    assert_int_equal(sk_X509_num(SSL_get_peer_cert_chain(ssl)), 2);
    part(ssl);
    forget();
    assert_true(make(cert_file, key_file, mid_file)); /* no part of it is client_ca */
    ssl = shake(ctx, NULL);
    assert_int_equal(server.failure, TLS_FAILURE_TRUST);
    part(ssl);
    forget();
    assert_true(make(rsa_file, rsa_key, ""));
    ssl = shake(ctx, NULL);
    assert_int_equal(server.ready, 1);
    part(ssl);
    forget();
    SSL_CTX_free(ctx);
}

static void versions_and_protocols(void **state)
{
    static const struct {
        const char *alpn;
        bool ok;
        const char *chosen;
    } cases[] = {{"\x02h2\x08http/1.1", true, "http/1.1"},
                 {"\x08http/1.0", true, "http/1.0"},
                 {"\x08http/1.0\x08http/1.1", true, "http/1.1"},
                 {"\x02h2", false, ""}};
    (void)state;
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    assert_true(make(cert_file, key_file, ""));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const unsigned char *got;
        unsigned n;
        SSL_CTX_set_alpn_protos(ctx, (const unsigned char *)cases[i].alpn,
                                (unsigned)strlen(cases[i].alpn));
        SSL *ssl = shake(ctx, NULL);
        assert_int_equal(server.ready, cases[i].ok);
        SSL_get0_alpn_selected(ssl, &got, &n);
        if (cases[i].ok)
            assert_true(str_eq(str_make((const char *)got, n), str_from(cases[i].chosen)));
        else
            assert_non_null(strstr(server.fault.text, "offers no HTTP/1 by ALPN"));
        part(ssl);
    }
    SSL_CTX_set_alpn_protos(ctx, NULL, 0);
    SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION);
    SSL *ssl = shake(ctx, NULL);
    assert_int_equal(server.ready, 1);
    part(ssl);
    SSL_CTX_set_security_level(ctx, 0);
    SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(ctx, TLS1_1_VERSION);
    ssl = shake(ctx, NULL);
    assert_int_equal(server.faults, 1);
    assert_int_equal(server.failure, TLS_FAILURE_PROTOCOL);
    assert_non_null(strstr(server.fault.text, "speaks no version of TLS that is allowed"));
    part(ssl);
    forget();
    SSL_CTX_free(ctx);
}

/* ---- certificates of clients */

static SSL_CTX *client_with(const struct pair *p, const struct pair *issuer)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    if (p == NULL)
        return ctx;
    assert_int_equal(SSL_CTX_use_certificate(ctx, p->cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(ctx, p->key), 1);
    if (issuer != NULL)
        assert_int_equal(SSL_CTX_add1_chain_cert(ctx, issuer->cert), 1);
    return ctx;
}

/* Whether such a client comes in; if not, the sentence has WHY. */
static void comes(const struct pair *p, const struct pair *issuer, const char *why)
{
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        SSL_CTX *ctx = client_with(p, issuer);
        SSL_CTX_set_max_proto_version(ctx, version);
        SSL *ssl = shake(ctx, NULL);
        assert_int_equal(server.ready, why == NULL);
        if (why != NULL && strstr(server.fault.text, why) == NULL)
            fail_msg("\"%s\" is not in \"%s\"", why, server.fault.text);
        if (why != NULL)
            assert_int_equal(server.failure, TLS_FAILURE_UNKNOWN);
        part(ssl);
        SSL_CTX_free(ctx);
    }
}

static void demands_a_certificate(void **state)
{
    (void)state;
    struct pair for_servers = make_cert(&ca, &(struct cert_want){.cn = "server"});
    add_ext(for_servers.cert, ca.cert, NID_ext_key_usage, "serverAuth");
    X509_sign(for_servers.cert, ca.key, EVP_sha256());
    struct pair old = make_cert(&ca, &(struct cert_want){.cn = "old", .from = -9, .to = -3});
    struct pair strange = make_cert(&other, &(struct cert_want){.cn = "x\"\n\x01y"});
    struct pair large = make_long_name();
    struct pair costly = make_cert(&large, &(struct cert_want){.cn = "costly", .places = 500});
    assert_true(make(cert_file, key_file, ca_file));
    comes(&leaf, &mid, NULL);
    comes(&leaf, NULL, "does not verify: unable to get local issuer certificate");
    comes(NULL, NULL, "the client showed no certificate");
    comes(&other, NULL,
          "does not verify: self-signed certificate (its subject is \"/CN=stranger\"");
    comes(&for_servers, NULL, "does not verify: unsuitable certificate purpose");
    comes(&old, NULL, "does not verify: certificate has expired");
    comes(&strange, NULL, "(its subject is \"/CN=x\\x22\\x");
    comes(&costly, NULL, "does not verify: unspecified certificate verification error");
    forget();
    assert_true(make(cert_file, key_file, mid_file)); /* one that is no root */
    comes(&leaf, NULL, NULL);
    comes(&leaf, &mid, NULL);
    comes(&old, NULL, "does not verify");
    forget();
    assert_true(make(cert_file, key_file, cert_file)); /* and one that is no CA */
    comes(&leaf, NULL, NULL);
    comes(&other, NULL, "does not verify");
    forget();
    free_pair(&for_servers);
    free_pair(&old);
    free_pair(&strange);
    free_pair(&costly);
    free_pair(&large);
}

/* Links of a chain, each signed by the one before; below the root. */
static void depth_is_bounded(void **state)
{
    enum { N = TLS_LISTENER_DEPTH + 2 };
    struct pair chain[N];
    (void)state;
    assert_true(make(cert_file, key_file, ca_file));
    for (int n = 0; n < N; n++) {
        char name[8];
        snprintf(name, sizeof(name), "link %d", n);
        chain[n] =
            make_cert(n == 0 ? &ca : &chain[n - 1], &(struct cert_want){.cn = name, .is_ca = true});
    }
    for (int taken = N - 1; taken >= N - 2; taken--) {
        struct pair end = make_cert(&chain[taken - 1], &(struct cert_want){.cn = "end"});
        SSL_CTX *ctx = client_with(&end, NULL);
        for (int i = taken - 1; i >= 0; i--)
            assert_int_equal(SSL_CTX_add1_chain_cert(ctx, chain[i].cert), 1);
        SSL *ssl = shake(ctx, NULL);
        assert_int_equal(server.ready, taken <= TLS_LISTENER_DEPTH);
        if (taken > TLS_LISTENER_DEPTH)
            assert_non_null(strstr(server.fault.text, "certificate chain too long"));
        part(ssl);
        SSL_CTX_free(ctx);
        free_pair(&end);
    }
    for (int n = 0; n < N; n++)
        free_pair(&chain[n]);
    forget();
}

static SSL_SESSION *session;

static int on_session(SSL *ssl, SSL_SESSION *s)
{
    (void)ssl;
    SSL_SESSION_free(session);
    session = s;
    return 1;
}

/* A ticket holds while its snapshot does: under another client_ca nobody goes on with one. */
static void tickets(void **state)
{
    (void)state;
    SSL_CTX *ctx = client_with(&leaf, &mid);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, on_session);
    assert_true(make(cert_file, key_file, ca_file));
    SSL *ssl = shake(ctx, NULL);
    assert_int_equal(server.ready, 1);
    assert_non_null(session);
    part(ssl);
    SSL_SESSION *kept = session;
    SSL_SESSION_up_ref(kept);
    ssl = shake(ctx, kept);
    assert_int_equal(server.ready, 1);
    assert_int_equal(SSL_session_reused(ssl), 1);
    part(ssl);
    forget();
    SSL_SESSION_free(kept);
    kept = session;
    session = NULL;
    char *stranger = write_cert(dir, "stranger.pem", other.cert);
    assert_true(make(cert_file, key_file, stranger));
    ssl = shake(ctx, kept);
    assert_int_equal(server.ready, 0);
    assert_int_equal(server.failure, TLS_FAILURE_UNKNOWN);
    part(ssl);
    forget();
    unlink(stranger);
    free(stranger);
    SSL_SESSION_free(kept);
    SSL_SESSION_free(session);
    session = NULL;
    SSL_CTX_free(ctx);
}

/* Nor beyond the end of the certificate for which it was given, however often it was renewed. */
static void a_ticket_ends_with_its_certificate(void **state)
{
    (void)state;
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct pair brief =
            make_cert(&ca, &(struct cert_want){.cn = "brief", .from = -DAY, .to = 2});
        SSL_CTX *ctx = client_with(&brief, NULL);
        int reused = 0;
        int64_t limit = loop_now() + 20000000;
        SSL_CTX_set_max_proto_version(ctx, version);
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(ctx, on_session);
        assert_true(make(cert_file, key_file, ca_file));
        do {
            SSL_SESSION *kept = session;
            session = NULL;
            SSL *ssl = shake(ctx, kept);
            reused += SSL_session_reused(ssl);
            SSL_SESSION_free(kept);
            if (session == NULL && server.ready == 1)
                session = SSL_get1_session(ssl);
            part(ssl);
            assert_true(loop_now() < limit);
        } while (server.ready == 1);
        assert_int_not_equal(reused, 0);
        assert_non_null(strstr(server.fault.text, "certificate has expired"));
        forget();
        SSL_SESSION_free(session);
        session = NULL;
        SSL_CTX_free(ctx);
        free_pair(&brief);
    }
}

/* More names than a message of TLS has room for are not told. */
static void many_cas(void **state)
{
    (void)state;
    char *path = write_cert(dir, "many.pem", ca.cert);
    char name[60];
    for (int i = 0; i < 400; i++) {
        snprintf(name, sizeof(name), "a certificate authority, the number of which is %d", i);
        struct pair one = make_cert(NULL, &(struct cert_want){.cn = name, .is_ca = true});
        append(path, one.cert);
        free_pair(&one);
    }
    assert_true(make(cert_file, key_file, path));
    assert_int_equal(sk_X509_NAME_num(SSL_CTX_get_client_CA_list(conf.client.tls)), 0);
    comes(&leaf, &mid, NULL);
    comes(&other, NULL, "does not verify");
    forget();
    assert_true(make(cert_file, key_file, ca_file));
    assert_int_equal(sk_X509_NAME_num(SSL_CTX_get_client_CA_list(conf.client.tls)), 1);
    forget();
    unlink(path);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(faults_of_files),
        cmocka_unit_test(shows_the_chain),
        cmocka_unit_test(versions_and_protocols),
        cmocka_unit_test(demands_a_certificate),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(tickets),
        cmocka_unit_test(a_ticket_ends_with_its_certificate),
        cmocka_unit_test(many_cas),
    };
    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
