/* SPDX-License-Identifier: Apache-2.0 */
/* OpenSSL does all of it inside SSL_read(). It asks on_cert() before a certificate is shown, and
 * looks at SSL_OP_NO_RENEGOTIATION when a HelloRequest has come: with it, it declines. */
#include "net/tls_asked.h"

#include "net/tls_wire.h"

/* Gives 0 to break off. */
static int on_cert(SSL *ssl, void *arg)
{
    struct tls_asked *a = arg;
    if (!a->is_open || SSL_version(ssl) < TLS1_3_VERSION)
        return 1;
    a->why = a->by_h2         ? TLS_ASKED_BY_H2
             : a->is_used     ? TLS_ASKED_TWICE
             : *a->is_writing ? TLS_ASKED_EARLY
                              : TLS_ASKED_WELL;
    a->is_used = true;
    return a->why == TLS_ASKED_WELL ? 1 : 0;
}

void tls_asked_init(struct tls_asked *a, SSL *ssl, const bool *is_writing)
{
    a->is_writing = is_writing;
    a->has_cert = SSL_get_certificate(ssl) != NULL;
    if (!a->has_cert)
        return;
    SSL_set_post_handshake_auth(ssl, 1);
    SSL_set_cert_cb(ssl, on_cert, a);
}

void tls_asked_clear(struct tls_asked *a)
{
    X509_free(a->leaf);
    a->leaf = NULL;
}

void tls_asked_open(struct tls_asked *a, SSL *ssl)
{
    if (!a->has_cert)
        return;
    a->is_open = true;
    a->by_h2 = str_eq(tls_wire_alpn(ssl), STR("h2"));
    a->may_renegotiate = !a->by_h2 && SSL_version(ssl) < TLS1_3_VERSION &&
                         SSL_get_secure_renegotiation_support(ssl) == 1;
    if (a->may_renegotiate)
        a->leaf = SSL_get1_peer_certificate(ssl);
    tls_asked_allow(a, ssl);
}

void tls_asked_allow(struct tls_asked *a, SSL *ssl)
{
    if (!a->is_open)
        return;
    a->is_used = false;
    if (a->may_renegotiate && !a->is_shaking)
        SSL_clear_options(ssl, SSL_OP_NO_RENEGOTIATION);
}

static bool tls_asked_is_same(const X509 *a, const X509 *b)
{
    return a == b || (a != NULL && b != NULL && X509_cmp(a, b) == 0);
}

enum tls_asked_step tls_asked_look(struct tls_asked *a, SSL *ssl)
{
    if (!a->may_renegotiate)
        return TLS_ASKED_NOTHING;
    long rounds = SSL_total_renegotiations(ssl);
    bool pends = SSL_renegotiate_pending(ssl) == 1;
    if (rounds != a->rounds || pends) {
        SSL_set_options(ssl, SSL_OP_NO_RENEGOTIATION);
        a->rounds = rounds;
        a->is_used = true;
        a->is_shaking = true;
    }
    if (!a->is_shaking || pends || SSL_in_init(ssl))
        return TLS_ASKED_NOTHING;
    a->is_shaking = false;
    if (tls_asked_is_same(a->leaf, SSL_get0_peer_certificate(ssl)))
        return TLS_ASKED_DONE;
    a->why = TLS_ASKED_ANEW;
    return TLS_ASKED_FAULT;
}

bool tls_asked_fault(const struct tls_asked *a, struct fault *f, const char *where)
{
    /* The handshake is long over: what the code's own phrase says would be wrong. */
    static const struct {
        const char *text, *phrase;
    } says[] = {
        [TLS_ASKED_WELL] = {"", NULL},
        [TLS_ASKED_BY_H2] =
            {("asked for a client certificate over HTTP/2, which does not allow it; "
              "http2 = off in a rule for this host lets it"),
             "Client certificate asked for over HTTP/2 by %s"},
        [TLS_ASKED_TWICE] = {"asked for a client certificate more than once in one request",
                             "Client certificate asked for more than once by %s"},
        [TLS_ASKED_EARLY] = {"asked for a client certificate while the request was being sent",
                             "Client certificate asked for too early by %s"},
        [TLS_ASKED_ANEW] = {"has shown another certificate in a renegotiation",
                            "Certificate of %s changed in a renegotiation"},
    };
    if (a->why == TLS_ASKED_WELL)
        return false;
    fault_set(f, FAULT_TLS_PROTOCOL, "%s %s", where, says[a->why].text);
    f->phrase = says[a->why].phrase;
    return true;
}
