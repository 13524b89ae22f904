/* SPDX-License-Identifier: Apache-2.0 */
/* What came of a URL is in net/tls_issuers.h; who waits for it looks there. */
#include "upstream/issuer.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log_limit.h"
#include "base/magic.h"
#include "conf/policy.h"
#include "http/h1_body.h"
#include "net/tls_issuers.h"
#include "upstream/dial.h"
#include "upstream/flight.h"
#include "upstream/way.h"

enum {
    ISSUER_TIME = 5000, /* ms */
    ISSUER_HEAD = 16 * 1024,
    ISSUER_FIELDS = 32, /* without an allocation */
};

/* Owner: whoever holds the token. Closed by issuer_cancel() or when it is over. */
struct issuer {
    struct dns *dns;
    struct loop *loop;
    struct conf *conf; /* a reference */
    X509 *cert;        /* a reference */
    char *host;
    issuer_fn fn;
    void *arg;
    struct tls_aia_url urls[TLS_AIA_URLS];
    unsigned n_urls, at;          /* urls[at] is waited for */
    unsigned asked;               /* the last one that was, and 1 */
    int64_t until;                /* µs: the end of connect_timeout; 0: none */
    struct flight_ticket *ticket; /* NULL: it waits for nothing */
    struct dial *dial;            /* a token */
    struct stream *stream;        /* owned */
    bool asks;                    /* and does not wait for another */
    bool has_head;
    size_t scanned;
    struct h1_body body;
    char *got; /* heap: the body so far */
    size_t n_got;
    char why[ISSUER_WHY];
    bool is_over;
    struct deadline limit;
    struct post begin;
    struct reap reap;
    struct magic magic;
};

static void issuer_go_on(struct issuer *i);
static void issuer_ask(struct issuer *i);

/* ---- the end ---- */

static void issuer_free(void *object)
{
    struct issuer *i = CHECKED(issuer, object);
    conf_unref(&i->conf);
    tls_issuers_unref(i->cert);
    free(i->host);
    free(i->got);
    h1_body_clear(&i->body);
    xfree(i);
}

/* I waits for nobody, and nobody for it any more. DONE: what it was to get is known. */
static void issuer_leave(struct issuer *i, bool done)
{
    struct flight_ticket *t = i->ticket;
    i->ticket = NULL;
    if (t != NULL)
        flight_leave(t, done);
}

static void stop_asking(struct issuer *i)
{
    if (i->dial != NULL)
        dial_cancel(i->dial);
    i->dial = NULL;
    stream_close(i->stream);
    i->stream = NULL;
    i->asks = false;
    deadline_clear(&i->limit);
}

static void issuer_end(struct issuer *i)
{
    if (i->is_over)
        return;
    i->is_over = true;
    stop_asking(i);
    issuer_leave(i, false);
    deadline_close(&i->limit);
    loop_unpost(&i->begin);
    loop_reap(i->loop, &i->reap, issuer_free, i);
}

void issuer_cancel(struct issuer *i)
{
    issuer_end(i);
}

static void issuer_finish(struct issuer *i, bool got)
{
    issuer_end(i);
    i->fn(i->arg, got, i->why);
}

/* ---- asking ---- */

static void note_why(struct issuer *i, const char *why)
{
    char shown[TLS_AIA_TEXT / 2];
    snprintf(i->why, sizeof(i->why), "%s: %s",
             str_escape(shown, sizeof(shown), str_from(i->urls[i->at].text)), why);
}

static void issuer_log(const struct issuer *i, bool got, const char *why)
{
    const char *url = i->urls[i->at].text;
    char shown[TLS_AIA_TEXT + 1];
    str_escape(shown, sizeof(shown), str_from(url));
    if (got)
        log_limited(LOG_LEVEL_INFO,
                    "the intermediate certificate that %s does not send was fetched from %s",
                    i->host, shown);
    else
        log_limited(LOG_LEVEL_WARNING,
                    "the intermediate certificate that %s does not send was not got from %s: %s",
                    i->host, shown, why);
}

static void asked(struct issuer *i, bool got, const char *why)
{
    issuer_log(i, got, why);
    stop_asking(i);
    issuer_leave(i, true);
    issuer_go_on(i);
}

static void ask_failed(struct issuer *i, const char *why)
{
    char text[TLS_ISSUERS_WHY];
    snprintf(text, sizeof(text), "%s", why);
    tls_issuers_fail(i->urls[i->at].text, text, i->conf->dns.negative_ttl);
    asked(i, false, text);
}

/* The configuration does not allow it. Nothing is kept of that: the next one may. Who waits tries
 * for itself. */
static void ask_denied(struct issuer *i, const char *why)
{
    note_why(i, why);
    issuer_log(i, false, why);
    stop_asking(i);
    issuer_leave(i, false);
    i->at++;
    issuer_go_on(i);
}

static void ask_succeeded(struct issuer *i)
{
    const char *url = i->urls[i->at].text;
    char why[TLS_ISSUERS_WHY] = "it was forgotten at once";
    int64_t bad_ms = i->conf->dns.negative_ttl;
    bool got = tls_issuers_put(url, i->cert, str_make(i->got, i->n_got), bad_ms);
    if (!got)
        (void)tls_issuers_look(url, i->cert, why);
    asked(i, got, why);
}

/* Takes the head at P, or one before it (RFC 9110 section 15.2); gives its bytes, 0 where it is not
 * whole. False in OK after it was told that it is of no use. */
static size_t take_head(struct issuer *i, const char *p, size_t n, bool *ok)
{
    struct field first[ISSUER_FIELDS];
    struct arena arena = {0};
    struct h1_head head = {0};
    struct h1_error e;
    char why[80] = "the answer is no valid HTTP";
    size_t end = h1_head_end(p, n, &i->scanned, false);
    *ok = true;
    if (end == 0 && n < ISSUER_HEAD)
        return 0;
    fields_init(&head.fields, &arena, first, ISSUER_FIELDS);
    bool is_valid = end > 0 && end <= ISSUER_HEAD && h1_parse_response(&head, p, end, false, &e) &&
                    h1_body_of_response(&i->body, &head, METHOD_GET, false, &e);
    bool is_interim = is_valid && head.status < 200 && head.status != 101;
    if (is_valid && head.status != 200)
        snprintf(why, sizeof(why), "the answer is %u", head.status);
    arena_clear(&arena);
    i->scanned = 0;
    i->has_head = !is_interim;
    *ok = is_valid && (is_interim || head.status == 200);
    if (!*ok)
        ask_failed(i, why);
    return end;
}

/* False when it was told that it is of no use. */
static bool take_body(struct issuer *i, struct str data)
{
    if (i->n_got + data.len > TLS_AIA_BODY) {
        ask_failed(i, "the answer has more than 64 KiB");
        return false;
    }
    if (i->got == NULL)
        i->got = xmalloc(TLS_AIA_BODY);
    memcpy(i->got + i->n_got, data.p, data.len);
    i->n_got += data.len;
    return true;
}

static size_t issuer_on_data(void *arg, const char *p, size_t n)
{
    struct issuer *i = CHECKED(issuer, arg);
    size_t at = 0;
    bool ok = true;
    while (ok && !i->has_head) {
        size_t used = take_head(i, p + at, n - at, &ok);
        if (ok && used == 0)
            return at;
        at += used;
    }
    if (!ok)
        return n;
    while (at < n && !h1_body_is_done(&i->body)) {
        struct str data;
        ssize_t used = h1_body_feed(&i->body, p + at, n - at, &data);
        if (used < 0) {
            ask_failed(i, "the answer is no valid HTTP");
            return n;
        }
        if (data.len > 0 && !take_body(i, data))
            return n;
        at += (size_t)used;
    }
    if (h1_body_is_done(&i->body))
        ask_succeeded(i);
    return n;
}

static void issuer_on_eof(void *arg, bool clean)
{
    struct issuer *i = CHECKED(issuer, arg);
    (void)clean;
    if (i->has_head && h1_body_at_close(&i->body))
        ask_succeeded(i);
    else
        ask_failed(i, "the answer was cut short");
}

static void issuer_on_fault(void *arg, const struct fault *f)
{
    ask_failed(CHECKED(issuer, arg), f->text);
}

static const struct stream_user issuer_user = {
    .on_data = issuer_on_data,
    .on_eof = issuer_on_eof,
    .on_fault = issuer_on_fault,
};

static void issuer_on_dialled(void *arg, const struct dial_result *r)
{
    struct issuer *i = CHECKED(issuer, arg);
    const struct tls_aia_url *url = &i->urls[i->at];
    bool is_ip6 = strchr(url->host, ':') != NULL;
    i->dial = NULL;
    if (r->stream == NULL) {
        (r->fault->code == FAULT_ADDRESS_DENIED ? ask_denied : ask_failed)(i, r->fault->text);
        return;
    }
    i->stream = r->stream;
    stream_set_user(i->stream, &issuer_user, i);
    char *text = xasprintf("GET %s HTTP/1.1\r\nHost: %s%s%s\r\nUser-Agent: tlsfan\r\n"
                           "Accept: */*\r\nConnection: close\r\n\r\n",
                           url->path, is_ip6 ? "[" : "", url->host, is_ip6 ? "]" : "");
    stream_start(i->stream);
    stream_put(i->stream, text, strlen(text));
    stream_resume(i->stream);
    free(text);
}

/* Who asks finds that the time of a fetch is over, or that its own is: then another one of those
 * who wait goes on with it. */
static void issuer_on_limit(void *arg)
{
    struct issuer *i = CHECKED(issuer, arg);
    bool is_late = i->until != 0 && loop_now() >= i->until;
    if (i->asks && !is_late) {
        ask_failed(i, "it took longer than 5 s");
        return;
    }
    note_why(i, "it took longer than upstream.connect_timeout");
    issuer_finish(i, false);
}

/* Sets the end of a fetch, or of waiting for one of another, which has an end of its own. */
static void issuer_limit(struct issuer *i)
{
    int64_t left = (i->until - loop_now() + 999) / 1000;
    if (i->until != 0 && (!i->asks || left < ISSUER_TIME))
        deadline_set(&i->limit, left > 1 ? left : 1);
    else if (i->asks)
        deadline_set(&i->limit, ISSUER_TIME);
}

static void issuer_ask(struct issuer *i)
{
    struct fault f;
    struct str host = str_from(i->urls[i->at].host);
    struct up_where where = {.conf = i->conf,
                             .rule = &i->conf->rules[0],
                             .host = host,
                             .port = 80,
                             .rule_port = 80,
                             .is_rooted = !i->urls[i->at].is_ip,
                             .is_public = true};
    h1_body_clear(&i->body);
    memset(&i->body, 0, sizeof(i->body));
    i->asks = true;
    i->has_head = false;
    i->scanned = i->n_got = 0;
    if (!policy_host(i->conf, host, 80, false, &f)) {
        ask_denied(i, f.text);
        return;
    }
    if (way_parent(&where) != NULL) {
        ask_denied(i, "no parent proxy is asked for it (upstream.proxy; upstream.no_proxy)");
        return;
    }
    issuer_limit(i);
    i->dial = dial_start(i->dns, &where, NULL, issuer_on_dialled, i);
}

/* ---- one URL after the other ---- */

/* It is its turn to ask, or what came of it is known. */
static void issuer_on_flight(void *arg, bool leads)
{
    struct issuer *i = CHECKED(issuer, arg);
    if (leads) {
        issuer_ask(i);
        return;
    }
    i->ticket = NULL;
    deadline_clear(&i->limit);
    issuer_go_on(i);
}

/* True when it waits for the URL now, or even that is over. */
static bool issuer_waits(struct issuer *i, char *why)
{
    bool leads;
    i->ticket = flight_join(i->loop, i->urls[i->at].text, &leads, issuer_on_flight, i);
    if (i->ticket == NULL) {
        snprintf(why, TLS_ISSUERS_WHY, "too many are being fetched");
        return false;
    }
    if (leads)
        issuer_ask(i);
    else
        issuer_limit(i);
    return true;
}

/* What is known of the URL that it waited for, or of the next one. One that nobody has an answer
 * for is asked once. */
static void issuer_go_on(struct issuer *i)
{
    for (; i->at < i->n_urls; i->at++) {
        char why[TLS_ISSUERS_WHY] = "it was forgotten at once";
        enum tls_issuers_state state = tls_issuers_look(i->urls[i->at].text, i->cert, why);
        bool was_asked = i->asked == i->at + 1;
        if (state == TLS_ISSUERS_GOOD) {
            issuer_finish(i, true);
            return;
        }
        i->asked = i->at + 1;
        if (state == TLS_ISSUERS_UNKNOWN && !was_asked && issuer_waits(i, why))
            return;
        note_why(i, why);
    }
    issuer_finish(i, false);
}

static void issuer_begin(void *arg)
{
    issuer_go_on(CHECKED(issuer, arg));
}

struct issuer *issuer_start(struct dns *dns, const struct issuer_want *want, issuer_fn fn,
                            void *arg)
{
    struct issuer *i = xcalloc(1, sizeof(*i));
    char shown[256];
    MAGIC_SET(issuer, i);
    i->dns = dns;
    i->loop = dns_loop(dns);
    i->conf = conf_ref((struct conf *)want->conf);
    i->cert = tls_issuers_ref(want->cert);
    i->host = xstrdup(str_escape(shown, sizeof(shown), want->host));
    i->fn = fn;
    i->arg = arg;
    i->n_urls = tls_aia_urls(want->cert, i->urls);
    deadline_init(&i->limit, i->loop, issuer_on_limit, i);
    i->until = want->ms == 0 ? 0 : loop_now() + want->ms * 1000;
    post_init(&i->begin, issuer_begin, i);
    loop_post(i->loop, &i->begin);
    return i;
}
