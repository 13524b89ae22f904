/* SPDX-License-Identifier: Apache-2.0 */
/* net/tls_bundle.c: which certificates are taken from a text, and what a Java reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#include "net/tls_bundle.h"
#include "net/tls_ca.h"

static char *one, *two, *key; /* PEM of two certificates, and of the first one's key */

static int set_up_all(void **state)
{
    char *why = NULL;
    struct tls_ca *a = tls_ca_make(NULL, 0, 10, &why), *b = tls_ca_make(NULL, 0, 10, &why);
    (void)state;
    one = tls_ca_cert_pem(a);
    two = tls_ca_cert_pem(b);
    key = tls_ca_key_pem(a);
    tls_ca_unref(a);
    tls_ca_unref(b);
    return 0;
}

static int tear_down_all(void **state)
{
    (void)state;
    free(one);
    free(two);
    free(key);
    return 0;
}

static char *copy_of(const char *pem)
{
    char *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);
    assert_non_null(f);
    tls_bundle_copy(f, pem, strlen(pem));
    fclose(f);
    assert_int_equal(strlen(text), n);
    return text;
}

/* PEM is copied as the certificates WANTED. Frees PEM. */
static void check_copy(char *pem, const char *wanted)
{
    char *got = copy_of(pem);
    assert_string_equal(got, wanted);
    free(got);
    free(pem);
}

static void test_certificates_alone_are_copied(void **state)
{
    char *both = xasprintf("%s%s", one, two);
    (void)state;
    check_copy(xasprintf("# a comment\n%s%s\nand more\n%s", one, key, two), both);
    check_copy(xasprintf("%s%s", key, one), one);
    check_copy(xstrdup(key), "");
    check_copy(xstrdup(""), "");
    check_copy(xstrdup("\n\n-----BEGIN"), "");
    free(both);
}

/* Those behind it are what a program has relied on. */
static void test_broken_ones_are_passed_over(void **state)
{
    static const char bad[] = "-----BEGIN CERTIFICATE-----\n%s\n-----END CERTIFICATE-----\n";
    char *both = xasprintf("%s%s", one, two);
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        static const char *const bodies[] = {"bm8gY2VydGlmaWNhdGU=", "!!!!", ""};
        char *block = xasprintf(bad, bodies[i]);
        check_copy(xasprintf("%s%s%s", one, block, two), both);
        free(block);
    }
    check_copy(xasprintf("%s-----BEGIN CERTIFICATE-----\nMIIB\n", one), one);
    free(both);
}

/* Nobody sits at the terminal. */
static void test_no_password_is_asked_for(void **state)
{
    (void)state;
    check_copy(xasprintf("-----BEGIN CERTIFICATE-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: "
                         "AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\nAAAA\n"
                         "-----END CERTIFICATE-----\n%s",
                         one),
               one);
}

static uint64_t number(const uint8_t **p, unsigned bytes)
{
    uint64_t n = 0;
    while (bytes-- > 0)
        n = n << 8 | *(*p)++;
    return n;
}

static void skip_text(const uint8_t **p, const char *wanted)
{
    size_t n = number(p, 2);
    assert_true(n == strlen(wanted) && memcmp(*p, wanted, n) == 0);
    *p += n;
}

/* As Java's own reader goes over it. */
static void test_key_store(void **state)
{
    char *pem = xasprintf("%s%s%s", one, key, two);
    const char *const certs[] = {one, two};
    size_t n;
    (void)state;
    char *jks = tls_bundle_jks(pem, strlen(pem), "changeit", &n);
    const uint8_t *p = (const uint8_t *)jks;
    assert_int_equal(number(&p, 4), 0xfeedfeed);
    assert_int_equal(number(&p, 4), 2);
    assert_int_equal(number(&p, 4), 2);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(number(&p, 4), 2); /* a trusted certificate */
        skip_text(&p, i == 0 ? "ca1" : "ca2");
        number(&p, 8);
        skip_text(&p, "X.509");
        long len = (long)number(&p, 4);
        const unsigned char *end = p;
        X509 *cert = d2i_X509(NULL, &end, len);
        assert_non_null(cert);
        assert_ptr_equal(end, p + len);
        p = end;
        BIO *bio = BIO_new(BIO_s_mem());
        char *text;
        assert_int_equal(PEM_write_bio_X509(bio, cert), 1);
        assert_int_equal(BIO_get_mem_data(bio, &text), (long)strlen(certs[i]));
        assert_memory_equal(text, certs[i], strlen(certs[i]));
        BIO_free(bio);
        X509_free(cert);
    }
    assert_int_equal(n - (size_t)((const char *)p - jks), 20);
    free(jks);
    free(pem);
}

/* Java computes it, too: of the password in UTF-16, a constant and all bytes in front. */
static void test_seal(void **state)
{
    static const uint8_t of_none[] = {0xe2, 0x68, 0x6e, 0x45, 0xfb, 0x43, 0xdf, 0xa4, 0xd9, 0x92,
                                      0xdd, 0x41, 0xce, 0xb6, 0xb2, 0x1c, 0x63, 0x30, 0xd7, 0x92};
    size_t n;
    (void)state;
    char *jks = tls_bundle_jks("", 0, "changeit", &n);
    assert_int_equal(n, 12 + sizeof(of_none));
    assert_memory_equal(jks + 12, of_none, sizeof(of_none));
    free(jks);
}

/* SSL_CERT_FILE is what OpenSSL looks at; one that is not there is not taken. */
static void test_system(void **state)
{
    (void)state;
    setenv("SSL_CERT_FILE", "/dev/null", 1);
    assert_string_equal(tls_bundle_system(), "/dev/null");
    setenv("SSL_CERT_FILE", "/nonexistent.pem", 1);
    const char *found = tls_bundle_system();
    assert_true(found == NULL || strcmp(found, "/nonexistent.pem") != 0);
    unsetenv("SSL_CERT_FILE");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_certificates_alone_are_copied),
        cmocka_unit_test(test_broken_ones_are_passed_over),
        cmocka_unit_test(test_no_password_is_asked_for),
        cmocka_unit_test(test_key_store),
        cmocka_unit_test(test_seal),
        cmocka_unit_test(test_system),
    };
    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
