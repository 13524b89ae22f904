/* SPDX-License-Identifier: Apache-2.0 */
/* Words for verdicts. What a certificate holds is escaped, and cut, before it gets into them. */
#include "net/tls_verdict.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <time.h>

#include "base/addr.h"
#include "net/tls_names.h"
#include "net/tls_pins.h"

enum {
    NAME_TEXT = 130,    /* bytes of a subject or issuer in a sentence */
    NAMES_TEXT = 120,   /* bytes of the names that a certificate holds */
    PINS_TEXT = 200,    /* bytes of the pins of a chain: four */
    VERDICT_TEXT = 300, /* bytes of what failed */
    LIMITED_NAMES = 256 /* that are held against constraints to find which one failed */
};

void tls_verdict_print(const X509_NAME *name, char *dst, size_t cap)
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
            !print_tls_name(name, one, sizeof(one)) || one[0] == '\0')
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

#define OTHER_ISSUER                                                                      \
    "its issuer is unknown: there is a CA of that name, shown by the server or trusted, " \
    "but with another key"
#define LOWER_LEVEL "; a lower security_level in a rule for this host takes it"
#define BAD_DATE    "it has a date that cannot be read"
#define ODD_LIMITS  "a CA of its chain limits names in a way that is not known here"
#define ODD_LIST    "the revocation list of its issuer in crl_file cannot be used: "

/* What is said of a certificate that is named elsewhere, and in a reason phrase (see struct fault).
 * Each has other words for one above the leaf where it needs them. */
static const struct verdict {
    int code;
    const char *text, *of_ca; /* NULL: print_special() says more than words */
    const char *phrase, *ca_phrase;
} verdicts[] = {
    {X509_V_ERR_CERT_HAS_EXPIRED, NULL, NULL, "Certificate of %s has expired",
     "Issuer certificate of %s has expired"},
    {X509_V_ERR_CERT_NOT_YET_VALID, NULL, NULL, "Certificate of %s is not yet valid",
     "Issuer certificate of %s is not yet valid"},
    {X509_V_ERR_HOSTNAME_MISMATCH, NULL, NULL, "Certificate is for another host than %s", NULL},
    {X509_V_ERR_IP_ADDRESS_MISMATCH, NULL, NULL, "Certificate is for another address than %s",
     NULL},
    {X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, "it is self-signed", NULL,
     "Certificate of %s is self-signed", NULL},
    {X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN,
     "the root of its chain, a self-signed certificate, is not a trusted CA",
     "the root of the chain, a self-signed certificate, is not a trusted CA",
     "Certificate of %s is by a CA that is not trusted", NULL},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT,
     "its chain is incomplete: no trusted CA has issued the last certificate of it", NULL,
     "Certificate chain of %s is incomplete", NULL},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
     "its issuer is unknown: no trusted CA, or the server does not send the intermediate "
     "certificate",
     NULL, "Issuer of certificate of %s is unknown",
     "Issuer certificate of %s is by an unknown CA"},
    {X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE,
     "its issuer is unknown: no trusted CA, or the server does not send the intermediate "
     "certificate",
     NULL, "Issuer of certificate of %s is unknown", NULL},
    {TLS_BAD_EXTENSION, "it has a malformed or repeated extension", NULL,
     "Certificate of %s has a malformed extension",
     "Issuer certificate of %s has a malformed extension"},
    {TLS_BAD_ISSUER,
     "its issuer's certificate, shown by the server or trusted, has a malformed or repeated "
     "extension",
     NULL, "Issuer certificate of %s has a malformed extension", NULL},
    {X509_V_ERR_AKID_SKID_MISMATCH, OTHER_ISSUER, NULL, "Issuer of certificate of %s is unknown",
     "Issuer certificate of %s is by an unknown CA"},
    {X509_V_ERR_AKID_ISSUER_SERIAL_MISMATCH, OTHER_ISSUER, NULL,
     "Issuer of certificate of %s is unknown", "Issuer certificate of %s is by an unknown CA"},
    {X509_V_ERR_SIGNATURE_ALGORITHM_MISMATCH,
     "it is signed by an algorithm that its issuer's key is not for", NULL,
     "Certificate of %s has a bad signature", "Issuer certificate of %s has a bad signature"},
    {X509_V_ERR_UNSUPPORTED_SIGNATURE_ALGORITHM,
     "it is signed by an algorithm that is not known here", NULL,
     "Certificate of %s has an unknown signature",
     "Issuer certificate of %s has an unknown signature"},
    {X509_V_ERR_ERROR_IN_CERT_NOT_BEFORE_FIELD, BAD_DATE, NULL,
     "Certificate of %s has an unreadable date", "Issuer certificate of %s has an unreadable date"},
    {X509_V_ERR_ERROR_IN_CERT_NOT_AFTER_FIELD, BAD_DATE, NULL,
     "Certificate of %s has an unreadable date", "Issuer certificate of %s has an unreadable date"},
    {X509_V_ERR_UNHANDLED_CRITICAL_EXTENSION, "it has a critical extension that is not known here",
     NULL, "Certificate of %s has an unknown critical extension",
     "Issuer certificate of %s has an unknown critical extension"},
    {X509_V_ERR_CERT_REVOKED, "it has been revoked", NULL, "Certificate of %s has been revoked",
     "Issuer certificate of %s has been revoked"},
    {X509_V_ERR_UNABLE_TO_GET_CRL, "crl_file holds no list of its issuer", NULL,
     "No revocation list for certificate of %s", NULL},
    {X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER,
     "crl_file holds a list of its issuer, but the issuer's certificate, which that is checked "
     "with, is not in the chain: add it to ca_file",
     NULL, "Revocation list for %s cannot be checked", NULL},
    {X509_V_ERR_CRL_HAS_EXPIRED, "the revocation list of its issuer in crl_file has expired", NULL,
     "Revocation list for %s has expired", NULL},
    {X509_V_ERR_CRL_NOT_YET_VALID, "the revocation list of its issuer in crl_file is not yet valid",
     NULL, "Revocation list for %s is not yet valid", NULL},
    {X509_V_ERR_CRL_SIGNATURE_FAILURE, "the revocation list of its issuer has a bad signature",
     NULL, "Revocation list for %s has a bad signature", NULL},
    {X509_V_ERR_KEYUSAGE_NO_CRL_SIGN, ODD_LIST "the issuer may not sign one (keyUsage)", NULL,
     "Revocation list for %s cannot be used", NULL},
    {X509_V_ERR_DIFFERENT_CRL_SCOPE, ODD_LIST "it is for other certificates", NULL,
     "Revocation list for %s cannot be used", NULL},
    {X509_V_ERR_UNHANDLED_CRITICAL_CRL_EXTENSION,
     ODD_LIST "it has a critical extension that is not known here", NULL,
     "Revocation list for %s cannot be used", NULL},
    {X509_V_ERR_CERT_SIGNATURE_FAILURE, "its signature is not its issuer's", NULL,
     "Certificate of %s has a bad signature", "Issuer certificate of %s has a bad signature"},
    {X509_V_ERR_NO_ISSUER_PUBLIC_KEY,
     "its issuer's certificate, shown by the server or trusted, has a key of a kind that is not "
     "known here",
     NULL, "Issuer certificate key of %s is of an unknown kind", NULL},
    {X509_V_ERR_EC_KEY_EXPLICIT_PARAMS, "its key writes out its curve instead of naming it", NULL,
     "Certificate key of %s is of an unknown kind",
     "Issuer certificate key of %s is of an unknown kind"},
    {X509_V_ERR_EE_KEY_TOO_SMALL, "its key is too small" LOWER_LEVEL, NULL,
     "Certificate key of %s is too small", NULL},
    {X509_V_ERR_CA_KEY_TOO_SMALL, "its key is too small" LOWER_LEVEL, NULL,
     "Certificate key of %s is too small", "Issuer certificate key of %s is too small"},
    {X509_V_ERR_CA_MD_TOO_WEAK, "it is signed with a hash that is too weak" LOWER_LEVEL, NULL,
     "Certificate of %s is signed with a weak hash",
     "Issuer certificate of %s is signed with a weak hash"},
    {X509_V_ERR_INVALID_PURPOSE, "it is not meant for a TLS server",
     "it is not meant to issue for TLS servers", "Certificate of %s is not for a TLS server",
     "Issuer certificate of %s is not for TLS servers"},
    {X509_V_ERR_INVALID_CA, "it is not a CA", NULL, "Certificate of %s is not a CA",
     "Issuer certificate of %s is not a CA"},
    {X509_V_ERR_PATH_LENGTH_EXCEEDED, "it allows fewer CAs below it than the chain has", NULL,
     "Certificate chain of %s is longer than a CA allows", NULL},
    {X509_V_ERR_CERT_CHAIN_TOO_LONG, "its chain is longer than 100 certificates", NULL,
     "Certificate chain of %s is too long", NULL},
    {X509_V_ERR_PERMITTED_VIOLATION, "its name is outside of what its CA may name", NULL,
     "CA of %s may not issue for that name", NULL},
    {X509_V_ERR_UNSUPPORTED_CONSTRAINT_TYPE, ODD_LIMITS, NULL,
     "CA of %s limits names in an unknown way", NULL},
    {X509_V_ERR_UNSUPPORTED_CONSTRAINT_SYNTAX, ODD_LIMITS, NULL,
     "CA of %s limits names in an unknown way", NULL},
    {X509_V_ERR_UNSUPPORTED_NAME_SYNTAX, ODD_LIMITS ", or it has a name that cannot be read", NULL,
     "CA of %s limits names in an unknown way", NULL},
    {X509_V_ERR_SUBTREE_MINMAX, ODD_LIMITS, NULL, "CA of %s limits names in an unknown way", NULL},
    {X509_V_ERR_UNSPECIFIED,
     "it cannot be checked: it has too many names for what its CA says of them, or bad ones", NULL,
     "Certificate of %s cannot be checked", "Issuer certificate of %s cannot be checked"},
    {TLS_NOT_PINNED, NULL, NULL, "Certificate of %s is not pinned", NULL},
    {X509_V_ERR_EXCLUDED_VIOLATION, "its name is outside of what its CA may name", NULL,
     "CA of %s may not issue for that name", NULL},
};

static const struct verdict *find_verdict(long what)
{
    for (size_t i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++) {
        if (verdicts[i].code == what)
            return &verdicts[i];
    }
    return NULL;
}

static const char *pick(const struct tls_verdict *v, const char *of_leaf, const char *of_ca)
{
    return v->depth > 0 && of_ca != NULL ? of_ca : of_leaf;
}

static void print_mismatch(X509 *leaf, bool is_ip, struct str host, char *dst, size_t cap)
{
    char names[NAMES_TEXT];
    if (leaf != NULL && is_ip && tls_names_match(leaf, host))
        snprintf(dst, cap, "it holds this address as a host name (dNSName), not as an address");
    else if (leaf != NULL && print_sans(leaf, names, sizeof(names)) > 0)
        snprintf(dst, cap, "it is for %s, not for this %s%s", names, is_ip ? "address" : "host",
                 !is_ip && strchr(names, '*') != NULL ? "; a star stands for one whole label" : "");
    else
        snprintf(dst, cap, "it holds no host name (subjectAltName); a CN does not count");
}

static void print_ca(X509 *ca, bool excludes, const char *what, char *dst, size_t cap)
{
    char by[NAME_TEXT];
    tls_verdict_print(X509_get_subject_name(ca), by, sizeof(by));
    snprintf(dst, cap, "the CA %s of its chain %s %s", by,
             excludes ? "excludes" : "does not permit", what);
}

/* Says it when LIMIT is in the way of NAME. */
static bool print_limit(X509 *ca, enum tls_limit limit, struct tls_name name, char *dst, size_t cap)
{
    char text[NAME_TEXT];
    if (limit == TLS_LIMIT_NONE || !print_tls_name(name, text, sizeof(text)))
        return false;
    print_ca(ca, limit == TLS_LIMIT_EXCLUDED, text, dst, cap);
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
    return print_limit(ca, tls_names_limit(ca, name), name, dst, cap);
}

/* A name that CERT holds, its subject, or a CN, which OpenSSL judges where it looks like a host. */
static bool print_held_limit(X509 *ca, X509 *cert, char *dst, size_t cap)
{
    NAME_CONSTRAINTS *c = X509_get_ext_d2i(ca, NID_name_constraints, NULL, NULL);
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    bool done = false;
    int n = c == NULL ? 0 : sk_GENERAL_NAME_num(names);
    for (int i = 0; !done && i < n && i < LIMITED_NAMES; i++) {
        struct tls_name name;
        done = tls_names_take(sk_GENERAL_NAME_value(names, i), &name) &&
               print_limit(ca, tls_names_limit_by(c, name), name, dst, cap);
    }
    int what = done || c == NULL ? X509_V_OK : NAME_CONSTRAINTS_check(cert, c);
    const char *part = what == X509_V_OK ? "its CN" : "its subject";
    if (!done && c != NULL && what == X509_V_OK)
        what = NAME_CONSTRAINTS_check_CN(cert, c);
    if (what == X509_V_ERR_EXCLUDED_VIOLATION || what == X509_V_ERR_PERMITTED_VIOLATION) {
        print_ca(ca, what == X509_V_ERR_EXCLUDED_VIOLATION, part, dst, cap);
        done = true;
    }
    GENERAL_NAMES_free(names);
    NAME_CONSTRAINTS_free(c);
    return done;
}

/* Which CA has anything against which name: the one that was asked for comes first, then those that
 * the certificate holds, then what names no server. */
static bool print_limits(const struct tls_verdict *v, char *dst, size_t cap)
{
    X509 *cert = sk_X509_value(v->chain, v->depth);
    int n = cert == NULL ? 0 : sk_X509_num(v->chain);
    for (int i = v->depth + 1; v->depth == 0 && i < n; i++) {
        if (print_asked_limit(sk_X509_value(v->chain, i), v->host, dst, cap))
            return true;
    }
    for (int i = v->depth + 1; i < n; i++) {
        if (print_held_limit(sk_X509_value(v->chain, i), cert, dst, cap))
            return true;
    }
    return false;
}

/* A key that OpenSSL does not know counts for it as one that is too small. */
static bool has_unknown_key(const struct tls_verdict *v, X509 *cert)
{
    bool is_key = v->what == X509_V_ERR_EE_KEY_TOO_SMALL || v->what == X509_V_ERR_CA_KEY_TOO_SMALL;
    bool unknown = is_key && cert != NULL && X509_get0_pubkey(cert) == NULL;
    ERR_clear_error();
    return unknown;
}

/* What needs more than the words of its row. False: it does not. */
static bool print_special(const struct tls_verdict *v, X509 *cert, char *dst, size_t cap)
{
    char date[32];
    char pins[PINS_TEXT];
    switch (v->what) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        print_date(cert == NULL ? NULL : X509_get0_notAfter(cert), date, sizeof(date));
        snprintf(dst, cap, "it has expired (notAfter %s)", date);
        return true;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        print_date(cert == NULL ? NULL : X509_get0_notBefore(cert), date, sizeof(date));
        snprintf(dst, cap, "it is not yet valid (notBefore %s)", date);
        return true;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        print_mismatch(cert, v->what == X509_V_ERR_IP_ADDRESS_MISMATCH, v->host, dst, cap);
        return true;
    case X509_V_ERR_PERMITTED_VIOLATION:
    case X509_V_ERR_EXCLUDED_VIOLATION:
        return print_limits(v, dst, cap);
    case TLS_NOT_PINNED:
        tls_pins_print(v->chain, pins, sizeof(pins));
        snprintf(dst, cap, "no key of its chain is in pin_sha256; the chain has %s", pins);
        return true;
    default:
        return false;
    }
}

/* Gives the same in a few words; NULL: there are none. */
static const char *print_verdict(const struct tls_verdict *v, X509 *cert, char *dst, size_t cap)
{
    const struct verdict *row = find_verdict(v->what);
    if (has_unknown_key(v, cert)) {
        snprintf(dst, cap, "its key is of a kind that is not known here");
        return pick(v, "Certificate key of %s is of an unknown kind",
                    "Issuer certificate key of %s is of an unknown kind");
    }
    if (!print_special(v, cert, dst, cap))
        snprintf(dst, cap, "%s",
                 row == NULL ? X509_verify_cert_error_string(v->what)
                             : pick(v, row->text, row->of_ca));
    return row == NULL ? NULL : pick(v, row->phrase, row->ca_phrase);
}

void tls_verdict_fault(struct fault *f, const struct tls_verdict *v)
{
    char host[256];
    char verdict[VERDICT_TEXT];
    char subject[NAME_TEXT];
    char issuer[NAME_TEXT];
    X509 *cert = sk_X509_value(v->chain, v->depth); /* NULL where there is no chain */
    const char *phrase = print_verdict(v, cert, verdict, sizeof(verdict));
    tls_verdict_print(cert == NULL ? NULL : X509_get_subject_name(cert), subject, sizeof(subject));
    tls_verdict_print(cert == NULL ? NULL : X509_get_issuer_name(cert), issuer, sizeof(issuer));
    str_escape(host, sizeof(host), v->host);
    fault_set(f, FAULT_TLS_CERTIFICATE,
              "the certificate %s %s does not verify: %s; subject %s, issuer %s",
              v->depth > 0 ? "of an issuer of" : "of", host, verdict, subject, issuer);
    f->phrase = phrase;
}
