/* SPDX-License-Identifier: Apache-2.0 */
/* net/tls_verify.c: what is demanded of a handshake, and how long its verdict holds. Handshakes in
 * memory; the names and chains that there may be are in test_tls_names.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <openssl/err.h>
#include <time.h>

#include "base/base64.h"
#include "net/tls_verify.h"
#include "tls_fixture.h"

static struct pair ca, leaf;
static SSL_CTX *client_ctx, *server_ctx;
static SSL *client, *server;

/* A context of a client that trusts the CA. */
static SSL_CTX *make_client_ctx(const struct tls_policy *p)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), ca.cert);
    tls_verify_init_ctx(ctx, p);
    return ctx;
}

static int begin(void **state)
{
    (void)state;
    ca = make_cert(NULL,
                   &(struct cert_want){.cn = "CA", .is_ca = true, .from = -DAY, .to = 20 * DAY});
    leaf = make_cert(
        &ca, &(struct cert_want){
                 .cn = "leaf", .san = "DNS:a.test,IP:127.0.0.1", .from = -DAY, .to = 10 * DAY});
    client_ctx = make_client_ctx(&(struct tls_policy){0});
    server_ctx = SSL_CTX_new(TLS_server_method());
    SSL_CTX_use_certificate(server_ctx, leaf.cert);
    SSL_CTX_use_PrivateKey(server_ctx, leaf.key);
    client = SSL_new(client_ctx);
    server = SSL_new(server_ctx);
    return client != NULL && server != NULL ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    SSL_free(client);
    SSL_free(server);
    SSL_CTX_free(client_ctx);
    SSL_CTX_free(server_ctx);
    free_pair(&leaf);
    free_pair(&ca);
    return 0;
}

/* True when both find the handshake good. */
static bool shake_hands(void)
{
    BIO *a, *b;
    assert_int_equal(BIO_new_bio_pair(&a, 0, &b, 0), 1);
    SSL_set_bio(client, a, a);
    SSL_set_bio(server, b, b);
    SSL_set_connect_state(client);
    SSL_set_accept_state(server);
    int c = 0, s = 0;
    for (int i = 0; i < 10 && (c != 1 || s != 1); i++) {
        c = SSL_do_handshake(client);
        s = SSL_do_handshake(server);
    }
    return c == 1 && s == 1;
}

static void a_name_is_demanded(void **state)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(client);
    (void)state;
    assert_true(tls_verify_setup(client, STR("a.test"), false));
    assert_int_equal(SSL_get_verify_mode(client), SSL_VERIFY_PEER);
    assert_string_equal(X509_VERIFY_PARAM_get0_host(param, 0), "a.test");
    assert_int_equal(X509_VERIFY_PARAM_get_hostflags(param),
                     X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
}

static void or_an_address(void **state)
{
    (void)state;
    assert_true(tls_verify_setup(client, STR("192.0.2.1"), true));
    char *ip = X509_VERIFY_PARAM_get1_ip_asc(SSL_get0_param(client));
    assert_string_equal(ip, "192.0.2.1");
    OPENSSL_free(ip);
    assert_true(tls_verify_setup(client, STR("2001:db8::1"), true));
    ip = X509_VERIFY_PARAM_get1_ip_asc(SSL_get0_param(client));
    assert_string_equal(ip, "2001:DB8:0:0:0:0:0:1");
    OPENSSL_free(ip);
}

/* For OpenSSL an empty name is any, and one with a dot before it any below. Whoever goes on all the
 * same has at least demanded a chain. */
static void no_name_is_none(void **state)
{
    (void)state;
    assert_false(tls_verify_setup(client, STR(""), false));
    assert_false(tls_verify_setup(client, STR(".test"), false));
    assert_false(tls_verify_setup(client, STR("a.test"), true));
    assert_int_equal(SSL_get_verify_mode(client), SSL_VERIFY_PEER);
}

static void a_good_one(void **state)
{
    struct fault f;
    (void)state;
    assert_true(tls_verify_setup(client, STR("a.test"), false));
    assert_true(shake_hands());
    assert_true(tls_verify_check(&f, client, STR("a.test")));
    assert_false(tls_verify_fault(&f, client, STR("a.test")));
    /* The leaf ends before its CA does. */
    assert_true(tls_verify_until(client) == tls_verify_expiry(leaf.cert));
    assert_int_equal(ERR_peek_error(), 0);
}

static void another_name(void **state)
{
    struct fault f;
    (void)state;
    assert_true(tls_verify_setup(client, STR("b.test"), false));
    assert_false(shake_hands());
    assert_true(tls_verify_fault(&f, client, STR("b.test")));
    assert_int_equal(f.code, FAULT_TLS_CERTIFICATE);
    assert_non_null(strstr(f.text, "the certificate of b.test does not verify"));
    assert_false(tls_verify_check(&f, client, STR("b.test")));
    assert_int_equal(f.code, FAULT_TLS_CERTIFICATE);
}

/* SHA-256 of what stands in CERT as its key. */
static struct pin pin_of(X509 *cert)
{
    struct pin pin;
    unsigned char *der = NULL;
    int n = i2d_PUBKEY(X509_get0_pubkey(cert), &der);
    assert_int_equal(EVP_Digest(der, (size_t)n, pin.sha256, NULL, EVP_sha256(), NULL), 1);
    OPENSSL_free(der);
    return pin;
}

/* A handshake under a pin, which is this and one of nobody's. */
static bool is_taken_with(struct pin pin)
{
    struct pin pins[2] = {{{0}}, pin};
    struct tls_policy p = {.pins = {pins, 2}};
    SSL_free(client);
    SSL_CTX_free(client_ctx);
    client_ctx = make_client_ctx(&p);
    memset(pins, 0, sizeof(pins)); /* what it needs of them it has copied */
    client = SSL_new(client_ctx);
    assert_true(tls_verify_setup(client, STR("a.test"), false));
    return shake_hands();
}

static void a_pin_of_the_leaf(void **state)
{
    (void)state;
    assert_true(is_taken_with(pin_of(leaf.cert)));
}

static void a_pin_of_its_ca(void **state)
{
    (void)state;
    assert_true(is_taken_with(pin_of(ca.cert)));
}

static void a_pin_of_nobody(void **state)
{
    struct fault f;
    (void)state;
    assert_false(is_taken_with((struct pin){{1}}));
    assert_true(tls_verify_fault(&f, client, STR("a.test")));
    assert_non_null(strstr(f.text, "no key of its chain is in pin_sha256; the chain has "));
    struct pin pin = pin_of(leaf.cert);
    char text[64] = "";
    (void)base64_encode(text, str_make((char *)pin.sha256, sizeof(pin.sha256)));
    assert_non_null(strstr(f.text, text));
    pin = pin_of(ca.cert);
    (void)base64_encode(text, str_make((char *)pin.sha256, sizeof(pin.sha256)));
    assert_non_null(strstr(f.text, text));
}

static void another_address(void **state)
{
    (void)state;
    assert_true(tls_verify_setup(client, STR("127.0.0.2"), true));
    assert_false(shake_hands());
}

/* With a list that was looked at, the verdict holds until the next one. */
static void until_the_next_list(void **state)
{
    X509_STORE *store = SSL_CTX_get_cert_store(client_ctx);
    X509_CRL *crl = make_crl(&ca, NULL);
    (void)state;
    assert_int_equal(X509_STORE_add_crl(store, crl), 1);
    X509_CRL_free(crl);
    X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
    assert_true(tls_verify_setup(client, STR("127.0.0.1"), true));
    assert_true(shake_hands());
    int64_t now = time(NULL), until = tls_verify_until(client);
    assert_in_range(until, now + DAY - 100, now + DAY);
}

/* Whoever has seen no certificate knows nothing. */
static void without_a_handshake(void **state)
{
    struct fault f;
    (void)state;
    assert_true(tls_verify_setup(client, STR("a.test"), false));
    assert_int_equal(tls_verify_until(client), 0);
    assert_false(tls_verify_check(&f, client, STR("a.test")));
    assert_int_equal(f.code, FAULT_TLS_CERTIFICATE);
    assert_non_null(strstr(f.text, "a.test shows no certificate"));
}

static void expiry(void **state)
{
    int64_t now = time(NULL);
    (void)state;
    assert_int_equal(tls_verify_expiry(NULL), 0);
    assert_in_range(tls_verify_expiry(leaf.cert), now + 10 * DAY - 100, now + 10 * DAY);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_name_is_demanded),  CASE(or_an_address),       CASE(no_name_is_none),
        CASE(a_good_one),          CASE(another_name),        CASE(another_address),
        CASE(a_pin_of_the_leaf),   CASE(a_pin_of_its_ca),     CASE(a_pin_of_nobody),
        CASE(until_the_next_list), CASE(without_a_handshake), CASE(expiry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
