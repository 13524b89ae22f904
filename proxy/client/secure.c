/* SPDX-License-Identifier: Apache-2.0 */
/* TLS to the proxy: the handshake. The first byte says whether it is TLS at all, for who writes
 * http:// to such a port can read an answer in plain text only; until it has come, a connection
 * costs what a plain one does. The stream tells another user meanwhile, so that nothing on the
 * ordinary path knows of it. */
#include "client/secure_impl.h"

#include <stdlib.h>

#include "base/log_limit.h"
#include "client/client_impl.h"
#include "exchange/answer.h"
#include "exchange/stats.h"
#include "http/chars.h"
#include "net/linger.h"
#include "net/stream_share.h"
#include "net/tls_server.h"

enum { PATIENT_US = 1000000 }; /* for a handshake where memory is full */

/* Owner: its client. Closed by secure_end(). */
struct secure {
    struct client *c; /* borrowed; as long as this lives */
    struct list link; /* in clients->shaking, when IS_LAID */
    bool is_laid;
    int64_t laid; /* µs */
    struct deadline timer;
    struct reap reap;
};

/* ---- what is said of failures */

/* WHAT has happened, and what the operator may do about it. Each kind is another line of the log,
 * with a limit of its own: port scans are not to hide who lacks a certificate. */
static void secure_tell(const struct client *c, enum tls_failure failure, const char *what)
{
    counter_add(&c->cs->engine->stats->insecure[failure], 1);
    switch (failure) {
    case TLS_FAILURE_TRUST:
        log_limited(LOG_LEVEL_WARNING,
                    "%s; give it the CA of client.cert (curl: --proxy-cacert), see that the "
                    "certificate has the name by which it is called, and that its issuers stand "
                    "behind it in the file",
                    what);
        break;
    case TLS_FAILURE_UNKNOWN:
        log_limited(LOG_LEVEL_WARNING,
                    "%s; client.client_ca demands one that a CA in that file has signed, for "
                    "clients (curl: --proxy-cert and --proxy-key)",
                    what);
        break;
    case TLS_FAILURE_PROTOCOL:
        log_limited(LOG_LEVEL_WARNING,
                    "%s; it must speak TLS 1.2 or newer, know the kind of key that client.key is "
                    "(RSA is known to all), and speak HTTP/1.1 inside",
                    what);
        break;
    case TLS_FAILURE_FOREIGN:
        log_limited(LOG_LEVEL_WARNING, "%s; a listener without tls: speaks plain HTTP", what);
        break;
    case TLS_FAILURE_TIMEOUT:
        log_limited(LOG_LEVEL_WARNING, "%s; raise that where the network is slow", what);
        break;
    default:
        log_limited(LOG_LEVEL_WARNING, "%s; see that it trusts the CA of client.cert%s", what,
                    c->conf->client.client_ca[0] == '\0'
                        ? ""
                        : ", and has the certificate that client.client_ca demands");
    }
}

static void secure_on_timer(void *arg)
{
    struct client *c = arg;
    char what[ADDR_TEXT + 96];
    snprintf(what, sizeof what,
             "the TLS handshake of the client %s took longer than client.header_timeout",
             c->from.peer_text);
    if (c->secure->is_laid) /* else it is an idle one */
        secure_tell(c, TLS_FAILURE_TIMEOUT, what);
    client_close(c);
}

/* ---- the first byte */

/* A record of TLS, or a hello in the format of SSL 2, which OpenSSL knows the words for. */
static bool secure_is_tls(char first)
{
    enum { ALERT = 21, HANDSHAKE = 22 };
    return first == ALERT || first == HANDSHAKE || (first & 0x80) != 0;
}

static void secure_lay(struct client *c)
{
    char where[ADDR_TEXT + 16];
    snprintf(where, sizeof where, "the client %s", c->from.peer_text);
    struct tls_server_want want = {.ctx = c->conf->client.tls, .where = str_from(where)};
    c->secure->is_laid = true;
    c->secure->laid = loop_now();
    list_push_back(&c->cs->shaking, &c->secure->link);
    deadline_set(&c->secure->timer, client_conf(c)->header_timeout);
    tls_server_push(c->stream, &want);
    stream_count_in(c->stream, c->cs->engine->budget, c->stream->fixed + CLIENT_SHAKES_TLS);
    stream_start(c->stream);
}

/* Who sends text can read some; but to SOCKS and the like an answer of HTTP is nothing. */
static void secure_answer_plain(struct client *c, char first)
{
    char what[ADDR_TEXT + 64], text[ANSWER_RAW];
    struct fault f;
    struct stream *s = c->stream;
    bool is_text = chars_is(first, CHAR_TOKEN) || first == '\r' || first == '\n';
    snprintf(what, sizeof what, "the client %s speaks %s to a port that speaks TLS",
             c->from.peer_text, is_text ? "plain text" : "another protocol");
    secure_tell(c, TLS_FAILURE_FOREIGN, what);
    if (is_text) {
        c->stream = NULL;
        fault_say(&f, FAULT_BAD_REQUEST,
                  "this port speaks TLS and got plain text: write the proxy's URL with https://, "
                  "not http://; a program that speaks no TLS to proxies, as wget and Python's "
                  "urllib, needs a listener without tls:");
        f.phrase = "This port speaks TLS, write the proxy's URL with https://";
        linger_with(s, text, answer_raw(text, &f, false));
    }
    client_close(c);
}

/* ---- the stream meanwhile */

static void secure_on_ready(void *arg)
{
    struct client *c = arg;
    if (!c->secure->is_laid)
        return; /* it can be read */
    secure_end(c);
    stats_count_shaken(&c->cs->engine->stats->listening, tls_server_is_resumed(c->stream));
    client_shaken(c);
}

static size_t secure_on_data(void *arg, const char *p, size_t n)
{
    struct client *c = arg;
    if (!secure_is_tls(p[0])) {
        secure_answer_plain(c, p[0]);
        return n;
    }
    secure_lay(c);
    return 0;
}

/* Who leaves before a word of TLS may only have looked whether somebody is there. */
static void secure_on_eof(void *arg, bool clean)
{
    (void)clean;
    client_close(arg);
}

/* By TLS 1.3 a client has done when it shows its certificate, and may have sent a request before it
 * is refused: closing would answer that by a reset, which takes the alert away. */
static void secure_linger(struct client *c)
{
    struct stream *s = stream_strip(c->stream);
    c->stream = NULL;
    stream_start(s);
    linger_with(s, NULL, 0);
}

static void secure_on_fault(void *arg, const struct fault *f)
{
    struct client *c = arg;
    enum tls_failure failure =
        c->secure->is_laid ? tls_server_failure(c->stream) : TLS_FAILURE_GONE;
    if (c->secure->is_laid)
        secure_tell(c, failure, f->text);
    if (failure == TLS_FAILURE_UNKNOWN)
        secure_linger(c);
    client_close(c);
}

static const struct stream_user secure_user = {
    .on_ready = secure_on_ready,
    .on_data = secure_on_data,
    .on_eof = secure_on_eof,
    .on_fault = secure_on_fault,
};

/* ---- life */

void secure_begin(struct client *c)
{
    struct secure *k = xcalloc(1, sizeof *k);
    int64_t grace_ms = c->cs->grace_ms;
    c->secure = k;
    k->c = c;
    list_init(&k->link);
    deadline_init(&k->timer, c->cs->engine->loop, secure_on_timer, c);
    client_set_state(c, CLIENT_SHAKES);
    client_set_timer(c, false);
    deadline_set(&k->timer, grace_ms > 0 ? grace_ms : client_conf(c)->idle_timeout);
    stream_set_user(c->stream, &secure_user, c);
}

void secure_drain(struct client *c, int64_t grace_ms)
{
    if (!c->secure->is_laid)
        deadline_set(&c->secure->timer, grace_ms);
}

void secure_end(struct client *c)
{
    struct secure *k = c->secure;
    if (k == NULL)
        return;
    c->secure = NULL;
    list_remove(&k->link);
    deadline_close(&k->timer);
    loop_reap(c->cs->engine->loop, &k->reap, free, k);
}

/* ---- who does not come so far */

bool secure_make_room(struct clients *cs)
{
    struct list *it;
    while ((it = list_first(&cs->shaking)) != NULL && budget_is_spent(cs->engine->budget)) {
        struct client *c = container_of(it, struct secure, link)->c;
        if (loop_now() - c->secure->laid < PATIENT_US)
            break;
        counter_add(&cs->engine->stats->insecure[TLS_FAILURE_TIMEOUT], 1);
        log_limited(LOG_LEVEL_WARNING,
                    "the client %s was closed, whose TLS handshake goes on, for memory is full "
                    "(max_memory)",
                    c->from.peer_text);
        client_close(c);
    }
    return !budget_is_spent(cs->engine->budget);
}

void secure_refuse(struct stream *s, const struct fault *f)
{
    enum { ACCESS_DENIED = 49, INTERNAL_ERROR = 80 }; /* RFC 8446 section 6 */
    char alert[] = {21, 3, 3, 0, 2, 2, INTERNAL_ERROR};
    if (f->code == FAULT_DENIED)
        alert[sizeof alert - 1] = ACCESS_DENIED;
    stream_start(s);
    linger_with(s, alert, sizeof alert);
}
