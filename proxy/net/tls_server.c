/* SPDX-License-Identifier: Apache-2.0 */
/* The server's side of TLS, and its sentences: see tls_server.h. An SSL finds its tls_server in its
 * app data. */
#include "net/tls_server.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>

#include "net/tls_names.h"
#include "net/tls_wire.h"

enum { PEER_TEXT = 200 }; /* bytes shown of what a client wrote */

struct tls_server {
    struct tls_wire t; /* first */
    char *where;       /* terminated, owned */
    enum tls_choice (*choose)(void *arg, SSL *ssl, const struct tls_hello *hello);
    void *arg;
    bool was_refused; /* by choose() */
    char *shown;      /* what is wrong with the client's certificate, and whose it is; heap */
    enum tls_failure failure;
};

static struct tls_server *server_of(const struct tls_wire *t)
{
    return container_of(t, struct tls_server, t);
}

/* ---- what a client asks for ---- */

static size_t two_bytes(const unsigned char *p)
{
    return (size_t)p[0] << 8 | p[1];
}

/* The body of extension TYPE behind its own length of two bytes, which must be all of it. */
static struct str hello_list(SSL *ssl, unsigned type)
{
    const unsigned char *p;
    size_t n;
    if (SSL_client_hello_get0_ext(ssl, type, &p, &n) != 1 || n < 2 || two_bytes(p) != n - 2)
        return STR("");
    return str_make((const char *)p + 2, n - 2);
}

/* The first of a list: type host_name, length, name. */
static struct str hello_name(SSL *ssl)
{
    struct str list = hello_list(ssl, TLSEXT_TYPE_server_name);
    const unsigned char *p = (const unsigned char *)list.p;
    if (list.len < 3 || p[0] != TLSEXT_NAMETYPE_host_name || two_bytes(p + 1) > list.len - 3)
        return STR("");
    return str_make(list.p + 3, two_bytes(p + 1));
}

struct tls_hello tls_server_asked(SSL *ssl)
{
    return (struct tls_hello){
        .name = hello_name(ssl),
        .alpn = hello_list(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation),
    };
}

static int on_hello(SSL *ssl, int *alert, void *arg)
{
    struct tls_server *v = SSL_get_app_data(ssl);
    (void)arg;
    if (v->choose == NULL)
        return SSL_CLIENT_HELLO_SUCCESS;
    struct tls_hello hello = tls_server_asked(ssl);
    switch (v->choose(v->arg, ssl, &hello)) {
    case TLS_CHOICE_MADE:
        return SSL_CLIENT_HELLO_SUCCESS;
    case TLS_CHOICE_LATER:
        return SSL_CLIENT_HELLO_RETRY;
    case TLS_CHOICE_NONE:
        break;
    }
    v->was_refused = true;
    *alert = SSL_AD_UNRECOGNIZED_NAME;
    return SSL_CLIENT_HELLO_ERROR;
}

/* ---- the client's certificate ---- */

/* The first thing that is wrong counts. */
static int on_verified(int ok, X509_STORE_CTX *store)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls_server *v = SSL_get_app_data(ssl);
    const X509 *leaf = X509_STORE_CTX_get0_cert(store);
    char subject[256], shown[PEER_TEXT];
    if (ok || v->shown != NULL || leaf == NULL)
        return ok;
    X509_NAME_oneline(X509_get_subject_name(leaf), subject, sizeof(subject));
    v->shown = xasprintf("%s (its subject is \"%s\")",
                         X509_verify_cert_error_string(X509_STORE_CTX_get_error(store)),
                         str_escape(shown, sizeof(shown), str_from(subject)));
    return 0;
}

static int server_verify_chain(X509_STORE_CTX *store, void *arg)
{
    (void)arg;
    if (tls_names_costly(X509_STORE_CTX_get0_untrusted(store)) < 0)
        return X509_verify_cert(store);
    X509_STORE_CTX_set_error(store, X509_V_ERR_UNSPECIFIED);
    return on_verified(0, store);
}

void tls_server_demand_cert(struct ssl_ctx_st *ctx)
{
    SSL_CTX_set_cert_verify_callback(ctx, server_verify_chain, NULL);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, on_verified);
}

/* ---- faults ---- */

/* What a client says of a certificate that it does not like: by RFC 8446 section 6.2, and what is
 * seen of libraries that have no better word. */
static bool is_about_certificate(int alert)
{
    return (alert >= SSL_AD_BAD_CERTIFICATE && alert <= SSL_AD_CERTIFICATE_UNKNOWN) ||
           alert == SSL_AD_UNKNOWN_CA;
}

/* The client's first byte is of no record of TLS, nor of a hello in the format of SSL 2. */
static bool server_is_foreign(const struct tls_server *v)
{
    enum { ALERT = 21, HANDSHAKE = 22 };
    unsigned char first = (unsigned char)v->t.first[0];
    return v->t.n_first > 0 && first != ALERT && first != HANDSHAKE && first < 0x80;
}

static enum tls_failure server_cause(const struct tls_server *v, unsigned long err)
{
    int alert = tls_wire_alert_number(err);
    bool has_none = ERR_GET_LIB(err) == ERR_LIB_SSL &&
                    ERR_GET_REASON(err) == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE;
    if (v->shown != NULL || has_none)
        return TLS_FAILURE_UNKNOWN;
    if (v->was_refused || (alert < 0 && !server_is_foreign(v)))
        return TLS_FAILURE_PROTOCOL;
    return alert < 0                     ? TLS_FAILURE_FOREIGN
           : is_about_certificate(alert) ? TLS_FAILURE_TRUST
                                         : TLS_FAILURE_ALERT;
}

/* What is said of a client with an error of OpenSSL's that a person should not have to read; NULL:
 * of this one nothing is. */
static const char *server_saying(unsigned long err)
{
    static const struct {
        int reason;
        const char *text;
    } sayings[] = {
        {SSL_R_HTTP_REQUEST, "speaks plain HTTP, not TLS"},
        {SSL_R_HTTPS_PROXY_REQUEST, "speaks plain HTTP, not TLS"},
        {SSL_R_UNSUPPORTED_PROTOCOL, "speaks no version of TLS that is allowed"},
        {SSL_R_VERSION_TOO_LOW, "speaks no version of TLS that is allowed"},
        {SSL_R_NO_SHARED_CIPHER, "has no cipher of TLS that is spoken here"},
        {SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM, "knows no signature of the key that is used here"},
        {SSL_R_NO_APPLICATION_PROTOCOL, "offers no HTTP/1 by ALPN"},
        {SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, "showed no certificate"},
    };
    int reason = ERR_GET_LIB(err) == ERR_LIB_SSL ? ERR_GET_REASON(err) : 0;
    for (size_t i = 0; i < sizeof(sayings) / sizeof(sayings[0]); i++)
        if (sayings[i].reason == reason)
            return sayings[i].text;
    return NULL;
}

static void server_protocol_fault(struct tls_server *v, unsigned long err)
{
    struct line *l = v->t.wire.line;
    const char *alert = tls_wire_alert(err);
    const char *text = ERR_reason_error_string(err);
    const char *saying = server_saying(err);
    v->failure = server_cause(v, err);
    if (v->was_refused)
        line_set_fault(l, FAULT_TLS_PROTOCOL, "%s asked by TLS for a name that is not served",
                       v->where);
    else if (v->shown != NULL)
        line_set_fault(l, FAULT_TLS_PROTOCOL, "%s showed a certificate that does not verify: %s",
                       v->where, v->shown);
    else if (alert != NULL)
        line_set_fault(l, FAULT_TLS_ALERT, "%s refused %s with the alert \"%s\"", v->where,
                       v->failure == TLS_FAILURE_TRUST ? "the certificate" : "TLS", alert);
    else if (saying != NULL)
        line_set_fault(l, FAULT_TLS_PROTOCOL, "%s %s", v->where, saying);
    else if (v->failure == TLS_FAILURE_FOREIGN)
        line_set_fault(l, FAULT_TLS_PROTOCOL, "%s speaks something else than TLS", v->where);
    else
        line_set_fault(l, FAULT_TLS_PROTOCOL, "TLS with %s failed: %s", v->where,
                       text == NULL ? "unknown reason" : text);
}

static void server_failed(struct tls_wire *t, int ssl_error, unsigned long err)
{
    struct tls_server *v = server_of(t);
    if (ssl_error == SSL_ERROR_SSL && err != 0)
        server_protocol_fault(v, err);
    else if (t->state == TLS_WIRE_SHAKES)
        line_set_fault(t->wire.line, FAULT_CLIENT_GONE,
                       "%s closed the connection during the TLS handshake", v->where);
}

/* ---- the role ---- */

static void server_freed(struct tls_wire *t)
{
    struct tls_server *v = server_of(t);
    free(v->where);
    free(v->shown);
    free(v);
}

static const struct tls_role server_role = {
    .failed = server_failed,
    .freed = server_freed,
};

/* ---- public ---- */

void tls_server_init_ctx(struct ssl_ctx_st *ctx)
{
    SSL_CTX_set_client_hello_cb(ctx, on_hello, NULL);
    tls_wire_init_ctx(ctx);
}

void tls_server_push(struct stream *s, const struct tls_server_want *want)
{
    struct tls_server *v = xcalloc(1, sizeof(*v));
    v->where = xstrndup(want->where.p, want->where.len);
    v->failure = TLS_FAILURE_GONE;
    v->choose = want->choose;
    v->arg = want->arg;
    tls_wire_init(&v->t, want->ctx, &server_role);
    SSL_set_accept_state(v->t.ssl);
    SSL_set_app_data(v->t.ssl, v);
    stream_push(s, &v->t.wire);
}

bool tls_server_is_resumed(const struct stream *s)
{
    const struct tls_wire *t = tls_wire_of(s, &server_role);
    return t != NULL && SSL_session_reused(t->ssl) == 1;
}

enum tls_failure tls_server_failure(const struct stream *s)
{
    const struct tls_wire *t = tls_wire_of(s, &server_role);
    return t == NULL ? TLS_FAILURE_GONE : server_of(t)->failure;
}

const char *tls_failure_name(enum tls_failure failure)
{
    static const char *const names[TLS_FAILURES] = {
        [TLS_FAILURE_TRUST] = "trust",       [TLS_FAILURE_ALERT] = "alert",
        [TLS_FAILURE_PROTOCOL] = "protocol", [TLS_FAILURE_FOREIGN] = "no_tls",
        [TLS_FAILURE_GONE] = "gone",         [TLS_FAILURE_TIMEOUT] = "timeout",
        [TLS_FAILURE_UNKNOWN] = "unknown",
    };
    return names[failure];
}
