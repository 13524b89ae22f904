/* SPDX-License-Identifier: Apache-2.0 */
/* A name to an open, verified stream (RFC 8305, "Happy Eyeballs"). Both families are asked for at
 * once; addresses are tried in turns of family beginning with IPv6, a new attempt every 250 ms or
 * as soon as one fails. The first that connects goes on to TLS; only when its handshake is cut off
 * are the remaining addresses tried. A handshake that offered a session may have failed because of
 * it: the same address is tried again without one, once. Where all have refused they are all tried
 * again in a moment (upstream/outage.h).
 *
 *     RESOLVE -> RACE -> TLS -> over        TLS -> RACE when the peer closes inside the handshake,
 *                                                      or does not like the session
 */
#include "upstream/dial.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "conf/policy.h"
#include "conf/rule.h"
#include "net/sock.h"
#include "upstream/outage.h"

enum {
    RESOLUTION_DELAY = 50,  /* ms that A waits for AAAA, RFC 8305 section 3 */
    ATTEMPT_DELAY = 250,    /* ms, section 5 */
    ATTEMPT_DELAY_MIN = 10, /* ms, the same */
    ATTEMPTS_MAX = 40,      /* at once */
    TARGET_TEXT = 600       /* two names and a port */
};

enum dial_state {
    DIAL_RESOLVE, /* no attempt has been made */
    DIAL_RACE,    /* attempts run, or addresses are awaited */
    DIAL_TLS,     /* waits for the handshake */
    DIAL_OVER     /* waits for the reaper */
};

/* One of the two queries. IPv6 is [0]: it goes first. */
struct family {
    struct dial *dial;
    struct dns_query *query; /* NULL when answered or not asked */
    struct addr *addrs;      /* heap, N of them */
    unsigned n, next;
};

/* A TCP connection being made. Owner: its dial. */
struct attempt {
    struct list link;
    struct dial *dial;
    struct event event;
    struct addr addr;
    struct reap reap;
    int fd;
};

/* Owner: whoever holds the token. Closed by dial_cancel() or when it is over. */
struct dial {
    struct loop *loop;
    struct dns *dns;
    enum dial_state state;
    struct conf *conf; /* a reference */
    const struct rule *rule;
    struct tls_sessions *sessions; /* borrowed */
    dial_fn fn;
    void *arg;
    char *host;    /* of the request: named in faults, and verified */
    char *connect; /* where to connect: a name, with a dot when it means that one alone, or an
                      address */
    uint16_t port, rule_port;
    bool tls, http2;
    struct policy_who who;
    bool is_mapped; /* `connect` is the operator's word, and not the host */
    struct family families[2];
    unsigned turn;        /* the family whose address is next */
    bool is_delayed;      /* A has come first and waits for AAAA */
    bool fresh;           /* a session was offered in vain: none is any more */
    bool has_passing;     /* something failed in a way that may pass by itself */
    bool is_resting;      /* all have failed, and are tried again after `step` */
    bool was_cut;         /* and that was for a handshake that was cut off: not a second time */
    struct list attempts; /* the oldest first */
    unsigned n_attempts;
    struct stream *stream; /* in its handshake */
    struct addr peer;      /* of `stream` */
    struct deadline total; /* connect_timeout */
    struct deadline step;  /* next attempt, or the end of the resolution delay or of the rest */
    struct post begin;     /* a literal address needs no query */
    struct fault fault;    /* the most telling one so far */
    int64_t started, resolved, connected, refused; /* µs, 0 = not yet */
    struct reap reap;
};

static void dial_next(struct dial *d);
static bool attempt_start(struct dial *d, const struct addr *addr);
static int64_t attempt_delay(const struct dial *d);

/* ---- the end */

static void attempt_free(void *object)
{
    free(object);
}

static void attempt_close(struct attempt *a)
{
    list_remove(&a->link);
    a->dial->n_attempts--;
    event_del(&a->event);
    if (a->fd >= 0)
        close(a->fd);
    loop_reap(a->dial->loop, &a->reap, attempt_free, a);
}

static void close_attempts(struct dial *d)
{
    struct list *it;
    while ((it = list_first(&d->attempts)) != NULL)
        attempt_close(container_of(it, struct attempt, link));
}

static void dial_free(void *object)
{
    struct dial *d = object;
    conf_unref(&d->conf);
    free(d->host);
    free(d->connect);
    free(d->families[0].addrs);
    free(d->families[1].addrs);
    free(d);
}

void dial_cancel(struct dial *d)
{
    if (d->state == DIAL_OVER)
        return;
    d->state = DIAL_OVER;
    for (int i = 0; i < 2; i++) {
        if (d->families[i].query != NULL)
            dns_cancel(d->families[i].query);
        d->families[i].query = NULL;
    }
    close_attempts(d);
    stream_close(d->stream);
    d->stream = NULL;
    deadline_close(&d->total);
    deadline_close(&d->step);
    loop_unpost(&d->begin);
    loop_reap(d->loop, &d->reap, dial_free, d);
}

static int64_t between(int64_t from, int64_t to)
{
    return from == 0 || to < from ? 0 : to - from;
}

/* Tells what came of it: STREAM, or NULL and d->fault. */
static void dial_finish(struct dial *d, struct stream *stream)
{
    int64_t now = loop_now();
    struct dial_result r = {.stream = stream, .fault = stream == NULL ? &d->fault : NULL};
    r.dns_us = between(d->started, d->resolved == 0 ? now : d->resolved);
    r.connect_us = between(d->resolved, d->connected == 0 ? now : d->connected);
    r.tls_us = d->tls ? between(d->connected, now) : 0;
    r.peer = d->peer;
    if (stream != NULL) {
        d->stream = NULL; /* the callee's from now on */
        outage_end(str_from(d->connect), d->port);
    }
    dial_cancel(d);
    d->fn(d->arg, &r);
}

/* How much a fault says about why the origin cannot be reached. */
static int weight(enum fault_code code)
{
    switch (code) {
    case FAULT_NONE:
        return 0;
    case FAULT_DNS:
        return 1;
    case FAULT_DNS_TIMEOUT:
        return 2;
    case FAULT_UNROUTABLE:
        return 3;
    case FAULT_CONNECT_TIMEOUT:
        return 4;
    case FAULT_REFUSED:
        return 5;
    case FAULT_ADDRESS_DENIED: /* the operator's own word, though another address was tried */
        return 6;
    default:
        return 7;
    }
}

/* Of an address that is not HOST's it must be said whose it is; TLS has said it. */
static void dial_note(struct dial *d, const struct fault *f)
{
    char *text = d->fault.text;
    d->has_passing = d->has_passing || f->code == FAULT_REFUSED || f->code == FAULT_UP_CLOSED;
    if (weight(f->code) < weight(d->fault.code))
        return;
    d->fault = *f;
    size_t len = strlen(text);
    if (d->is_mapped && f->code != FAULT_UP_CLOSED)
        snprintf(text + len, sizeof(d->fault.text) - len, " (connect_to for %s)", d->host);
}

/* Where it connects, for a sentence. */
static const char *print_target(const struct dial *d, char *dst, size_t cap)
{
    const char *name = d->is_mapped ? d->connect : d->host;
    bool is_v6 = strchr(name, ':') != NULL;
    int n = snprintf(dst, cap, is_v6 ? "[%s]:%u" : "%s:%u", name, (unsigned)d->port);
    if (d->is_mapped && n > 0 && (size_t)n < cap)
        snprintf(dst + n, cap - (size_t)n, " (connect_to for %s)", d->host);
    return dst;
}

/* ---- TLS */

static void on_tls_ready(void *arg)
{
    struct dial *d = arg;
    stream_pause(d->stream);
    stream_set_user(d->stream, NULL, NULL);
    dial_finish(d, d->stream);
}

/* Nothing of a request has been sent, and what has failed may be the session. */
static void dial_afresh(struct dial *d)
{
    struct addr addr = d->peer;
    d->fresh = true;
    d->state = DIAL_RACE;
    if (attempt_start(d, &addr))
        deadline_set(&d->step, attempt_delay(d));
    else
        dial_next(d);
}

static void on_tls_fault(void *arg, const struct fault *f)
{
    struct dial *d = arg;
    struct fault copy = *f;
    bool had_offered = tls_stream_has_offered(d->stream);
    stream_close(d->stream);
    d->stream = NULL;
    if (had_offered && copy.code != FAULT_TLS_CERTIFICATE) {
        dial_afresh(d);
        return;
    }
    if (copy.code == FAULT_UP_CLOSED) {
        dial_note(d, &copy);
        d->state = DIAL_RACE;
        dial_next(d);
        return;
    }
    d->fault = copy;
    dial_finish(d, NULL);
}

static void on_tls_eof(void *arg, bool clean)
{
    struct fault f;
    (void)clean;
    fault_set(&f, FAULT_UP_CLOSED, "the origin closed the connection inside the TLS handshake");
    on_tls_fault(arg, &f);
}

static size_t on_tls_data(void *arg, const char *p, size_t n)
{
    (void)arg;
    (void)p;
    (void)n;
    return 0;
}

static const struct stream_user tls_user = {
    .on_ready = on_tls_ready,
    .on_data = on_tls_data,
    .on_eof = on_tls_eof,
    .on_fault = on_tls_fault,
};

/* FD has connected to A. */
static void dial_connected(struct dial *d, int fd, const struct addr *a)
{
    close_attempts(d);
    deadline_clear(&d->step);
    d->connected = loop_now();
    d->peer = *a;
    if (!d->tls) {
        struct stream *s = stream_new(d->loop, fd, a);
        stream_pause(s);
        dial_finish(d, s);
        return;
    }
    struct addr literal;
    char where[TARGET_TEXT];
    struct tls_peer peer = {
        .ctx = d->rule->tls.ctx,
        .name = str_from(d->rule->sni[0] != '\0' ? d->rule->sni : d->host),
        .where = str_from(print_target(d, where, sizeof(where))),
        .verify = d->rule->tls.verify,
        .http2 = d->http2,
        .sessions = d->sessions,
        .fresh = d->fresh,
    };
    peer.is_ip = addr_parse_ip(&literal, peer.name, 0);
    d->state = DIAL_TLS;
    d->stream = tls_stream_new(d->loop, fd, a, &peer);
    stream_set_user(d->stream, &tls_user, d);
    stream_start(d->stream);
}

/* ---- attempts */

static void on_attempt(evutil_socket_t fd, short what, void *arg)
{
    struct attempt *a = arg;
    struct dial *d = a->dial;
    (void)what;
    int err = sock_connect_result(fd);
    if (err != 0) {
        struct fault f;
        sock_fault(&f, err, &a->addr);
        dial_note(d, &f);
        attempt_close(a);
        dial_next(d);
        return;
    }
    a->fd = -1;
    struct addr addr = a->addr;
    dial_connected(d, fd, &addr);
}

/* Starts connecting to ADDR; false when it may not or cannot be tried, d->fault says why. */
static bool attempt_start(struct dial *d, const struct addr *addr)
{
    struct fault f;
    const struct upstream_conf *u = &d->conf->upstream;
    if (!policy_address(d->conf, addr, d->who, &f)) {
        dial_note(d, &f);
        return false;
    }
    int fd = sock_connect(addr, addr_family(addr) == AF_INET ? &u->bind4 : &u->bind6);
    if (fd < 0) {
        sock_fault(&f, errno, addr);
        dial_note(d, &f);
        return false;
    }
    if (d->n_attempts == ATTEMPTS_MAX)
        attempt_close(container_of(list_first(&d->attempts), struct attempt, link));
    d->peer = *addr;
    d->n_attempts++;
    struct attempt *a = xcalloc(1, sizeof(*a));
    a->dial = d;
    a->fd = fd;
    a->addr = *addr;
    event_assign(&a->event, d->loop->base, fd, EV_WRITE, on_attempt, a);
    event_add(&a->event, NULL);
    list_push_back(&d->attempts, &a->link);
    return true;
}

/* How long an attempt is alone (ms): all addresses have their turn in the first half of the time
 * that there is, however many they are. */
static int64_t attempt_delay(const struct dial *d)
{
    int64_t whole = d->conf->upstream.connect_timeout;
    unsigned n = d->families[0].n + d->families[1].n;
    int64_t share = n > 0 ? whole / 2 / n : ATTEMPT_DELAY;
    if (whole == 0 || share > ATTEMPT_DELAY)
        return ATTEMPT_DELAY;
    return share > ATTEMPT_DELAY_MIN ? share : ATTEMPT_DELAY_MIN;
}

/* The next address, families taking turns; NULL when there is none now. */
static const struct addr *next_addr(struct dial *d)
{
    for (int i = 0; i < 2; i++) {
        struct family *f = &d->families[d->turn];
        d->turn = 1 - d->turn;
        if (f->next < f->n)
            return &f->addrs[f->next++];
    }
    return NULL;
}

static bool is_resolving(const struct dial *d)
{
    return d->families[0].query != NULL || d->families[1].query != NULL;
}

/* All addresses have failed. True when they are to be tried again in a moment. */
static bool dial_rest(struct dial *d)
{
    bool is_cut = d->fault.code == FAULT_UP_CLOSED;
    if (!d->has_passing || (is_cut && d->was_cut))
        return false;
    int64_t ms = outage_wait(str_from(d->connect), d->port, &d->refused);
    if (ms == 0)
        return false;
    d->was_cut = is_cut;
    d->has_passing = false;
    d->is_resting = true;
    d->families[0].next = 0;
    d->families[1].next = 0;
    deadline_set(&d->step, ms);
    return true;
}

/* Tries the next address; waits when there is none but something is under way; else it is over. */
static void dial_next(struct dial *d)
{
    const struct addr *a;
    if (d->is_delayed || d->is_resting)
        return;
    while ((a = next_addr(d)) != NULL) {
        if (!attempt_start(d, a))
            continue;
        d->state = DIAL_RACE;
        deadline_set(&d->step, attempt_delay(d));
        return;
    }
    if (list_is_empty(&d->attempts) && !is_resolving(d) && !dial_rest(d))
        dial_finish(d, NULL);
}

static void on_step(void *arg)
{
    struct dial *d = arg;
    d->is_delayed = false;
    d->is_resting = false;
    dial_next(d);
}

static void on_total(void *arg)
{
    struct dial *d = arg;
    struct fault f;
    long long ms = d->conf->upstream.connect_timeout;
    char text[ADDR_TEXT];
    char where[TARGET_TEXT];
    print_target(d, where, sizeof(where));
    if (d->state == DIAL_TLS) {
        tls_stream_spoil(d->stream);
        fault_set(
            &f, FAULT_CONNECT_TIMEOUT,
            "the TLS handshake with %s at %s did not end within %lld ms (upstream.connect_timeout)",
            where, addr_print(&d->peer, text), ms);
    } else if (!list_is_empty(&d->attempts))
        fault_set(&f, FAULT_CONNECT_TIMEOUT,
                  "%s did not take a connection within %lld ms (upstream.connect_timeout)", where,
                  ms);
    else
        fault_set(&f, FAULT_DNS_TIMEOUT,
                  "%s was not resolved within %lld ms (upstream.connect_timeout)", d->connect, ms);
    if (d->state == DIAL_TLS)
        f.phrase = "TLS handshake with %s timed out";
    /* What happened before says more than that time ran out, but not a name that one family lacks.
     */
    if (weight(d->fault.code) < weight(f.code) || d->state == DIAL_TLS)
        d->fault = f;
    dial_finish(d, NULL);
}

/* ---- addresses */

static void take_addrs(struct dial *d, struct family *f, const struct addr *addrs, unsigned n)
{
    if (n > 0)
        f->addrs = xmalloc(n * sizeof(*addrs));
    for (f->n = 0; f->n < n; f->n++) {
        f->addrs[f->n] = addrs[f->n];
        addr_set_port(&f->addrs[f->n], d->port);
    }
    if (f->n > 0 && d->resolved == 0)
        d->resolved = loop_now();
}

/* The name that was found with a domain of the search list is judged as the written one was. What
 * the operator wrote is not. False with F. */
static bool may_be(const struct dial *d, struct str full, struct fault *f)
{
    struct str host = str_from(d->host);
    if (full.len == 0 || d->is_mapped)
        return true;
    if (!d->who.exempt && !policy_full_host(d->conf, host, full, f))
        return false;
    const struct rule *rule = rule_find_full(d->conf, host, full, d->rule_port);
    if (rule == d->rule)
        return true;
    char shown[256];
    fault_set(
        f, FAULT_DENIED,
        "%s has become %.200s by the search list, for which rule \"%s\" (%s) holds: try again, "
        "or write the whole name",
        d->host, str_escape(shown, sizeof(shown), full), rule->pattern, rule->where);
    return false;
}

static void on_answer(void *arg, const struct dns_answer *answer)
{
    struct family *f = arg;
    struct dial *d = f->dial;
    struct fault refusal;
    bool is_v6 = f == &d->families[0];
    f->query = NULL;
    if (answer->n > 0 && !may_be(d, answer->full, &refusal))
        dial_note(d, &refusal);
    else
        take_addrs(d, f, answer->addrs, answer->n);
    /* That a family has no address explains nothing while the other one may have some. */
    if (answer->n == 0 && (!answer->is_nodata || d->fault.code == FAULT_NONE))
        dial_note(d, answer->fault);
    if (d->state == DIAL_TLS || (!list_is_empty(&d->attempts) && deadline_is_set(&d->step)))
        return;
    d->is_delayed = !is_v6 && f->n > 0 && d->families[0].query != NULL && d->state == DIAL_RESOLVE;
    if (d->is_delayed)
        deadline_set(&d->step, RESOLUTION_DELAY);
    else
        dial_next(d);
}

static void on_begin(void *arg)
{
    dial_next(arg);
}

/* Asks for the addresses, or takes the one that is written. */
static void dial_resolve(struct dial *d)
{
    static const int families[2] = {AF_INET6, AF_INET};
    struct addr literal;
    if (addr_parse_ip(&literal, str_from(d->connect), d->port)) {
        take_addrs(d, &d->families[0], &literal, 1);
        loop_post(d->loop, &d->begin);
        return;
    }
    for (int i = 0; i < 2; i++) {
        struct family *f = &d->families[i];
        if (d->conf->dns.family != AF_UNSPEC && d->conf->dns.family != families[i])
            continue;
        f->query = dns_lookup(d->dns, str_from(d->connect), families[i], on_answer, f);
    }
}

/* Where to connect: the rule's word, then the first connect_to that matches, then the host itself.
 */
static void choose_target(struct dial *d, const struct up_want *want)
{
    d->port = want->port;
    d->rule_port = want->rule_port;
    d->who.exempt = want->exempt;
    struct str target = want->host;
    const struct connect_to *to = conf_connect_to(want->conf, want->host, want->port);
    if (want->rule->connect_host[0] != '\0') {
        target = str_from(want->rule->connect_host);
        d->port = want->rule->connect_port != 0 ? want->rule->connect_port : want->port;
        d->who.exempt = true;
    } else if (to != NULL) {
        d->port = to->to_port != 0 ? to->to_port : want->port;
        if (to->to_host[0] != '\0') {
            target = str_from(to->to_host);
            d->who.exempt = true;
        }
    }
    d->is_mapped = target.p != want->host.p;
    d->connect = xasprintf("%.*s%s", STR_ARG(target), want->is_rooted && !d->is_mapped ? "." : "");
}

struct dial *dial_start(struct dns *dns, const struct up_want *want, struct tls_sessions *sessions,
                        dial_fn fn, void *arg)
{
    struct dial *d = xcalloc(1, sizeof(*d));
    d->loop = dns_loop(dns);
    d->dns = dns;
    d->conf = conf_ref((struct conf *)want->conf);
    d->rule = want->rule;
    d->sessions = sessions;
    d->fn = fn;
    d->arg = arg;
    d->tls = want->tls;
    d->http2 = want->rule->http2 && !want->h1_only;
    d->host = xstrndup(want->host.p, want->host.len);
    d->who.is_local = want->is_local;
    d->families[0].dial = d;
    d->families[1].dial = d;
    d->started = loop_now();
    list_init(&d->attempts);
    deadline_init(&d->total, d->loop, on_total, d);
    deadline_init(&d->step, d->loop, on_step, d);
    post_init(&d->begin, on_begin, d);
    choose_target(d, want);
    deadline_set(&d->total, want->conf->upstream.connect_timeout);
    dial_resolve(d);
    return d;
}
