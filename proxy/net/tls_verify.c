/* SPDX-License-Identifier: Apache-2.0 */
/* Verification: what OpenSSL is asked to check, and its verdict in words. The callback decides only
 * about lists that crl_file need not hold and names that OpenSSL reads too narrowly, and records
 * where in the chain a check failed. */
#include "net/tls_verify.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "base/addr.h"
#include "net/tls_names.h"

enum {
    NAME_TEXT = 130,    /* bytes of a subject or issuer in a sentence */
    NAMES_TEXT = 120,   /* bytes of the names that a certificate holds */
    VERDICT_TEXT = 300, /* bytes of what failed */
    LIMITED_NAMES = 256 /* that are held against constraints to find which one failed */
};

/* Verdicts of our own, in numbers that OpenSSL does not give. */
enum {
    BAD_EXTENSION = X509_V_ERR_INVALID_EXTENSION,    /* in the certificate itself */
    BAD_ISSUER = X509_V_ERR_APPLICATION_VERIFICATION /* in its issuer's, which was shown */
};

/* Where an SSL keeps the depth of the certificate that failed. */
static int depth_index = -1;
static pthread_once_t depth_once = PTHREAD_ONCE_INIT;

static void make_depth_index(void)
{
    depth_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

/* The chain ends there, below a root: with what the operator trusts by itself. */
static bool is_end_below_root(X509_STORE_CTX *c, intptr_t depth)
{
    STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(c);
    X509 *cert = sk_X509_value(chain, (int)depth);
    return cert != NULL && depth == sk_X509_num(chain) - 1 &&
           (X509_get_extension_flags(cert) & EXFLAG_SI) == 0;
}

/* What the callback lets pass. crl_file need not hold a list for each issuer up to the root: the
 * leaf must be covered, above it what is there counts. A list by an issuer who is not in the chain
 * cannot be checked, except for what it names. */
static bool is_harmless(X509_STORE_CTX *c, int what, intptr_t depth)
{
    const char *host = X509_VERIFY_PARAM_get0_host(X509_STORE_CTX_get0_param(c), 0);
    switch (what) {
    case X509_V_ERR_UNABLE_TO_GET_CRL:
        return depth > 0;
    case X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER:
    case X509_V_ERR_CRL_SIGNATURE_FAILURE:
    case X509_V_ERR_CRL_PATH_VALIDATION_ERROR:
    case X509_V_ERR_DIFFERENT_CRL_SCOPE:
        return depth > 0 && is_end_below_root(c, depth);
    case X509_V_ERR_HOSTNAME_MISMATCH:
        return host != NULL && tls_names_match(X509_STORE_CTX_get0_cert(c), str_from(host));
    default:
        return false;
    }
}

static bool is_malformed(X509 *cert)
{
    return cert != NULL && (X509_get_extension_flags(cert) & EXFLAG_INVALID) != 0;
}

/* The server has shown an issuer of CERT, but one that OpenSSL cannot read. */
static bool has_malformed_issuer(X509_STORE_CTX *c, const X509 *cert)
{
    STACK_OF(X509) *shown = X509_STORE_CTX_get0_untrusted(c);
    const X509_NAME *name = X509_get_issuer_name(cert);
    for (int i = 0; i < sk_X509_num(shown); i++) {
        X509 *it = sk_X509_value(shown, i);
        if (X509_NAME_cmp(X509_get_subject_name(it), name) == 0 && is_malformed(it))
            return true;
    }
    return false;
}

/* OpenSSL finds no issuer where it cannot read the extensions of either, and may try a list with
 * the key of the last certificate. */
static int explain(X509_STORE_CTX *c, int what, intptr_t depth)
{
    X509 *cert = X509_STORE_CTX_get_current_cert(c);
    switch (what) {
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_INVALID_PURPOSE:
    case X509_V_ERR_INVALID_CA:
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
    case X509_V_ERR_UNSPECIFIED:
        break;
    case X509_V_ERR_CRL_SIGNATURE_FAILURE:
        return is_end_below_root(c, depth) ? X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER : what;
    default:
        return what;
    }
    if (is_malformed(cert))
        return BAD_EXTENSION;
    return cert != NULL && has_malformed_issuer(c, cert) ? BAD_ISSUER : what;
}

static void note_fault(X509_STORE_CTX *c, int what, intptr_t depth)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(c, SSL_get_ex_data_X509_STORE_CTX_idx());
    X509_STORE_CTX_set_error(c, what);
    if (ssl != NULL)
        SSL_set_ex_data(ssl, depth_index, (void *)depth);
}

static int on_verify(int ok, X509_STORE_CTX *c)
{
    if (ok)
        return ok;
    int what = X509_STORE_CTX_get_error(c);
    intptr_t depth = X509_STORE_CTX_get_error_depth(c);
    if (is_harmless(c, what, depth)) {
        X509_STORE_CTX_set_error(c, X509_V_OK);
        return 1;
    }
    note_fault(c, explain(c, what, depth), depth);
    return 0;
}

/* A CA that excludes a name can still issue a wildcard that stands for it: OpenSSL holds what is in
 * the certificate against the constraints, here it is what was asked for. An address needs no
 * second look, for it stands in the certificate as it is. */
int tls_verify_chain(X509_STORE_CTX *c, void *arg)
{
    (void)arg;
    int r = X509_verify_cert(c);
    const char *host = X509_VERIFY_PARAM_get0_host(X509_STORE_CTX_get0_param(c), 0);
    STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(c);
    if (r <= 0 || host == NULL)
        return r;
    for (int i = 1; i < sk_X509_num(chain); i++) {
        enum tls_limit limit =
            tls_names_limit(sk_X509_value(chain, i), (struct tls_name){false, str_from(host)});
        if (limit == TLS_LIMIT_NONE)
            continue;
        note_fault(c,
                   limit == TLS_LIMIT_EXCLUDED ? X509_V_ERR_EXCLUDED_VIOLATION
                                               : X509_V_ERR_PERMITTED_VIOLATION,
                   0);
        return 0;
    }
    return r;
}

bool tls_verify_setup(SSL *ssl, struct str name, bool is_ip)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    struct addr a;
    pthread_once(&depth_once, make_depth_index);
    SSL_set_verify(ssl, SSL_VERIFY_PEER, on_verify);
    /* Not in the store, where it would also cut the chain of a client certificate short. */
    X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
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

/* NAME as people write it; false for an address of no known size. */
static bool print_tls_name(struct tls_name name, char *dst, size_t cap)
{
    struct addr a;
    char ip[ADDR_TEXT];
    struct sockaddr_in in4 = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    if (!name.is_ip) {
        str_escape(dst, cap, name.v);
        return true;
    }
    if (name.v.len == 4) {
        memcpy(&in4.sin_addr, name.v.p, 4);
        addr_from_sockaddr(&a, (struct sockaddr *)&in4, sizeof(in4));
    } else if (name.v.len == 16) {
        memcpy(&in6.sin6_addr, name.v.p, 16);
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
        struct tls_name name;
        if (!tls_names_take(sk_GENERAL_NAME_value(names, i), &name) ||
            !print_tls_name(name, one, sizeof(one)))
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

/* Verdicts that need no more than words, about a certificate that is named elsewhere. */
static const struct {
    int code;
    const char *text;
    const char *of_ca; /* the same of one above the leaf; NULL: no other words */
} verdicts[] = {
    {X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, "it is self-signed", NULL},
    {X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN,
     "the root of its chain, a self-signed certificate, is not a trusted CA",
     "the root of the chain, a self-signed certificate, is not a trusted CA"},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT,
     "its chain is incomplete: no trusted CA has issued the last certificate of it", NULL},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
     "its issuer is unknown: no trusted CA, or the server does not send the intermediate "
     "certificate",
     NULL},
    {X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE,
     "its issuer is unknown: no trusted CA, or the server does not send the intermediate "
     "certificate",
     NULL},
    {BAD_EXTENSION, "it has a malformed or repeated extension", NULL},
    {BAD_ISSUER,
     "its issuer's certificate, which the server sends, has a malformed or repeated extension",
     NULL},
    {X509_V_ERR_UNHANDLED_CRITICAL_EXTENSION, "it has a critical extension that is not known here",
     NULL},
    {X509_V_ERR_CERT_REVOKED, "it has been revoked", NULL},
    {X509_V_ERR_UNABLE_TO_GET_CRL, "crl_file holds no list of its issuer", NULL},
    {X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER,
     "crl_file holds a list of its issuer, but the issuer's certificate, which that is checked "
     "with, is not in the chain: add it to ca_file",
     NULL},
    {X509_V_ERR_CRL_HAS_EXPIRED, "the revocation list of its issuer in crl_file has expired", NULL},
    {X509_V_ERR_CRL_NOT_YET_VALID, "the revocation list of its issuer in crl_file is not yet valid",
     NULL},
    {X509_V_ERR_CRL_SIGNATURE_FAILURE, "the revocation list of its issuer has a bad signature",
     NULL},
    {X509_V_ERR_CERT_SIGNATURE_FAILURE, "its signature is not its issuer's", NULL},
    {X509_V_ERR_EE_KEY_TOO_SMALL, "its key is too small", NULL},
    {X509_V_ERR_CA_KEY_TOO_SMALL, "its key is too small", NULL},
    {X509_V_ERR_CA_MD_TOO_WEAK, "it is signed with a hash that is too weak", NULL},
    {X509_V_ERR_INVALID_PURPOSE, "it is not meant for a TLS server",
     "it is not meant to issue for TLS servers"},
    {X509_V_ERR_INVALID_CA, "it is not a CA", NULL},
    {X509_V_ERR_PATH_LENGTH_EXCEEDED, "it allows fewer CAs below it than the chain has", NULL},
    {X509_V_ERR_PERMITTED_VIOLATION, "its name is outside of what its CA may name", NULL},
    {X509_V_ERR_EXCLUDED_VIOLATION, "its name is outside of what its CA may name", NULL},
};

static void print_mismatch(X509 *leaf, bool is_ip, char *dst, size_t cap)
{
    char names[NAMES_TEXT];
    if (leaf != NULL && print_sans(leaf, names, sizeof(names)) > 0)
        snprintf(dst, cap, "it is for %s, not for this %s", names, is_ip ? "address" : "host");
    else
        snprintf(dst, cap, "it holds no host name (subjectAltName); a CN does not count");
}

/* What is about a certificate: a check that failed, in the chain at DEPTH, for HOST. */
struct verdict {
    long what;
    STACK_OF(X509) * chain;
    int depth;
    struct str host;
};

/* Says it when it is NAME that CA must not issue for. */
static bool print_limit(X509 *ca, struct tls_name name, char *dst, size_t cap)
{
    char by[NAME_TEXT];
    char text[NAME_TEXT];
    enum tls_limit limit = tls_names_limit(ca, name);
    if (limit == TLS_LIMIT_NONE || !print_tls_name(name, text, sizeof(text)))
        return false;
    print_name(X509_get_subject_name(ca), by, sizeof(by));
    snprintf(dst, cap, "the CA %s of its chain %s %s", by,
             limit == TLS_LIMIT_EXCLUDED ? "excludes" : "does not permit", text);
    return true;
}

static bool print_asked_limit(X509 *ca, struct str host, char *dst, size_t cap)
{
    struct addr a;
    struct tls_name name = {false, host};
    if (addr_parse_ip(&a, host, 0)) {
        bool is_v4 = addr_family(&a) == AF_INET;
        const void *ip = is_v4 ? (void *)&a.in4.sin_addr : (void *)&a.in6.sin6_addr;
        name = (struct tls_name){true, str_make(ip, is_v4 ? 4 : 16)};
    }
    return print_limit(ca, name, dst, cap);
}

static bool print_held_limit(X509 *ca, X509 *cert, char *dst, size_t cap)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    bool done = false;
    for (int i = 0; !done && i < sk_GENERAL_NAME_num(names) && i < LIMITED_NAMES; i++) {
        struct tls_name name;
        done = tls_names_take(sk_GENERAL_NAME_value(names, i), &name) &&
               print_limit(ca, name, dst, cap);
    }
    GENERAL_NAMES_free(names);
    return done;
}

/* Which CA has anything against which name: the one that was asked for comes first. False when it
 * is not about a name of a server. */
static bool print_limits(const struct verdict *v, char *dst, size_t cap)
{
    X509 *cert = sk_X509_value(v->chain, v->depth);
    for (int i = v->depth + 1; v->depth == 0 && i < sk_X509_num(v->chain); i++) {
        if (print_asked_limit(sk_X509_value(v->chain, i), v->host, dst, cap))
            return true;
    }
    for (int i = v->depth + 1; cert != NULL && i < sk_X509_num(v->chain); i++) {
        if (print_held_limit(sk_X509_value(v->chain, i), cert, dst, cap))
            return true;
    }
    return false;
}

static void print_words(const struct verdict *v, char *dst, size_t cap)
{
    for (size_t i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++) {
        if (verdicts[i].code != v->what)
            continue;
        bool other = v->depth > 0 && verdicts[i].of_ca != NULL;
        snprintf(dst, cap, "%s", other ? verdicts[i].of_ca : verdicts[i].text);
        return;
    }
    snprintf(dst, cap, "%s", X509_verify_cert_error_string(v->what));
}

static void print_verdict(const struct verdict *v, X509 *cert, char *dst, size_t cap)
{
    char date[32];
    switch (v->what) {
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
        print_mismatch(cert, v->what == X509_V_ERR_IP_ADDRESS_MISMATCH, dst, cap);
        return;
    case X509_V_ERR_EE_KEY_TOO_SMALL:
    case X509_V_ERR_CA_KEY_TOO_SMALL:
        if (cert == NULL || X509_get0_pubkey(cert) != NULL)
            break;
        ERR_clear_error();
        snprintf(dst, cap, "its key is of a kind that is not known here");
        return;
    case X509_V_ERR_PERMITTED_VIOLATION:
    case X509_V_ERR_EXCLUDED_VIOLATION:
        if (print_limits(v, dst, cap))
            return;
        break;
    default:
        break;
    }
    print_words(v, dst, cap);
}

bool tls_verify_fault(struct fault *f, SSL *ssl, struct str name)
{
    char host[256];
    char verdict[VERDICT_TEXT];
    char subject[NAME_TEXT];
    char issuer[NAME_TEXT];
    /* The chain is kept although it does not verify; the peer's certificate is not. */
    struct verdict v = {SSL_get_verify_result(ssl), SSL_get0_verified_chain(ssl),
                        (int)(intptr_t)SSL_get_ex_data(ssl, depth_index), name};
    if (v.what == X509_V_OK)
        return false;
    X509 *cert = sk_X509_value(v.chain, v.depth); /* NULL where there is no chain */
    print_verdict(&v, cert, verdict, sizeof(verdict));
    print_name(cert == NULL ? NULL : X509_get_subject_name(cert), subject, sizeof(subject));
    print_name(cert == NULL ? NULL : X509_get_issuer_name(cert), issuer, sizeof(issuer));
    str_escape(host, sizeof(host), name);
    fault_set(f, FAULT_TLS_CERTIFICATE,
              "the certificate %s %s does not verify: %s; subject %s, issuer %s",
              v.depth > 0 ? "of an issuer of" : "of", host, verdict, subject, issuer);
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
