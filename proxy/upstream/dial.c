/* SPDX-License-Identifier: Apache-2.0 */
/* A name to an open, verified stream, step by step: `steps` below. Both families are asked for at
 * once, and the race (race.h) begins with what is there first, IPv4 after a moment; what comes
 * later joins it. The first address that connects goes on; only when its answer or its handshake is
 * cut off are the remaining ones tried. A handshake that offered a session may have failed because
 * of it: the same address is tried again without one, once. With a parent, names and addresses are
 * the parent's, and what is said of the origin's is the parent's word.
 *
 *     RESOLVE -> RACE -> ASK -> TICKET -> TLS -> over
 *
 *     ASK, TLS -> RACE when the peer closes inside them; TLS also when it does not like the session
 */
#include <stdlib.h>
#include <unistd.h>

#include "base/state.h"
#include "net/tls_issuers.h"
#include "upstream/dial_impl.h"
#include "upstream/outage.h"

enum { RESOLUTION_DELAY = 50 }; /* ms that A waits for AAAA, RFC 8305 section 3 */

static void dial_step_begin(struct dial *d, enum dial_state step);
static void dial_step_done(struct dial *d);

/* ---- the end */

#define TO(state) STATE_BIT(DIAL_##state)

static void dial_set_state(struct dial *d, enum dial_state to)
{
    static const struct state_row states[] = {
        [DIAL_RESOLVE] = {"RESOLVE", TO(RACE) | TO(OVER)},
        [DIAL_RACE] = {"RACE", TO(ASK) | TO(OVER)},
        [DIAL_ASK] = {"ASK", TO(TICKET) | TO(RACE) | TO(OVER)},
        [DIAL_TICKET] = {"TICKET", TO(TLS) | TO(OVER)},
        /* The handshake was cut off, or did not like its session. */
        [DIAL_TLS] = {"TLS", TO(RACE) | TO(OVER)},
        [DIAL_OVER] = {"OVER", 0},
    };
    state_check("dial", (uintptr_t)d, states, d->state, to);
    d->state = to;
}

static void dial_free(void *object)
{
    struct dial *d = CHECKED(dial, object);
    conf_unref(&d->conf);
    way_clear(&d->way);
    tls_issuers_unref(d->lacking);
    xfree(d);
}

void dial_cancel(struct dial *d)
{
    if (d->state == DIAL_OVER)
        return;
    dial_set_state(d, DIAL_OVER);
    for (int i = 0; i < 2; i++) {
        if (d->queries[i].token != NULL)
            dns_cancel(d->queries[i].token);
        d->queries[i].token = NULL;
    }
    race_close(&d->race);
    if (d->fd >= 0)
        close(d->fd);
    ask_close(&d->ask);
    if (d->offer.tickets != NULL)
        tickets_leave(d->offer.tickets, &d->ticket);
    stream_close(d->stream);
    d->stream = NULL;
    deadline_close(&d->total);
    deadline_close(&d->late);
    loop_unpost(&d->begin);
    loop_reap(d->loop, &d->reap, dial_free, d);
}

/* Tells what came of it: STREAM, or NULL and F. */
static void dial_finish(struct dial *d, struct stream *stream, const struct fault *f)
{
    int64_t now = loop_now();
    struct dial_result r = {.stream = stream, .fault = f, .lacking = d->lacking};
    r.dns_us = dial_between(d->started, d->resolved == 0 ? now : d->resolved);
    r.connect_us = dial_between(d->resolved, d->connected == 0 ? now : d->connected);
    r.tls_us = d->tls ? dial_between(d->connected, now) : 0;
    r.peer = d->race.peer;
    r.name = d->is_literal ? NULL : way_first_host(&d->way);
    dial_cancel(d);
    d->fn(d->arg, &r);
}

/* All steps are done: the stream is the callee's from now on. */
static void dial_succeed(struct dial *d)
{
    struct stream *s = d->stream;
    if (s == NULL)
        s = stream_new(d->loop, d->fd, &d->race.peer);
    d->fd = -1;
    d->stream = NULL;
    if (d->offer.tickets != NULL)
        tickets_done(d->offer.tickets, &d->ticket);
    stream_pause(s);
    outage_end(str_from(d->way.is_asked ? d->way.parent->host : d->way.connect),
               d->way.is_asked ? d->way.parent->port : d->way.port);
    dial_finish(d, s, NULL);
}

/* With what the race has noted. Of an address that is not HOST's it must be said whose it is; TLS
 * and a parent that was asked have said it. */
static void dial_fail_of_race(struct dial *d)
{
    struct fault *f = &d->race.fault;
    if (f->code != FAULT_UP_CLOSED && !d->is_refused)
        way_fail_first(&d->way, f);
    dial_finish(d, NULL, f);
}

/* F has ended what the race had won: the other addresses are tried. Not that of the way's end is
 * blamed that was cut off before. */
static void dial_cut_off(struct dial *d, const struct fault *f, bool is_first)
{
    stream_close(d->stream);
    d->stream = NULL;
    d->race.name = is_first ? way_first_host(&d->way) : d->way.connect;
    d->race.name_port = is_first ? way_first_port(&d->way) : d->way.port;
    race_note(&d->race, f);
    dial_step_begin(d, DIAL_RACE);
}

/* ---- resolve */

static bool is_resolving(const struct dial *d)
{
    return d->queries[0].token != NULL || d->queries[1].token != NULL;
}

static void take_addrs(struct dial *d, const struct addr *addrs, unsigned n)
{
    race_add(&d->race, addrs, n);
    if (n > 0 && d->resolved == 0)
        d->resolved = loop_now();
}

static void dial_on_answer(void *arg, const struct dns_answer *answer)
{
    struct dial_query *q = arg;
    struct dial *d = CHECKED(dial, q->dial);
    struct fault refusal;
    q->token = NULL;
    d->race.has_more = is_resolving(d);
    if (answer->n > 0 && !way_may_be(&d->way, answer->full, &refusal))
        race_note(&d->race, &refusal);
    else
        take_addrs(d, answer->addrs, answer->n);
    /* That a family has no address explains nothing while the other one may have some. */
    if (answer->n == 0 && (!answer->is_nodata || d->race.fault.code == FAULT_NONE))
        race_note(&d->race, answer->fault);
    if (d->state == DIAL_RACE)
        race_go(&d->race);
    else if (d->state == DIAL_RESOLVE && d->queries[0].token != NULL && d->resolved != 0)
        deadline_set(&d->late, RESOLUTION_DELAY);
    else if (d->state == DIAL_RESOLVE && (!is_resolving(d) || d->resolved != 0))
        dial_step_done(d);
}

/* A literal address, or what has come of IPv4 by now. */
static void dial_on_addrs(void *arg)
{
    dial_step_done(CHECKED(dial, arg));
}

/* Asks for the addresses, or takes the one that is written. */
static void resolve_begin(struct dial *d)
{
    static const int families[2] = {AF_INET6, AF_INET};
    struct addr literal;
    struct fault refusal;
    struct str name = str_from(way_first_host(&d->way));
    d->is_refused = !way_may(&d->way, &refusal);
    d->is_literal = addr_parse_ip(&literal, name, d->race.port);
    if (d->is_refused || d->is_literal) {
        if (d->is_refused)
            race_note(&d->race, &refusal);
        else
            take_addrs(d, &literal, 1);
        loop_post(d->loop, &d->begin);
        return;
    }
    for (int i = 0; i < 2; i++) {
        struct dial_query *q = &d->queries[i];
        if (d->conf->dns.family != AF_UNSPEC && d->conf->dns.family != families[i])
            continue;
        q->token = dns_lookup(d->dns, name, families[i], dial_on_answer, q);
    }
    d->race.has_more = true;
}

static void resolve_overdue(const struct dial *d, struct fault *f)
{
    long long ms = d->conf->upstream.connect_timeout;
    fault_set(f, FAULT_DNS_TIMEOUT, "%s was not resolved within %lld ms (upstream.connect_timeout)",
              way_first_host(&d->way), ms);
}

/* ---- race */

static void dial_on_race_end(void *arg, int fd)
{
    struct dial *d = CHECKED(dial, arg);
    if (fd < 0) {
        dial_fail_of_race(d);
        return;
    }
    d->fd = fd;
    d->connected = loop_now();
    dial_step_done(d);
}

static void race_begin(struct dial *d)
{
    deadline_clear(&d->late);
    race_go(&d->race);
}

static void race_overdue(const struct dial *d, struct fault *f)
{
    char where[WAY_TEXT];
    const struct parent *p = d->way.parent;
    if (list_is_empty(&d->race.attempts)) {
        resolve_overdue(d, f);
        return;
    }
    fault_set(f, FAULT_CONNECT_TIMEOUT,
              "%s%s did not take a connection within %lld ms (upstream.connect_timeout)",
              p != NULL ? "the parent proxy " : "",
              p != NULL ? p->shown : way_print(&d->way, where),
              (long long)d->conf->upstream.connect_timeout);
    if (p != NULL)
        f->phrase = "Connection to the parent proxy timed out";
}

/* ---- the parent */

static void dial_on_asked(void *arg, const struct fault *f)
{
    struct dial *d = CHECKED(dial, arg);
    if (f == NULL) {
        outage_end(str_from(way_first_host(&d->way)), way_first_port(&d->way));
        dial_step_done(d);
    } else if (f->code == FAULT_UP_CLOSED) {
        dial_cut_off(d, f, true);
    } else {
        dial_finish(d, NULL, f);
    }
}

static void ask_begin(struct dial *d)
{
    if (d->way.parent == NULL || d->way.is_asked) {
        dial_step_done(d);
        return;
    }
    struct ask_for what = {d->way.parent, way_authority(&d->way, d->target), d->offer.via};
    d->stream = stream_new(d->loop, d->fd, &d->race.peer);
    d->fd = -1;
    ask_start(&d->ask, d->stream, &what, dial_on_asked, d);
}

static void ask_overdue(const struct dial *d, struct fault *f)
{
    fault_set(f, FAULT_CONNECT_TIMEOUT,
              "the parent proxy %s did not answer CONNECT %s within %lld ms "
              "(upstream.connect_timeout)",
              d->way.parent->shown, d->target, (long long)d->conf->upstream.connect_timeout);
    f->phrase = "Parent proxy did not answer in time";
}

/* ---- the session */

static void ticket_begin(struct dial *d)
{
    bool may_wait = d->tls && !d->fresh && d->offer.tickets != NULL;
    if (!may_wait || tickets_go(d->offer.tickets, &d->ticket, d->fd))
        dial_step_done(d);
}

static void dial_on_ticket(void *arg)
{
    dial_step_done(CHECKED(dial, arg));
}

static void ticket_overdue(const struct dial *d, struct fault *f)
{
    char where[WAY_TEXT];
    fault_set(f, FAULT_CONNECT_TIMEOUT,
              "the TLS handshake with %s did not begin within %lld ms (upstream.connect_timeout), "
              "behind that of another connection",
              way_print(&d->way, where), (long long)d->conf->upstream.connect_timeout);
    f->phrase = "TLS handshake with %s timed out";
}

/* ---- TLS */

static void dial_on_tls_ready(void *arg)
{
    struct dial *d = CHECKED(dial, arg);
    stream_set_user(d->stream, NULL, NULL);
    dial_step_done(d);
}

/* Nothing of a request has been sent, and what has failed may be the session. */
static void dial_on_tls_fault(void *arg, const struct fault *f)
{
    struct dial *d = CHECKED(dial, arg);
    struct fault copy = *f;
    d->lacking = tls_issuers_ref(tls_client_lacking(d->stream));
    if (tls_client_has_offered(d->stream) && copy.code != FAULT_TLS_CERTIFICATE) {
        stream_close(d->stream);
        d->stream = NULL;
        d->fresh = true;
        race_again(&d->race);
        dial_step_begin(d, DIAL_RACE);
    } else if (copy.code == FAULT_UP_CLOSED) {
        dial_cut_off(d, &copy, false);
    } else {
        way_fail_tls(&d->way, &copy);
        dial_finish(d, NULL, &copy);
    }
}

static void dial_on_tls_eof(void *arg, bool clean)
{
    struct fault f;
    (void)clean;
    fault_set(&f, FAULT_UP_CLOSED, "the origin closed the connection inside the TLS handshake");
    dial_on_tls_fault(arg, &f);
}

static size_t dial_on_tls_data(void *arg, const char *p, size_t n)
{
    (void)arg;
    (void)p;
    (void)n;
    return 0;
}

static const struct stream_user tls_user = {
    .on_ready = dial_on_tls_ready,
    .on_data = dial_on_tls_data,
    .on_eof = dial_on_tls_eof,
    .on_fault = dial_on_tls_fault,
};

static void tls_begin(struct dial *d)
{
    struct addr literal;
    char where[WAY_TEXT];
    if (!d->tls) {
        dial_step_done(d);
        return;
    }
    struct tls_peer peer = {
        .ctx = d->way.rule->tls.ctx,
        .name = str_from(d->way.rule->sni[0] != '\0' ? d->way.rule->sni : d->way.host),
        .where = str_from(way_print(&d->way, where)),
        .verify = d->way.rule->tls.verify,
        .http2 = d->offer.http2,
        .sessions = d->offer.tickets == NULL ? NULL : &d->offer.tickets->sessions,
        .fresh = d->fresh,
    };
    peer.is_ip = addr_parse_ip(&literal, peer.name, 0);
    if (d->stream == NULL)
        d->stream = stream_new(d->loop, d->fd, &d->race.peer);
    tls_client_push(d->stream, &peer);
    d->fd = -1;
    stream_set_user(d->stream, &tls_user, d);
    stream_resume(d->stream);
    stream_start(d->stream);
}

static void tls_overdue(const struct dial *d, struct fault *f)
{
    char text[ADDR_TEXT];
    char where[WAY_TEXT];
    bool is_silent = tls_client_spoil(d->stream);
    fault_set(f, FAULT_CONNECT_TIMEOUT,
              "the TLS handshake with %s at %s %s within %lld ms (upstream.connect_timeout)",
              way_print(&d->way, where), addr_print(&d->race.peer, text),
              is_silent ? "got no answer" : "did not end",
              (long long)d->conf->upstream.connect_timeout);
    f->is_plain = is_silent;
    f->phrase = "TLS handshake with %s timed out";
}

/* ---- the steps */

static const struct {
    void (*begin)(struct dial *d);                          /* done at once when it is not needed */
    void (*overdue)(const struct dial *d, struct fault *f); /* connect_timeout has run out in it */
} steps[DIAL_OVER] = {
    [DIAL_RESOLVE] = {resolve_begin, resolve_overdue},
    [DIAL_RACE] = {race_begin, race_overdue},
    [DIAL_ASK] = {ask_begin, ask_overdue},
    [DIAL_TICKET] = {ticket_begin, ticket_overdue},
    [DIAL_TLS] = {tls_begin, tls_overdue},
};

static void dial_step_begin(struct dial *d, enum dial_state step)
{
    dial_set_state(d, step);
    steps[step].begin(d);
}

static void dial_step_done(struct dial *d)
{
    enum dial_state next = d->state + 1;
    if (next == DIAL_OVER)
        dial_succeed(d);
    else
        dial_step_begin(d, next);
}

/* What happened before says more than that time ran out, but not a name that one family lacks; and
 * nothing does where somebody has taken the connection. */
static void dial_on_total(void *arg)
{
    struct dial *d = CHECKED(dial, arg);
    struct fault f;
    steps[d->state].overdue(d, &f);
    if (d->state > DIAL_RACE || race_weight(d->race.fault.code) < race_weight(f.code))
        dial_finish(d, NULL, &f);
    else
        dial_fail_of_race(d);
}

/* ---- the beginning */

static void open_race(struct dial *d)
{
    d->race.loop = d->loop;
    d->race.conf = d->conf;
    d->race.port = way_first_port(&d->way);
    d->race.name = way_first_host(&d->way);
    d->race.name_port = d->race.port;
    d->race.who = d->way.who;
    if (d->way.parent != NULL)
        d->race.who.exempt = true;
    d->race.on_end = dial_on_race_end;
    d->race.arg = d;
    race_init(&d->race);
}

struct dial *dial_start(struct dns *dns, const struct up_where *where,
                        const struct dial_offer *offer, dial_fn fn, void *arg)
{
    struct dial *d = xcalloc(1, sizeof(*d));
    d->loop = dns_loop(dns);
    d->dns = dns;
    d->conf = conf_ref((struct conf *)where->conf);
    if (offer != NULL)
        d->offer = *offer;
    d->fn = fn;
    d->arg = arg;
    MAGIC_SET(dial, d);
    d->tls = where->tls;
    d->queries[0].dial = d;
    d->queries[1].dial = d;
    d->fd = -1;
    d->started = loop_now();
    deadline_init(&d->total, d->loop, dial_on_total, d);
    deadline_init(&d->late, d->loop, dial_on_addrs, d);
    post_init(&d->begin, dial_on_addrs, d);
    ticket_wait_init(&d->ticket, dial_on_ticket, d);
    way_init(&d->way, where);
    open_race(d);
    deadline_set(&d->total, d->offer.ms > 0 ? d->offer.ms : d->conf->upstream.connect_timeout);
    steps[d->state].begin(d);
    return d;
}
