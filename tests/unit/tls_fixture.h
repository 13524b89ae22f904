/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates and rules for the tests of TLS. Everything is made anew in a directory of its
 * own. */
#ifndef TLSFAN_TESTS_TLS_FIXTURE_H
#define TLSFAN_TESTS_TLS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "conf/conf.h"
#include "conf/files.h"
#include "net/tls_ctx.h"
#include "net/tls_sessions.h"

enum { DAY = 24 * 3600 };

/* What a certificate is to look like. */
struct cert_want {
    const char *cn;
    const char *san; /* "DNS:a.test,IP:127.0.0.1"; NULL: none */
    long from, to;   /* seconds from now; both 0: valid */
    bool is_ca;
    unsigned rsa;    /* bits of an RSA key; 0: P-256 */
    bool sha1;       /* how it is signed; else with SHA-256 */
    const char *dns; /* DNS_LEN bytes, which may be any, as a dNSName instead of SAN */
    size_t dns_len;
    const char *limits;    /* "excluded;DNS:b.test": name constraints */
    const char *basic;     /* basicConstraints; NULL: as IS_CA says */
    bool is_repeated;      /* the SAN, or of a CA basicConstraints, twice */
    const char *malformed; /* the bytes of a keyUsage, whatever they are */
    bool has_key_ids;      /* that of its key, and of its issuer's */
    unsigned places;       /* of lists, named relative to its issuer */
};

struct pair {
    X509 *cert;
    EVP_PKEY *key;
};

static inline void add_ext(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    if (ext == NULL)
        abort();
    X509_add_ext(cert, ext, -1);
    X509_EXTENSION_free(ext);
}

static inline void add_dns(X509 *cert, const char *p, size_t n)
{
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *text = ASN1_IA5STRING_new();
    ASN1_STRING_set(text, p, (int)n);
    GENERAL_NAME_set0_value(name, GEN_DNS, text);
    sk_GENERAL_NAME_push(names, name);
    if (X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, 0) != 1)
        abort();
    GENERAL_NAMES_free(names);
}

static inline void add_raw(X509 *cert, int nid, const char *bytes)
{
    ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
    ASN1_OCTET_STRING_set(value, (const unsigned char *)bytes, (int)strlen(bytes));
    X509_EXTENSION *ext = X509_EXTENSION_create_by_NID(NULL, nid, 0, value);
    if (ext == NULL || X509_add_ext(cert, ext, -1) != 1)
        abort();
    X509_EXTENSION_free(ext);
    ASN1_OCTET_STRING_free(value);
}

/* Each a CN of "x", to be read behind the issuer's name. */
static inline void add_places(X509 *cert, unsigned n)
{
    static const char place[] = "\x30\x0e\xa0\x0c\xa1\x0a\x30\x08\x06\x03\x55\x04\x03\x0c\x01x";
    size_t each = sizeof(place) - 1;
    char *bytes = xcalloc(1, 4 + n * each + 1);
    size_t len = n * each;
    bytes[0] = 0x30, bytes[1] = (char)0x82;
    bytes[2] = (char)(len >> 8), bytes[3] = (char)(len & 0xff);
    for (unsigned i = 0; i < n; i++)
        memcpy(bytes + 4 + i * each, place, each);
    ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
    ASN1_OCTET_STRING_set(value, (const unsigned char *)bytes, (int)(4 + len));
    X509_EXTENSION *ext = X509_EXTENSION_create_by_NID(NULL, NID_crl_distribution_points, 0, value);
    X509_add_ext(cert, ext, -1);
    X509_EXTENSION_free(ext);
    ASN1_OCTET_STRING_free(value);
    free(bytes);
}

static inline void add_exts(X509 *cert, X509 *issuer, const struct cert_want *want)
{
    const char *basic = want->is_ca ? "critical,CA:TRUE" : "CA:FALSE";
    basic = want->basic != NULL ? want->basic : basic;
    if (*basic != '\0')
        add_ext(cert, issuer, NID_basic_constraints, basic);
    if (want->is_ca && want->is_repeated)
        add_ext(cert, issuer, NID_basic_constraints, basic);
    if (want->dns != NULL)
        add_dns(cert, want->dns, want->dns_len);
    for (int i = 0; want->san != NULL && i < (want->is_repeated ? 2 : 1); i++)
        add_ext(cert, issuer, NID_subject_alt_name, want->san);
    if (want->limits != NULL)
        add_ext(cert, issuer, NID_name_constraints, want->limits);
    if (want->places > 0)
        add_places(cert, want->places);
    if (want->malformed != NULL)
        add_raw(cert, NID_key_usage, want->malformed);
}

/* Signed by ISSUER; NULL: by itself. */
static inline struct pair make_cert(const struct pair *issuer, const struct cert_want *want)
{
    static long serial = 1;
    EVP_PKEY *key = want->rsa > 0 ? EVP_RSA_gen(want->rsa) : EVP_EC_gen("P-256");
    struct pair p = {X509_new(), key};
    const struct pair *by = issuer == NULL ? &p : issuer;
    X509_set_version(p.cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(p.cert), serial++);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(p.cert), "CN", MBSTRING_ASC,
                               (const unsigned char *)want->cn, -1, -1, 0);
    X509_set_issuer_name(p.cert, X509_get_subject_name(by->cert));
    bool dated = want->from != 0 || want->to != 0;
    X509_gmtime_adj(X509_getm_notBefore(p.cert), dated ? want->from : -DAY);
    X509_gmtime_adj(X509_getm_notAfter(p.cert), dated ? want->to : 30L * DAY);
    X509_set_pubkey(p.cert, p.key);
    if (want->has_key_ids)
        add_ext(p.cert, by->cert, NID_subject_key_identifier, "hash");
    if (want->has_key_ids && X509_get0_subject_key_id(by->cert) != NULL)
        add_ext(p.cert, by->cert, NID_authority_key_identifier, "keyid");
    add_exts(p.cert, by->cert, want);
    if (X509_sign(p.cert, by->key, want->sha1 ? EVP_sha1() : EVP_sha256()) == 0)
        abort();
    return p;
}

static inline void free_pair(struct pair *p)
{
    X509_free(p->cert);
    EVP_PKEY_free(p->key);
}

/* A CA, to issue with, whose name is long. */
static inline struct pair make_long_name(void)
{
    struct pair p = {X509_new(), EVP_EC_gen("P-256")};
    for (int i = 0; i < 100; i++)
        X509_NAME_add_entry_by_txt(X509_get_subject_name(p.cert), "O", MBSTRING_ASC,
                                   (const unsigned char *)"an organization", -1, -1, 0);
    return p;
}

/* A list by CA, with REVOKED in it if that is not NULL. */
static inline X509_CRL *make_crl(const struct pair *ca, X509 *revoked)
{
    X509_CRL *crl = X509_CRL_new();
    ASN1_TIME *now = X509_gmtime_adj(NULL, -60);
    ASN1_TIME *next = X509_gmtime_adj(NULL, DAY);
    X509_CRL_set_version(crl, 1);
    X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca->cert));
    X509_CRL_set1_lastUpdate(crl, now);
    X509_CRL_set1_nextUpdate(crl, next);
    if (revoked != NULL) {
        X509_REVOKED *r = X509_REVOKED_new();
        X509_REVOKED_set_serialNumber(r, X509_get_serialNumber(revoked));
        X509_REVOKED_set_revocationDate(r, now);
        X509_CRL_add0_revoked(crl, r);
    }
    X509_CRL_sort(crl);
    if (X509_CRL_sign(crl, ca->key, EVP_sha256()) == 0)
        abort();
    ASN1_TIME_free(now);
    ASN1_TIME_free(next);
    return crl;
}

/* A file in DIR; the path is the caller's to free. */
static inline FILE *open_in(const char *dir, const char *name, char **path)
{
    *path = xasprintf("%s/%s", dir, name);
    FILE *f = fopen(*path, "w");
    if (f == NULL)
        abort();
    return f;
}

static inline char *write_cert(const char *dir, const char *name, X509 *cert)
{
    char *path;
    FILE *f = open_in(dir, name, &path);
    PEM_write_X509(f, cert);
    fclose(f);
    return path;
}

static inline char *write_key(const char *dir, const char *name, EVP_PKEY *key)
{
    char *path;
    FILE *f = open_in(dir, name, &path);
    PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
    fclose(f);
    return path;
}

static inline char *write_crl(const char *dir, const char *name, X509_CRL *crl)
{
    char *path;
    FILE *f = open_in(dir, name, &path);
    PEM_write_X509_CRL(f, crl);
    fclose(f);
    return path;
}

static inline char *write_text(const char *dir, const char *name, const char *text)
{
    char *path;
    FILE *f = open_in(dir, name, &path);
    fputs(text, f);
    fclose(f);
    return path;
}

/* A rule for every host that verifies with POLICY's files and ciphers; NULL: not set. */
static inline struct rule tls_rule(struct tls_policy policy)
{
    static char any[] = "*", none[] = "";
    const char **texts[] = {&policy.ca_file,  &policy.ca_dir,      &policy.ca_extra,
                            &policy.crl_file, &policy.client_cert, &policy.client_key,
                            &policy.ciphers,  &policy.ciphersuites};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        *texts[i] = *texts[i] == NULL ? none : *texts[i];
    policy.verify = policy.session_resumption = true;
    policy.min_version = 0x0303;
    return (struct rule){.pattern = any, .tls = policy};
}

/* Makes the contexts of CONF's rules as they are now; those of before are gone. */
static inline void remake_tls(struct conf *conf)
{
    struct conf_faults faults = {0};
    if (conf->on_free != NULL)
        conf->on_free(conf);
    conf_files_clear(&conf->files);
    conf->intercept.ca_cert = conf->intercept.ca_key = "";
    assert_true(tls_ctx_make_all(conf, &faults));
}

/* RULE, by tls_rule(), becomes the only one of CONF. */
static inline void use_tls(struct conf *conf, struct rule *rule, struct tls_policy policy)
{
    if (conf->on_free != NULL)
        conf->on_free(conf);
    *rule = tls_rule(policy);
    conf->rules = rule;
    conf->n_rules = 1;
    remake_tls(conf);
}

/* What use_tls() made is gone, and what has come of it. */
static inline void forget_tls(struct conf *conf, struct tls_sessions *sessions)
{
    tls_sessions_clear(sessions);
    conf->on_free(conf);
    conf_files_clear(&conf->files);
    conf->on_free = NULL;
    ERR_clear_error();
}

#endif
