/* SPDX-License-Identifier: Apache-2.0 */
/* Verification: what OpenSSL is asked to check, and its verdict in words. The callback only decides
 * about missing CRLs of intermediates, and records where in the chain a check failed. */
#include "net/tls_verify.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "base/addr.h"
#include "net/tls_phrase.h"

enum {
    NAME_TEXT = 130, /* bytes of a subject or issuer in a sentence */
    NAMES_TEXT = 120 /* bytes of the names that a certificate holds */
};

/* Where an SSL keeps the depth of the certificate that failed. */
static int depth_index = -1;
static pthread_once_t depth_once = PTHREAD_ONCE_INIT;

static void make_depth_index(void)
{
    depth_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

/* crl_file need not hold a list for each issuer up to the root: the leaf must be covered, above
 * it what is there counts. */
static int on_verify(int ok, X509_STORE_CTX *c)
{
    if (ok)
        return ok;
    intptr_t depth = X509_STORE_CTX_get_error_depth(c);
    if (X509_STORE_CTX_get_error(c) == X509_V_ERR_UNABLE_TO_GET_CRL && depth > 0) {
        X509_STORE_CTX_set_error(c, X509_V_OK);
        return 1;
    }
    SSL *ssl = X509_STORE_CTX_get_ex_data(c, SSL_get_ex_data_X509_STORE_CTX_idx());
    if (ssl != NULL)
        SSL_set_ex_data(ssl, depth_index, (void *)depth);
    return 0;
}

bool tls_verify_setup(SSL *ssl, struct str name, bool is_ip)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    struct addr a;
    pthread_once(&depth_once, make_depth_index);
    SSL_set_verify(ssl, SSL_VERIFY_PEER, on_verify);
    /* OpenSSL takes a name that begins with a dot for "any name below". */
    if (name.len == 0 || name.p[0] == '.')
        return false;
    if (is_ip) {
        if (!addr_parse_ip(&a, name, 0))
            return false;
        bool is_v4 = addr_family(&a) == AF_INET;
        const void *ip = is_v4 ? (void *)&a.in4.sin_addr : (void *)&a.in6.sin6_addr;
        return X509_VERIFY_PARAM_set1_ip(param, ip, is_v4 ? 4 : 16) == 1;
    }
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                                               X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    return X509_VERIFY_PARAM_set1_host(param, name.p, name.len) == 1;
}

/* ---- words ---- */

static void print_name(const X509_NAME *name, char *dst, size_t cap)
{
    char *p = NULL;
    BIO *bio = BIO_new(BIO_s_mem());
    dst[0] = '\0';
    if (bio == NULL || name == NULL) {
        BIO_free(bio);
        return;
    }
    /* What must be escaped is below, once. */
    unsigned long escapes = ASN1_STRFLGS_ESC_2253 | ASN1_STRFLGS_ESC_CTRL | ASN1_STRFLGS_ESC_MSB;
    X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253 & ~escapes);
    long n = BIO_get_mem_data(bio, &p);
    str_escape(dst, cap, str_make(p, n > 0 ? (size_t)n : 0));
    BIO_free(bio);
}

/* "2024-01-01" */
static void print_date(const ASN1_TIME *t, char *dst, size_t cap)
{
    struct tm tm;
    if (t == NULL || ASN1_TIME_to_tm(t, &tm) != 1 || strftime(dst, cap, "%Y-%m-%d", &tm) == 0)
        snprintf(dst, cap, "unreadable");
}

/* One name of a certificate; false when it is of a kind that names no server. */
static bool print_san(const GENERAL_NAME *g, char *dst, size_t cap)
{
    struct addr a;
    char ip[ADDR_TEXT];
    if (g->type == GEN_DNS) {
        const char *p = (const char *)ASN1_STRING_get0_data(g->d.dNSName);
        str_escape(dst, cap, str_make(p, (size_t)ASN1_STRING_length(g->d.dNSName)));
        return true;
    }
    if (g->type != GEN_IPADD)
        return false;
    const unsigned char *p = ASN1_STRING_get0_data(g->d.iPAddress);
    int n = ASN1_STRING_length(g->d.iPAddress);
    struct sockaddr_in in4 = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    if (n == 4) {
        memcpy(&in4.sin_addr, p, 4);
        addr_from_sockaddr(&a, (struct sockaddr *)&in4, sizeof(in4));
    } else if (n == 16) {
        memcpy(&in6.sin6_addr, p, 16);
        addr_from_sockaddr(&a, (struct sockaddr *)&in6, sizeof(in6));
    } else {
        return false;
    }
    snprintf(dst, cap, "%s", addr_print_ip(&a, ip));
    return true;
}

/* The names that CERT holds, as many as fit: "a.example, b.example, ...". Gives their number. */
static int print_sans(X509 *cert, char *dst, size_t cap)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    int shown = 0;
    size_t len = 0;
    char one[64];
    dst[0] = '\0';
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        if (!print_san(sk_GENERAL_NAME_value(names, i), one, sizeof(one)))
            continue;
        bool fits = len + strlen(one) + sizeof(", ...") < cap;
        int n = snprintf(dst + len, cap - len, "%s%s", shown > 0 ? ", " : "", fits ? one : "...");
        len += (size_t)n;
        shown++;
        if (!fits)
            break;
    }
    GENERAL_NAMES_free(names);
    return shown;
}

/* Verdicts that need no more than words. */
static const struct {
    int code;
    const char *text;
} verdicts[] = {
    {X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, "it is self-signed"},
    {X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN,
     "the root of its chain, a self-signed certificate, is not a trusted CA"},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT,
     "its chain is incomplete: no trusted CA has issued the last certificate of it"},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
     "its issuer is unknown: no trusted CA, or the server does not send the intermediate "
     "certificate"},
    {X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE,
     "its issuer is unknown: no trusted CA, or the server does not send the intermediate "
     "certificate"},
    {X509_V_ERR_CERT_REVOKED, "it has been revoked"},
    {X509_V_ERR_UNABLE_TO_GET_CRL, "crl_file holds no list of its issuer"},
    {X509_V_ERR_CRL_HAS_EXPIRED, "the revocation list of its issuer in crl_file has expired"},
    {X509_V_ERR_CRL_NOT_YET_VALID,
     "the revocation list of its issuer in crl_file is not yet valid"},
    {X509_V_ERR_CRL_SIGNATURE_FAILURE, "the revocation list of its issuer has a bad signature"},
    {X509_V_ERR_CERT_SIGNATURE_FAILURE, "its signature is not its issuer's"},
    {X509_V_ERR_EE_KEY_TOO_SMALL, "its key is too small"},
    {X509_V_ERR_CA_KEY_TOO_SMALL, "the key of its issuer is too small"},
    {X509_V_ERR_CA_MD_TOO_WEAK, "it is signed with a hash that is too weak"},
    {X509_V_ERR_INVALID_PURPOSE, "it is not meant for a TLS server"},
    {X509_V_ERR_INVALID_CA, "its issuer is not a CA"},
    {X509_V_ERR_PATH_LENGTH_EXCEEDED, "its chain is longer than a CA in it allows"},
    {X509_V_ERR_PERMITTED_VIOLATION, "its name is outside of what its CA may name"},
    {X509_V_ERR_EXCLUDED_VIOLATION, "its name is outside of what its CA may name"},
};

static void print_mismatch(X509 *leaf, bool is_ip, char *dst, size_t cap)
{
    char names[NAMES_TEXT];
    if (leaf != NULL && print_sans(leaf, names, sizeof(names)) > 0)
        snprintf(dst, cap, "it is for %s, not for this %s", names, is_ip ? "address" : "host");
    else
        snprintf(dst, cap, "it holds no host name (subjectAltName); a CN does not count");
}

/* WHAT failed, of CERT, the one at the depth where it did. */
static void print_verdict(long what, X509 *cert, char *dst, size_t cap)
{
    char date[32];
    switch (what) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        print_date(cert == NULL ? NULL : X509_get0_notAfter(cert), date, sizeof(date));
        snprintf(dst, cap, "it has expired (notAfter %s)", date);
        return;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        print_date(cert == NULL ? NULL : X509_get0_notBefore(cert), date, sizeof(date));
        snprintf(dst, cap, "it is not yet valid (notBefore %s)", date);
        return;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        print_mismatch(cert, what == X509_V_ERR_IP_ADDRESS_MISMATCH, dst, cap);
        return;
    default:
        break;
    }
    for (size_t i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++) {
        if (verdicts[i].code == what) {
            snprintf(dst, cap, "%s", verdicts[i].text);
            return;
        }
    }
    snprintf(dst, cap, "%s", X509_verify_cert_error_string(what));
}

bool tls_verify_fault(struct fault *f, SSL *ssl, struct str name)
{
    char host[256];
    char verdict[256];
    char subject[NAME_TEXT];
    char issuer[NAME_TEXT];
    long what = SSL_get_verify_result(ssl);
    if (what == X509_V_OK)
        return false;
    /* The chain is kept although it does not verify; the peer's certificate is not. */
    STACK_OF(X509) *chain = SSL_get0_verified_chain(ssl);
    int depth = (int)(intptr_t)SSL_get_ex_data(ssl, depth_index);
    X509 *cert = chain == NULL ? NULL : sk_X509_value(chain, depth);
    print_verdict(what, cert, verdict, sizeof(verdict));
    print_name(cert == NULL ? NULL : X509_get_subject_name(cert), subject, sizeof(subject));
    print_name(cert == NULL ? NULL : X509_get_issuer_name(cert), issuer, sizeof(issuer));
    str_escape(host, sizeof(host), name);
    fault_set(f, FAULT_TLS_CERTIFICATE,
              "the certificate %s %s does not verify: %s; subject %s, issuer %s",
              depth > 0 ? "of an issuer of" : "of", host, verdict, subject, issuer);
    f->phrase = tls_phrase(SSL_get_verify_result(ssl), SSL_get_ex_data(ssl, depth_index) != NULL);
    return true;
}

bool tls_verify_check(struct fault *f, SSL *ssl, struct str name)
{
    char host[256];
    if (SSL_get0_peer_certificate(ssl) != NULL)
        return !tls_verify_fault(f, ssl, name);
    fault_set(f, FAULT_TLS_CERTIFICATE,
              "%s shows no certificate, so that nothing tells who it is; the suite was %s",
              str_escape(host, sizeof(host), name), SSL_get_cipher_name(ssl));
    f->phrase = "No certificate from %s";
    return false;
}

/* ---- how long it holds ---- */

/* Seconds since 1970; 0 for what cannot be read. */
static int64_t to_seconds(const ASN1_TIME *t)
{
    struct tm tm;
    if (t == NULL || ASN1_TIME_to_tm(t, &tm) != 1)
        return 0;
    return timegm(&tm);
}

int64_t tls_verify_expiry(const X509 *cert)
{
    return cert == NULL ? 0 : to_seconds(X509_get0_notAfter(cert));
}

/* nextUpdate of the newest list by ISSUER; INT64_MAX when there is none, or it has no such date. */
static int64_t crl_until(X509_STORE_CTX *c, const X509_NAME *issuer)
{
    STACK_OF(X509_CRL) *lists = X509_STORE_CTX_get1_crls(c, issuer);
    int64_t until = 0;
    for (int i = 0; i < sk_X509_CRL_num(lists); i++) {
        const ASN1_TIME *next = X509_CRL_get0_nextUpdate(sk_X509_CRL_value(lists, i));
        int64_t end = next == NULL ? INT64_MAX : to_seconds(next);
        until = end > until ? end : until;
    }
    if (sk_X509_CRL_num(lists) <= 0)
        until = INT64_MAX;
    sk_X509_CRL_pop_free(lists, X509_CRL_free);
    return until;
}

/* The first nextUpdate of the lists that CHAIN was held against. */
static int64_t crls_until(X509_STORE *store, STACK_OF(X509) * chain)
{
    int64_t until = INT64_MAX;
    if ((X509_VERIFY_PARAM_get_flags(X509_STORE_get0_param(store)) & X509_V_FLAG_CRL_CHECK) == 0)
        return until;
    X509_STORE_CTX *c = X509_STORE_CTX_new();
    if (c == NULL || X509_STORE_CTX_init(c, store, NULL, NULL) != 1)
        until = 0;
    for (int i = 0; until > 0 && i < sk_X509_num(chain); i++) {
        int64_t end = crl_until(c, X509_get_issuer_name(sk_X509_value(chain, i)));
        until = end < until ? end : until;
    }
    X509_STORE_CTX_free(c);
    ERR_clear_error();
    return until;
}

int64_t tls_verify_until(SSL *ssl)
{
    STACK_OF(X509) *chain = SSL_get0_verified_chain(ssl);
    if (chain == NULL || sk_X509_num(chain) == 0)
        return 0;
    int64_t until = crls_until(SSL_CTX_get_cert_store(SSL_get_SSL_CTX(ssl)), chain);
    for (int i = 0; i < sk_X509_num(chain); i++) {
        int64_t end = tls_verify_expiry(sk_X509_value(chain, i));
        until = end < until ? end : until;
    }
    return until;
}
