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

/* ---- CAs of others */

static void add_ext(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_int_equal(X509_add_ext(cert, e, -1), 1);
    X509_EXTENSION_free(e);
}

/* A CA's certificate of KEY that ended DAYS from now; by ISSUER with BY, or by itself. HAS_ID: it
 * says which key it is. */
static X509 *authority(EVP_PKEY *key, X509 *issuer, EVP_PKEY *by, int days, bool has_id)
{
    static unsigned made;
    char cn[16];
    snprintf(cn, sizeof(cn), "ca %u", ++made);
    X509 *cert = X509_new();
    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                               (const unsigned char *)cn, -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(issuer == NULL ? cert : issuer));
    X509_gmtime_adj(X509_getm_notBefore(cert), -100L * 86400);
    X509_gmtime_adj(X509_getm_notAfter(cert), (long)days * 86400);
    X509_set_pubkey(cert, key);
    add_ext(cert, issuer == NULL ? cert : issuer, NID_basic_constraints, "critical,CA:TRUE");
    add_ext(cert, issuer == NULL ? cert : issuer, NID_key_usage, "critical,keyCertSign");
    if (has_id)
        add_ext(cert, issuer == NULL ? cert : issuer, NID_subject_key_identifier, "hash");
    int kind = EVP_PKEY_get_base_id(by);
    assert_true(X509_sign(cert, by, kind == EVP_PKEY_ED25519 ? NULL : EVP_sha256()) > 0);
    return cert;
}

static void write_certs(X509 *const *certs, unsigned n)
{
    FILE *f = fopen(cert_path, "w");
    assert_non_null(f);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(PEM_write_X509(f, certs[i]), 1);
    fclose(f);
}

enum format { PKCS8, OF_ITS_KIND, ENCRYPTED };

static void write_key(EVP_PKEY *key, enum format format)
{
    char password[] = "secret";
    unlink(key_path);
    FILE *f = fopen(key_path, "w");
    assert_true(f != NULL && fchmod(fileno(f), 0600) == 0);
    if (format == ENCRYPTED)
        assert_int_equal(
            PEM_write_PKCS8PrivateKey(f, key, EVP_aes_128_cbc(), password, 6, NULL, NULL), 1);
    else if (format == PKCS8)
        assert_int_equal(PEM_write_PKCS8PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
    else
        assert_int_equal(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(f);
}

/* Takes over KEY, of a root; what is said of it, NULL when it signs. */
static const char *try_key(EVP_PKEY *key, enum format format)
{
    bool key_fault;
    X509 *cert = authority(key, NULL, key, 10, true);
    write_certs(&cert, 1);
    write_key(key, format);
    X509_free(cert);
    EVP_PKEY_free(key);
    return load(&key_fault);
}

static EVP_PKEY *pss_key(void)
{
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_id(EVP_PKEY_RSA_PSS, NULL);
    assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
    assert_int_equal(EVP_PKEY_keygen(ctx, &key), 1);
    EVP_PKEY_CTX_free(ctx);
    return key;
}

static void test_kinds_of_keys(void **state)
{
    (void)state;
    assert_null(try_key(EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), PKCS8));
    assert_null(try_key(EVP_EC_gen("P-384"), PKCS8));
    assert_null(try_key(EVP_EC_gen("P-256"), OF_ITS_KIND));
    assert_null(try_key(EVP_RSA_gen(3072), OF_ITS_KIND));
    assert_null(try_key(pss_key(), PKCS8));
    assert_non_null(strstr(try_key(EVP_EC_gen("P-256"), ENCRYPTED), "openssl pkey"));
}

/* It would be found out with the first client otherwise, and end the process. */
static void test_key_that_cannot_sign(void **state)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");
    EVP_PKEY *by = tls_ca_new_key(false);
    X509 *root = authority(by, NULL, by, 10, true);
    X509 *cert = authority(key, root, by, 10, true);
    bool key_fault;
    (void)state;
    write_certs(&cert, 1);
    write_key(key, PKCS8);
    assert_non_null(strstr(load(&key_fault), "cannot sign"));
    assert_true(key_fault);
    X509_free(cert);
    X509_free(root);
    EVP_PKEY_free(key);
    EVP_PKEY_free(by);
}

/* Old CAs do not say which key they are; one that has ended is no fault of the files. */
static void test_old_authorities(void **state)
{
    EVP_PKEY *key = tls_ca_new_key(false);
    bool key_fault;
    char *why = NULL;
    (void)state;
    X509 *cert = authority(key, NULL, key, -1, false);
    write_certs(&cert, 1);
    write_key(key, PKCS8);
    struct tls_ca *ca = tls_ca_load(cert_path, key_path, &why, &key_fault);
    assert_non_null(ca);
    assert_true(tls_ca_not_after(ca) < time(NULL));
    X509 *leaf = tls_ca_sign(ca, key, "example.com", tls_ca_not_after(ca));
    assert_int_equal(X509_verify(leaf, key), 1);
    assert_true(X509_cmp_current_time(X509_get0_notAfter(leaf)) < 0);
    X509_free(leaf);
    tls_ca_unref(ca);
    X509_free(cert);
    EVP_PKEY_free(key);
}

/* What leads to the root is shown, the root is not. */
static void test_chain(void **state)
{
    EVP_PKEY *key = tls_ca_new_key(false);
    X509 *root = authority(key, NULL, key, 10, true);
    X509 *middle = authority(key, root, key, 10, true);
    X509 *last = authority(key, middle, key, 10, true);
    X509 *const certs[] = {last, middle, root};
    bool key_fault;
    char *why = NULL;
    STACK_OF(X509) * chain;
    (void)state;
    write_certs(certs, 3);
    write_key(key, PKCS8);
    struct tls_ca *ca = tls_ca_load(cert_path, key_path, &why, &key_fault);
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    SSL *ssl = SSL_new(ctx);
    X509 *leaf = tls_ca_sign(ca, key, "example.com", time(NULL) + 3600);
    assert_true(tls_ca_use(ca, ssl, leaf, key));
    assert_int_equal(SSL_get0_chain_certs(ssl, &chain), 1);
    assert_int_equal(sk_X509_num(chain), 2);
    assert_int_equal(X509_cmp(sk_X509_value(chain, 0), last), 0);
    assert_int_equal(X509_cmp(sk_X509_value(chain, 1), middle), 0);
    X509_free(leaf);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    tls_ca_unref(ca);
    for (unsigned i = 0; i < 3; i++)
        X509_free(certs[i]);
    EVP_PKEY_free(key);
}

/* A file that is broken behind its first certificate is not half of a chain. */
static void test_broken_files(void **state)
{
    struct tls_ca *ca = make(NULL, 0);
    bool key_fault;
    (void)state;
    write_ca(ca, ca, 0600);
    FILE *f = fopen(cert_path, "a");
    assert_non_null(f);
    fputs("-----BEGIN CERTIFICATE-----\nbm8=\n-----END CERTIFICATE-----\n", f);
    fclose(f);
    assert_non_null(load(&key_fault));
    assert_false(key_fault);
    write_ca(ca, ca, 0600);
    write_file(key_path, "nothing", 0600);
    assert_non_null(strstr(load(&key_fault), "no private key"));
    unlink(key_path);
    assert_int_equal(mkfifo(key_path, 0600), 0);
    assert_non_null(strstr(load(&key_fault), "no regular file"));
    unlink(key_path);
    tls_ca_unref(ca);
}

/* A client may write anything into its hello. */
static void test_leaves_for_what_is_no_name(void **state)
{
    static const char *const names[] = {"", "\xff\xfe", "a b", "*.example.com", "fe80::1%eth0",
                                        "."};
    struct tls_ca *ca = make(NULL, 0);
    EVP_PKEY *key = tls_ca_new_key(false);
    (void)state;
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        X509 *leaf = tls_ca_sign(ca, key, names[i], time(NULL) + 3600);
        assert_non_null(leaf);
        assert_int_equal(X509_NAME_entry_count(X509_get_subject_name(leaf)), 0);
        X509_free(leaf);
    }
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
        cmocka_unit_test(test_kinds_of_keys),
        cmocka_unit_test(test_key_that_cannot_sign),
        cmocka_unit_test(test_old_authorities),
        cmocka_unit_test(test_chain),
        cmocka_unit_test(test_broken_files),
        cmocka_unit_test(test_leaves_for_what_is_no_name),
    };
    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
