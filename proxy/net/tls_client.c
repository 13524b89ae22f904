/* SPDX-License-Identifier: Apache-2.0 */
/* The client's side of TLS, and its sentences: see tls_client.h. */
#include "net/tls_client.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>

#include "net/tls_asked.h"
#include "net/tls_verdict.h"
#include "net/tls_verify.h"
#include "net/tls_wire.h"

struct tls_client {
    struct tls_wire t; /* first */
    char *name;        /* terminated, owned */
    size_t name_len;
    char *where; /* terminated, owned */
    struct tls_resume resume;
    struct tls_asked asked;
    bool verify;
    enum tls_refusal refusal;
};

static struct tls_client *client_of(const struct tls_wire *t)
{
    return container_of(t, struct tls_client, t);
}

static struct str client_name(const struct tls_client *c)
{
    return str_make(c->name, c->name_len);
}

/* ---- faults ---- */

/* A status line, or a page of an HTTP/0.9 server. */
static bool speaks_http(const struct tls_wire *t)
{
    return tls_wire_starts_with(t, "HTTP/") || tls_wire_starts_with(t, "<!") ||
           tls_wire_starts_with(t, "<h") || tls_wire_starts_with(t, "<H");
}

/* Which key of a rule takes an old server, as long as it is not as low as it goes. */
enum old_key { OLD_NONE, OLD_VERSION, OLD_LEVEL, OLD_DH };

static bool may_be_older(SSL *ssl)
{
    return SSL_get_min_proto_version(ssl) > TLS1_VERSION;
}

/* To be read behind the sentence. DH of less than 1,024 bits is taken at no level. */
static const char *old_hint(SSL *ssl, enum old_key key)
{
    int level = SSL_get_security_level(ssl);
    switch (key) {
    case OLD_NONE:
        break;
    case OLD_VERSION:
        return may_be_older(ssl) ? "; a lower min_version in a rule for this host may take it" : "";
    case OLD_LEVEL:
        return level > 0 ? "; a lower security_level in a rule for this host takes it" : "";
    case OLD_DH:
        return level > 1 ? "; a lower security_level in a rule for this host may take it"
                         : "; ciphers = \"DEFAULT:!DHE\" in a rule for this host goes without";
    }
    return "";
}

#define TOO_OLD   "speaks no version of TLS that is allowed here"
#define OLDER     "TLS of %s is older than min_version"
#define WEAK_SIGN "signs its key exchange in a way that is too weak"

/* Why OpenSSL gives up on servers, most of them of the old kind: to be read behind the server's
 * name. */
static const struct {
    int reason;
    enum old_key key;
    const char *text, *phrase;
} old_ways[] = {
    {SSL_R_UNSUPPORTED_PROTOCOL, OLD_VERSION, TOO_OLD, OLDER},
    {SSL_R_WRONG_SSL_VERSION, OLD_VERSION, TOO_OLD, OLDER},
    {SSL_R_UNSAFE_LEGACY_RENEGOTIATION_DISABLED, OLD_NONE,
     "does not know secure renegotiation (RFC 5746); legacy_renegotiation = on in a rule for this "
     "host takes it",
     "No secure renegotiation at %s"},
    {SSL_R_DH_KEY_TOO_SMALL, OLD_DH, "has a Diffie-Hellman key that is too small",
     "Diffie-Hellman key of %s is too small"},
    {SSL_R_WRONG_SIGNATURE_TYPE, OLD_LEVEL, WEAK_SIGN, "Signature of %s is too weak"},
    {SSL_R_LEGACY_SIGALG_DISALLOWED_OR_UNSUPPORTED, OLD_LEVEL, WEAK_SIGN,
     "Signature of %s is too weak"},
    {SSL_R_EXCESSIVE_MESSAGE_SIZE, OLD_NONE,
     "sends a message of the TLS handshake that is too large; certificates of more than 100 KiB "
     "are not taken",
     "Certificates of %s are too large"},
};

/* False when REASON is none of these. */
static bool client_reason_fault(struct tls_client *c, int reason)
{
    struct line *l = c->t.wire.line;
    for (size_t i = 0; i < sizeof(old_ways) / sizeof(old_ways[0]); i++) {
        if (old_ways[i].reason != reason)
            continue;
        line_set_fault(l, FAULT_TLS_PROTOCOL, "%s %s%s", c->where, old_ways[i].text,
                       old_hint(c->t.ssl, old_ways[i].key));
        l->fault->phrase = old_ways[i].phrase;
        return true;
    }
    return false;
}

/* A server says no more than that where it lacks what we offer. */
static const char *alert_hint(SSL *ssl, unsigned long err)
{
    enum { HANDSHAKE_FAILURE = 40, PROTOCOL_VERSION = 70, INSUFFICIENT_SECURITY = 71 };
    int alert = tls_wire_alert_number(err);
    if (alert == PROTOCOL_VERSION)
        return may_be_older(ssl)
                   ? "; if it is an old one, min_version in a rule for this host takes it"
                   : "";
    if (alert != HANDSHAKE_FAILURE && alert != INSUFFICIENT_SECURITY)
        return "";
    if (may_be_older(ssl))
        return "; if it is an old one, min_version, ciphers or security_level in a rule for this "
               "host may take it";
    return SSL_get_security_level(ssl) > 0
               ? "; if it is an old one, ciphers or security_level in a rule for this host may "
                 "take it"
               : "; if it is an old one, ciphers in a rule for this host may take it";
}

static void client_protocol_fault(struct tls_client *c, unsigned long err)
{
    struct line *l = c->t.wire.line;
    int reason = ERR_GET_LIB(err) == ERR_LIB_SSL ? ERR_GET_REASON(err) : 0;
    const char *alert = tls_wire_alert(err);
    if (c->t.state == TLS_WIRE_SHAKES && speaks_http(&c->t)) {
        line_set_fault(l, FAULT_TLS_PROTOCOL, "%s speaks plain HTTP, not TLS", c->where);
        l->fault->phrase = "No TLS at %s, which speaks plain HTTP";
        l->fault->is_plain = true;
    } else if (alert != NULL) {
        line_set_fault(l, FAULT_TLS_ALERT, "%s refused TLS with the alert \"%s\"%s", c->where,
                       alert, alert_hint(c->t.ssl, err));
        if (reason == SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED)
            l->fault->phrase = "Client certificate wanted by %s";
    } else if (!client_reason_fault(c, reason)) {
        const char *text = ERR_reason_error_string(err);
        line_set_fault(l, FAULT_TLS_PROTOCOL, "TLS with %s failed: %s", c->where,
                       text == NULL ? "unknown reason" : text);
    }
}

/* No session that has to do with a handshake that failed is offered again. It is not to blame for a
 * certificate, which a resumed handshake does not show, nor for what was asked later. */
static void client_judge(struct tls_client *c, int ssl_error, unsigned long err)
{
    bool is_first = c->t.state == TLS_WIRE_SHAKES;
    bool is_shaking = is_first || c->asked.is_shaking;
    /* By TLS 1.2 a server hears the end of a resumed handshake only when we have it behind us. */
    bool is_new = c->asked.is_shaking || (c->resume.offered && !c->t.has_read);
    bool is_tls = ssl_error == SSL_ERROR_SSL;
    if (is_first && c->resume.offered && !is_tls)
        tls_resume_fail(&c->resume, false);
    if (!is_tls || !is_new)
        return;
    tls_resume_fail(&c->resume,
                    !c->asked.is_shaking && ERR_GET_REASON(err) != SSL_R_CERTIFICATE_VERIFY_FAILED);
    if (!is_shaking && !c->asked.is_used) /* what was asked for behind a request was read */
        c->refusal = tls_resume_judge(c->t.ssl, err, c->t.n_records);
}

/* Without a word: as servers of plain HTTP end what is no request to them. */
static void client_cut_off(struct tls_client *c)
{
    struct line *l = c->t.wire.line;
    bool is_silent = c->t.n_first == 0;
    line_set_fault(l, FAULT_UP_CLOSED, "%s closed the connection during the TLS handshake%s",
                   c->where, is_silent ? " without a byte" : "");
    l->fault->is_plain = is_silent && l->fault->code == FAULT_UP_CLOSED;
}

static void client_failed(struct tls_wire *t, int ssl_error, unsigned long err)
{
    struct tls_client *c = client_of(t);
    struct fault f;
    bool is_shaking = t->state == TLS_WIRE_SHAKES || c->asked.is_shaking;
    client_judge(c, ssl_error, err);
    if ((is_shaking && c->verify && tls_verify_fault(&f, t->ssl, client_name(c))) ||
        tls_asked_fault(&c->asked, &f, c->where))
        line_copy_fault(t->wire.line, &f);
    else if (ssl_error == SSL_ERROR_SSL && err != 0)
        client_protocol_fault(c, err);
    else if (t->state == TLS_WIRE_SHAKES)
        client_cut_off(c);
}

/* ---- the role ---- */

/* What was asked of OpenSSL is not taken for granted. */
static bool client_is_verified(struct tls_client *c)
{
    struct fault f;
    if (!c->verify || tls_verify_check(&f, c->t.ssl, client_name(c)))
        return true;
    tls_resume_fail(&c->resume, false);
    line_copy_fault(c->t.wire.line, &f);
    return false;
}

static bool client_opened(struct tls_wire *t)
{
    struct tls_client *c = client_of(t);
    tls_asked_open(&c->asked, t->ssl);
    t->is_watched = c->asked.may_renegotiate;
    return client_is_verified(c);
}

/* A renegotiation changes nothing about who the server is: its certificate is the same, and is
 * judged again. False when it is not; then nothing that has come counts. */
static bool client_looked(struct tls_wire *t)
{
    struct tls_client *c = client_of(t);
    switch (tls_asked_look(&c->asked, t->ssl)) {
    case TLS_ASKED_NOTHING:
        return true;
    case TLS_ASKED_DONE:
        return client_is_verified(c);
    case TLS_ASKED_FAULT:
        break;
    }
    tls_resume_fail(&c->resume, false);
    return false;
}

static bool client_is_renegotiating(const struct tls_wire *t)
{
    return client_of(t)->asked.is_shaking && SSL_in_init(t->ssl);
}

static void client_closed(struct tls_wire *t)
{
    tls_resume_end(&client_of(t)->resume, t->ssl);
}

static void client_freed(struct tls_wire *t)
{
    struct tls_client *c = client_of(t);
    tls_asked_clear(&c->asked);
    free(c->name);
    free(c->where);
    free(c);
}

static const struct tls_role client_role = {
    .opened = client_opened,
    .failed = client_failed,
    .looked = client_looked,
    .is_busy = client_is_renegotiating,
    .closed = client_closed,
    .freed = client_freed,
};

/* ---- public ---- */

/* The context offers HTTP/1.1 alone. */
static void offer_h2(SSL *ssl)
{
    static const unsigned char both[] = "\x02h2\x08http/1.1";
    /* 0 is success here. */
    if (SSL_set_alpn_protos(ssl, both, sizeof(both) - 1) != 0)
        abort();
}

/* SNI and what is verified. False when the name cannot be used. */
static bool set_name(struct tls_client *c, const struct tls_peer *peer)
{
    if (!peer->is_ip && SSL_set_tlsext_host_name(c->t.ssl, c->name) != 1)
        return false;
    if (peer->verify)
        return tls_verify_setup(c->t.ssl, peer->name, peer->is_ip);
    SSL_set_verify(c->t.ssl, SSL_VERIFY_NONE, NULL);
    return true;
}

static void refuse_name(struct tls_client *c, struct str peer_name)
{
    char name[256];
    struct line *l = c->t.wire.line;
    line_set_fault(l, FAULT_TLS_CERTIFICATE, "\"%s\" cannot be the name of a TLS server",
                   str_escape(name, sizeof(name), peer_name));
    l->fault->phrase = "No TLS server can have the name %s";
    tls_wire_set_state(&c->t, TLS_WIRE_BROKEN);
    ERR_clear_error();
}

void tls_client_push(struct stream *s, const struct tls_peer *peer)
{
    struct tls_client *c = xcalloc(1, sizeof(*c));
    c->name = xstrndup(peer->name.p, peer->name.len);
    c->name_len = peer->name.len;
    c->where = xstrndup(peer->where.p, peer->where.len);
    c->verify = peer->verify;
    c->resume = (struct tls_resume){.kept = peer->sessions, .verify = peer->verify};
    tls_wire_init(&c->t, tls_ctx_ssl(peer->ctx), &client_role);
    SSL_set_connect_state(c->t.ssl);
    stream_push(s, &c->t.wire);
    tls_asked_init(&c->asked, c->t.ssl, &c->t.is_writing);
    if (peer->http2)
        offer_h2(c->t.ssl);
    if (set_name(c, peer))
        tls_resume_start(&c->resume, c->t.ssl, !peer->fresh);
    else
        refuse_name(c, peer->name);
}

/* NULL: S has no TLS client at its top. */
static struct tls_client *client_on(const struct stream *s)
{
    struct tls_wire *t = tls_wire_of(s, &client_role);
    return t == NULL ? NULL : client_of(t);
}

void tls_client_begin_request(struct stream *s)
{
    struct tls_client *c = client_on(s);
    if (c != NULL && c->asked.has_cert)
        tls_asked_allow(&c->asked, c->t.ssl);
}

bool tls_client_is_h2(const struct stream *s)
{
    const struct tls_client *c = client_on(s);
    return c != NULL && str_eq(tls_wire_alpn(c->t.ssl), STR("h2"));
}

bool tls_client_is_resumed(const struct stream *s)
{
    const struct tls_client *c = client_on(s);
    return c != NULL && SSL_session_reused(c->t.ssl) == 1;
}

bool tls_client_has_offered(const struct stream *s)
{
    const struct tls_client *c = client_on(s);
    return c != NULL && c->resume.offered;
}

enum tls_refusal tls_client_refusal(const struct stream *s)
{
    const struct tls_client *c = client_on(s);
    return c == NULL ? TLS_REFUSED_NOT : c->refusal;
}

bool tls_client_spoil(struct stream *s)
{
    struct tls_client *c = client_on(s);
    if (c != NULL && c->resume.offered)
        tls_resume_fail(&c->resume, false);
    return c != NULL && c->t.n_first == 0;
}

struct x509_st *tls_client_lacking(const struct stream *s)
{
    const struct tls_client *c = client_on(s);
    return c == NULL || !c->verify ? NULL : tls_verify_lacking(c->t.ssl);
}

int64_t tls_client_expiry(const struct stream *s)
{
    const struct tls_client *c = client_on(s);
    return c == NULL ? 0 : tls_verify_expiry(SSL_get0_peer_certificate(c->t.ssl));
}

void tls_client_names(const struct stream *s, char *subject, char *issuer, size_t cap)
{
    const struct tls_client *c = client_on(s);
    X509 *cert = c == NULL ? NULL : SSL_get0_peer_certificate(c->t.ssl);
    tls_verdict_print(cert == NULL ? NULL : X509_get_subject_name(cert), subject, cap);
    tls_verdict_print(cert == NULL ? NULL : X509_get_issuer_name(cert), issuer, cap);
}
