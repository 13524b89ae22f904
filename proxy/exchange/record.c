/* SPDX-License-Identifier: Apache-2.0 */
/* The access line and the record: see record.h. Written by hand, for both are on every request's
 * path; `struct pen` keeps what it writes within the room that was asked for. */
#include "exchange/record.h"

#include "exchange/record_impl.h"
#include "exchange/stats.h"
#include "exchange/trust.h"
#include "http/traceparent.h"
#include "upstream/way.h"

enum {
    RECORD_FIXED = 1536, /* all but method, URL, sentence and user, escaped */
    URL_MAX = 8192,      /* bytes of a path that are logged */
    ISO_LEN = 19         /* bytes of record_time() */
};

/* ".007" for 7 of 1000. */
static void pen_thousandths(struct pen *w, unsigned n)
{
    char text[4] = {'.', (char)('0' + n / 100), (char)('0' + n / 10 % 10), (char)('0' + n % 10)};
    pen_bytes(w, text, sizeof text);
}

/* µs as milliseconds with three digits behind the point. */
static void pen_ms(struct pen *w, int64_t us)
{
    uint64_t positive = us < 0 ? 0 : (uint64_t)us;
    pen_number(w, positive / 1000);
    pen_thousandths(w, (unsigned)(positive % 1000));
}

static void pen_host(struct pen *w, const struct uri_host *host)
{
    if (host->is_ip6)
        pen_text(w, "[");
    pen_part(w, host->name);
    if (host->is_ip6)
        pen_text(w, "]");
    if (host->port != 0) {
        pen_text(w, ":");
        pen_number(w, host->port);
    }
}

/* struct target keeps userinfo apart. */
void record_url(struct pen *w, const struct exchange *x)
{
    if (!x->has_target) {
        pen_text(w, "-");
        return;
    }
    if (x->target.form == TARGET_AUTHORITY || x->target.form == TARGET_ABSOLUTE) {
        pen_part(w, x->target.scheme_name);
        if (x->target.form == TARGET_ABSOLUTE)
            pen_text(w, "://");
        pen_host(w, &x->target.host);
    } else if (x->rq.host.p != NULL) {
        bool is_https =
            source_rules[x->from->kind].is_https || (x->rewrite.forward != NULL && x->where.tls);
        pen_text(w, is_https ? "https://" : "http://");
        pen_part(w, x->rq.host);
    }
    if (x->target.form == TARGET_AUTHORITY)
        return;
    struct str path =
        x->rewrite.forward != NULL && x->rq.target.p != NULL ? x->rq.target : x->target.path;
    size_t query = x->conf->log.query ? path.len : str_find(path, '?');
    bool is_cut = query < path.len;
    path.len = query < URL_MAX ? query : URL_MAX;
    pen_part(w, path);
    if (is_cut)
        pen_text(w, "?...");
}

/* SEC as CLOCK has it. */
static void print_clock(char *dst, size_t cap, time_t sec, enum record_clock clock)
{
    struct tm tm;
    if (clock == CLOCK_LOCAL)
        localtime_r(&sec, &tm);
    else
        gmtime_r(&sec, &tm);
    if (clock == CLOCK_ISO)
        strftime(dst, cap, "%Y-%m-%dT%H:%M:%S", &tm);
    else if (clock == CLOCK_COMMON)
        strftime(dst, cap, "%d/%b/%Y:%H:%M:%S +0000", &tm);
    else
        strftime(dst, cap, "%H:%M:%S", &tm);
}

const char *record_time(time_t sec, enum record_clock clock)
{
    static _Thread_local struct {
        time_t sec;
        char text[40];
    } cache[RECORD_CLOCKS];
    if (cache[clock].sec != sec || cache[clock].text[0] == '\0') {
        cache[clock].sec = sec;
        print_clock(cache[clock].text, sizeof cache[clock].text, sec, clock);
    }
    return cache[clock].text;
}

/* What comes before the request was sent; nothing did where it had a connection at once. */
static void record_before(struct pen *w, const struct exchange_times *t)
{
    if ((t->queued | t->dns | t->connect | t->tls) == 0) {
        pen_text(w, ",\"ms\":{\"queued\":0.000,\"dns\":0.000,\"connect\":0.000,\"tls\":0.000");
        return;
    }
    pen_text(w, ",\"ms\":{\"queued\":");
    pen_ms(w, t->queued);
    pen_text(w, ",\"dns\":");
    pen_ms(w, t->dns);
    pen_text(w, ",\"connect\":");
    pen_ms(w, t->connect);
    pen_text(w, ",\"tls\":");
    pen_ms(w, t->tls);
}

static void record_phases(struct pen *w, const struct exchange_times *t)
{
    record_before(w, t);
    pen_text(w, ",\"wait\":");
    pen_ms(w, t->sent != 0 && t->head > t->sent ? t->head - t->sent : 0);
    pen_text(w, ",\"total\":");
    pen_ms(w, t->end - t->begin);
}

/* By which proxy it went; empty: by none. */
static struct str record_parent_of(const struct exchange *x)
{
    const struct parent *p = x->facts.peer.len != 0 ? way_parent(&x->where) : NULL;
    return str_from(p == NULL ? NULL : p->shown);
}

static void record_parent(struct pen *w, const struct exchange *x)
{
    struct str shown = record_parent_of(x);
    if (shown.len == 0)
        return;
    pen_text(w, ",\"parent\":\"");
    pen_escaped(w, shown);
    pen_text(w, "\"");
}

/* The part of the line that tells of the connection: its last one is kept, for it is nearly always
 * that of the next request. */
struct upstream_text {
    struct sockaddr_in6 peer; /* or a sockaddr_in */
    const char *protocol, *tls;
    bool is_reused;
    size_t len; /* 0: there is none */
    char text[256];
};

static bool upstream_is(const struct upstream_text *u, const struct up_facts *f)
{
    return u->len > 0 && f->peer.len <= sizeof u->peer && u->is_reused == f->is_reused &&
           u->protocol == f->protocol && u->tls == f->tls_version &&
           memcmp(&u->peer, &f->peer.in6, sizeof u->peer) == 0;
}

static void upstream_write(struct upstream_text *u, const struct up_facts *f)
{
    struct pen w = {u->text, u->text + sizeof u->text, false};
    char text[ADDR_TEXT];
    memcpy(&u->peer, &f->peer.in6, sizeof u->peer);
    u->protocol = f->protocol;
    u->tls = f->tls_version;
    u->is_reused = f->is_reused;
    pen_text(&w, ",\"upstream\":\"");
    pen_text(&w, f->peer.len != 0 ? addr_print(&f->peer, text) : "");
    pen_text(&w, "\",\"protocol\":\"");
    pen_text(&w, f->protocol == NULL ? "" : f->protocol);
    pen_text(&w, "\",\"tls\":\"");
    pen_text(&w, f->tls_version == NULL ? "" : f->tls_version);
    pen_text(&w, f->is_reused ? "\",\"reused\":true" : "\",\"reused\":false");
    u->len = (size_t)(w.p - u->text);
}

static void record_upstream(struct pen *w, const struct exchange *x)
{
    static _Thread_local struct upstream_text last;
    if (!upstream_is(&last, &x->facts))
        upstream_write(&last, &x->facts);
    pen_bytes(w, last.text, last.len);
    record_parent(w, x);
    if (x->is_ahead)
        pen_text(w, ",\"readahead\":true");
    pen_text(w, ",\"retries\":");
    pen_number(w, x->retry.tries);
}

struct str record_details(const struct exchange *x)
{
    if (x->fault == FAULT_NONE || x->sentence.len > 0)
        return x->fault == FAULT_NONE ? STR("") : x->sentence;
    if (x->fault != FAULT_CLIENT_GONE)
        return STR("the response broke off before its end");
    return x->engine->ending ? STR("tlsfan ended before the answer was whole (drain_timeout)")
                             : STR("the client's connection ended before its answer was whole");
}

/* Its digits need no escape. */
static void record_trace(struct pen *w, const struct exchange *x)
{
    struct str id = traceparent_find(&x->head.fields);
    if (id.len == 0)
        return;
    pen_text(w, "\",\"trace_id\":\"");
    pen_bytes(w, id.p, id.len);
}

static void record_begin(struct pen *w, const struct exchange *x)
{
    int64_t now = loop_wall();
    char id[16];
    pen_text(w, "{\"time\":\"");
    pen_bytes(w, record_time((time_t)(now / 1000000), CLOCK_ISO), ISO_LEN);
    pen_thousandths(w, (unsigned)(now / 1000 % 1000));
    pen_text(w, "Z\",\"id\":\"");
    pen_bytes(w, id, str_put_hex(id, x->id));
    pen_text(w, "\",\"client\":\"");
    pen_text(w, x->from->peer_text);
    pen_text(w, "\",\"method\":\"");
    if (x->head.method.id != METHOD_OTHER)
        pen_bytes(w, x->head.method.name.p, x->head.method.name.len);
    else
        pen_escaped(w, x->head.method.name);
}

static void record_verdict(struct pen *w, const struct exchange *x, struct str user)
{
    if (x->fault == FAULT_NONE && user.len == 0) {
        pen_text(w, "},\"error\":\"\",\"details\":\"\",\"user\":\"");
        return;
    }
    pen_text(w, "},\"error\":\"");
    if (x->fault != FAULT_NONE)
        pen_text(w, fault_info(x->fault)->type);
    pen_text(w, "\",\"details\":\"");
    pen_escaped(w, record_details(x));
    pen_text(w, "\",\"user\":\"");
    pen_escaped(w, user);
}

/* URL is that of record_url(), raw; empty: it is to be made. */
static void record_json(struct pen *w, const struct exchange *x, struct str user, struct str url)
{
    record_begin(w, x);
    pen_text(w, "\",\"url\":\"");
    if (url.len > 0)
        pen_escaped(w, url);
    else
        record_url(w, x);
    pen_text(w, "\",\"status\":");
    pen_number(w, x->status);
    pen_text(w, ",\"bytes_in\":");
    pen_number(w, x->bytes_in);
    pen_text(w, ",\"bytes_out\":");
    pen_number(w, x->bytes_out);
    record_upstream(w, x);
    record_phases(w, &x->t);
    record_verdict(w, x, user);
    record_trace(w, x);
    pen_text(w, "\"}\n");
}

/* USER as one word of a line. */
static void pen_user(struct pen *w, struct str user)
{
    if (user.len == 0)
        pen_text(w, "-");
    while (user.len > 0) {
        size_t n = str_find(user, ' ');
        pen_escaped(w, str_make(user.p, n));
        if (n == user.len)
            return;
        pen_text(w, "\\u0020");
        user = str_from_byte(user, n + 1);
    }
}

/* "-" where there was none that could be read, as other servers have it. */
static void record_request_line(struct pen *w, const struct exchange *x)
{
    pen_escaped(w, x->head.method.name);
    if (x->head.method.name.len > 0)
        pen_text(w, " ");
    record_url(w, x);
    if (x->head.method.name.len > 0)
        pen_text(w, x->head.minor == 0 ? " HTTP/1.0" : " HTTP/1.1");
}

static void record_common(struct pen *w, const struct exchange *x, struct str user)
{
    pen_text(w, x->from->peer_text);
    pen_text(w, " - ");
    pen_user(w, user);
    pen_text(w, " [");
    pen_text(w, record_time((time_t)(loop_wall() / 1000000), CLOCK_COMMON));
    pen_text(w, "] \"");
    record_request_line(w, x);
    pen_text(w, "\" ");
    pen_number(w, x->status);
    pen_text(w, " ");
    pen_number(w, x->bytes_out);
    pen_text(w, "\n");
}

/* What "auto" means at the sink that there is now. */
static enum log_format record_format(const struct exchange *x, unsigned traits)
{
    enum log_format f = x->conf->log.format;
    if (f != LOG_FORMAT_AUTO)
        return f;
    return (traits & LOG_IS_TERMINAL) != 0 ? LOG_FORMAT_SHORT : LOG_FORMAT_JSON;
}

/* URL: see record_json(). */
static void record_write(struct exchange *x, struct str made_url)
{
    unsigned traits = log_access_traits();
    if (traits == 0)
        return;
    struct str user = trust_user(x);
    size_t url = x->target.path.len + x->rq.target.len;
    size_t room =
        RECORD_FIXED + 6 * (x->sentence.len + user.len + (url > 2 * URL_MAX ? 2 * URL_MAX : url) +
                            x->head.method.name.len + x->target.scheme_name.len +
                            x->target.host.name.len + x->rq.host.len);
    struct log_buf *b = &x->engine->log;
    char *start = log_buf_room(b, room);
    struct pen w = {start, start + room, false};
    enum log_format format = record_format(x, traits);
    if ((traits & LOG_IS_JOURNAL) != 0)
        pen_text(&w, LOG_JOURNAL_INFO);
    if (format == LOG_FORMAT_JSON)
        record_json(&w, x, user, made_url);
    else if (format == LOG_FORMAT_COMMON)
        record_common(&w, x, user);
    else
        record_short(&w, x, user, traits);
    b->len += (size_t)(w.p - start);
}

/* Puts S, or MAX bytes of it, at *P, which moves on; gives how many. */
static uint8_t keep_text(char **p, struct str s, size_t max)
{
    size_t n = s.len < max ? s.len : max;
    if (n > 0)
        memcpy(*p, s.p, n);
    *p += n;
    return (uint8_t)n;
}

static uint64_t keep_sentence(struct ring *sentences, struct str text)
{
    struct sentence s;
    if (text.len == 0)
        return 0;
    memcpy(s.text, text.p, text.len + 1);
    return ring_put(sentences, &s, text.len + 1) + 1;
}

static uint16_t record_place(const struct exchange *x)
{
    const struct tally_place *place = x->facts.place;
    return place == NULL ? TALLY_PLACES : (uint16_t)(place - x->engine->stats->tally.places);
}

size_t record_make(struct record *r, const struct exchange *x)
{
    const struct addr *peer = &x->facts.peer;
    char *p = r->text;
    r->t = x->t;
    r->id = x->id;
    r->bytes_in = x->bytes_in;
    r->bytes_out = x->bytes_out;
    r->body = x->seen.body;
    r->sentence = r->heads = 0;
    r->source = x->from->id;
    r->position = x->seen.position;
    r->seat = x->facts.seat;
    r->protocol = x->facts.protocol;
    r->tls = x->facts.tls_version;
    memcpy(&r->peer, &peer->in6, sizeof r->peer);
    r->peer_len = peer->len <= sizeof r->peer ? (uint8_t)peer->len : 0;
    r->fault = (uint8_t)x->fault;
    r->is_reused = x->facts.is_reused;
    r->is_ahead = x->is_ahead;
    r->minor = (uint8_t)x->head.minor;
    r->status = (uint16_t)x->status;
    r->retries = (uint16_t)x->retry.tries;
    r->place = record_place(x);
    r->client_len = keep_text(&p, str_from(x->from->peer_text), RECORD_CLIENT);
    r->method_len = keep_text(&p, x->head.method.name, RECORD_METHOD);
    struct pen w = {p, p + RECORD_URL + 1, true};
    record_url(&w, x);
    if (w.p == w.end) /* nobody may take it for another one */
        memcpy(--w.p - 3, "...", 3);
    r->url_len = (uint8_t)(w.p - p);
    r->parent_len = keep_text(&w.p, record_parent_of(x), RECORD_PARENT);
    return (size_t)(w.p - (char *)r);
}

enum record_kind record_kind(const struct record *r)
{
    if (r->fault == FAULT_NONE)
        return r->status >= 400 ? RECORD_REFUSED : RECORD_WELL;
    return r->fault == FAULT_CLIENT_GONE || r->fault == FAULT_CREDENTIALS ? RECORD_LEFT
                                                                          : RECORD_FAILED;
}

/* What tlsfan itself answers or breaks off is kept apart from what others do, so that neither takes
 * the other's place. NULL: it went well. */
static struct ring *record_failures(struct stats *s, const struct record *r)
{
    enum record_kind kind = record_kind(r);
    if (kind == RECORD_WELL)
        return NULL;
    return kind == RECORD_FAILED ? s->failures : s->refusals;
}

/* R, of X, with its heads, to where they are kept. Its place on the stack is not for every request.
 */
__attribute__((noinline)) static void record_keep_heads(struct record *r, const struct exchange *x,
                                                        struct ring *failures)
{
    struct failure f;
    struct engine *e = x->engine;
    size_t n = seen_write_both(&f.heads, x);
    if (e->credit > 0) {
        e->credit--;
        r->heads = ring_put(e->stats->heads, &f.heads, n) + 1;
    }
    if (failures == NULL)
        return;
    memcpy(&f.r, r, sizeof f.r);
    struct str sentence = record_details(x);
    memcpy(f.s.text, sentence.p, sentence.len);
    f.s.text[sentence.len] = '\0';
    ring_put(failures, &f, offsetof(struct failure, heads) + n);
}

/* The URL of R where it is whole. */
static struct str record_whole_url(const struct record *r)
{
    bool is_whole = r->url_len < RECORD_URL;
    return str_make(r->text + r->client_len + r->method_len, is_whole ? r->url_len : 0);
}

void record_end(struct exchange *x)
{
    struct stats *s = x->engine->stats;
    struct record r;
    size_t n = record_make(&r, x);
    struct ring *failures = record_failures(s, &r);
    r.sentence = keep_sentence(s->sentences, x->sentence);
    if (failures != NULL || x->engine->credit > 0)
        record_keep_heads(&r, x, failures);
    ring_put(s->records, &r, n);
    record_write(x, record_whole_url(&r));
}
