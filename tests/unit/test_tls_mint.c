/* SPDX-License-Identifier: Apache-2.0 */
/* net/tls_mint.c: leaves are made off the loop and found again, for clients of both kinds;
 * handshakes are real ones in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include "net/tls_mint.h"

static struct loop loop;
static struct tls_mint *mint;
static unsigned told;

static struct tls_mint *mint_of(int min_version)
{
    char *why = NULL;
    struct tls_ca *ca = tls_ca_make(NULL, 0, 10, &why);
    assert_non_null(ca);
    return tls_mint_new(ca, min_version);
}

static int set_up(void **state)
{
    (void)state;
    assert_true(loop_init(&loop));
    mint = mint_of(TLS1_VERSION);
    told = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tls_mint_unref(mint);
    tls_mint_stop();
    loop_clear(&loop);
    return 0;
}

static void count_told(void *arg)
{
    (void)arg;
    told++;
    loop_stop(&loop);
}

static void make_leaf(const char *name, bool is_ecdsa)
{
    told = 0;
    assert_non_null(
        tls_mint_start(mint, &loop, &(struct mint_want){name, is_ecdsa}, count_told, NULL));
    loop_run(&loop);
    assert_int_equal(told, 1);
}

/* ---- handshakes */

struct server {
    const char *name;
    bool is_made, is_ecdsa;
};

static int on_hello(SSL *ssl, int *alert, void *arg)
{
    struct server *s = arg;
    (void)alert;
    s->is_ecdsa = tls_mint_takes_ecdsa(ssl);
    s->is_made = tls_mint_use(mint, ssl, &(struct mint_want){s->name, s->is_ecdsa});
    return s->is_made ? SSL_CLIENT_HELLO_SUCCESS : SSL_CLIENT_HELLO_RETRY;
}

/* A handshake of the client's context with the mint's; the client, or NULL where it failed. */
static SSL *shake(SSL_CTX *client_ctx, struct server *s)
{
    BIO *a, *b;
    assert_int_equal(BIO_new_bio_pair(&a, 0, &b, 0), 1);
    SSL *client = SSL_new(client_ctx), *server = SSL_new(tls_mint_ssl(mint));
    SSL_set_bio(client, a, a);
    SSL_set_bio(server, b, b);
    SSL_set_connect_state(client);
    SSL_set_accept_state(server);
    SSL_CTX_set_client_hello_cb(tls_mint_ssl(mint), on_hello, s);
    for (unsigned i = 0; i < 100; i++) {
        SSL_do_handshake(client);
        SSL_do_handshake(server);
        if (SSL_want_client_hello_cb(server))
            make_leaf(s->name, s->is_ecdsa);
    }
    bool ok = SSL_is_init_finished(client) && SSL_is_init_finished(server);
    SSL_free(server);
    if (ok)
        return client;
    SSL_free(client);
    return NULL;
}

static SSL_CTX *client_context(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_security_level(ctx, 0);
    SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION);
    return ctx;
}

/* Shakes hands for "a.example" and frees CTX; the kind of key that was shown. */
static int shown_key(SSL_CTX *ctx)
{
    struct server s = {.name = "a.example"};
    SSL *client = shake(ctx, &s);
    assert_non_null(client);
    X509 *cert = SSL_get0_peer_certificate(client);
    assert_int_equal(X509_check_host(cert, "a.example", 0, 0, NULL), 1);
    int kind = EVP_PKEY_get_base_id(X509_get0_pubkey(cert));
    SSL_free(client);
    SSL_CTX_free(ctx);
    return kind;
}

static void test_new_clients_get_ecdsa(void **state)
{
    (void)state;
    assert_int_equal(shown_key(client_context()), EVP_PKEY_EC);
}

static void test_old_clients_get_rsa(void **state)
{
    SSL_CTX *ctx = client_context();
    (void)state;
    SSL_CTX_set_max_proto_version(ctx, TLS1_VERSION);
    assert_int_equal(SSL_CTX_set_cipher_list(ctx, "AES128-SHA:@SECLEVEL=0"), 1);
    assert_int_equal(shown_key(ctx), EVP_PKEY_RSA);
    ctx = client_context();
    SSL_CTX_set_max_proto_version(ctx, TLS1_VERSION);
    assert_int_equal(SSL_CTX_set_cipher_list(ctx, "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"), 1);
    assert_int_equal(shown_key(ctx), EVP_PKEY_EC);
}

/* Suites with ECDSA alone are not enough: the signatures and the curve are said apart. */
static void test_signatures_and_curves(void **state)
{
    SSL_CTX *ctx = client_context();
    (void)state;
    assert_int_equal(SSL_CTX_set1_sigalgs_list(ctx, "RSA-PSS+SHA256:RSA+SHA256"), 1);
    assert_int_equal(shown_key(ctx), EVP_PKEY_RSA);
    ctx = client_context();
    assert_int_equal(SSL_CTX_set1_groups_list(ctx, "P-384"), 1);
    assert_int_equal(shown_key(ctx), EVP_PKEY_RSA);
}

/* TLS 1.0 is for a mint that was told so. */
static void test_min_version(void **state)
{
    SSL_CTX *ctx = client_context();
    struct server s = {.name = "a.example"};
    (void)state;
    tls_mint_unref(mint);
    mint = mint_of(TLS1_2_VERSION);
    SSL_CTX_set_max_proto_version(ctx, TLS1_1_VERSION);
    assert_null(shake(ctx, &s));
    SSL_CTX_free(ctx);
    assert_int_equal(shown_key(client_context()), EVP_PKEY_EC);
}

/* ---- keeping */

static bool is_kept(const char *name)
{
    SSL *ssl = SSL_new(tls_mint_ssl(mint));
    bool kept = tls_mint_use(mint, ssl, &(struct mint_want){name, true});
    SSL_free(ssl);
    return kept;
}

static void test_least_recently_used_goes(void **state)
{
    char name[32];
    (void)state;
    make_leaf("first.example", true);
    make_leaf("second.example", true);
    assert_true(is_kept("first.example"));
    for (unsigned i = 0; i < MINT_KEPT_MAX - 1; i++) {
        snprintf(name, sizeof(name), "n%u.example", i);
        make_leaf(name, true);
    }
    assert_true(is_kept("first.example"));
    assert_false(is_kept("second.example"));
}

/* Whoever leaves is not told, wherever his job is. */
static void test_cancel(void **state)
{
    struct mint_job *jobs[20];
    (void)state;
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < 20; i++)
            jobs[i] = tls_mint_start(mint, &loop, &(struct mint_want){"x.example", i % 2 == 0},
                                     count_told, NULL);
        for (unsigned i = 0; i < 20; i++)
            tls_mint_cancel(jobs[i]);
    }
    make_leaf("y.example", true);
    assert_int_equal(told, 1);
}

/* A reload lets go of the mint while leaves are being made for it. */
static void test_mint_outlives_its_jobs(void **state)
{
    struct tls_mint *old = mint_of(TLS1_2_VERSION);
    (void)state;
    assert_non_null(
        tls_mint_start(old, &loop, &(struct mint_want){"z.example", false}, count_told, NULL));
    tls_mint_unref(old);
    loop_run(&loop);
    assert_int_equal(told, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_new_clients_get_ecdsa, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_old_clients_get_rsa, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_signatures_and_curves, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_min_version, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_least_recently_used_goes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cancel, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_mint_outlives_its_jobs, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
