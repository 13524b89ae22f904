/* SPDX-License-Identifier: Apache-2.0 */
/* The leaves that are kept, and the thread that makes them. One lock guards both; it is held for
 * short walks only, never while signing. A job that has left the queue is freed on its loop. */
#include "net/tls_mint.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "base/hash.h"
#include "base/log_limit.h"
#include "conf/files.h"
#include "conf/rule.h"
#include "net/tls_keylog.h"
#include "net/tls_server.h"
#include "net/tls_tickets.h"

enum { KEY_EC, KEY_RSA, KEYS };
enum { MINT_SESSIONS = 4096 }; /* kept for clients that take no tickets */

struct leaf {
    UT_hash_handle hh; /* in the order of their last use */
    char *key;         /* the name, and behind it which key */
    X509 *cert;
    int64_t until; /* seconds since the epoch */
};

struct tls_mint {
    atomic_uint refs;
    struct tls_ca *ca;
    SSL_CTX *ssl;
    struct leaf *leaves;  /* under the lock */
    EVP_PKEY *keys[KEYS]; /* under the lock; made when first needed, then constant */
};

/* One who waits for a leaf. */
struct mint_job {
    struct list link;      /* in minting.jobs, or nowhere: being made, or on its way to its loop */
    struct tls_mint *mint; /* a reference */
    char *key;
    struct loop *loop;     /* NULL: cancelled while it was made, which frees it */
    bool is_done;          /* sent to its loop */
    void (*fn)(void *arg); /* NULL: cancelled; only touched on the loop */
    void *arg;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct list jobs; /* as they came */
    bool has_thread, stopping;
    pthread_t thread;
} minting = {.lock = PTHREAD_MUTEX_INITIALIZER,
             .work = PTHREAD_COND_INITIALIZER,
             .jobs = {&minting.jobs, &minting.jobs}};

static const unsigned char mint_alpn[] = "\x08http/1.1";

/* ---- the context */

static int mint_choose_alpn(SSL *s, const unsigned char **out, unsigned char *out_len,
                            const unsigned char *in, unsigned in_len, void *arg)
{
    unsigned char *chosen;
    (void)s;
    (void)arg;
    if (SSL_select_next_proto(&chosen, out_len, mint_alpn, sizeof(mint_alpn) - 1, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_NOACK; /* it will see what we speak */
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *mint_context(int min_version)
{
    static const unsigned char id[] = "tlsfan"; /* sessions of one mint are for it alone */
    SSL_CTX *ssl = SSL_CTX_new(TLS_server_method());
    if (ssl == NULL)
        abort();
    if (min_version < TLS1_2_VERSION)
        SSL_CTX_set_security_level(ssl, 0);
    SSL_CTX_set_min_proto_version(ssl, min_version);
    tls_server_init_ctx(ssl);
    SSL_CTX_set_dh_auto(ssl, 1);
    SSL_CTX_sess_set_cache_size(ssl, MINT_SESSIONS);
    SSL_CTX_set_session_id_context(ssl, id, sizeof(id) - 1);
    tls_tickets_init_ctx(ssl);
    SSL_CTX_set_alpn_select_cb(ssl, mint_choose_alpn, NULL);
    return ssl;
}

struct tls_mint *tls_mint_new(struct tls_ca *ca, int min_version)
{
    struct tls_mint *mint = xcalloc(1, sizeof(*mint));
    mint->ca = ca;
    mint->ssl = mint_context(min_version);
    atomic_init(&mint->refs, 1);
    return mint;
}

struct tls_mint *tls_mint_ref(struct tls_mint *mint)
{
    atomic_fetch_add(&mint->refs, 1);
    return mint;
}

static void mint_drop(struct tls_mint *mint, struct leaf *leaf)
{
    HASH_DEL(mint->leaves, leaf);
    X509_free(leaf->cert);
    free(leaf->key);
    free(leaf);
}

void tls_mint_unref(struct tls_mint *mint)
{
    struct leaf *leaf, *next;
    if (mint == NULL || atomic_fetch_sub(&mint->refs, 1) != 1)
        return;
    HASH_ITER (hh, mint->leaves, leaf, next)
        mint_drop(mint, leaf);
    for (unsigned i = 0; i < KEYS; i++)
        EVP_PKEY_free(mint->keys[i]);
    tls_ca_unref(mint->ca);
    SSL_CTX_free(mint->ssl);
    free(mint);
}

int64_t tls_mint_expiry(const struct tls_mint *mint)
{
    return tls_ca_not_after(mint->ca);
}

SSL_CTX *tls_mint_ssl(const struct tls_mint *mint)
{
    return mint->ssl;
}

/* Why OpenSSL would not show what CA signs, heap; or NULL. */
static char *mint_try(struct tls_mint *mint, const char *path)
{
    EVP_PKEY *key = tls_ca_new_key(false);
    X509 *leaf = tls_ca_sign(mint->ca, key, "localhost", tls_ca_not_after(mint->ca));
    SSL *ssl = SSL_new(mint->ssl);
    if (ssl == NULL)
        abort();
    bool ok = tls_ca_use(mint->ca, ssl, leaf, key);
    SSL_free(ssl);
    X509_free(leaf);
    EVP_PKEY_free(key);
    return ok ? NULL
              : xasprintf("%s: a certificate in it is too weak for intercept.min_version of 1.2 or "
                          "more",
                          path);
}

/* So that a change of it is seen, and one that changes nothing is not. */
static void mint_watch(struct conf *c, const char *path)
{
    size_t n;
    char *text = conf_files_read(&c->files, path, &n);
    if (text != NULL)
        explicit_bzero(text, n);
    free(text);
}

/* From files. NULL with faults. */
static struct tls_mint *mint_load(struct conf *c, struct conf_faults *faults)
{
    const struct intercept_conf *i = &c->intercept;
    struct tls_mint *mint = NULL;
    char *why = NULL;
    bool key_fault = false;
    mint_watch(c, i->ca_cert);
    mint_watch(c, i->ca_key);
    struct tls_ca *ca = tls_ca_load(i->ca_cert, i->ca_key, &why, &key_fault);
    if (ca != NULL) {
        mint = tls_mint_new(ca, i->min_version);
        why = mint_try(mint, i->ca_cert);
    }
    if (why == NULL) {
        if (tls_ca_not_after(ca) <= time(NULL))
            log_limited(LOG_LEVEL_WARNING,
                        "%s: this CA has expired: no intercepted client takes what it signs",
                        i->ca_cert);
        return mint;
    }
    const char *key = key_fault ? "intercept.ca_key" : "intercept.ca_cert";
    conf_key_fault(faults, rule_where(c, &c->rules[0], key), key, why);
    free(why);
    tls_mint_unref(mint);
    return NULL;
}

bool tls_mint_make(struct conf *c, struct conf_faults *faults)
{
    struct intercept_conf *i = &c->intercept;
    if (i->run_ca != NULL)
        i->mint = tls_mint_new(tls_ca_ref(i->run_ca), i->min_version);
    else if (i->ca_cert[0] == '\0' || i->ca_key[0] == '\0')
        return true;
    else
        i->mint = mint_load(c, faults);
    const char *keylog = c->rules[0].tls.keylog;
    if (i->mint != NULL && keylog != NULL && keylog[0] != '\0')
        tls_keylog_watch(i->mint->ssl);
    return i->mint != NULL;
}

/* ---- what a client can verify */

/* True when the vector of two-byte numbers at P, behind its own length, has VALUE in it. */
static bool mint_lists(const unsigned char *p, size_t n, unsigned value)
{
    for (size_t i = 2; i + 1 < n; i += 2)
        if ((p[i] << 8 | p[i + 1]) == (int)value)
            return true;
    return false;
}

/* TLS 1.0 and 1.1 say so by their suites alone; those of TLS 1.3 leave it to the signatures. */
static bool mint_has_ecdsa_suite(SSL *ssl)
{
    enum { TLS1_3_SUITES = 0x13 }; /* their first byte */
    const unsigned char *p;
    size_t n = SSL_client_hello_get0_ciphers(ssl, &p);
    for (size_t i = 0; i + 1 < n; i += 2) {
        const SSL_CIPHER *suite = SSL_CIPHER_find(ssl, p + i);
        if (p[i] == TLS1_3_SUITES ||
            (suite != NULL && SSL_CIPHER_get_auth_nid(suite) == NID_auth_ecdsa))
            return true;
    }
    return false;
}

bool tls_mint_takes_ecdsa(SSL *ssl)
{
    enum { P256 = 23, ECDSA_SECP256R1_SHA256 = 0x0403 };
    const unsigned char *p;
    size_t n;
    if (SSL_client_hello_isv2(ssl))
        return false; /* its suites have three bytes each; who still sends it has RSA */
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_supported_groups, &p, &n) == 1 &&
        !mint_lists(p, n, P256))
        return false;
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_signature_algorithms, &p, &n) == 1 &&
        !mint_lists(p, n, ECDSA_SECP256R1_SHA256))
        return false;
    return mint_has_ecdsa_suite(ssl);
}

/* ---- leaves, under the lock */

static char *mint_key(const struct mint_want *want)
{
    return xasprintf("%s %s", want->name, want->is_ecdsa ? "EC" : "RSA");
}

static unsigned mint_which(const char *key)
{
    return strcmp(strrchr(key, ' '), " EC") == 0 ? KEY_EC : KEY_RSA;
}

/* Puts LEAF behind all others. */
static void mint_touch(struct tls_mint *mint, struct leaf *leaf)
{
    HASH_DEL(mint->leaves, leaf);
    HASH_ADD_KEYPTR(hh, mint->leaves, leaf->key, strlen(leaf->key), leaf);
}

/* NULL when there is none that is good for some time. */
static struct leaf *mint_find(struct tls_mint *mint, const char *key)
{
    struct leaf *leaf;
    HASH_FIND(hh, mint->leaves, key, strlen(key), leaf);
    if (leaf == NULL)
        return NULL;
    int64_t ends = tls_ca_not_after(mint->ca);
    if (leaf->until < ends && leaf->until - time(NULL) < MINT_RENEW) {
        mint_drop(mint, leaf);
        return NULL;
    }
    mint_touch(mint, leaf);
    return leaf;
}

static void mint_keep(struct tls_mint *mint, const char *key, X509 *cert, int64_t until)
{
    struct leaf *leaf = xcalloc(1, sizeof(*leaf));
    leaf->key = xstrdup(key);
    leaf->cert = cert;
    leaf->until = until;
    HASH_ADD_KEYPTR(hh, mint->leaves, leaf->key, strlen(leaf->key), leaf);
    if (HASH_COUNT(mint->leaves) > MINT_KEPT_MAX)
        mint_drop(mint, mint->leaves);
}

bool tls_mint_use(struct tls_mint *mint, SSL *ssl, const struct mint_want *want)
{
    char *key = mint_key(want);
    pthread_mutex_lock(&minting.lock);
    struct leaf *leaf = mint_find(mint, key);
    X509 *cert = leaf == NULL ? NULL : leaf->cert;
    if (cert != NULL)
        X509_up_ref(cert);
    EVP_PKEY *private = mint->keys[want->is_ecdsa ? KEY_EC : KEY_RSA];
    pthread_mutex_unlock(&minting.lock);
    free(key);
    bool ok = cert != NULL && tls_ca_use(mint->ca, ssl, cert, private);
    X509_free(cert);
    return ok;
}

/* ---- the thread */

static void job_free(struct mint_job *job)
{
    tls_mint_unref(job->mint);
    free(job->key);
    free(job);
}

/* On the loop. */
static void mint_job_finish(void *arg)
{
    struct mint_job *job = arg;
    void (*fn)(void *) = job->fn;
    void *fn_arg = job->arg;
    job_free(job);
    if (fn != NULL)
        fn(fn_arg);
}

/* The key of the leaf that JOB waits for; this thread alone makes them. */
static EVP_PKEY *job_private_key(const struct mint_job *job)
{
    unsigned which = mint_which(job->key);
    EVP_PKEY *key = job->mint->keys[which];
    if (key != NULL)
        return key;
    key = tls_ca_new_key(which == KEY_RSA);
    pthread_mutex_lock(&minting.lock);
    job->mint->keys[which] = key;
    pthread_mutex_unlock(&minting.lock);
    return key;
}

/* Unless one who waited before has had it made. */
static void job_make(const struct mint_job *job)
{
    pthread_mutex_lock(&minting.lock);
    bool is_made = mint_find(job->mint, job->key) != NULL;
    pthread_mutex_unlock(&minting.lock);
    if (is_made)
        return;
    int64_t until = (int64_t)time(NULL) + MINT_VALID;
    int64_t ends = tls_ca_not_after(job->mint->ca);
    char *name = xstrndup(job->key, (size_t)(strrchr(job->key, ' ') - job->key));
    if (until > ends)
        until = ends;
    X509 *cert = tls_ca_sign(job->mint->ca, job_private_key(job), name, until);
    free(name);
    pthread_mutex_lock(&minting.lock);
    mint_keep(job->mint, job->key, cert, until);
    pthread_mutex_unlock(&minting.lock);
}

static void *mint_run(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&minting.lock);
    while (!minting.stopping) {
        struct list *it = list_pop(&minting.jobs);
        if (it == NULL) {
            pthread_cond_wait(&minting.work, &minting.lock);
            continue;
        }
        struct mint_job *job = container_of(it, struct mint_job, link);
        pthread_mutex_unlock(&minting.lock);
        job_make(job);
        pthread_mutex_lock(&minting.lock);
        job->is_done = true;
        if (job->loop != NULL)
            loop_send(job->loop, mint_job_finish, job);
        else
            job_free(job);
    }
    pthread_mutex_unlock(&minting.lock);
    return NULL;
}

/* The first one to ask starts it. Under the lock. */
static bool mint_has_thread(void)
{
    if (minting.has_thread || minting.stopping)
        return minting.has_thread;
    int cause = pthread_create(&minting.thread, NULL, mint_run, NULL);
    minting.has_thread = cause == 0;
    if (cause != 0)
        log_limited(LOG_LEVEL_ERROR, "no certificate can be made: cannot start a thread: %s",
                    strerror(cause));
    return minting.has_thread;
}

struct mint_job *tls_mint_start(struct tls_mint *mint, struct loop *loop,
                                const struct mint_want *want, void (*fn)(void *arg), void *arg)
{
    struct mint_job *job = NULL;
    pthread_mutex_lock(&minting.lock);
    if (mint_has_thread()) {
        job = xcalloc(1, sizeof(*job));
        job->mint = tls_mint_ref(mint);
        job->key = mint_key(want);
        job->loop = loop;
        job->fn = fn;
        job->arg = arg;
        list_init(&job->link);
        list_push_back(&minting.jobs, &job->link);
        pthread_cond_signal(&minting.work);
    }
    pthread_mutex_unlock(&minting.lock);
    return job;
}

void tls_mint_cancel(struct mint_job *job)
{
    if (job == NULL)
        return;
    pthread_mutex_lock(&minting.lock);
    bool waits = !list_is_empty(&job->link);
    list_remove(&job->link);
    job->fn = NULL;
    if (!job->is_done)
        job->loop = NULL;
    pthread_mutex_unlock(&minting.lock);
    if (waits)
        job_free(job);
}

void tls_mint_stop(void)
{
    pthread_mutex_lock(&minting.lock);
    minting.stopping = true;
    bool is_running = minting.has_thread;
    minting.has_thread = false;
    pthread_cond_signal(&minting.work);
    pthread_mutex_unlock(&minting.lock);
    if (is_running)
        pthread_join(minting.thread, NULL);
    minting.stopping = false;
}
