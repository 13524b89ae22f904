/* SPDX-License-Identifier: Apache-2.0 */
/* net/tls_tickets.c: until when a session is resumed, by a client and a server of OpenSSL's in
 * memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <openssl/ssl.h>

#include "net/tls_ca.h"
#include "net/tls_tickets.h"

static SSL_CTX *server, *client;
static SSL_SESSION *given; /* owned; the newest ticket's; NULL: none has come */

static int on_session(SSL *ssl, SSL_SESSION *s)
{
    (void)ssl;
    SSL_SESSION_free(given);
    given = s;
    return 1;
}

static SSL_CTX *make_server(void)
{
    char *why = NULL;
    struct tls_ca *ca = tls_ca_make(NULL, 0, 1, &why);
    EVP_PKEY *key = tls_ca_new_key(false);
    X509 *leaf = tls_ca_sign(ca, key, "localhost", tls_ca_not_after(ca));
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    assert_int_equal(SSL_CTX_use_cert_and_key(ctx, leaf, key, NULL, 1), 1);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL);
    tls_tickets_init_ctx(ctx);
    X509_free(leaf);
    EVP_PKEY_free(key);
    tls_ca_unref(ca);
    return ctx;
}

static void set_up(int version)
{
    server = make_server();
    client = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_max_proto_version(client, version);
    SSL_CTX_set_session_cache_mode(client, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(client, on_session);
}

static void tear_down(void)
{
    SSL_SESSION_free(given);
    given = NULL;
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* A handshake, with that session: true when it was resumed. */
static bool resumes(SSL_CTX *with, SSL_SESSION *session)
{
    SSL *c = SSL_new(client), *s = SSL_new(with);
    BIO *a, *b;
    char byte;
    assert_int_equal(BIO_new_bio_pair(&a, 1 << 16, &b, 1 << 16), 1);
    SSL_set_bio(c, a, a);
    SSL_set_bio(s, b, b);
    if (session != NULL) { /* which a client may spoil */
        SSL_SESSION *copy = SSL_SESSION_dup(session);
        SSL_set_session(c, copy);
        SSL_SESSION_free(copy);
    }
    for (int i = 0; i < 4; i++) {
        SSL_connect(c);
        SSL_accept(s);
    }
    assert_int_equal(SSL_is_init_finished(c) && SSL_is_init_finished(s), 1);
    SSL_read(c, &byte, 1);
    bool is_resumed = SSL_session_reused(s) == 1;
    if (SSL_version(c) < TLS1_3_VERSION) /* one that was resumed is not told of */
        on_session(c, SSL_get1_session(c));
    SSL_set_shutdown(c, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(c);
    SSL_free(s);
    return is_resumed;
}

static SSL_SESSION *take(void)
{
    SSL_SESSION *s = given;
    assert_non_null(s);
    given = NULL;
    return s;
}

static void keys_change(void **state)
{
    (void)state;
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        set_up(version);
        assert_false(resumes(server, NULL));
        SSL_SESSION *first = take();
        assert_true(resumes(server, first));
        tls_tickets_age(server, TLS_TICKETS_S - 1);
        assert_true(resumes(server, first));
        tls_tickets_age(server, 1);
        assert_true(resumes(server, first)); /* by the key of before, and gets another one */
        SSL_SESSION *second = take();
        tls_tickets_age(server, TLS_TICKETS_S - 1);
        assert_true(resumes(server, first));
        tls_tickets_age(server, 1);
        assert_false(resumes(server, first));
        assert_true(resumes(server, second));
        tls_tickets_age(server, 2 * TLS_TICKETS_S); /* nobody has come meanwhile */
        assert_false(resumes(server, second));
        SSL_SESSION_free(first);
        SSL_SESSION_free(second);
        tear_down();
    }
}

static void contexts_share_nothing(void **state)
{
    (void)state;
    set_up(TLS1_3_VERSION);
    SSL_CTX *other = make_server();
    assert_false(resumes(server, NULL));
    SSL_SESSION *s = take();
    assert_false(resumes(other, s));
    assert_true(resumes(server, s));
    SSL_SESSION_free(s);
    SSL_CTX_free(other);
    tear_down();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_change),
        cmocka_unit_test(contexts_share_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
