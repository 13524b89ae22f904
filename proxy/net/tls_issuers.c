/* SPDX-License-Identifier: Apache-2.0 */
/* A table under a lock. Signatures are checked outside of it, with references of one's own: keys of
 * strangers can be large. */
#include "net/tls_issuers.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/loop.h"

static const int64_t issuers_keep = 12 * 3600 * INT64_C(1000000);   /* µs */
static const int64_t issuers_keep_doubtful = 60 * INT64_C(1000000); /* µs */

/* What came from a URL. The table lists them from the oldest on. */
struct issuers {
    char *url;
    STACK_OF(X509) * certs; /* NULL: none, and WHY says so */
    char why[TLS_ISSUERS_WHY];
    size_t n;      /* bytes of the answer */
    int64_t since; /* µs */
    int64_t until; /* µs */
    bool is_good;  /* one of them is an issuer that was asked for */
    UT_hash_handle hh;
};

static struct {
    pthread_mutex_t lock; /* guards `all` and what is in it */
    struct issuers *all;
    size_t n; /* bytes of them */
    _Atomic uint64_t good, bad;
} issuers = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void issuers_drop(struct issuers *it)
{
    HASH_DEL(issuers.all, it);
    issuers.n -= it->n;
    sk_X509_pop_free(it->certs, X509_free);
    free(it->url);
    free(it);
}

/* The oldest one; what is of no use goes before what is. */
static struct issuers *issuers_worst(void)
{
    struct issuers *it, *next, *worst = NULL;
    HASH_ITER (hh, issuers.all, it, next) {
        if (worst == NULL || (worst->is_good && !it->is_good))
            worst = it;
    }
    return worst;
}

/* Makes room for one of N bytes. */
static void issuers_make_room(size_t n)
{
    while (HASH_COUNT(issuers.all) >= TLS_ISSUERS_MOST ||
           (issuers.all != NULL && issuers.n + n > TLS_ISSUERS_BYTES))
        issuers_drop(issuers_worst());
}

/* NULL: nothing is known any more. */
static struct issuers *issuers_get(const char *url)
{
    struct issuers *it;
    HASH_FIND(hh, issuers.all, url, strlen(url), it);
    if (it == NULL || loop_now() < it->until)
        return it;
    issuers_drop(it);
    return NULL;
}

/* ---- who has issued whom ---- */

static bool has_issued(X509 *issuer, X509 *cert)
{
    EVP_PKEY *key = X509_get0_pubkey(issuer);
    bool ok =
        key != NULL && X509_check_issued(issuer, cert) == X509_V_OK && X509_verify(cert, key) == 1;
    ERR_clear_error();
    return ok;
}

/* A reference, or NULL. */
static X509 *issuer_among(STACK_OF(X509) * certs, X509 *cert)
{
    for (int i = 0; i < sk_X509_num(certs); i++)
        if (has_issued(sk_X509_value(certs, i), cert))
            return tls_issuers_ref(sk_X509_value(certs, i));
    return NULL;
}

/* µs until CERT ends, or INT64_MAX where that cannot be read. */
static int64_t time_left(const X509 *cert)
{
    int days = 0, seconds = 0;
    if (ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(cert)) != 1)
        return INT64_MAX;
    return (days * INT64_C(86400) + seconds) * 1000000;
}

/* Until when ISSUER is kept, µs from now. */
static int64_t issuers_time(const X509 *issuer, int64_t bad_ms)
{
    int64_t left = time_left(issuer);
    left = left < issuers_keep ? left : issuers_keep;
    return left > bad_ms * 1000 ? left : bad_ms * 1000;
}

/* ---- public ---- */

/* The same for one URL. */
static X509 *find_at(const char *url, X509 *cert)
{
    pthread_mutex_lock(&issuers.lock);
    struct issuers *it = issuers_get(url);
    bool has_some = it != NULL && it->certs != NULL;
    STACK_OF(X509) *certs = has_some ? X509_chain_up_ref(it->certs) : NULL;
    pthread_mutex_unlock(&issuers.lock);
    X509 *found = issuer_among(certs, cert);
    sk_X509_pop_free(certs, X509_free);
    if (found == NULL)
        return NULL;
    /* It was fetched for another certificate, which it did not fit. */
    pthread_mutex_lock(&issuers.lock);
    it = issuers_get(url);
    if (it != NULL && !it->is_good) {
        int64_t until = loop_now() + issuers_time(found, 0);
        it->is_good = true;
        it->until = until > it->until ? until : it->until;
    }
    pthread_mutex_unlock(&issuers.lock);
    return found;
}

X509 *tls_issuers_find(X509 *cert)
{
    struct tls_aia_url urls[TLS_AIA_URLS];
    unsigned n = tls_aia_urls(cert, urls);
    X509 *found = NULL;
    for (unsigned i = 0; found == NULL && i < n; i++)
        found = find_at(urls[i].text, cert);
    return found;
}

enum tls_issuers_state tls_issuers_look(const char *url, X509 *cert, char *why)
{
    X509 *found = find_at(url, cert);
    X509_free(found);
    if (found != NULL)
        return TLS_ISSUERS_GOOD;
    pthread_mutex_lock(&issuers.lock);
    struct issuers *it = issuers_get(url);
    if (it != NULL)
        memcpy(why, it->why, sizeof(it->why));
    pthread_mutex_unlock(&issuers.lock);
    return it == NULL ? TLS_ISSUERS_UNKNOWN : TLS_ISSUERS_BAD;
}

/* Takes CERTS. */
static void issuers_keep_as(const char *url, const struct issuers *what, int64_t us)
{
    pthread_mutex_lock(&issuers.lock);
    struct issuers *it = issuers_get(url);
    if (it != NULL)
        issuers_drop(it);
    issuers_make_room(what->n);
    it = xmalloc(sizeof(*it));
    *it = *what;
    it->url = xstrdup(url);
    it->since = loop_now();
    it->until = it->since + us;
    HASH_ADD_KEYPTR(hh, issuers.all, it->url, strlen(it->url), it);
    issuers.n += it->n;
    pthread_mutex_unlock(&issuers.lock);
    atomic_fetch_add(what->is_good ? &issuers.good : &issuers.bad, 1);
}

bool tls_issuers_put(const char *url, X509 *cert, struct str body, int64_t bad_ms)
{
    struct issuers what = {.certs = tls_aia_read(body)};
    what.n = what.certs == NULL ? 0 : body.len;
    X509 *found = issuer_among(what.certs, cert);
    bool is_good = what.is_good = found != NULL;
    int64_t us = is_good ? issuers_time(found, bad_ms) : bad_ms * 1000;
    snprintf(what.why, sizeof(what.why), "%s",
             what.certs == NULL ? "no certificate is there"
                                : "the certificate there has not issued it");
    issuers_keep_as(url, &what, us);
    X509_free(found);
    return is_good;
}

void tls_issuers_fail(const char *url, const char *why, int64_t bad_ms)
{
    struct issuers what = {0};
    snprintf(what.why, sizeof(what.why), "%s", why);
    issuers_keep_as(url, &what, bad_ms * 1000);
}

static void doubt_at(const char *url)
{
    pthread_mutex_lock(&issuers.lock);
    struct issuers *it = issuers_get(url);
    if (it != NULL && it->until > it->since + issuers_keep_doubtful)
        it->until = it->since + issuers_keep_doubtful;
    pthread_mutex_unlock(&issuers.lock);
}

void tls_issuers_doubt(STACK_OF(X509) * chain)
{
    struct tls_aia_url urls[TLS_AIA_URLS];
    for (int i = 0; i < sk_X509_num(chain); i++) {
        unsigned n = tls_aia_urls(sk_X509_value(chain, i), urls);
        for (unsigned k = 0; k < n; k++)
            doubt_at(urls[k].text);
    }
}

struct tls_issuers_counts tls_issuers_count(void)
{
    return (struct tls_issuers_counts){atomic_load(&issuers.good), atomic_load(&issuers.bad)};
}

X509 *tls_issuers_ref(X509 *cert)
{
    if (cert != NULL)
        X509_up_ref(cert);
    return cert;
}

void tls_issuers_unref(X509 *cert)
{
    X509_free(cert);
}

void tls_issuers_clear(void)
{
    struct issuers *it, *next;
    pthread_mutex_lock(&issuers.lock);
    HASH_ITER (hh, issuers.all, it, next) {
        issuers_drop(it);
    }
    pthread_mutex_unlock(&issuers.lock);
}
