/* SPDX-License-Identifier: Apache-2.0 */
/* net/tls_ctx.c: what is shared between rules, and the faults of files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/stat.h>

#include "base/loop.h"
#include "conf/files.h"
#include "conf/keys.h"
#include "conf/value.h"
#include "net/tls_suites.h"
#include "tls_fixture.h"

static char dir[64];
static char *ca_file, *cert_file, *key_file, *other_key, *crl_file, *junk_file, *ca_dir;

static char empty[] = "";
static char where[] = "tlsfan.conf:7";

static struct rule make_rule(void)
{
    struct rule r = tls_rule((struct tls_policy){0});
    r.where = where;
    return r;
}

static int set_up(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/test_tls_ctx.XXXXXX");
    if (mkdtemp(dir) == NULL)
        return -1;
    struct pair ca = make_cert(NULL, &(struct cert_want){.cn = "CA", .is_ca = true});
    struct pair leaf = make_cert(&ca, &(struct cert_want){.cn = "client"});
    X509_CRL *crl = make_crl(&ca, NULL);
    ca_file = write_cert(dir, "ca.pem", ca.cert);
    cert_file = write_cert(dir, "client.pem", leaf.cert);
    key_file = write_key(dir, "client.key", leaf.key);
    other_key = write_key(dir, "other.key", ca.key);
    crl_file = write_crl(dir, "crl.pem", crl);
    junk_file = write_text(dir, "junk.txt", "no certificate\n");
    ca_dir = xstrdup(dir);
    X509_CRL_free(crl);
    free_pair(&ca);
    free_pair(&leaf);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char *files[] = {ca_file, cert_file, key_file, other_key, crl_file, junk_file};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        unlink(files[i]);
        free(files[i]);
    }
    free(ca_dir);
    return rmdir(dir);
}

/* Makes the contexts of N rules. Gives the faults, to be freed, or NULL. */
static char *make(struct conf *c, struct rule *rules, unsigned n)
{
    struct conf_faults faults = {0};
    memset(c, 0, sizeof(*c));
    c->intercept.ca_cert = c->intercept.ca_key = "";
    c->rules = rules;
    c->n_rules = n;
    for (unsigned i = 0; i < n; i++)
        rules[i].host = "h";
    bool ok = tls_ctx_make_all(c, &faults);
    assert_int_equal(ok, faults.n == 0);
    assert_non_null(c->on_free);
    return faults.text;
}

static void equal_rules_share(void **state)
{
    (void)state;
    enum { N = 10000 };
    struct conf c;
    struct rule *rules = xcalloc(N, sizeof(*rules));
    for (int i = 0; i < N; i++)
        rules[i] = make_rule();
    rules[1].tls.ca_file = ca_file;
    rules[2].tls.ca_file = ca_file;
    rules[2].tls.session_resumption = false;
    clock_t before = clock(); /* processor time: others may use the machine, too */
    assert_null(make(&c, rules, N));
    assert_true(clock() - before < 5 * CLOCKS_PER_SEC);
    assert_ptr_equal(rules[0].tls.ctx, rules[N - 1].tls.ctx);
    assert_ptr_not_equal(rules[0].tls.ctx, rules[1].tls.ctx);
    assert_ptr_not_equal(rules[1].tls.ctx, rules[2].tls.ctx);
    assert_ptr_equal(SSL_CTX_get_cert_store(tls_ctx_ssl(rules[1].tls.ctx)),
                     SSL_CTX_get_cert_store(tls_ctx_ssl(rules[2].tls.ctx)));
    assert_ptr_not_equal(SSL_CTX_get_cert_store(tls_ctx_ssl(rules[0].tls.ctx)),
                         SSL_CTX_get_cert_store(tls_ctx_ssl(rules[1].tls.ctx)));
    c.on_free(&c);
    conf_files_clear(&c.files);
    assert_null(rules[0].tls.ctx);
    c.on_free(&c);
    conf_files_clear(&c.files);
    free(rules);
}

/* Another value than check_key() has, by the last part of the key's name. */
static const char *other_value(const char *name)
{
    static char ca_again[80], cert_again[80], key_again[80];
    snprintf(ca_again, sizeof(ca_again), "%s/./ca.pem", dir);
    snprintf(cert_again, sizeof(cert_again), "%s/./client.pem", dir);
    snprintf(key_again, sizeof(key_again), "%s/./client.key", dir);
    const struct {
        const char *name, *value;
    } table[] = {{"ca_file", ca_again},
                 {"ca_dir", dir},
                 {"ca_extra", ca_file},
                 {"crl_file", crl_file},
                 {"client_cert", cert_again},
                 {"client_key", key_again},
                 {"min_version", "1.3"},
                 {"ciphers", "ECDHE+AESGCM"},
                 {"ciphersuites", "TLS_AES_128_GCM_SHA256"},
                 {"session_resumption", "off"},
                 {"security_level", "3"},
                 {"legacy_renegotiation", "on"},
                 {"pin_sha256", "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE="},
                 {"fetch_intermediates", "on"},
                 {"keylog", "/nonexistent/keylog"}};
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (strcmp(table[i].name, name) == 0)
            return table[i].value;
    fail_msg("say here what another value of %s is", name);
    return NULL;
}

/* Two rules that differ in K alone. */
static void check_key(const struct key *k)
{
    struct rule rules[2];
    struct conf c;
    struct arena arena = {0};
    char err[VALUE_ERR];
    const char *dot = strchr(k->name, '.');
    rules[0] = make_rule();
    rules[0].tls.ca_file = ca_file; /* the system's takes long to read */
    rules[0].tls.client_cert = cert_file;
    rules[0].tls.client_key = key_file;
    rules[1] = rules[0];
    const char *value = other_value(dot == NULL ? k->name : dot + 1);
    assert_true(value_set(&arena, k, &rules[1], str_from(value), err));
    assert_null(make(&c, rules, 2));
    if (rules[0].tls.ctx == rules[1].tls.ctx)
        fail_msg("rules that differ in %s share a context", k->name);
    bool is_one_store = SSL_CTX_get_cert_store(tls_ctx_ssl(rules[0].tls.ctx)) ==
                        SSL_CTX_get_cert_store(tls_ctx_ssl(rules[1].tls.ctx));
    assert_int_equal(is_one_store, k->decides != DECIDES_TRUST);
    c.on_free(&c);
    conf_files_clear(&c.files);
    arena_clear(&arena);
}

/* Whatever is kept in tls_policy, but what is set connection by connection. */
static void each_key_has_its_context(void **state)
{
    (void)state;
    unsigned n, checked = 0;
    for (enum key_scope scope = KEY_GLOBAL; scope <= KEY_RULE; scope++) {
        const struct key *keys = keys_of(scope, &n);
        for (unsigned i = 0; i < n; i++) {
            const struct key *k = &keys[i];
            bool is_tls = (scope == KEY_RULE || k->in_base) &&
                          k->offset >= offsetof(struct rule, tls) &&
                          k->offset < offsetof(struct rule, tls) + sizeof(struct tls_policy);
            if (k->decides == DECIDES_NOTHING && (!is_tls || strcmp(k->name, "verify") == 0))
                continue;
            check_key(k);
            checked++;
        }
    }
    assert_true(checked >= 10);
}

static void good_settings_are_taken(void **state)
{
    (void)state;
    struct conf c;
    struct rule r = make_rule();
    static char ciphers[] = "ECDHE+AESGCM";
    static char suites[] = "TLS_AES_128_GCM_SHA256";
    r.tls.ca_dir = ca_dir;
    r.tls.ca_extra = ca_file;
    r.tls.crl_file = crl_file;
    r.tls.client_cert = cert_file;
    r.tls.client_key = key_file;
    r.tls.ciphers = ciphers;
    r.tls.ciphersuites = suites;
    r.tls.min_version = 0x0304;
    assert_null(make(&c, &r, 1));
    SSL_CTX *ssl = tls_ctx_ssl(r.tls.ctx);
    assert_int_equal(SSL_CTX_get_min_proto_version(ssl), TLS1_3_VERSION);
    assert_true(SSL_CTX_get_security_level(ssl) > 0);
    c.on_free(&c);
    conf_files_clear(&c.files);
}

static const char *first_suite(char *suites)
{
    struct conf c;
    struct rule r = make_rule();
    r.tls.ciphersuites = suites;
    assert_null(make(&c, &r, 1));
    const STACK_OF(SSL_CIPHER) *all = SSL_CTX_get_ciphers(tls_ctx_ssl(r.tls.ctx));
    const char *name = SSL_CIPHER_get_name(sk_SSL_CIPHER_value(all, 0));
    c.on_free(&c);
    conf_files_clear(&c.files);
    return name;
}

static void the_order_of_suites_is_the_operators(void **state)
{
    (void)state;
    static char own[] = "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256";
    assert_string_equal(first_suite(own), "TLS_CHACHA20_POLY1305_SHA256");
    assert_string_equal(first_suite(empty), tls_suites_aes_is_fast() ? "TLS_AES_128_GCM_SHA256"
                                                                     : "TLS_AES_256_GCM_SHA384");
}

/* Neither an old version nor a list of suites lowers what is asked of certificates. */
static void certificates_keep_their_level(void **state)
{
    (void)state;
    static char low[] = "DEFAULT:@SECLEVEL=0";
    static char high[] = "DEFAULT:@SECLEVEL=4";
    static const struct {
        int version;
        char *ciphers;
        int raised; /* to; 0: not */
    } table[] = {{0x0303, empty, 0},
                 {0x0301, empty, 0},
                 {0x0303, low, 0},
                 {0x0301, low, 0},
                 {0x0301, high, 4}};
    SSL_CTX *plain = SSL_CTX_new(TLS_client_method());
    int level = SSL_CTX_get_security_level(plain);
    assert_true(level > 0);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct conf c;
        struct rule r = make_rule();
        r.tls.min_version = table[i].version;
        r.tls.ciphers = table[i].ciphers;
        assert_null(make(&c, &r, 1));
        SSL_CTX *ssl = tls_ctx_ssl(r.tls.ctx);
        assert_int_equal(X509_VERIFY_PARAM_get_auth_level(SSL_CTX_get0_param(ssl)),
                         table[i].raised > 0 ? table[i].raised : level);
        if (table[i].ciphers == empty)
            assert_int_equal(SSL_CTX_get_security_level(ssl), level);
        c.on_free(&c);
        conf_files_clear(&c.files);
    }
    SSL_CTX_free(plain);
}

/* The name of a suite that a client of SSL would offer, and that shows no certificate or encrypts
 * nothing; NULL: none. */
static const char *find_unfit(SSL_CTX *ssl)
{
    SSL *s = SSL_new(ssl);
    STACK_OF(SSL_CIPHER) *all = SSL_get1_supported_ciphers(s);
    const char *found = NULL;
    assert_true(sk_SSL_CIPHER_num(all) > 0);
    for (int i = 0; i < sk_SSL_CIPHER_num(all); i++) {
        const SSL_CIPHER *c = sk_SSL_CIPHER_value(all, i);
        int auth = SSL_CIPHER_get_auth_nid(c);
        if (auth == NID_auth_null || auth == NID_auth_psk || auth == NID_auth_srp ||
            SSL_CIPHER_get_cipher_nid(c) == NID_undef)
            found = SSL_CIPHER_get_name(c);
    }
    sk_SSL_CIPHER_free(all);
    SSL_free(s);
    return found;
}

static void lists_lose_what_proves_nothing(void **state)
{
    (void)state;
    static const char *const lists[] = {"ALL",
                                        "ALL:@SECLEVEL=0",
                                        "ALL,COMPLEMENTOFDEFAULT @SECLEVEL=0",
                                        "@SECLEVEL=0:HIGH:+aNULL",
                                        "kECDHE:kDHE:@SECLEVEL=0",
                                        "AES:@SECLEVEL=0:!aNULL",
                                        "SHA1:SHA256:@SECLEVEL=0",
                                        "DEFAULT:-aNULL:!eNULL:@SECLEVEL=0"};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        struct conf c;
        struct rule r = make_rule();
        r.tls.ciphers = (char *)lists[i];
        r.tls.min_version = i % 2 == 0 ? 0x0303 : 0x0301;
        assert_null(make(&c, &r, 1));
        const char *unfit = find_unfit(tls_ctx_ssl(r.tls.ctx));
        if (unfit != NULL)
            fail_msg("\"%s\" offers %s", lists[i], unfit);
        c.on_free(&c);
        conf_files_clear(&c.files);
    }
}

static void expect_fault(struct rule r, const char *text)
{
    struct conf c;
    struct rule twice[2] = {r, r};
    char *faults = make(&c, twice, 2);
    assert_non_null(faults);
    assert_non_null(strstr(faults, where));
    if (strstr(faults, text) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", text, faults);
    /* Equal settings are told once. */
    assert_ptr_equal(strchr(faults, '\n'), faults + strlen(faults) - 1);
    assert_null(twice[0].tls.ctx);
    c.on_free(&c);
    conf_files_clear(&c.files);
    free(faults);
}

static void faults_name_file_and_reason(void **state)
{
    (void)state;
    static char missing[] = "/nonexistent/file";
    static char nonsense[] = "NO-SUCH-CIPHER";
    struct rule r = make_rule();
    r.tls.ca_file = missing;
    expect_fault(r, "ca_file: /nonexistent/file: No such file or directory");
    r = make_rule();
    r.tls.ca_extra = junk_file;
    expect_fault(r, "no certificate in it");
    r = make_rule();
    r.tls.ca_dir = missing;
    expect_fault(r, "ca_dir: /nonexistent/file: No such file or directory");
    r = make_rule();
    r.tls.crl_file = ca_file;
    expect_fault(r, "no CRL in it");
    r = make_rule();
    r.tls.ca_file = ca_dir;
    expect_fault(r, "Is a directory");
    r = make_rule();
    r.tls.client_cert = missing;
    expect_fault(r, "client_cert: /nonexistent/file: No such file");
    r = make_rule();
    r.tls.client_cert = cert_file;
    expect_fault(r, ": no private key in it");
    r.tls.client_key = other_key;
    expect_fault(r, "it is not the key of the first certificate in ");
    r = make_rule();
    r.tls.client_key = key_file;
    expect_fault(r, "client_key: is set, but client_cert is not");
    r = make_rule();
    r.tls.ciphers = nonsense;
    expect_fault(r, "ciphers: \"NO-SUCH-CIPHER\"");
    r = make_rule();
    r.tls.ciphersuites = nonsense;
    expect_fault(r, "ciphersuites: \"NO-SUCH-CIPHER\"");
}

/* The main thread reads: it must stay there for signals. */
static void what_is_no_file_is_not_waited_for(void **state)
{
    (void)state;
    char *fifo = xasprintf("%s/fifo", dir);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    alarm(10);
    struct rule r = make_rule();
    r.tls.ca_file = fifo;
    expect_fault(r, "ca_file: ");
    r = make_rule();
    r.tls.client_cert = cert_file;
    r.tls.client_key = fifo;
    expect_fault(r, "/fifo: No data available");
    alarm(0);
    unlink(fifo);
    free(fifo);
}

/* What comes behind is not taken for the end of a list. */
static void a_file_is_taken_whole_or_not_at_all(void **state)
{
    (void)state;
    size_t len;
    char *text = file_read(ca_file, 65536, &len);
    char *broken = xasprintf("%s%.*s", text, (int)len / 2, text);
    char *path = write_text(dir, "broken.pem", broken);
    struct rule r = make_rule();
    r.tls.ca_file = path;
    expect_fault(r, "broken.pem: ");
    r = make_rule();
    r.tls.client_cert = path;
    expect_fault(r, "broken.pem: ");
    unlink(path);
    free(path);
    free(broken);
    free(text);
}

/* Who names them wants them. */
static void lists_that_ask_for_what_proves_nothing(void **state)
{
    (void)state;
    static const char *const lists[] = {"aNULL",
                                        "eNULL",
                                        "NULL",
                                        "ADH",
                                        "AECDH",
                                        "COMPLEMENTOFALL",
                                        "aNULL:@SECLEVEL=0",
                                        "DEFAULT:aNULL@SECLEVEL=0",
                                        "@SECLEVEL=0:AECDH-AES128-SHA",
                                        "ECDHE+AESGCM:ADH-AES128-SHA:HIGH",
                                        "HIGH,NULL-SHA256",
                                        "HIGH NULL-SHA256;AES",
                                        "HIGH:ECDHE-ECDSA-NULL-SHA",
                                        "DEFAULT:kECDHE+aNULL",
                                        "DEFAULT:aPSK",
                                        "PSK-AES128-CBC-SHA",
                                        "DEFAULT:aSRP",
                                        "HIGH:!aRSA:!aECDSA:!aDSS"};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        struct rule r = make_rule();
        char *text = xasprintf("ciphers: \"%s\": it asks for suites in which the server shows no "
                               "certificate or nothing is encrypted",
                               lists[i]);
        r.tls.ciphers = (char *)lists[i];
        expect_fault(r, text);
        free(text);
    }
}

/* One's own is held to the same level. */
static void weak_client_certificate(void **state)
{
    (void)state;
    static char low[] = "DEFAULT:@SECLEVEL=0";
    struct pair weak = make_cert(NULL, &(struct cert_want){.cn = "client", .rsa = 1024});
    char *cert = write_cert(dir, "weak.pem", weak.cert);
    char *key = write_key(dir, "weak.key", weak.key);
    struct rule r = make_rule();
    r.tls.client_cert = cert;
    r.tls.client_key = key;
    expect_fault(r, "weak.pem: ee key too small");
    r.tls.min_version = 0x0301;
    expect_fault(r, "weak.pem: ee key too small");
    r.tls.ciphers = low;
    expect_fault(r, "weak.pem: ee key too small");
    unlink(cert);
    unlink(key);
    free(cert);
    free(key);
    free_pair(&weak);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_rules_share),
        cmocka_unit_test(each_key_has_its_context),
        cmocka_unit_test(good_settings_are_taken),
        cmocka_unit_test(the_order_of_suites_is_the_operators),
        cmocka_unit_test(certificates_keep_their_level),
        cmocka_unit_test(lists_lose_what_proves_nothing),
        cmocka_unit_test(lists_that_ask_for_what_proves_nothing),
        cmocka_unit_test(weak_client_certificate),
        cmocka_unit_test(faults_name_file_and_reason),
        cmocka_unit_test(what_is_no_file_is_not_waited_for),
        cmocka_unit_test(a_file_is_taken_whole_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
