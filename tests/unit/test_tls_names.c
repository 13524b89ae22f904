/* SPDX-License-Identifier: Apache-2.0 */
/* net/tls_names.c and net/tls_verify.c: which names a certificate stands for, who is trusted, what
 * the constraints of a CA forbid, and which certificate the fault is about. Both ends of a
 * handshake are in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <openssl/err.h>
#include <time.h>

#include "conf/files.h"
#include "net/tls_names.h"
#include "net/tls_sessions.h"
#include "net/tls_verify.h"
#include "tls_fixture.h"

enum { CHAIN_MAX = 4 };

static char dir[64];
static struct pair root;
static struct conf conf;
static struct rule rule;
static char *ca_path, *crl_path;

static int set_up_group(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/test_tls_names.XXXXXX");
    if (mkdtemp(dir) == NULL)
        return -1;
    root = make_cert(NULL, &(struct cert_want){.cn = "Root", .is_ca = true});
    return 0;
}

static void forget(char **path)
{
    if (*path != NULL)
        unlink(*path);
    free(*path);
    *path = NULL;
}

static int tear_down_group(void **state)
{
    (void)state;
    free_pair(&root);
    return rmdir(dir);
}

static int tear_down(void **state)
{
    (void)state;
    if (conf.on_free != NULL)
        conf.on_free(&conf);
    conf_files_clear(&conf.files);
    conf.on_free = NULL;
    forget(&ca_path);
    forget(&crl_path);
    ERR_clear_error();
    return 0;
}

/* Makes the context of a rule that trusts CA and holds certificates against CRL, if any. */
static void trust(X509 *ca, X509_CRL *crl)
{
    (void)tear_down(NULL);
    ca_path = write_cert(dir, "ca.pem", ca);
    crl_path = crl == NULL ? NULL : write_crl(dir, "crl.pem", crl);
    use_tls(&conf, &rule, (struct tls_policy){.ca_file = ca_path, .crl_file = crl_path});
}

/* A server that shows CHAIN, the leaf first, ending with NULL. */
static SSL *new_server(SSL_CTX *ctx, const struct pair *const *chain)
{
    SSL_CTX_set_security_level(ctx, 0);
    assert_int_equal(SSL_CTX_use_certificate(ctx, chain[0]->cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(ctx, chain[0]->key), 1);
    for (int i = 1; chain[i] != NULL; i++)
        SSL_CTX_add1_chain_cert(ctx, chain[i]->cert);
    SSL_CTX_set_mode(ctx, SSL_MODE_NO_AUTO_CHAIN);
    SSL *ssl = SSL_new(ctx);
    SSL_set_accept_state(ssl);
    return ssl;
}

static void join(SSL *a, SSL *b)
{
    BIO *x, *y;
    assert_int_equal(BIO_new_bio_pair(&x, 0, &y, 0), 1);
    SSL_set_bio(a, x, x);
    SSL_set_bio(b, y, y);
}

static int64_t until; /* of the last connection that was good */

/* True when NAME is taken to be the server that shows CHAIN; else F says why not. */
static bool is_taken(const char *name, const struct pair *const *chain, struct fault *f)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    SSL *server = new_server(ctx, chain);
    SSL *client = SSL_new(tls_ctx_ssl(rule.tls.ctx));
    struct addr a;
    int r = 0;
    SSL_set_connect_state(client);
    assert_true(tls_verify_setup(client, str_from(name), addr_parse_ip(&a, str_from(name), 0)));
    join(client, server);
    for (int i = 0; r != 1 && i < 20; i++) {
        ERR_clear_error();
        r = SSL_do_handshake(client);
        (void)SSL_do_handshake(server);
    }
    bool good = r == 1 && tls_verify_check(f, client, str_from(name));
    if (good)
        until = tls_verify_until(client);
    else
        assert_true(tls_verify_fault(f, client, str_from(name)));
    SSL_free(client);
    SSL_free(server);
    SSL_CTX_free(ctx);
    ERR_clear_error();
    return good;
}

static void expect_good(const char *name, const struct pair *const *chain)
{
    struct fault f;
    if (!is_taken(name, chain, &f))
        fail_msg("%s: %s", name, f.text);
}

/* The fault holds all of TEXTS, which end with NULL. */
static void expect_bad(const char *name, const struct pair *const *chain, const char *const *texts)
{
    struct fault f;
    if (is_taken(name, chain, &f))
        fail_msg("%s is taken", name);
    assert_int_equal(f.code, FAULT_TLS_CERTIFICATE);
    for (; *texts != NULL; texts++) {
        if (strstr(f.text, *texts) == NULL)
            fail_msg("\"%s\" is not in \"%s\"", *texts, f.text);
    }
}

#define CHAIN(...) ((const struct pair *const[]){__VA_ARGS__, NULL})
#define TEXTS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* ---- names ---- */

static void names(void **state)
{
    (void)state;
    static const struct {
        const char *san, *name;
        bool good;
    } table[] = {
        {"DNS:*.s3.example", "my_bucket.s3.example", true},
        {"DNS:*.s3.example", "_.s3.example", true},
        {"DNS:*.s3.example", "MY_Bucket.S3.example", true},
        {"DNS:*.s3.example", "mybucket.s3.example", true},
        {"DNS:*.s3.example", "xn--bcher-kva.s3.example", true},
        {"DNS:*.my_x.s3.example", "a_b.my_x.s3.example", true},
        {"DNS:*.my_x.s3.example", "a.my_x.s3.example", true},
        {"DNS:a_b.s3.example", "a_b.s3.example", true},
        {"DNS:x.example,DNS:*.s3.example", "a_b.s3.example", true},
        {"DNS:a.example.", "a.example", true},
        {"DNS:*.s3.example.", "a.s3.example", true},
        {"DNS:*.s3.example.", "a_b.s3.example", true},
        /* one label, whole, and at the left */
        {"DNS:*.s3.example", "a_b.c.s3.example", false},
        {"DNS:*.s3.example", "a.b_c.s3.example", false},
        {"DNS:*.s3.example", "s3.example", false},
        {"DNS:*.s3.example", "a_b.s4.example", false},
        {"DNS:*.s3.example", "a_bs3.example", false},
        {"DNS:a_*.s3.example", "a_b.s3.example", false},
        {"DNS:*_b.s3.example", "a_b.s3.example", false},
        {"DNS:x*.s3.example", "x_b.s3.example", false},
        {"DNS:a_b.*.example", "a_b.s3.example", false},
        {"DNS:*.*.example", "a_b.s3.example", false},
        {"DNS:**.s3.example", "a_b.s3.example", false},
        {"DNS:xn--*.s3.example", "xn--a_b.s3.example", false},
        {"DNS:.s3.example", "a_b.s3.example", false},
        /* two labels behind it, with or without a dot at the end */
        {"DNS:*.example", "a_b.example", false},
        {"DNS:*.example.", "a_b.example", false},
        {"DNS:*.example.", "a.example", false},
        {"DNS:*.", "a_b", false},
        {"DNS:*", "a_b", false},
        {"DNS:a.example..", "a.example", false},
        {"DNS:*.s3.example..", "a_b.s3.example", false},
        {"DNS:*..s3.example", "a_b.s3.example", false},
        {"DNS:a_c.s3.example", "a_b.s3.example", false},
        {"email:a_b@s3.example", "a_b.s3.example", false},
        {"URI:http://a_b.s3.example", "a_b.s3.example", false},
        {"DNS:*.0.0.1", "127.0.0.1", false},
        {"DNS:127.0.0.1.", "127.0.0.1", false},
        {"IP:127.0.0.1", "127.0.0.1", true},
    };
    trust(root.cert, NULL);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct pair leaf = make_cert(&root, &(struct cert_want){.cn = "x", .san = table[i].san});
        struct fault f;
        if (is_taken(table[i].name, CHAIN(&leaf), &f) != table[i].good)
            fail_msg("%s with %s", table[i].name, table[i].san);
        free_pair(&leaf);
    }
}

/* A CN never counts, nor what stands before a NUL. */
static void names_that_end_early(void **state)
{
    (void)state;
    static const char table[][24] = {"a.example\0", "a.example.\0", "a.example\0.b.test",
                                     "\0a.example", "*.example\0",  ""};
    static const size_t lens[] = {10, 11, 17, 10, 10, 0};
    trust(root.cert, NULL);
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        struct pair leaf = make_cert(
            &root, &(struct cert_want){.cn = "a.example", .dns = table[i], .dns_len = lens[i]});
        expect_bad("a.example", CHAIN(&leaf),
                   TEXTS(lens[i] > 0 ? "not for this host" : "it holds no host name"));
        free_pair(&leaf);
    }
    struct pair wild = make_cert(&root, &(struct cert_want){.cn = "*.s3.example"});
    expect_bad("a_b.s3.example", CHAIN(&wild), TEXTS("a CN does not count"));
    free_pair(&wild);
}

/* ---- who is trusted ---- */

static void trusted_below_the_root(void **state)
{
    (void)state;
    struct pair inter = make_cert(&root, &(struct cert_want){.cn = "Inter", .is_ca = true});
    struct pair other = make_cert(&root, &(struct cert_want){.cn = "Other", .is_ca = true});
    const struct cert_want want = {.cn = "x", .san = "DNS:a.test"};
    struct pair leaf = make_cert(&inter, &want);
    struct pair sibling = make_cert(&inter, &want);
    struct pair twin = make_cert(NULL, &want);
    trust(inter.cert, NULL);
    expect_good("a.test", CHAIN(&leaf));
    expect_good("a.test", CHAIN(&leaf, &inter));
    expect_good("a.test", CHAIN(&leaf, &inter, &root));
    expect_bad("b.test", CHAIN(&leaf), TEXTS("not for this host"));
    trust(other.cert, NULL);
    expect_bad("a.test", CHAIN(&leaf, &inter), TEXTS("its issuer is unknown", "subject CN=Inter"));
    trust(leaf.cert, NULL);
    expect_good("a.test", CHAIN(&leaf));
    expect_good("a.test", CHAIN(&leaf, &inter, &root));
    expect_bad("b.test", CHAIN(&leaf), TEXTS("not for this host"));
    expect_bad("a.test", CHAIN(&sibling), TEXTS("its issuer is unknown"));
    expect_bad("a.test", CHAIN(&twin), TEXTS("self-signed"));
    trust(twin.cert, NULL);
    expect_good("a.test", CHAIN(&twin));
    expect_bad("a.test", CHAIN(&leaf), TEXTS("its issuer is unknown"));
    free_pair(&inter);
    free_pair(&other);
    free_pair(&leaf);
    free_pair(&sibling);
    free_pair(&twin);
}

/* A leaf that is trusted is no CA for others, and what is trusted ends, too. */
static void trust_has_bounds(void **state)
{
    (void)state;
    const struct cert_want want = {.cn = "x", .san = "DNS:a.test"};
    struct pair old_ca = make_cert(
        &root, &(struct cert_want){.cn = "Old", .is_ca = true, .from = -9 * DAY, .to = -DAY});
    struct pair short_ca = make_cert(
        &root, &(struct cert_want){.cn = "Short", .is_ca = true, .from = -DAY, .to = DAY});
    struct pair by_old = make_cert(&old_ca, &want);
    struct pair by_short = make_cert(&short_ca, &want);
    struct pair by_leaf = make_cert(&by_short, &want);
    struct pair old = make_cert(
        &root, &(struct cert_want){.cn = "x", .san = "DNS:a.test", .from = -9 * DAY, .to = -DAY});
    /* One that may sign certificates, as its keyUsage has it, but does not say that it is a CA. */
    struct pair signer = make_cert(&root, &(struct cert_want){.cn = "signer",
                                                              .san = "DNS:a.test",
                                                              .basic = "",
                                                              .malformed = "\x03\x02\x02\x84"});
    struct pair by_signer = make_cert(&signer, &(struct cert_want){.cn = "x", .san = "DNS:b.test"});
    trust(signer.cert, NULL);
    expect_good("a.test", CHAIN(&signer));
    expect_bad("b.test", CHAIN(&by_signer, &signer),
               TEXTS("of an issuer of b.test", "it is not a CA; subject CN=signer"));
    trust(old_ca.cert, NULL);
    expect_bad("a.test", CHAIN(&by_old), TEXTS("it has expired", "subject CN=Old"));
    trust(old.cert, NULL);
    expect_bad("a.test", CHAIN(&old), TEXTS("it has expired", "of a.test"));
    trust(by_short.cert, NULL);
    expect_bad("a.test", CHAIN(&by_leaf, &by_short), TEXTS("not verify"));
    /* Sessions end with it. */
    trust(short_ca.cert, NULL);
    expect_good("a.test", CHAIN(&by_short));
    assert_true(until <= time(NULL) + DAY);
    free_pair(&signer);
    free_pair(&by_signer);
    free_pair(&old_ca);
    free_pair(&short_ca);
    free_pair(&by_old);
    free_pair(&by_short);
    free_pair(&by_leaf);
    free_pair(&old);
}

/* Adds to the files of trust(). */
static void add(X509 *ca, X509_CRL *list)
{
    struct conf_faults faults = {0};
    FILE *f = fopen(ca == NULL ? crl_path : ca_path, "a");
    assert_non_null(f);
    if (ca == NULL)
        PEM_write_X509_CRL(f, list);
    else
        PEM_write_X509(f, ca);
    fclose(f);
    conf.on_free(&conf);
    conf_files_clear(&conf.files);
    assert_true(tls_ctx_make_all(&conf, &faults));
}

/* A list by the CA above the one that is trusted cannot be checked; the leaf's must be there. */
static void lists_below_the_root(void **state)
{
    (void)state;
    struct pair inter = make_cert(&root, &(struct cert_want){.cn = "Inter", .is_ca = true});
    struct pair leaf = make_cert(&inter, &(struct cert_want){.cn = "x", .san = "DNS:a.test"});
    X509_CRL *lists[] = {make_crl(&inter, NULL), make_crl(&root, NULL), make_crl(&inter, leaf.cert),
                         make_crl(&root, inter.cert)};
    trust(inter.cert, lists[0]);
    expect_good("a.test", CHAIN(&leaf));
    trust(inter.cert, lists[1]);
    expect_bad("a.test", CHAIN(&leaf), TEXTS("crl_file holds no list of its issuer"));
    trust(inter.cert, lists[2]);
    expect_bad("a.test", CHAIN(&leaf), TEXTS("it has been revoked", "subject CN=x"));
    trust(leaf.cert, lists[1]);
    expect_bad("a.test", CHAIN(&leaf), TEXTS("crl_file holds no list of its issuer"));
    trust(leaf.cert, lists[0]);
    expect_bad("a.test", CHAIN(&leaf), TEXTS("crl_file holds a list", "add it to ca_file"));
    /* Both lists in the file; then the upper one names the CA. */
    trust(inter.cert, lists[0]);
    add(NULL, lists[1]);
    expect_good("a.test", CHAIN(&leaf, &inter));
    trust(inter.cert, lists[0]);
    add(NULL, lists[3]);
    expect_bad("a.test", CHAIN(&leaf), TEXTS("it has been revoked", "subject CN=Inter"));
    for (int i = 0; i < 4; i++)
        X509_CRL_free(lists[i]);
    free_pair(&inter);
    free_pair(&leaf);
}

/* LIST says which certificate of BY has signed it. */
static void name_signer(X509_CRL *list, const struct pair *by)
{
    AUTHORITY_KEYID *id = AUTHORITY_KEYID_new();
    GENERAL_NAME *name = GENERAL_NAME_new();
    GENERAL_NAME_set0_value(name, GEN_DIRNAME, X509_NAME_dup(X509_get_issuer_name(by->cert)));
    id->issuer = GENERAL_NAMES_new();
    sk_GENERAL_NAME_push(id->issuer, name);
    id->serial = ASN1_INTEGER_dup(X509_get0_serialNumber(by->cert));
    assert_int_equal(X509_CRL_add1_ext_i2d(list, NID_authority_key_identifier, id, 0, 0), 1);
    AUTHORITY_KEYID_free(id);
    assert_true(X509_CRL_sign(list, by->key, EVP_sha256()) > 0);
}

/* A CA that is trusted together with its root is bound by what the root says. */
static void trusted_with_the_root(void **state)
{
    (void)state;
    const struct cert_want want = {.cn = "Inter", .is_ca = true};
    struct pair strict = make_cert(
        NULL, &(struct cert_want){.cn = "Strict", .is_ca = true, .limits = "excluded;DNS:a.test"});
    struct pair old = make_cert(
        NULL, &(struct cert_want){.cn = "Old", .is_ca = true, .from = -9 * DAY, .to = -DAY});
    struct pair *tops[] = {&root, &strict, &old};
    static const char *const texts[] = {"it has been revoked",
                                        "the CA CN=Strict of its chain excludes a.test", NULL};
    for (int i = 0; i < 3; i++) {
        struct pair inter = make_cert(tops[i], &want);
        struct pair leaf = make_cert(&inter, &(struct cert_want){.cn = "x", .san = "DNS:a.test"});
        X509_CRL *low = make_crl(&inter, NULL);
        X509_CRL *high = make_crl(tops[i], inter.cert);
        name_signer(high, tops[i]);
        trust(inter.cert, i == 0 ? low : NULL);
        if (i == 0)
            add(NULL, high);
        expect_good("a.test", CHAIN(&leaf, &inter));
        add(tops[i]->cert, NULL);
        if (texts[i] != NULL)
            expect_bad("a.test", CHAIN(&leaf, &inter), TEXTS(texts[i]));
        else
            expect_good("a.test", CHAIN(&leaf, &inter));
        X509_CRL_free(low);
        X509_CRL_free(high);
        free_pair(&inter);
        free_pair(&leaf);
    }
    free_pair(&strict);
    free_pair(&old);
}

/* ---- constraints ---- */

static void constraints(void **state)
{
    (void)state;
    static const struct {
        const char *limits, *san, *name;
        const char *text; /* NULL: good */
    } table[] = {
        {"excluded;DNS:bar.example.com", "DNS:*.example.com", "bar.example.com",
         "the CA CN=Limited of its chain excludes bar.example.com"},
        {"excluded;DNS:BAR.example.com", "DNS:*.example.com", "bar.example.com", "excludes"},
        {"excluded;DNS:bar.example.com", "DNS:*.example.com", "foo.example.com", NULL},
        {"excluded;DNS:bar.example.com", "DNS:*.example.com", "foobar.example.com", NULL},
        {"excluded;DNS:bar.example.com", "DNS:*.bar.example.com", "x.bar.example.com",
         "excludes x.bar.example.com"},
        {"excluded;DNS:.bar.example.com", "DNS:*.example.com", "bar.example.com", NULL},
        {"excluded;DNS:a_b.example.com", "DNS:*.example.com", "a_b.example.com", "excludes a_b"},
        {"excluded;DNS:xn--bcher-kva.example.com", "DNS:*.example.com", "xn--bcher-kva.example.com",
         "excludes xn--bcher"},
        /* a dot at the end, on either side */
        {"excluded;DNS:bar.example.com", "DNS:bar.example.com.", "bar.example.com", "excludes"},
        {"excluded;DNS:bar.example.com", "DNS:*.example.com.", "bar.example.com", "excludes"},
        {"excluded;DNS:bar.example.com.", "DNS:*.example.com", "bar.example.com", "excludes"},
        {"excluded;DNS:bar.example.com.", "DNS:bar.example.com", "bar.example.com", "excludes"},
        {"excluded;DNS:*.bar.example.com", "DNS:x.bar.example.com", "x.bar.example.com",
         "excludes"},
        {"permitted;DNS:example.com", "DNS:*.example.com", "bar.example.com", NULL},
        {"permitted;DNS:.example.com", "DNS:*.example.com", "bar.example.com", NULL},
        {"permitted;DNS:example.com", "DNS:example.com", "example.com", NULL},
        {"permitted;DNS:example.org", "DNS:*.example.com", "bar.example.com",
         "the CA CN=Limited of its chain does not permit bar.example.com"},
        {"permitted;DNS:ample.com", "DNS:*.example.com", "bar.example.com", "does not permit"},
        {"permitted;DNS:*.example.com", "DNS:*.example.com", "bar.example.com", NULL},
        {"permitted;DNS:example.com,excluded;DNS:bar.example.com", "DNS:*.example.com",
         "bar.example.com", "excludes"},
        {"permitted;IP:10.0.0.0/255.0.0.0", "DNS:*.example.com", "bar.example.com", NULL},
        /* another name of the certificate */
        {"excluded;DNS:bar.example.com", "DNS:a.test,DNS:bar.example.com", "a.test",
         "the CA CN=Limited of its chain excludes bar.example.com"},
        {"excluded;IP:127.0.0.0/255.0.0.0", "DNS:a.test,IP:127.0.0.1", "a.test",
         "excludes 127.0.0.1"},
        {"excluded;IP:127.0.0.0/255.0.0.0", "IP:127.0.0.1", "127.0.0.1", "excludes 127.0.0.1"},
        {"excluded;IP:10.0.0.0/255.0.0.0", "IP:127.0.0.1", "127.0.0.1", NULL},
        {"permitted;IP:10.0.0.0/255.0.0.0", "IP:127.0.0.1", "127.0.0.1",
         "does not permit 127.0.0.1"},
        {"permitted;DNS:example.com", "IP:127.0.0.1", "127.0.0.1", NULL},
        {"permitted;IP:::1/ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "IP:::1", "::1", NULL},
    };
    trust(root.cert, NULL);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct pair inter = make_cert(
            &root, &(struct cert_want){.cn = "Limited", .is_ca = true, .limits = table[i].limits});
        struct pair below = make_cert(&inter, &(struct cert_want){.cn = "Below", .is_ca = true});
        struct pair near = make_cert(&inter, &(struct cert_want){.cn = "x", .san = table[i].san});
        struct pair far = make_cert(&below, &(struct cert_want){.cn = "x", .san = table[i].san});
        for (int k = 0; k < 2; k++) {
            const struct pair *const *chain =
                k == 0 ? CHAIN(&near, &inter) : CHAIN(&far, &below, &inter);
            if (table[i].text == NULL)
                expect_good(table[i].name, chain);
            else
                expect_bad(table[i].name, chain, TEXTS(table[i].text, "subject CN=x"));
        }
        /* Trusted by itself, it is held to them as well. */
        trust(inter.cert, NULL);
        if (table[i].text == NULL)
            expect_good(table[i].name, CHAIN(&near));
        else
            expect_bad(table[i].name, CHAIN(&near), TEXTS(table[i].text));
        trust(root.cert, NULL);
        free_pair(&inter);
        free_pair(&below);
        free_pair(&near);
        free_pair(&far);
    }
}

/* ---- what the fault is about ---- */

/* The server shows a leaf and the CA that has issued it, as wanted. */
static void expect_about(const struct cert_want *ca, const struct cert_want *leaf,
                         const char *const *texts)
{
    struct pair inter = make_cert(&root, ca);
    struct pair end = make_cert(&inter, leaf);
    expect_bad("a.test", CHAIN(&end, &inter), texts);
    free_pair(&inter);
    free_pair(&end);
}

static void fault_names_its_certificate(void **state)
{
    (void)state;
    const struct cert_want leaf = {.cn = "leaf", .san = "DNS:a.test"};
    const struct cert_want ca = {.cn = "Inter", .is_ca = true};
    static const char above[] = "the certificate of an issuer of a.test does not verify: ";
    trust(root.cert, NULL);
    expect_about(&(struct cert_want){.cn = "nobc", .basic = ""}, &leaf,
                 TEXTS(above, ": it is not a CA; subject CN=nobc"));
    expect_about(&(struct cert_want){.cn = "noca"}, &leaf,
                 TEXTS(above, ": it is not a CA; subject CN=noca"));
    expect_about(&(struct cert_want){.cn = "small", .is_ca = true, .rsa = 1024}, &leaf,
                 TEXTS(above, ": its key is too small; ", "security_level", "subject CN=small"));
    expect_about(&ca, &(struct cert_want){.cn = "leaf", .san = "DNS:a.test", .rsa = 1024},
                 TEXTS("of a.test does not verify: its key is too small; ", "subject CN=leaf"));
    expect_about(&(struct cert_want){.cn = "sha1", .is_ca = true, .sha1 = true}, &leaf,
                 TEXTS(above, ": it is signed with a hash that is too weak; ", "subject CN=sha1"));
    expect_about(&(struct cert_want){.cn = "old", .is_ca = true, .from = -9 * DAY, .to = -DAY},
                 &leaf, TEXTS(above, ": it has expired", "subject CN=old"));
    /* Extensions that cannot be read. */
    expect_about(&ca, &(struct cert_want){.cn = "leaf", .san = "DNS:a.test", .is_repeated = true},
                 TEXTS("of a.test does not verify: it has a malformed or repeated extension; "
                       "subject CN=leaf"));
    expect_about(&ca,
                 &(struct cert_want){.cn = "leaf", .san = "DNS:a.test", .malformed = "\x30\x01"},
                 TEXTS("of a.test does not verify: it has a malformed or repeated extension; "
                       "subject CN=leaf"));
    expect_about(
        &(struct cert_want){.cn = "twice", .is_ca = true, .is_repeated = true}, &leaf,
        TEXTS("its issuer's certificate, shown by the server or trusted, has a malformed or "
              "repeated extension; subject CN=leaf, issuer CN=twice"));
    expect_about(&(struct cert_want){.cn = "bad", .is_ca = true, .malformed = "\x04"}, &leaf,
                 TEXTS("malformed or repeated extension", "issuer CN=bad"));
}

/* A renewed CA, say: it has the name, and is not the issuer. */
static void issuer_of_that_name(void **state)
{
    (void)state;
    static const char text[] = "its issuer is unknown: there is a CA of that name, shown by the "
                               "server or trusted, but with another key; subject CN=x, issuer CN=A";
    const struct cert_want ca = {.cn = "A", .is_ca = true, .has_key_ids = true};
    const struct cert_want want = {.cn = "x", .san = "DNS:a.test", .has_key_ids = true};
    struct pair issuer = make_cert(&root, &ca);
    struct pair twin = make_cert(NULL, &ca);
    struct pair leaf = make_cert(&issuer, &want);
    trust(root.cert, NULL);
    expect_good("a.test", CHAIN(&leaf, &twin, &issuer));
    expect_bad("a.test", CHAIN(&leaf, &twin), TEXTS(text));
    trust(twin.cert, NULL);
    expect_bad("a.test", CHAIN(&leaf), TEXTS(text));
    expect_bad("a.test", CHAIN(&leaf, &issuer), TEXTS("issuer is unknown", "subject CN=A"));
    add(issuer.cert, NULL); /* below a root that is not trusted */
    expect_good("a.test", CHAIN(&leaf, &twin));
    trust(leaf.cert, NULL); /* by itself, whoever its issuer is */
    expect_good("a.test", CHAIN(&leaf, &twin));
    free_pair(&issuer);
    free_pair(&twin);
    free_pair(&leaf);
}

static void names_that_nearly_match(void **state)
{
    (void)state;
    static const char address[] =
        "it holds this address as a host name (dNSName), not as an address";
    struct pair dns = make_cert(&root, &(struct cert_want){.cn = "x", .san = "DNS:127.0.0.1"});
    struct pair star = make_cert(&root, &(struct cert_want){.cn = "x", .san = "DNS:*.a.test"});
    trust(root.cert, NULL);
    expect_bad("127.0.0.1", CHAIN(&dns), TEXTS(address));
    expect_bad("127.0.0.2", CHAIN(&dns), TEXTS("it is for 127.0.0.1, not for this address;"));
    expect_bad("b.c.a.test", CHAIN(&star),
               TEXTS("it is for *.a.test, not for this host; a star stands for one whole label;"));
    expect_bad("127.0.0.1", CHAIN(&star), TEXTS("it is for *.a.test, not for this address;"));
    free_pair(&dns);
    free_pair(&star);
}

static void path_length_names_the_ca(void **state)
{
    (void)state;
    const struct cert_want leaf = {.cn = "leaf", .san = "DNS:a.test"};
    struct pair top = make_cert(
        &root, &(struct cert_want){.cn = "top", .is_ca = true, .basic = "CA:TRUE,pathlen:0"});
    struct pair mid = make_cert(&top, &(struct cert_want){.cn = "mid", .is_ca = true});
    struct pair end = make_cert(&mid, &leaf);
    trust(root.cert, NULL);
    expect_bad("a.test", CHAIN(&end, &mid, &top),
               TEXTS("of an issuer of a.test", "it allows fewer CAs below it than the chain has",
                     "subject CN=top"));
    free_pair(&top);
    free_pair(&mid);
    free_pair(&end);
}

/* Not "it holds no host name". */
static void trusted_leaf_with_names_twice(void **state)
{
    (void)state;
    struct pair leaf = make_cert(
        &root, &(struct cert_want){.cn = "leaf", .san = "DNS:a.test", .is_repeated = true});
    struct pair self = make_cert(
        NULL, &(struct cert_want){.cn = "leaf", .san = "DNS:a.test", .is_repeated = true});
    trust(leaf.cert, NULL);
    expect_bad("a.test", CHAIN(&leaf), TEXTS("malformed or repeated extension"));
    trust(self.cert, NULL);
    expect_bad("a.test", CHAIN(&self), TEXTS("malformed or repeated extension"));
    free_pair(&leaf);
    free_pair(&self);
}

/* What OpenSSL would make names of for minutes is not looked into; what is usual is. */
static void names_that_cost(void **state)
{
    (void)state;
    struct pair large = make_long_name();
    struct pair many =
        make_cert(&large, &(struct cert_want){.cn = "leaf", .san = "DNS:a.test", .places = 500});
    struct pair few =
        make_cert(&root, &(struct cert_want){.cn = "leaf", .san = "DNS:a.test", .places = 90});
    trust(root.cert, NULL);
    expect_bad("a.test", CHAIN(&many), TEXTS("too many names", "subject CN=leaf"));
    expect_bad("a.test", CHAIN(&few, &many), TEXTS("too many names", "of an issuer of"));
    expect_good("a.test", CHAIN(&few));
    free_pair(&large);
    free_pair(&many);
    free_pair(&few);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(names, tear_down),
        cmocka_unit_test_teardown(names_that_end_early, tear_down),
        cmocka_unit_test_teardown(trusted_below_the_root, tear_down),
        cmocka_unit_test_teardown(trust_has_bounds, tear_down),
        cmocka_unit_test_teardown(lists_below_the_root, tear_down),
        cmocka_unit_test_teardown(trusted_with_the_root, tear_down),
        cmocka_unit_test_teardown(constraints, tear_down),
        cmocka_unit_test_teardown(fault_names_its_certificate, tear_down),
        cmocka_unit_test_teardown(issuer_of_that_name, tear_down),
        cmocka_unit_test_teardown(names_that_nearly_match, tear_down),
        cmocka_unit_test_teardown(path_length_names_the_ca, tear_down),
        cmocka_unit_test_teardown(trusted_leaf_with_names_twice, tear_down),
        cmocka_unit_test_teardown(names_that_cost, tear_down),
    };
    return cmocka_run_group_tests(tests, set_up_group, tear_down_group);
}
