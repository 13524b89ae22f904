/* SPDX-License-Identifier: Apache-2.0 */
/* Verification: what OpenSSL is asked to check. The callback decides only about lists that crl_file
 * need not hold and names that OpenSSL reads too narrowly, and records where in the chain a check
 * failed. */
#include "net/tls_verify.h"

#include <openssl/err.h>
#include <pthread.h>
#include <time.h>

#include <stdlib.h>

#include "base/addr.h"
#include "base/mem.h"
#include "net/tls_issuers.h"
#include "net/tls_names.h"
#include "net/tls_pins.h"
#include "net/tls_verdict.h"

/* What a context adds to verification. Owner: the SSL_CTX, which outlives the snapshot that it was
 * made for. */
struct demands {
    bool fetches;
    struct list_of_pins pins;
};

/* Where an SSL keeps the depth of the certificate that failed, and a context its demands. */
static int depth_index = -1, demands_index = -1;
static pthread_once_t index_once = PTHREAD_ONCE_INIT;

/* OpenSSL's callback: the context goes. */
static void free_demands(void *parent, void *p, CRYPTO_EX_DATA *ad, int index, long argl, void *arg)
{
    struct demands *d = p;
    (void)parent, (void)ad, (void)index, (void)argl, (void)arg;
    if (d != NULL)
        free(d->pins.v);
    free(d);
}

static void make_indexes(void)
{
    depth_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    demands_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_demands);
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

/* Why a certificate that has the name of an issuer has not issued, where that has a sentence. */
static bool is_issuer_refused(int what)
{
    return what == TLS_BAD_ISSUER || what == X509_V_ERR_AKID_SKID_MISMATCH ||
           what == X509_V_ERR_AKID_ISSUER_SERIAL_MISMATCH ||
           what == X509_V_ERR_SIGNATURE_ALGORITHM_MISMATCH ||
           what == X509_V_ERR_NO_ISSUER_PUBLIC_KEY ||
           what == X509_V_ERR_UNSUPPORTED_SIGNATURE_ALGORITHM;
}

/* Why none of CERTS that have the name of CERT's issuer has issued it; X509_V_OK: there is none, or
 * nothing to say of it. */
static int refused_issuer(STACK_OF(X509) * certs, X509 *cert)
{
    for (int i = 0; i < sk_X509_num(certs); i++) {
        X509 *it = sk_X509_value(certs, i);
        if (X509_NAME_cmp(X509_get_subject_name(it), X509_get_issuer_name(cert)) != 0)
            continue;
        int why = is_malformed(it) ? TLS_BAD_ISSUER : X509_check_issued(it, cert);
        if (is_issuer_refused(why))
            return why;
    }
    return X509_V_OK;
}

/* OpenSSL says of each of these that there is no issuer. One that the server has shown comes before
 * what is trusted. */
static int explain_issuer(X509_STORE_CTX *c, X509 *cert, int what)
{
    int why = refused_issuer(X509_STORE_CTX_get0_untrusted(c), cert);
    if (why == X509_V_OK) {
        STACK_OF(X509) *trusted = X509_STORE_CTX_get1_certs(c, X509_get_issuer_name(cert));
        why = refused_issuer(trusted, cert);
        sk_X509_pop_free(trusted, X509_free);
    }
    return why == X509_V_OK ? what : why;
}

static bool is_issuer_unknown(int what)
{
    return what == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT ||
           what == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY ||
           what == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE;
}

/* OpenSSL finds no issuer, no names or no purpose where it cannot read the extensions, and may try
 * a list with the key of the last certificate. */
static int tls_verify_explain(X509_STORE_CTX *c, int what, intptr_t depth)
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
        return TLS_BAD_EXTENSION;
    return is_issuer_unknown(what) && cert != NULL ? explain_issuer(c, cert, what) : what;
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
    note_fault(c, tls_verify_explain(c, what, depth), depth);
    return 0;
}

/* True when C has found no root for its chain, or one that has expired. */
static bool lacks_root(X509_STORE_CTX *c)
{
    int what = X509_STORE_CTX_get_error(c);
    return is_issuer_unknown(what) || is_issuer_refused(what) ||
           what == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN ||
           (what == X509_V_ERR_CERT_HAS_EXPIRED && X509_STORE_CTX_get_error_depth(c) > 0);
}

/* What is trusted by itself stands for others only if it says that it is a CA. OpenSSL takes one
 * with a keyUsage alone where C's chain ends: a server's own could stand for others. */
static bool is_end_fit(X509_STORE_CTX *c)
{
    STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(c);
    int last = sk_X509_num(chain) - 1;
    bool is_leaf_trusted = X509_STORE_CTX_get_num_untrusted(c) == 0;
    if (is_leaf_trusted || X509_check_ca(sk_X509_value(chain, last)) == 1)
        return true;
    note_fault(c, X509_V_ERR_INVALID_CA, last);
    return false;
}

/* Verifies again what C is about, with UNTRUSTED besides what is trusted, and FLAGS. C has the
 * verdict and the chain of that. */
static int verify_again(X509_STORE_CTX *c, STACK_OF(X509) * untrusted, unsigned long flags)
{
    int index = SSL_get_ex_data_X509_STORE_CTX_idx();
    X509_STORE_CTX *again = X509_STORE_CTX_new();
    bool ok = again != NULL &&
              X509_STORE_CTX_init(again, X509_STORE_CTX_get0_store(c), X509_STORE_CTX_get0_cert(c),
                                  untrusted) == 1 &&
              X509_STORE_CTX_set_ex_data(again, index, X509_STORE_CTX_get_ex_data(c, index)) == 1;
    X509_VERIFY_PARAM *param = ok ? X509_STORE_CTX_get0_param(again) : NULL;
    int r = 0;
    if (ok && X509_VERIFY_PARAM_set1(param, X509_STORE_CTX_get0_param(c)) == 1 &&
        X509_VERIFY_PARAM_set_flags(param, flags) == 1) {
        X509_STORE_CTX_set_verify_cb(again, on_verify);
        r = X509_verify_cert(again);
        if (r > 0 && flags != 0 && !is_end_fit(again))
            r = 0;
        X509_STORE_CTX_set_error(c, X509_STORE_CTX_get_error(again));
        X509_STORE_CTX_set0_verified_chain(c, X509_STORE_CTX_get1_chain(again));
    }
    X509_STORE_CTX_free(again);
    return r;
}

/* The chain may end with any certificate of the store. */
static int verify_below_root(X509_STORE_CTX *c, STACK_OF(X509) * untrusted)
{
    return verify_again(c, untrusted, X509_V_FLAG_PARTIAL_CHAIN);
}

static bool lacks_issuer(int what)
{
    return is_issuer_unknown(what) || is_issuer_refused(what);
}

/* An issuer of the last certificate of C's chain that was fetched before; a reference, or NULL. */
static X509 *find_fetched(X509_STORE_CTX *c)
{
    STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(c);
    X509 *last = sk_X509_value(chain, sk_X509_num(chain) - 1);
    if (last == NULL || !lacks_issuer(X509_STORE_CTX_get_error(c)))
        return NULL;
    return tls_issuers_find(last);
}

/* What was fetched stands beside what the server has shown: nothing is trusted because of it. */
static int verify_with_fetched(X509_STORE_CTX *c)
{
    STACK_OF(X509) *shown = X509_STORE_CTX_get0_untrusted(c);
    STACK_OF(X509) *all = shown == NULL ? sk_X509_new_null() : X509_chain_up_ref(shown);
    X509 *issuer;
    int r = 0;
    for (int i = 0; all != NULL && r <= 0 && i < TLS_ISSUERS_DEPTH; i++) {
        if ((issuer = find_fetched(c)) == NULL)
            break;
        /* The first of those that would do is taken. */
        if (sk_X509_insert(all, issuer, 0) == 0) {
            X509_free(issuer);
            break;
        }
        r = verify_again(c, all, 0);
        if (r <= 0 && lacks_root(c))
            r = verify_below_root(c, all);
        if (r <= 0 && lacks_root(c))
            tls_issuers_doubt(X509_STORE_CTX_get0_chain(c));
    }
    sk_X509_pop_free(all, X509_free);
    return r;
}

/* A CA that excludes a name can still issue a wildcard that stands for it: OpenSSL holds what is in
 * the certificate against the constraints, here it is what was asked for. An address needs no
 * second look, for it stands in the certificate as it is. */
static bool is_allowed(X509_STORE_CTX *c, struct str host)
{
    STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(c);
    for (int i = 1; i < sk_X509_num(chain); i++) {
        enum tls_limit limit =
            tls_names_limit(sk_X509_value(chain, i), (struct tls_name){false, host});
        if (limit == TLS_LIMIT_NONE)
            continue;
        note_fault(c,
                   limit == TLS_LIMIT_EXCLUDED ? X509_V_ERR_EXCLUDED_VIOLATION
                                               : X509_V_ERR_PERMITTED_VIOLATION,
                   0);
        return false;
    }
    return true;
}

/* Nobody looks into what the server has shown where that would cost too much. */
static bool is_affordable(X509_STORE_CTX *c)
{
    STACK_OF(X509) *shown = X509_STORE_CTX_get0_untrusted(c);
    int costly = tls_names_costly(shown);
    if (costly < 0)
        return true;
    note_fault(c, X509_V_ERR_UNSPECIFIED, costly);
    X509_STORE_CTX_set0_verified_chain(c, X509_chain_up_ref(shown));
    return false;
}

/* What is above a trusted CA counts where it is there: the constraints of its root, and the list
 * by that. */
static int tls_verify_chain(X509_STORE_CTX *c, void *arg)
{
    const struct demands *demands = arg;
    const char *host = X509_VERIFY_PARAM_get0_host(X509_STORE_CTX_get0_param(c), 0);
    /* With verify = off nobody asks for the verdict. */
    if (!is_affordable(c) || X509_STORE_CTX_get_verify_cb(c) != on_verify)
        return 0;
    int r = X509_verify_cert(c);
    if (r <= 0 && lacks_root(c))
        r = verify_below_root(c, X509_STORE_CTX_get0_untrusted(c));
    if (r <= 0 && demands->fetches)
        r = verify_with_fetched(c);
    if (r > 0 && host != NULL && !is_allowed(c, str_from(host)))
        r = 0;
    if (r > 0 && !tls_pins_hold(&demands->pins, X509_STORE_CTX_get0_chain(c))) {
        note_fault(c, TLS_NOT_PINNED, 0);
        r = 0;
    }
    ERR_clear_error();
    return r;
}

void tls_verify_init_ctx(SSL_CTX *ctx, const struct tls_policy *p)
{
    struct demands *d = xcalloc(1, sizeof(*d));
    size_t size = p->pins.n * sizeof(p->pins.v[0]);
    pthread_once(&index_once, make_indexes);
    d->fetches = p->fetch_intermediates;
    d->pins.n = p->pins.n;
    if (size > 0)
        d->pins.v = memcpy(xmalloc(size), p->pins.v, size);
    if (SSL_CTX_set_ex_data(ctx, demands_index, d) != 1)
        abort();
    SSL_CTX_set_cert_verify_callback(ctx, tls_verify_chain, d);
}

bool tls_verify_setup(SSL *ssl, struct str name, bool is_ip)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    struct addr a;
    pthread_once(&index_once, make_indexes);
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

/* ---- afterwards ---- */

bool tls_verify_fault(struct fault *f, SSL *ssl, struct str name)
{
    /* The chain is kept although it does not verify; the peer's certificate is not. */
    struct tls_verdict v = {SSL_get_verify_result(ssl), SSL_get0_verified_chain(ssl),
                            (int)(intptr_t)SSL_get_ex_data(ssl, depth_index), name};
    if (v.what == X509_V_OK)
        return false;
    tls_verdict_fault(f, &v);
    return true;
}

/* How many of CHAIN the server has not shown. */
static int count_fetched(SSL *ssl, STACK_OF(X509) * chain)
{
    STACK_OF(X509) *shown = SSL_get_peer_cert_chain(ssl);
    int n = 0;
    for (int i = 0; i < sk_X509_num(chain); i++) {
        bool is_shown = false;
        for (int k = 0; !is_shown && k < sk_X509_num(shown); k++)
            is_shown = sk_X509_value(shown, k) == sk_X509_value(chain, i);
        n += is_shown ? 0 : 1;
    }
    return n;
}

X509 *tls_verify_lacking(SSL *ssl)
{
    const struct demands *d = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), demands_index);
    STACK_OF(X509) *chain = SSL_get0_verified_chain(ssl);
    if (d == NULL || !d->fetches || !lacks_issuer((int)SSL_get_verify_result(ssl)) ||
        count_fetched(ssl, chain) >= TLS_ISSUERS_DEPTH)
        return NULL;
    return sk_X509_value(chain, sk_X509_num(chain) - 1);
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
