/* SPDX-License-Identifier: Apache-2.0 */
/* From the keys of tls: listeners to their SSL_CTX. */
#include "net/tls_listener.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "conf/files.h"
#include "conf/rule.h"
#include "net/tls_keylog.h"
#include "net/tls_pem.h"
#include "net/tls_server.h"
#include "net/tls_tickets.h"

enum {
    NAMES_MAX = 16 * 1024, /* bytes of names of CAs that clients are told */
    SHOWN_MAX = 32 * 1024  /* of certificates that a client may show: they are kept with it */
};

/* What is made, and where faults go. */
struct listener_maker {
    struct conf *conf;
    struct conf_faults *faults;
    SSL_CTX *ssl;
};

static bool listener_is_set(const char *path)
{
    return path != NULL && path[0] != '\0';
}

/* Always false. */
static bool listener_fault(struct listener_maker *m, const char *key, const char *path,
                           const char *reason)
{
    char *text = xasprintf("%s: %s", path, reason);
    ERR_clear_error();
    conf_key_fault(m->faults, rule_where(m->conf, &m->conf->rules[0], key), key, text);
    free(text);
    return false;
}

/* ---- the context */

/* curl --http1.0 has a name of its own for what it speaks. Who knows neither could only fail
 * later. */
static int listener_choose_alpn(SSL *s, const unsigned char **out, unsigned char *out_len,
                                const unsigned char *in, unsigned in_len, void *arg)
{
    static const unsigned char spoken[] = "\x08http/1.1\x08http/1.0";
    unsigned char *chosen;
    (void)s;
    (void)arg;
    if (SSL_select_next_proto(&chosen, out_len, spoken, sizeof(spoken) - 1, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* Tickets are sealed with keys of this context, which all workers have; sessions are not kept. */
static SSL_CTX *listener_context(const struct conf *c)
{
    static const unsigned char id[] = "tlsfan";
    const char *keylog = c->rules[0].tls.keylog;
    SSL_CTX *ssl = SSL_CTX_new(TLS_server_method());
    if (ssl == NULL)
        abort();
    SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION);
    tls_server_init_ctx(ssl);
    SSL_CTX_set_dh_auto(ssl, 1);
    SSL_CTX_set_mode(ssl, SSL_MODE_NO_AUTO_CHAIN); /* its store is for what clients show */
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_set_session_id_context(ssl, id, sizeof(id) - 1);
    tls_tickets_init_ctx(ssl);
    SSL_CTX_set_alpn_select_cb(ssl, listener_choose_alpn, NULL);
    if (listener_is_set(keylog))
        tls_keylog_watch(ssl);
    return ssl;
}

/* ---- what it shows */

static bool listener_use_cert(struct listener_maker *m)
{
    const char *path = m->conf->client.cert;
    struct tls_pem pem;
    if (!tls_pem_open(&pem, &m->conf->files, path))
        return listener_fault(m, "client.cert", path, strerror(errno));
    bool ok = tls_pem_use_chain(m->ssl, &pem);
    const char *reason = tls_pem_reason();
    bool is_empty = !ok && SSL_CTX_get0_certificate(m->ssl) == NULL && tls_pem_at_end();
    tls_pem_close(&pem);
    if (!ok)
        return listener_fault(m, "client.cert", path, is_empty ? "no certificate in it" : reason);
    tls_pem_warn_expired(SSL_CTX_get0_certificate(m->ssl), path);
    return true;
}

/* Who can read it can be this proxy to its clients. A group may: that is how a container is given a
 * secret. */
static bool listener_is_private(const char *path)
{
    struct stat st;
    return stat(path, &st) != 0 || (st.st_mode & (S_IRWXO | S_IWGRP)) == 0;
}

static bool listener_use_key(struct listener_maker *m)
{
    const char *path = m->conf->client.key;
    const char *reason = NULL;
    struct tls_pem pem;
    if (!tls_pem_open(&pem, &m->conf->files, path))
        return listener_fault(m, "client.key", path, strerror(errno));
    if (!tls_pem_use_key(m->ssl, &pem) && !tls_pem_is_other_key())
        reason = tls_pem_key_reason();
    else if (!listener_is_private(path))
        reason = "others can read or write this key: chmod 600 it (640 for a group)";
    else if (SSL_CTX_check_private_key(m->ssl) != 1)
        reason = "it is not the key of the first certificate in client.cert";
    tls_pem_close(&pem);
    return reason == NULL || listener_fault(m, "client.key", path, reason);
}

/* ---- what it demands */

/* Those that clients choose a certificate by; many have but one. What is too long for a message of
 * TLS is left out: then any will do. */
static void listener_name_cas(SSL_CTX *ssl)
{
    const STACK_OF(X509_NAME) *names = SSL_CTX_get_client_CA_list(ssl);
    int total = 0;
    for (int i = 0; i < sk_X509_NAME_num(names); i++)
        total += 2 + i2d_X509_NAME(sk_X509_NAME_value(names, i), NULL);
    if (total > NAMES_MAX)
        SSL_CTX_set_client_CA_list(ssl, sk_X509_NAME_new_null());
}

/* Gives how many there are in PEM; those before something broken count. */
static int listener_add_cas(SSL_CTX *ssl, const struct tls_pem *pem, const char *path)
{
    X509_STORE *store = SSL_CTX_get_cert_store(ssl);
    X509 *cert;
    int n = 0;
    while ((cert = PEM_read_bio_X509_AUX(pem->bio, NULL, tls_pem_no_password, NULL)) != NULL) {
        tls_pem_warn_expired(cert, path);
        /* Works its extensions out, here instead of in the handshakes of all workers. */
        (void)X509_check_purpose(cert, -1, 0);
        bool ok = X509_STORE_add_cert(store, cert) == 1 && SSL_CTX_add_client_CA(ssl, cert) == 1;
        X509_free(cert);
        if (!ok)
            break;
        n++;
    }
    return n;
}

/* A ticket is renewed by each use of it, so one could outlast the certificate for which it was
 * given: then there is a whole handshake, in which that is seen. */
static SSL_TICKET_RETURN listener_judge_ticket(SSL *s, SSL_SESSION *session,
                                               const unsigned char *name, size_t len,
                                               SSL_TICKET_STATUS status, void *arg)
{
    (void)s;
    (void)name;
    (void)len;
    (void)arg;
    if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW)
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    const X509 *cert = SSL_SESSION_get0_peer(session);
    if (cert == NULL || X509_cmp_current_time(X509_get0_notAfter(cert)) <= 0)
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

static bool listener_use_client_ca(struct listener_maker *m)
{
    const char *path = m->conf->client.client_ca;
    struct tls_pem pem;
    if (!listener_is_set(path))
        return true;
    if (!tls_pem_open(&pem, &m->conf->files, path))
        return listener_fault(m, "client.client_ca", path, strerror(errno));
    int n = listener_add_cas(m->ssl, &pem, path);
    tls_pem_close(&pem);
    if (!tls_pem_at_end())
        return listener_fault(m, "client.client_ca", path, tls_pem_reason());
    if (n == 0)
        return listener_fault(m, "client.client_ca", path, "no certificate in it");
    X509_STORE_set_flags(SSL_CTX_get_cert_store(m->ssl), X509_V_FLAG_PARTIAL_CHAIN);
    SSL_CTX_set_verify_depth(m->ssl, TLS_LISTENER_DEPTH);
    SSL_CTX_set_max_cert_list(m->ssl, SHOWN_MAX);
    SSL_CTX_set_session_ticket_cb(m->ssl, NULL, listener_judge_ticket, NULL);
    listener_name_cas(m->ssl);
    tls_server_demand_cert(m->ssl);
    return true;
}

/* ---- public */

bool tls_listener_make(struct conf *c, struct conf_faults *faults)
{
    bool has_cert = listener_is_set(c->client.cert) && listener_is_set(c->client.key);
    if (!has_cert && !listener_is_set(c->client.client_ca))
        return true;
    struct listener_maker m = {.conf = c, .faults = faults, .ssl = listener_context(c)};
    bool ok = !has_cert || (listener_use_cert(&m) && listener_use_key(&m));
    /* A file that is named must be good, needed or not. */
    ok = listener_use_client_ca(&m) && ok;
    if (ok && has_cert)
        c->client.tls = m.ssl;
    else
        SSL_CTX_free(m.ssl);
    return ok;
}

void tls_listener_free(struct conf *c)
{
    SSL_CTX_free(c->client.tls);
    c->client.tls = NULL;
}
