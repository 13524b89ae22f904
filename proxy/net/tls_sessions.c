/* SPDX-License-Identifier: Apache-2.0 */
/* An SSL finds the tls_resume of its wire in its app data. */
#include "net/tls_sessions.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>
#include <time.h>

#include "base/loop.h"
#include "net/tls_verify.h"

enum {
    BURST = 10000000, /* µs that a ticket is offered again */
    ONCE = 600000000  /* µs that none is, after TLS has failed with one */
};

void tls_sessions_clear(struct tls_sessions *t)
{
    for (unsigned i = 0; i < t->n; i++)
        SSL_SESSION_free(t->v[i].session);
    t->n = 0;
    SSL_SESSION_free(t->again.session);
    t->again.session = NULL;
}

void tls_sessions_put(struct tls_sessions *t, struct tls_session s)
{
    if (t->n == TLS_SESSIONS_KEPT) {
        SSL_SESSION_free(t->v[0].session);
        memmove(t->v, t->v + 1, (TLS_SESSIONS_KEPT - 1) * sizeof(t->v[0]));
        t->n--;
    }
    t->v[t->n++] = s;
    if (t->news != NULL)
        loop_post(t->loop, t->news);
}

static bool is_ticket(const struct tls_session *s)
{
    return SSL_SESSION_get_protocol_version(s->session) >= TLS1_3_VERSION;
}

/* Seconds that S is good for. The session's own timeout is a client's; OpenSSL leaves a ticket of
 * TLS 1.3 that is older than its server allows out of the hello, without a word. By TLS 1.2 that is
 * no more than a hint. */
static long lifetime(const struct tls_session *s)
{
    long ours = SSL_SESSION_get_timeout(s->session);
    unsigned long theirs = SSL_SESSION_get_ticket_lifetime_hint(s->session);
    return is_ticket(s) && theirs < (unsigned long)ours ? (long)theirs : ours;
}

static bool is_usable(const struct tls_session *s)
{
    time_t now = time(NULL);
    time_t end = (time_t)SSL_SESSION_get_time(s->session) + lifetime(s);
    return SSL_SESSION_is_resumable(s->session) && now < end && now < s->until;
}

static void sessions_offer_one(struct tls_resume *r, SSL *ssl, const struct tls_session *s)
{
    r->offered = SSL_set_session(ssl, s->session) == 1;
    r->until = s->until;
}

bool tls_sessions_once(const struct tls_sessions *t)
{
    return loop_now() < t->once_until;
}

static bool sessions_may_again(const struct tls_sessions *t)
{
    return t->again.session != NULL && is_usable(&t->again) && loop_now() < t->again_until &&
           !tls_sessions_once(t);
}

/* S, which has just been offered, may be offered again for a while, unless a newer one may. */
static void sessions_keep_again(struct tls_sessions *t, struct tls_session s)
{
    if (sessions_may_again(t) &&
        SSL_SESSION_get_time(t->again.session) > SSL_SESSION_get_time(s.session)) {
        SSL_SESSION_free(s.session);
        return;
    }
    SSL_SESSION_free(t->again.session);
    t->again = s;
    t->again_until = loop_now() + BURST;
}

/* Offers a session that no connection had yet, or one of TLS 1.2. False: there is none. */
static bool sessions_offer_new(struct tls_resume *r, SSL *ssl)
{
    struct tls_sessions *t = r->kept;
    while (t->n > 0) {
        struct tls_session *s = &t->v[t->n - 1];
        bool usable = is_usable(s);
        if (usable)
            sessions_offer_one(r, ssl, s);
        if (usable && !is_ticket(s))
            return true;
        t->n--;
        if (usable) {
            sessions_keep_again(t, *s);
            return true;
        }
        SSL_SESSION_free(s->session);
    }
    return false;
}

bool tls_sessions_has(const struct tls_sessions *t)
{
    for (unsigned i = 0; i < t->n; i++) {
        if (is_usable(&t->v[i]))
            return true;
    }
    return sessions_may_again(t);
}

static void sessions_offer(struct tls_resume *r, SSL *ssl)
{
    if (sessions_offer_new(r, ssl))
        return;
    r->is_again = sessions_may_again(r->kept);
    if (r->is_again) {
        sessions_offer_one(r, ssl, &r->kept->again);
        return;
    }
    SSL_SESSION_free(r->kept->again.session);
    r->kept->again.session = NULL;
}

void tls_resume_start(struct tls_resume *r, SSL *ssl, bool offers)
{
    if (r->kept == NULL)
        return;
    SSL_set_app_data(ssl, r);
    if (offers)
        sessions_offer(r, ssl);
}

void tls_resume_end(struct tls_resume *r, SSL *ssl)
{
    r->kept = NULL;
    SSL_set_app_data(ssl, NULL);
}

void tls_resume_fail(struct tls_resume *r, bool is_refused)
{
    if (r->kept == NULL)
        return;
    tls_sessions_clear(r->kept);
    if (r->is_again && is_refused)
        r->kept->once_until = loop_now() + ONCE;
}

/* "decrypt_error" is said of handshakes alone; a record that cannot be read is the end of this one,
 * or else the first behind it. */
enum tls_refusal tls_resume_judge(SSL *ssl, unsigned long err, unsigned n_records)
{
    int alert = ERR_GET_REASON(err) - SSL_AD_REASON_OFFSET;
    bool is_alert = ERR_GET_LIB(err) == ERR_LIB_SSL && alert > 0 && alert <= 255;
    if (!is_alert || SSL_session_reused(ssl) != 1)
        return TLS_REFUSED_NOT;
    bool is_sure =
        alert == SSL_AD_DECRYPT_ERROR || (alert == SSL_AD_BAD_RECORD_MAC && n_records <= 1);
    return is_sure ? TLS_REFUSED_SURELY : TLS_REFUSED_MAYBE;
}

/* Once a connection: a server may send any number of tickets. A resumed handshake shows no
 * certificate and verifies none, so that the bound stays. */
static void bind_to_certs(struct tls_resume *r, SSL *ssl)
{
    if (!r->verify)
        r->until = INT64_MAX;
    else if (SSL_session_reused(ssl) == 0)
        r->until = tls_verify_until(ssl);
    r->bound = true;
}

int tls_resume_on_new(SSL *ssl, SSL_SESSION *session)
{
    struct tls_resume *r = SSL_get_app_data(ssl);
    if (r == NULL || r->kept == NULL || !SSL_SESSION_is_resumable(session))
        return 0;
    if (!r->bound)
        bind_to_certs(r, ssl);
    tls_sessions_put(r->kept, (struct tls_session){session, r->until});
    return 1;
}
