/* SPDX-License-Identifier: Apache-2.0 */
/* net/tls_ca.c: what a CA that is made may sign, what its leaves say, which files are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "net/tls_ca.h"

static char dir[] = "/tmp/test_tls_ca.XXXXXX";
static char cert_path[64], key_path[64];

static int set_up_all(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(cert_path, sizeof(cert_path), "%s/ca.pem", dir);
    snprintf(key_path, sizeof(key_path), "%s/ca.key", dir);
    return 0;
}

static int tear_down_all(void **state)
{
    (void)state;
    unlink(cert_path);
    unlink(key_path);
    rmdir(dir);
    return 0;
}

static struct tls_ca *make(const char *const *names, unsigned n)
{
    char *why = NULL;
    struct tls_ca *ca = tls_ca_make(names, n, 10, &why);
    assert_null(why);
    assert_non_null(ca);
    return ca;
}

static X509 *cert_of(const struct tls_ca *ca)
{
    char *pem = tls_ca_cert_pem(ca);
    BIO *bio = BIO_new_mem_buf(pem, -1);
    X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    assert_non_null(cert);
    BIO_free(bio);
    free(pem);
    return cert;
}

/* What a client that trusts CA alone says of LEAF; X509_V_OK or why not. */
static int verify(const struct tls_ca *ca, X509 *leaf)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    X509 *root = cert_of(ca);
    assert_int_equal(X509_STORE_add_cert(store, root), 1);
    assert_int_equal(X509_STORE_CTX_init(ctx, store, leaf, NULL), 1);
    X509_STORE_CTX_set_default(ctx, "ssl_server");
    X509_VERIFY_PARAM_set_flags(X509_STORE_CTX_get0_param(ctx), X509_V_FLAG_X509_STRICT);
    int result = X509_verify_cert(ctx) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(ctx);
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    X509_free(root);
    return result;
}

static int sign_and_verify(const struct tls_ca *ca, const char *name)
{
    EVP_PKEY *key = tls_ca_new_key(false);
    X509 *leaf = tls_ca_sign(ca, key, name, time(NULL) + 3600);
    int result = verify(ca, leaf);
    X509_free(leaf);
    EVP_PKEY_free(key);
    return result;
}

static void test_leaf_names_its_host(void **state)
{
    struct tls_ca *ca = make(NULL, 0);
    EVP_PKEY *key = tls_ca_new_key(false);
    X509 *leaf = tls_ca_sign(ca, key, "api.example.com", time(NULL) + 3600);
    (void)state;
    assert_int_equal(verify(ca, leaf), X509_V_OK);
    assert_int_equal(X509_check_host(leaf, "api.example.com", 0, 0, NULL), 1);
    assert_int_equal(X509_check_host(leaf, "x.api.example.com", 0, 0, NULL), 0);
    assert_int_equal(X509_check_ip_asc(leaf, "127.0.0.1", 0), 0);
    assert_true(X509_get_extension_flags(leaf) & EXFLAG_SAN_CRITICAL ? false : true);
    time_t then = time(NULL) - 3000;
    assert_true(X509_cmp_time(X509_get0_notBefore(leaf), &then) < 0);
    X509_free(leaf);
    EVP_PKEY_free(key);
    tls_ca_unref(ca);
}

static void test_leaf_for_an_address(void **state)
{
    static const char *const addresses[] = {"127.0.0.1", "2001:db8::1"};
    struct tls_ca *ca = make(NULL, 0);
    EVP_PKEY *key = tls_ca_new_key(false);
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        X509 *leaf = tls_ca_sign(ca, key, addresses[i], time(NULL) + 3600);
        assert_int_equal(verify(ca, leaf), X509_V_OK);
        assert_int_equal(X509_check_ip_asc(leaf, addresses[i], 0), 1);
        X509_free(leaf);
    }
    EVP_PKEY_free(key);
    tls_ca_unref(ca);
}

/* A common name has 64 characters at most: a longer host stands in the SAN alone. */
static void test_leaf_for_a_long_name(void **state)
{
    char name[254];
    struct tls_ca *ca = make(NULL, 0);
    EVP_PKEY *key = tls_ca_new_key(true);
    (void)state;
    memset(name, 'a', sizeof(name) - 1);
    name[253] = '\0';
    for (unsigned i = 63; i < 253; i += 64)
        name[i] = '.';
    X509 *leaf = tls_ca_sign(ca, key, name, time(NULL) + 3600);
    assert_int_equal(verify(ca, leaf), X509_V_OK);
    assert_int_equal(X509_check_host(leaf, name, 0, 0, NULL), 1);
    X509_free(leaf);
    EVP_PKEY_free(key);
    tls_ca_unref(ca);
}

static void test_names_bind_the_ca(void **state)
{
    static const char *const hosts[] = {"example.com", "10.0.0.1"};
    static const char *const addresses[] = {"2001:db8::1"};
    struct tls_ca *ca = make(hosts, 2);
    (void)state;
    assert_int_equal(sign_and_verify(ca, "example.com"), X509_V_OK);
    assert_int_equal(sign_and_verify(ca, "a.b.example.com"), X509_V_OK);
    assert_int_equal(sign_and_verify(ca, "10.0.0.1"), X509_V_OK);
    assert_int_equal(sign_and_verify(ca, "example.org"), X509_V_ERR_PERMITTED_VIOLATION);
    assert_int_equal(sign_and_verify(ca, "10.0.0.2"), X509_V_ERR_PERMITTED_VIOLATION);
    assert_int_equal(sign_and_verify(ca, "2001:db8::1"), X509_V_ERR_PERMITTED_VIOLATION);
    tls_ca_unref(ca);
    ca = make(addresses, 1);
    assert_int_equal(sign_and_verify(ca, "2001:db8::1"), X509_V_OK);
    assert_int_equal(sign_and_verify(ca, "example.com"), X509_V_ERR_EXCLUDED_VIOLATION);
    tls_ca_unref(ca);
}

static void test_bad_names(void **state)
{
    static const char *const bad[] = {
        "",     "a b",        "*.example.com", ".example.com", "example.com.",
        "a..b", "10.0.0.0/8", "http://a",      "a,DNS:b"};
    (void)state;
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char *why = NULL;
        assert_null(tls_ca_make(&bad[i], 1, 10, &why));
        assert_non_null(why);
        free(why);
    }
}

static void write_file(const char *path, const char *text, mode_t mode)
{
    unlink(path);
    int fd = open(path, O_CREAT | O_WRONLY | O_EXCL, mode);
    assert_true(fd >= 0 && fchmod(fd, mode) == 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static void write_ca(const struct tls_ca *cert, const struct tls_ca *key, mode_t mode)
{
    char *pem = tls_ca_cert_pem(cert);
    write_file(cert_path, pem, 0644);
    free(pem);
    pem = tls_ca_key_pem(key);
    write_file(key_path, pem, mode);
    free(pem);
}

/* NULL when it loads. */
static const char *load(bool *key_fault)
{
    static char text[512];
    char *why = NULL;
    struct tls_ca *ca = tls_ca_load(cert_path, key_path, &why, key_fault);
    snprintf(text, sizeof(text), "%s", why == NULL ? "" : why);
    assert_true((ca == NULL) == (why != NULL));
    free(why);
    if (ca == NULL)
        return text;
    assert_int_equal(sign_and_verify(ca, "example.com"), X509_V_OK);
    tls_ca_unref(ca);
    return NULL;
}

static void test_files(void **state)
{
    struct tls_ca *one = make(NULL, 0), *other = make(NULL, 0);
    bool key_fault;
    (void)state;
    write_ca(one, one, 0600);
    assert_null(load(&key_fault));
    write_ca(one, one, 0440);
    assert_null(load(&key_fault));
    write_ca(one, one, 0604);
    assert_non_null(strstr(load(&key_fault), "chmod 600"));
    assert_true(key_fault);
    write_ca(one, other, 0600);
    assert_non_null(strstr(load(&key_fault), "not the key"));
    assert_true(key_fault);
    unlink(key_path);
    assert_non_null(strstr(load(&key_fault), "No such file"));
    assert_true(key_fault);
    write_file(cert_path, "nothing", 0644);
    assert_non_null(strstr(load(&key_fault), "no certificate"));
    assert_false(key_fault);
    tls_ca_unref(one);
    tls_ca_unref(other);
}

/* A leaf is no CA. */
static void test_leaf_as_ca(void **state)
{
    struct tls_ca *ca = make(NULL, 0);
    bool key_fault;
    (void)state;
    write_ca(ca, ca, 0600);
    EVP_PKEY *key = tls_ca_new_key(false);
    X509 *leaf = tls_ca_sign(ca, key, "example.com", time(NULL) + 3600);
    FILE *f = fopen(cert_path, "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_X509(f, leaf), 1);
    fclose(f);
    assert_non_null(strstr(load(&key_fault), "not that of a CA"));
    X509_free(leaf);
    EVP_PKEY_free(key);
    tls_ca_unref(ca);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_leaf_names_its_host),
        cmocka_unit_test(test_leaf_for_an_address),
        cmocka_unit_test(test_leaf_for_a_long_name),
        cmocka_unit_test(test_names_bind_the_ca),
        cmocka_unit_test(test_bad_names),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_leaf_as_ca),
    };
    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
