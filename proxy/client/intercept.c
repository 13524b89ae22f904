/* SPDX-License-Identifier: Apache-2.0 */
/* CONNECT that is intercepted: the handshake, in which the client gets a leaf for the name that it
 * asks for (SNI) or else the host of its CONNECT. Its stream is paused until that is over, and
 * tells another user, so that nothing on the ordinary path knows of it. */
#include "client/client_impl.h"

#include <stdlib.h>

#include "base/log_limit.h"
#include "client/intercept_impl.h"
#include "exchange/stats.h"
#include "net/stream_share.h"
#include "net/tls_mint.h"
#include "net/tls_server.h"

enum {
    MINT_TRIES = 3, /* a leaf that was made may have given way to others before it is used */
    LABEL_MAX = 63, /* RFC 1035 section 2.3.4 */
    NAME_MAX_DNS = 253
};

/* Owner: its client. Closed by intercept_end(). */
struct intercept {
    struct tls_mint *mint; /* a reference */
    struct mint_job *job;  /* token */
    struct mint_want want; /* .name: in NAME */
    bool is_laid;
    bool has_hello; /* WANT is known */
    bool is_unmade; /* there is no leaf for it */
    unsigned tries; /* jobs begun */
    struct deadline timer;
    struct reap reap;
    char name[INTERCEPT_NAME];
};

/* What happened to a CONNECT, its host, and how to leave that alone. A macro: each line of the log
 * has a limit of its own. */
#define INTERCEPT_LOG(c, level, what, ...)                                                       \
    log_limited(level,                                                                           \
                "CONNECT to %.*s:%u, intercepted: " what " (rule \"%.*s\" { intercept = off })", \
                STR_ARG((c)->from.fixed.name), (c)->from.fixed.port, __VA_ARGS__,                \
                STR_ARG((c)->from.fixed.name))

/* ---- the name */

/* What a host may be called, in lower case. Not what is an address to someone: SNI has none. */
static bool intercept_is_host(const char *name, size_t len)
{
    size_t label = 0;
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        bool is_usual = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
        if (c == '.' ? label == 0 : !is_usual)
            return false;
        label = c == '.' ? 0 : label + 1;
        if (label > LABEL_MAX)
            return false;
    }
    return label > 0 && !uri_ends_in_number(str_make(name, len));
}

void intercept_name(char *dst, struct str sni, struct str host)
{
    if (sni.len > 0 && sni.p[sni.len - 1] == '.')
        sni.len--;
    struct str name = host;
    char lower[NAME_MAX_DNS];
    if (sni.len <= sizeof lower && intercept_is_host(lower, str_lower(lower, sni).len))
        name = str_make(lower, sni.len);
    size_t n = name.len < INTERCEPT_NAME ? name.len : INTERCEPT_NAME - 1;
    memcpy(dst, name.p, n);
    dst[n] = '\0';
}

/* ---- the protocol */

/* ALPN offers HTTP/1, or nothing, which most who speak that do. */
static bool intercept_offers_h1(struct str alpn)
{
    bool is_none = alpn.len == 0;
    while (alpn.len > 0) {
        size_t n = (uint8_t)alpn.p[0];
        alpn = str_from_byte(alpn, 1);
        n = n < alpn.len ? n : alpn.len;
        if (str_starts(str_make(alpn.p, n), STR("http/1.")))
            return true;
        alpn = str_from_byte(alpn, n);
    }
    return is_none;
}

/* gRPC goes away without a word. */
static void intercept_mind_alpn(const struct client *c, struct str alpn)
{
    if (intercept_offers_h1(alpn))
        return;
    INTERCEPT_LOG(c, LOG_LEVEL_WARNING,
                  "the client %s offers no HTTP/1 by ALPN, and what is inside is HTTP/1.1; if it "
                  "fails, leave this host alone",
                  c->from.peer_text);
}

/* ---- the leaf */

/* It is there, or nowhere. */
static void intercept_on_minted(void *arg)
{
    struct client *c = arg;
    c->intercept->job = NULL;
    stream_start(c->stream);
}

static enum tls_choice intercept_choose(void *arg, struct ssl_st *ssl,
                                        const struct tls_hello *hello)
{
    struct client *c = arg;
    struct intercept *i = c->intercept;
    if (i == NULL)
        return TLS_CHOICE_NONE;
    if (!i->has_hello) {
        i->has_hello = true;
        intercept_mind_alpn(c, hello->alpn);
        intercept_name(i->name, hello->name, c->from.fixed.name);
        i->want = (struct mint_want){i->name, tls_mint_takes_ecdsa(ssl)};
    }
    if (tls_mint_use(i->mint, ssl, &i->want))
        return TLS_CHOICE_MADE;
    if (i->job == NULL && i->tries++ < MINT_TRIES)
        i->job = tls_mint_start(i->mint, c->cs->engine->loop, &i->want, intercept_on_minted, c);
    if (i->job != NULL)
        return TLS_CHOICE_LATER;
    i->is_unmade = true;
    return TLS_CHOICE_NONE;
}

/* ---- what is said of failures */

/* What the operator may do about it. */
static const char *intercept_advice(const struct client *c, enum tls_failure failure)
{
    const struct intercept *i = c->intercept;
    switch (failure) {
    case TLS_FAILURE_TRUST:
        if (c->cs->engine->use->conf->intercept.run_ca != NULL)
            return "it reads none of the variables that name the CA of this run, or pins another "
                   "certificate: then leave this host alone";
        return "it does not trust the CA of intercept.ca_cert, or pins another certificate: "
               "install the CA where it looks for trusted ones, or leave this host alone";
    case TLS_FAILURE_PROTOCOL:
        return i != NULL && i->is_unmade
                   ? "no certificate could be made for it"
                   : "it must speak TLS, of intercept.min_version or newer, or this host be left "
                     "alone";
    case TLS_FAILURE_FOREIGN:
    case TLS_FAILURE_TIMEOUT:
        return "what is not TLS passes where this host is left alone";
    default:
        return "if that is for the certificate, see that it trusts the CA, or leave this host "
               "alone";
    }
}

static void intercept_tell(const struct client *c, enum tls_failure failure, const char *what)
{
    counter_add(&c->cs->engine->stats->unshaken[failure], 1);
    /* Who leaves before a word of TLS may only have looked whether somebody is there. */
    bool is_quiet = failure == TLS_FAILURE_GONE && c->intercept != NULL && !c->intercept->has_hello;
    INTERCEPT_LOG(c, is_quiet ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING, "%s; %s", what,
                  intercept_advice(c, failure));
}

void intercept_failed(const struct client *c, const struct fault *f)
{
    enum tls_failure failure = c->stream == NULL ? TLS_FAILURE_GONE : tls_server_failure(c->stream);
    /* Behind the handshake an end is no news, but a client's word about the certificate is. */
    if (c->intercept != NULL || failure == TLS_FAILURE_TRUST)
        intercept_tell(c, failure, f->text);
}

void intercept_unread(const struct client *c)
{
    INTERCEPT_LOG(c, LOG_LEVEL_WARNING,
                  "what the client %s sends inside is no request of HTTP/1.1; other protocols, "
                  "HTTP/2 too, pass where this host is left alone",
                  c->from.peer_text);
}

/* A program that pins may look at the certificate only when the handshake is done. */
void intercept_left(const struct client *c)
{
    INTERCEPT_LOG(c, LOG_LEVEL_INFO,
                  "the client %s left right behind the TLS handshake, without a request; if it "
                  "pins another certificate, leave this host alone",
                  c->from.peer_text);
}

static void intercept_on_timer(void *arg)
{
    struct client *c = arg;
    if (c->cs->grace_ms == 0)
        intercept_tell(c, TLS_FAILURE_TIMEOUT,
                       c->intercept->has_hello
                           ? "the TLS handshake took longer than client.header_timeout"
                           : "the client sent no TLS hello within client.header_timeout");
    client_close(c);
}

/* Who has begun nothing is as idle as one between two requests. */
void intercept_drain(struct client *c, int64_t grace_ms)
{
    if (c->intercept->is_laid && !c->intercept->has_hello)
        deadline_set(&c->intercept->timer, grace_ms);
}

/* ---- the stream meanwhile */

/* A wire is laid where nothing waits to be written. */
static void intercept_lay(struct client *c)
{
    struct intercept *i = c->intercept;
    if (i->is_laid || stream_pending(c->stream) > 0)
        return;
    i->is_laid = true;
    deadline_set(&i->timer, c->cs->grace_ms > 0 ? c->cs->grace_ms : client_conf(c)->header_timeout);
    char where[ADDR_TEXT + 16];
    snprintf(where, sizeof where, "the client %s", c->from.peer_text);
    struct tls_server_want want = {.ctx = tls_mint_ssl(i->mint),
                                   .where = str_from(where),
                                   .choose = intercept_choose,
                                   .arg = c};
    tls_server_push(c->stream, &want);
    stream_count_in(c->stream, c->cs->engine->budget, c->stream->fixed + CLIENT_SHAKES_TLS);
    stream_start(c->stream);
}

static void intercept_on_ready(void *arg)
{
    struct client *c = arg;
    intercept_end(c);
    stats_count_shaken(&c->cs->engine->stats->inside, tls_server_is_resumed(c->stream));
    client_shaken(c);
}

static size_t intercept_on_data(void *arg, const char *p, size_t n)
{
    (void)arg; /* paused: this does not come */
    (void)p;
    (void)n;
    return 0;
}

static void intercept_on_eof(void *arg, bool clean)
{
    (void)clean;
    client_close(arg);
}

static void intercept_on_drain(void *arg)
{
    struct client *c = arg;
    timeout_clear(&c->write_timer);
    intercept_lay(c);
}

static void intercept_on_fault(void *arg, const struct fault *f)
{
    intercept_failed(arg, f);
    client_close(arg);
}

static const struct stream_user intercept_user = {
    .on_ready = intercept_on_ready,
    .on_data = intercept_on_data,
    .on_eof = intercept_on_eof,
    .on_drain = intercept_on_drain,
    .on_fault = intercept_on_fault,
};

/* ---- life */

static void intercept_free(void *object)
{
    struct intercept *i = object;
    tls_mint_unref(i->mint);
    free(i);
}

void intercept_begin(struct client *c, struct tls_mint *mint)
{
    struct intercept *i = xcalloc(1, sizeof *i);
    i->mint = tls_mint_ref(mint);
    deadline_init(&i->timer, c->cs->engine->loop, intercept_on_timer, c);
    c->intercept = i;
    client_set_state(c, CLIENT_SHAKES);
    clients_flush(c->cs);
    client_set_flow(c);
    stream_set_user(c->stream, &intercept_user, c);
    intercept_lay(c);
}

void intercept_end(struct client *c)
{
    struct intercept *i = c->intercept;
    if (i == NULL)
        return;
    c->intercept = NULL;
    tls_mint_cancel(i->job);
    deadline_close(&i->timer);
    loop_reap(c->cs->engine->loop, &i->reap, intercept_free, i);
}
