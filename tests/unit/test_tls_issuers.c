/* SPDX-License-Identifier: Apache-2.0 */
/* net/tls_issuers.c and net/tls_aia.c: which URLs are taken, what is read, and for whom it is
 * kept. */
#include "tls_fixture.h"

#include <openssl/pkcs7.h>

#include "base/loop.h"
#include "net/tls_issuers.h"

static struct pair root, inter, leaf;

#define URL "http://aia.test/i.crt"

static struct pair make_leaf(const struct pair *by, const char *aia)
{
    struct pair p = make_cert(by, &(struct cert_want){.cn = "leaf", .san = "DNS:a.test"});
    if (aia != NULL)
        add_ext(p.cert, by->cert, NID_info_access, aia);
    if (X509_sign(p.cert, by->key, EVP_sha256()) == 0)
        abort();
    return p;
}

static int begin(void **state)
{
    (void)state;
    root = make_cert(NULL, &(struct cert_want){.cn = "root", .is_ca = true});
    inter = make_cert(&root, &(struct cert_want){.cn = "inter", .is_ca = true});
    leaf = make_leaf(&inter, "caIssuers;URI:" URL);
    return 0;
}

static int end(void **state)
{
    (void)state;
    tls_issuers_clear();
    free_pair(&leaf);
    free_pair(&inter);
    free_pair(&root);
    return 0;
}

/* DER of CERT; to be freed. */
static struct str der_of(X509 *cert)
{
    unsigned char *der = NULL;
    int n = i2d_X509(cert, &der);
    return str_make((char *)der, (size_t)n);
}

static void free_der(struct str der)
{
    OPENSSL_free((void *)der.p);
}

static bool put(const char *url, X509 *asked_for, X509 *cert, int64_t bad_ms)
{
    struct str der = der_of(cert);
    bool good = tls_issuers_put(url, asked_for, der, bad_ms);
    free_der(der);
    return good;
}

static bool is_found(X509 *cert)
{
    X509 *found = tls_issuers_find(cert);
    X509_free(found);
    return found != NULL;
}

static void urls(void **state)
{
    (void)state;
    static const struct {
        const char *aia, *text, *host, *path;
    } good[] = {
        {"caIssuers;URI:http://A.Test/x.crt", "http://a.test/x.crt", "a.test", "/x.crt"},
        {"caIssuers;URI:http://a.test:80/x", "http://a.test/x", "a.test", "/x"},
        {"caIssuers;URI:HTTP://a.test", "http://a.test/", "a.test", "/"},
        {"caIssuers;URI:http://192.0.2.1/x", "http://192.0.2.1/x", "192.0.2.1", "/x"},
        {"caIssuers;URI:http://[2001:DB8::1]/x", "http://[2001:db8::1]/x", "2001:db8::1", "/x"},
        {"OCSP;URI:http://ocsp.test/,caIssuers;URI:ldap://l/,caIssuers;URI:http://a.test/y",
         "http://a.test/y", "a.test", "/y"},
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct tls_aia_url found[TLS_AIA_URLS];
        struct pair p = make_leaf(&inter, good[i].aia);
        assert_int_equal(tls_aia_urls(p.cert, found), 1);
        assert_string_equal(found[0].text, good[i].text);
        assert_string_equal(found[0].host, good[i].host);
        assert_string_equal(found[0].path, good[i].path);
        free_pair(&p);
    }
}

static void urls_that_are_not_taken(void **state)
{
    (void)state;
    static const char *const bad[] = {"caIssuers;URI:https://a.test/x",
                                      "caIssuers;URI:ws://a.test/x",
                                      "caIssuers;URI:http://a.test:8080/x",
                                      "caIssuers;URI:http://u@a.test/x",
                                      "caIssuers;URI:http://u:p@a.test/x",
                                      "caIssuers;URI:http://a.test/x?q",
                                      "caIssuers;URI:http://a.test/x#f",
                                      "caIssuers;URI:http://a.test\\x",
                                      "caIssuers;URI:http:///x",
                                      "caIssuers;URI:/x",
                                      "caIssuers;DNS:a.test",
                                      "OCSP;URI:http://a.test/x"};
    struct tls_aia_url found[TLS_AIA_URLS];
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct pair p = make_leaf(&inter, bad[i]);
        if (tls_aia_urls(p.cert, found) != 0)
            fail_msg("%s: %s", bad[i], found[0].text);
        free_pair(&p);
    }
    assert_int_equal(tls_aia_urls(inter.cert, found), 0);
}

static void two_urls_at_most(void **state)
{
    (void)state;
    struct tls_aia_url found[TLS_AIA_URLS];
    struct pair p = make_leaf(&inter, "caIssuers;URI:http://a/,caIssuers;URI:http://b/,"
                                      "caIssuers;URI:http://c/");
    assert_int_equal(tls_aia_urls(p.cert, found), TLS_AIA_URLS);
    assert_string_equal(found[1].text, "http://b/");
    free_pair(&p);
}

static void bodies(void **state)
{
    (void)state;
    static char large[TLS_AIA_BODY + 1];
    static const char *const bad[] = {"", "x", "-----BEGIN CERTIFICATE-----\n",
                                      "-----BEGIN CERTIFICATE-----\nAAAA\n-----END "
                                      "CERTIFICATE-----\n"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_null(tls_aia_read(str_from(bad[i])));
    assert_null(tls_aia_read(str_make(NULL, 0)));
    assert_null(tls_aia_read(str_make(large, sizeof(large))));
    struct str der = der_of(inter.cert);
    for (size_t n = 0; n < der.len; n++)
        assert_null(tls_aia_read(str_make(der.p, n)));
    free_der(der);
    assert_int_equal(ERR_peek_error(), 0);
}

/* More than are looked at. */
static void bundles(void **state)
{
    (void)state;
    PKCS7 *p7 = PKCS7_new();
    unsigned char *bytes = NULL;
    assert_int_equal(PKCS7_set_type(p7, NID_pkcs7_signed), 1);
    assert_int_equal(PKCS7_content_new(p7, NID_pkcs7_data), 1);
    PKCS7_add_certificate(p7, inter.cert);
    for (int i = 0; i < 2 * TLS_AIA_CERTS; i++)
        PKCS7_add_certificate(p7, root.cert);
    int n = i2d_PKCS7(p7, &bytes);
    STACK_OF(X509) *certs = tls_aia_read(str_make((char *)bytes, (size_t)n));
    assert_int_equal(sk_X509_num(certs), TLS_AIA_CERTS);
    assert_int_equal(X509_cmp(sk_X509_value(certs, 0), inter.cert), 0);
    sk_X509_pop_free(certs, X509_free);
    OPENSSL_free(bytes);
    PKCS7_free(p7);
}

static void a_good_one_is_kept(void **state)
{
    (void)state;
    char why[TLS_ISSUERS_WHY];
    struct tls_issuers_counts before = tls_issuers_count();
    assert_false(is_found(leaf.cert));
    assert_int_equal(tls_issuers_look(URL, leaf.cert, why), TLS_ISSUERS_UNKNOWN);
    assert_true(put(URL, leaf.cert, inter.cert, 0));
    assert_true(is_found(leaf.cert));
    assert_int_equal(tls_issuers_look(URL, leaf.cert, why), TLS_ISSUERS_GOOD);
    assert_int_equal(tls_issuers_count().good, before.good + 1);
    assert_int_equal(tls_issuers_count().bad, before.bad);
}

/* A stranger's certificate that names the same URL gets nothing, and spoils nothing. */
static void nobody_spoils_it(void **state)
{
    (void)state;
    char why[TLS_ISSUERS_WHY];
    struct pair stranger = make_cert(NULL, &(struct cert_want){.cn = "inter", .is_ca = true});
    struct pair his = make_leaf(&stranger, "caIssuers;URI:" URL);
    assert_false(put(URL, his.cert, inter.cert, 1000000));
    assert_int_equal(tls_issuers_look(URL, his.cert, why), TLS_ISSUERS_BAD);
    assert_non_null(strstr(why, "has not issued it"));
    assert_false(is_found(his.cert));
    assert_true(is_found(leaf.cert));
    /* What is forged has the name and no signature. */
    tls_issuers_clear();
    assert_false(put(URL, leaf.cert, stranger.cert, 0));
    assert_false(is_found(leaf.cert));
    assert_int_equal(tls_issuers_look(URL, leaf.cert, why), TLS_ISSUERS_UNKNOWN);
    free_pair(&his);
    free_pair(&stranger);
}

static void a_failure_is_kept_for_its_time(void **state)
{
    (void)state;
    char why[TLS_ISSUERS_WHY];
    tls_issuers_fail(URL, "the answer is 404", 1000000);
    assert_int_equal(tls_issuers_look(URL, leaf.cert, why), TLS_ISSUERS_BAD);
    assert_string_equal(why, "the answer is 404");
    tls_issuers_fail(URL, "the answer is 404", 0);
    assert_int_equal(tls_issuers_look(URL, leaf.cert, why), TLS_ISSUERS_UNKNOWN);
}

/* One that has ended is not asked for more often than a failure, whoever found it. */
static void an_old_one_is_kept_for_its_time(void **state)
{
    (void)state;
    char why[TLS_ISSUERS_WHY];
    struct pair old =
        make_cert(&root, &(struct cert_want){.cn = "old", .is_ca = true, .from = -9, .to = -3});
    struct pair his = make_leaf(&old, "caIssuers;URI:" URL);
    assert_true(put(URL, his.cert, old.cert, 1000000));
    assert_int_equal(tls_issuers_look(URL, his.cert, why), TLS_ISSUERS_GOOD);
    tls_issuers_clear();
    assert_false(put(URL, leaf.cert, old.cert, 1000000));
    assert_true(is_found(his.cert));
    assert_int_equal(tls_issuers_look(URL, his.cert, why), TLS_ISSUERS_GOOD);
    free_pair(&his);
    free_pair(&old);
}

/* What is of no use goes first, however new it is. */
static void it_is_bounded(void **state)
{
    (void)state;
    char url[64];
    char why[TLS_ISSUERS_WHY];
    assert_true(put(URL, leaf.cert, inter.cert, 0));
    for (int i = 0; i < 3 * TLS_ISSUERS_MOST; i++) {
        snprintf(url, sizeof(url), "http://%d.test/", i);
        tls_issuers_fail(url, "no", 1000000);
    }
    assert_true(is_found(leaf.cert));
    assert_int_equal(tls_issuers_look("http://0.test/", leaf.cert, why), TLS_ISSUERS_UNKNOWN);
    assert_int_equal(tls_issuers_look(url, leaf.cert, why), TLS_ISSUERS_BAD);
}

/* In bytes, too: large ones push others out, not beyond the bound. */
static void large_ones_are_bounded(void **state)
{
    (void)state;
    struct str der = der_of(inter.cert);
    char *body = xcalloc(1, TLS_AIA_BODY);
    char url[64];
    memcpy(body, der.p, der.len);
    for (int i = 0; i < 2 * TLS_ISSUERS_BYTES / TLS_AIA_BODY; i++) {
        snprintf(url, sizeof(url), "http://%d.test/", i);
        assert_true(tls_issuers_put(url, leaf.cert, str_make(body, TLS_AIA_BODY), 1000000));
    }
    int kept = 0;
    for (int i = 0; i < 2 * TLS_ISSUERS_BYTES / TLS_AIA_BODY; i++) {
        char why[TLS_ISSUERS_WHY];
        snprintf(url, sizeof(url), "http://%d.test/", i);
        kept += tls_issuers_look(url, leaf.cert, why) == TLS_ISSUERS_GOOD;
    }
    assert_int_equal(kept, TLS_ISSUERS_BYTES / TLS_AIA_BODY);
    free(body);
    free_der(der);
}

/* One that OpenSSL would look into for minutes is as good as none. */
static void what_costs_is_not_taken(void **state)
{
    (void)state;
    struct pair large = make_long_name();
    struct pair many =
        make_cert(&large, &(struct cert_want){.cn = "inter", .is_ca = true, .places = 500});
    struct str der = der_of(many.cert);
    assert_null(tls_aia_read(der));
    free_der(der);
    free_pair(&large);
    free_pair(&many);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(urls, begin, end),
        cmocka_unit_test_setup_teardown(urls_that_are_not_taken, begin, end),
        cmocka_unit_test_setup_teardown(two_urls_at_most, begin, end),
        cmocka_unit_test_setup_teardown(bodies, begin, end),
        cmocka_unit_test_setup_teardown(bundles, begin, end),
        cmocka_unit_test_setup_teardown(a_good_one_is_kept, begin, end),
        cmocka_unit_test_setup_teardown(nobody_spoils_it, begin, end),
        cmocka_unit_test_setup_teardown(a_failure_is_kept_for_its_time, begin, end),
        cmocka_unit_test_setup_teardown(an_old_one_is_kept_for_its_time, begin, end),
        cmocka_unit_test_setup_teardown(it_is_bounded, begin, end),
        cmocka_unit_test_setup_teardown(large_ones_are_bounded, begin, end),
        cmocka_unit_test_setup_teardown(what_costs_is_not_taken, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
