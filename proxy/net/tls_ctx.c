/* SPDX-License-Identifier: Apache-2.0 */
/* From tls_policy to SSL_CTX. Most rules write nothing about TLS, so what is made is found again
 * by its settings: a context by all of them, a store of CAs, which takes long to fill, by those
 * about CAs. */
#include "net/tls_ctx.h"

#include <dirent.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <openssl/x509.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/hash.h"
#include "conf/files.h"
#include "conf/rule.h"
#include "conf/tls_key.h"
#include "net/tls_keylog.h"
#include "net/tls_listener.h"
#include "net/tls_mint.h"
#include "net/tls_pem.h"
#include "net/tls_sessions.h"
#include "net/tls_strength.h"
#include "net/tls_suites.h"
#include "net/tls_system.h"
#include "net/tls_verify.h"
#include "net/tls_wire.h"

/* Shared by the rules of one snapshot, which is made and freed by one thread at a time. */
struct tls_ctx {
    unsigned refs;
    SSL_CTX *ssl;
};

/* A context or store that was made, by its settings; NULL when it failed, which was told. */
struct made {
    char *key;
    struct tls_ctx *ctx;
    X509_STORE *store;
    UT_hash_handle hh;
};

struct maker {
    struct conf *conf;
    struct conf_faults *faults;
    const struct rule *rule; /* at which faults are told */
    struct made *ctxs, *stores;
    bool has_looked; /* whether the system's store is empty */
};

static const unsigned char alpn[] = "\x08http/1.1";

/* ---- faults ---- */

static bool ctx_is_set(const char *z)
{
    return z != NULL && *z != '\0';
}

/* Names the key where it was written: in the rule, or in the tls section, which several rules may
 * take it from, and then it is told once. Always false. */
static bool fault(struct maker *m, const char *key, const char *fmt, ...) PRINTF_LIKE(3, 4);
static bool fault(struct maker *m, const char *key, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    ERR_clear_error();
    const struct rule *base = &m->conf->rules[0];
    const char *where = rule_where(m->conf, m->rule, key);
    bool is_base = where == rule_where(m->conf, base, key);
    char *name =
        is_base ? xasprintf("tls.%s", key) : xasprintf("rule \"%s\": %s", m->rule->pattern, key);
    conf_key_fault(m->faults, ctx_is_set(where) ? where : "tls", name, text);
    free(name);
    return false;
}

/* ---- stores ---- */

/* .text NULL: it could not be read, which was told. */
static struct tls_pem pem_open(struct maker *m, const char *key, const char *path)
{
    struct tls_pem pem;
    if (!tls_pem_open(&pem, &m->conf->files, path))
        fault(m, key, "%s: %s", path, strerror(errno));
    return pem;
}

/* Adds the certificates of a PEM file. Gives how many, or -1 after a fault. */
static int add_certs(struct maker *m, X509_STORE *store, const char *key, const char *path)
{
    int n = 0;
    struct tls_pem pem = pem_open(m, key, path);
    if (pem.text == NULL)
        return -1;
    for (;;) {
        X509 *cert = PEM_read_bio_X509_AUX(pem.bio, NULL, tls_pem_no_password, NULL);
        if (cert == NULL)
            break;
        tls_pem_warn_expired(cert, path);
        bool ok = X509_STORE_add_cert(store, cert) == 1;
        X509_free(cert);
        if (!ok)
            break;
        n++;
    }
    tls_pem_close(&pem);
    if (tls_pem_at_end())
        return n;
    fault(m, key, "%s: %s", path, tls_pem_reason());
    return -1;
}

static bool add_file(struct maker *m, X509_STORE *store, const char *key, const char *path)
{
    int n = add_certs(m, store, key, path);
    if (n == 0)
        return fault(m, key, "%s: no certificate in it", path);
    return n > 0;
}

/* Files that hold no certificate (a README, a CRL) are none of our business. */
static bool add_dir(struct maker *m, X509_STORE *store, const char *path)
{
    int total = 0;
    struct dirent *entry;
    conf_files_note(&m->conf->files, path);
    DIR *dir = opendir(path);
    if (dir == NULL)
        return fault(m, "ca_dir", "%s: %s", path, strerror(errno));
    while (total >= 0 && (entry = readdir(dir)) != NULL) {
        struct stat st;
        char *file = xasprintf("%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.' && stat(file, &st) == 0 && S_ISREG(st.st_mode)) {
            int n = add_certs(m, store, "ca_dir", file);
            total = n < 0 ? -1 : total + n;
        }
        free(file);
    }
    closedir(dir);
    if (total == 0)
        return fault(m, "ca_dir", "%s: no certificate in it", path);
    return total > 0;
}

static bool add_crls(struct maker *m, X509_STORE *store, const char *path)
{
    int n = 0;
    struct tls_pem pem = pem_open(m, "crl_file", path);
    if (pem.text == NULL)
        return false;
    for (;;) {
        X509_CRL *crl = PEM_read_bio_X509_CRL(pem.bio, NULL, tls_pem_no_password, NULL);
        if (crl == NULL)
            break;
        bool ok = X509_STORE_add_crl(store, crl) == 1;
        tls_pem_warn_old_list(crl, path);
        X509_CRL_free(crl);
        if (!ok)
            break;
        n++;
    }
    tls_pem_close(&pem);
    if (!tls_pem_at_end())
        return fault(m, "crl_file", "%s: %s", path, tls_pem_reason());
    if (n == 0)
        return fault(m, "crl_file", "%s: no CRL in it", path);
    /* Each issuer is asked for, the verify callback lets those above the leaf's go without. */
    X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
    return true;
}

/* The certificates of R's hosts are verified by the system's store alone. */
static bool ctx_is_system(const struct rule *r)
{
    const struct tls_policy *p = &r->tls;
    return r->upgrade && p->verify && !ctx_is_set(p->ca_file) && !ctx_is_set(p->ca_dir) &&
           !ctx_is_set(p->ca_extra);
}

/* The first rule has no hosts where another has all. */
static bool ctx_needs_system(const struct conf *c)
{
    bool has_all = false, needs = false;
    for (unsigned i = 1; i < c->n_rules && !needs; i++) {
        const struct rule *r = &c->rules[i];
        has_all = has_all || (strcmp(r->host, "*") == 0 && r->match_port == 0);
        needs = ctx_is_system(r);
    }
    return needs || (!has_all && ctx_is_system(&c->rules[0]));
}

/* The file of the system's CAs, which need not exist; those in its directory, by hash, are read
 * when they are first asked for. */
static bool add_system(struct maker *m, X509_STORE *store)
{
    const char *path = getenv(X509_get_default_cert_file_env());
    conf_files_note(&m->conf->files, path == NULL ? X509_get_default_cert_file() : path);
    if (X509_STORE_set_default_paths(store) != 1)
        return fault(m, "ca_file", "the system's CAs cannot be used: %s", tls_pem_reason());
    if (!m->has_looked && ctx_needs_system(m->conf))
        tls_system_check(store);
    m->has_looked = true;
    ERR_clear_error();
    return true;
}

/* Goes on after a fault: each key has its own. */
static bool fill_store(struct maker *m, X509_STORE *store, const struct tls_policy *p)
{
    bool ok = ctx_is_set(p->ca_file) || ctx_is_set(p->ca_dir) || add_system(m, store);
    if (ctx_is_set(p->ca_file) && !add_file(m, store, "ca_file", p->ca_file))
        ok = false;
    if (ctx_is_set(p->ca_dir) && !add_dir(m, store, p->ca_dir))
        ok = false;
    if (ctx_is_set(p->ca_extra) && !add_file(m, store, "ca_extra", p->ca_extra))
        ok = false;
    if (ctx_is_set(p->crl_file) && !add_crls(m, store, p->crl_file))
        ok = false;
    return ok;
}

static struct made *find_made(struct made **all, char *key, bool *is_new)
{
    struct made *it;
    size_t len = strlen(key);
    HASH_FIND(hh, *all, key, len, it);
    *is_new = it == NULL;
    if (it != NULL) {
        free(key);
        return it;
    }
    it = xcalloc(1, sizeof(*it));
    it->key = key;
    HASH_ADD_KEYPTR(hh, *all, it->key, len, it);
    return it;
}

/* OpenSSL works out a certificate's extensions when it first needs them: here, where one thread
 * looks, instead of in the handshakes of all workers. */
static void work_out(X509_STORE *store)
{
    STACK_OF(X509_OBJECT) *objects = X509_STORE_get0_objects(store);
    for (int i = 0; i < sk_X509_OBJECT_num(objects); i++) {
        X509 *cert = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(objects, i));
        if (cert != NULL)
            (void)X509_check_purpose(cert, -1, 0);
    }
    ERR_clear_error();
}

/* The store for the rule, owned by M. NULL when it cannot be made, which has been told. */
static X509_STORE *get_store(struct maker *m)
{
    bool is_new;
    struct made *it = find_made(&m->stores, tls_key(m->rule, DECIDES_TRUST), &is_new);
    if (!is_new)
        return it->store;
    X509_STORE *store = X509_STORE_new();
    if (store == NULL)
        abort();
    if (!fill_store(m, store, &m->rule->tls)) {
        X509_STORE_free(store);
        return NULL;
    }
    work_out(store);
    it->store = store;
    return store;
}

/* ---- contexts ---- */

static bool set_client_cert(struct maker *m, SSL_CTX *ssl, const struct tls_policy *p)
{
    const char *cert = p->client_cert;
    const char *key = ctx_is_set(p->client_key) ? p->client_key : cert;
    if (!ctx_is_set(cert))
        return !ctx_is_set(p->client_key) ||
               fault(m, "client_key", "is set, but client_cert is not");
    struct tls_pem chain = pem_open(m, "client_cert", cert);
    bool ok = chain.text != NULL && (tls_pem_use_chain(ssl, &chain) ||
                                     fault(m, "client_cert", "%s: %s", cert, tls_pem_reason()));
    tls_pem_close(&chain);
    if (!ok)
        return false;
    struct tls_pem secret = pem_open(m, "client_key", key);
    ok = secret.text != NULL && (tls_pem_use_key(ssl, &secret) || tls_pem_is_other_key() ||
                                 fault(m, "client_key", "%s: %s", key, tls_pem_key_reason()));
    tls_pem_close(&secret);
    if (!ok)
        return false;
    if (SSL_CTX_check_private_key(ssl) != 1)
        return fault(m, "client_key", "%s: it is not the key of the first certificate in %s", key,
                     cert);
    tls_pem_warn_expired(SSL_CTX_get0_certificate(ssl), cert);
    return true;
}

static bool set_suites(struct maker *m, SSL_CTX *ssl, const struct tls_policy *p)
{
    if (!ctx_is_set(p->ciphers))
        tls_suites_order_old(ssl);
    if (!ctx_is_set(p->ciphersuites))
        tls_suites_order_new(ssl);
    const char *why = ctx_is_set(p->ciphers) ? tls_strength_set_ciphers(ssl, p->ciphers) : NULL;
    if (why != NULL)
        return fault(m, "ciphers", "\"%s\": %s", p->ciphers, why);
    if (ctx_is_set(p->ciphersuites) && SSL_CTX_set_ciphersuites(ssl, p->ciphersuites) != 1)
        return fault(m, "ciphersuites", "\"%s\": %s", p->ciphersuites, tls_pem_reason());
    return true;
}

static void set_modes(SSL_CTX *ssl, const struct tls_policy *p)
{
    tls_wire_init_ctx(ssl);
    if (ctx_is_set(p->keylog))
        tls_keylog_watch(ssl);
    /* RFC 5746. A renegotiation itself is never done without it: somebody could have put a request
     * of his own in front of ours. */
    SSL_CTX_clear_options(ssl, SSL_OP_ALLOW_UNSAFE_LEGACY_RENEGOTIATION);
    if (p->legacy_renegotiation)
        SSL_CTX_set_options(ssl, SSL_OP_LEGACY_SERVER_CONNECT);
    else
        SSL_CTX_clear_options(ssl, SSL_OP_LEGACY_SERVER_CONNECT);
    SSL_CTX_set_default_passwd_cb(ssl, tls_pem_no_password);
    /* 0 is success here. */
    if (SSL_CTX_set_alpn_protos(ssl, alpn, sizeof(alpn) - 1) != 0)
        abort();
    if (!p->session_resumption) {
        SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
        SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET);
        return;
    }
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ssl, tls_resume_on_new);
}

/* NULL when there was a fault, which has been told. */
static SSL_CTX *make_ssl(struct maker *m, const struct tls_policy *p)
{
    X509_STORE *store = get_store(m);
    SSL_CTX *ssl = SSL_CTX_new(TLS_client_method());
    if (ssl == NULL)
        abort();
    set_modes(ssl, p);
    tls_strength_init(ssl, p->min_version == 0 ? TLS1_2_VERSION : p->min_version,
                      p->security_level - 1);
    /* Before the suites, which may lower the level: this is a certificate, too. */
    bool cert = set_client_cert(m, ssl, p);
    bool suites = set_suites(m, ssl, p);
    if (store == NULL || !suites || !cert) {
        SSL_CTX_free(ssl);
        return NULL;
    }
    SSL_CTX_set1_cert_store(ssl, store);
    tls_verify_init_ctx(ssl, p);
    return ssl;
}

/* False when there was a fault. */
static bool make_one(struct maker *m, struct rule *rule)
{
    bool is_new;
    struct made *it = find_made(&m->ctxs, tls_key(rule, DECIDES_CONTEXT), &is_new);
    m->rule = rule;
    if (is_new) {
        SSL_CTX *ssl = make_ssl(m, &rule->tls);
        if (ssl == NULL)
            return false;
        it->ctx = xcalloc(1, sizeof(*it->ctx));
        it->ctx->ssl = ssl;
    }
    if (it->ctx == NULL)
        return false;
    it->ctx->refs++;
    rule->tls.ctx = it->ctx;
    return true;
}

static void clear_made(struct made **all)
{
    struct made *it, *next;
    HASH_ITER (hh, *all, it, next) {
        HASH_DEL(*all, it);
        X509_STORE_free(it->store);
        free(it->key);
        free(it);
    }
}

/* conf->on_free */
static void free_all(struct conf *c)
{
    for (unsigned i = 0; i < c->n_rules; i++) {
        struct tls_ctx *ctx = c->rules[i].tls.ctx;
        c->rules[i].tls.ctx = NULL;
        if (ctx == NULL || --ctx->refs > 0)
            continue;
        SSL_CTX_free(ctx->ssl);
        free(ctx);
    }
    tls_mint_unref(c->intercept.mint);
    tls_listener_free(c);
}

bool tls_ctx_make_all(struct conf *c, struct conf_faults *faults)
{
    struct maker m = {.conf = c, .faults = faults};
    bool ok = true;
    c->on_free = free_all;
    for (unsigned i = 0; i < c->n_rules; i++)
        ok = make_one(&m, &c->rules[i]) && ok;
    clear_made(&m.ctxs);
    clear_made(&m.stores);
    ok = tls_listener_make(c, faults) && ok;
    return tls_mint_make(c, faults) && ok;
}

struct ssl_ctx_st *tls_ctx_ssl(const struct tls_ctx *ctx)
{
    return ctx->ssl;
}

int64_t tls_ctx_expiry(const SSL_CTX *ssl)
{
    return tls_verify_expiry(SSL_CTX_get0_certificate(ssl));
}
