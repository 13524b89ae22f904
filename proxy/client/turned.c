/* SPDX-License-Identifier: Apache-2.0 */
/* A client that does not know of us: see turned_impl.h. Where it was going is known when it comes;
 * what it speaks is told from its first bytes, which stay in its stream, for whoever reads them
 * then. That is the reader of requests; or, behind a CONNECT that is put in front of them, a tunnel
 * or TLS. Its stream tells another user meanwhile, so that nothing on the ordinary path knows. */
#include "client/client_impl.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log_limit.h"
#include "client/intercept_impl.h"
#include "client/turned_impl.h"
#include "conf/policy.h"
#include "conf/rule.h"
#include "exchange/hold.h"
#include "http/h1_first.h"
#include "net/outgoing.h"
#include "net/own_addr.h"
#include "net/sock.h"
#include "net/stream_share.h"
#include "net/tls_hello.h"
#include "own/name_map.h"

enum {
    SILENCE_MS = 300, /* after which the server is expected to speak first */
    KEPT_FREE = 2048, /* first bytes that are kept however full memory is: most hellos, those with
                         a key share of ML-KEM too, are whole by then, and go by their name */
    HTTP_PORT = 80,
    HTTPS_PORT = 443,
    TURNED_NAME = 256,
    CONNECT_TEXT = 2 * (TURNED_NAME + 8) + 64
};

/* Owner: its client, whose from.turned is `side`. */
struct turned {
    struct source_turned side;
    struct addr to;
    enum listener_kind kind;
    bool may_tunnel;       /* to its port, whatever it speaks */
    bool has_begun;        /* a byte has come */
    bool is_late;          /* it has said nothing for SILENCE_MS, and is waited for */
    bool is_decided;       /* `decided` is posted */
    bool is_http;          /* and so; else a CONNECT */
    struct h1_first first; /* while it may be HTTP */
    bool is_hello;         /* what has come may be one of TLS */
    struct post decided;
    struct deadline timer;
    char name[TURNED_NAME];   /* where to: what side.to.name points to */
    char address[ADDR_TEXT];  /* side.address */
    char sni[TLS_HELLO_NAME]; /* "": no name is asked for */
};

_Static_assert((int)TURNED_NAME >= (int)INTERCEPT_NAME, "it holds a name");
_Static_assert((int)TURNED_NAME >= (int)NAME_MAP_NAME, "it holds a name");
_Static_assert((int)TURNED_NAME >= (int)ADDR_TEXT, "it holds an address");

/* ---- where it was going */

static void turned_set_name(struct turned *t)
{
    struct addr literal;
    struct uri_host *to = &t->side.to;
    to->name = str_from(t->name);
    to->is_ip = addr_parse_ip(&literal, to->name, 0);
    to->is_ip6 = to->is_ip && addr_family(&literal) == AF_INET6;
}

/* A connection to an address that is L's own has been turned by nobody. */
static bool turned_is_here(const struct turned *t, const struct client_listener *l)
{
    if (addr_port(&t->to) != addr_port(&l->addr))
        return false;
    return addr_same_ip(&t->to, &l->addr) || (addr_is_any(&l->addr) && own_addr_has(&t->to));
}

static enum turned_to turned_where(const struct turned *t, const struct client_listener *l)
{
    if (l->kind == LISTENER_TRANSPARENT)
        return turned_is_here(t, l) ? TURNED_HERE : TURNED_ELSEWHERE;
    if (l->kind == LISTENER_HOST)
        return TURNED_ELSEWHERE;
    if (addr_is_loopback(&t->to))
        return TURNED_LOOPBACK;
    return name_map_has(&t->to) && t->side.to.is_ip ? TURNED_UNKNOWN : TURNED_ELSEWHERE;
}

static void turned_find(struct turned *t, const struct client_listener *l, int fd)
{
    if (!sock_original(fd, &t->to))
        t->to = l->addr;
    t->to = addr_plain(&t->to);
    t->side.to.port = addr_port(&t->to);
    t->side.is_captured = listener_is_captured(l->kind);
    bool is_named = t->side.is_captured && name_map_find(&t->to, t->name);
    addr_print_ip(&t->to, is_named ? t->address : t->name);
    t->side.address = str_from(t->address);
    turned_set_name(t);
    t->side.to.is_rooted = is_named; /* no domain of the search list is added once more */
    t->side.where = turned_where(t, l);
}

bool turned_is_http(int fd, enum listener_kind kind)
{
    struct addr to;
    if (kind == LISTENER_TRANSPARENT)
        return sock_original(fd, &to) && addr_port(&to) == HTTP_PORT;
    return kind != LISTENER_CAPTURED && kind != LISTENER_HOST;
}

void turned_tell(const struct client *c, struct str why)
{
    const struct uri_host *to = &c->from.turned->to;
    log_limited(LOG_LEVEL_WARNING, "%s: its connection to %.*s:%u was closed: %.*s",
                c->from.peer_text, STR_ARG(to->name), to->port, STR_ARG(why));
}

/* ---- what it is, is known */

/* All that is known of one whose TLS asks for a name is said by that; but a captured one goes where
 * it was going, unless what is inside is ours to ask for. */
static void turned_take_sni(struct client *c)
{
    struct turned *t = c->turned;
    const struct conf *conf = c->cs->engine->use->conf;
    char name[INTERCEPT_NAME];
    if (t->sni[0] == '\0' || !t->side.to.is_ip)
        return;
    intercept_name(name, str_from(t->sni), t->side.to.name);
    struct str host = str_from(name);
    const struct rule *rule = rule_find(conf, host, t->side.to.port);
    if (t->side.is_captured && !conf_intercepts(conf, rule, host))
        return;
    memcpy(t->name, name, sizeof(name));
    turned_set_name(t);
}

/* The CONNECT that a client that knew of us would have sent. */
static size_t turned_print_connect(const struct turned *t, char *dst)
{
    const struct uri_host *to = &t->side.to;
    const char *open = to->is_ip6 ? "[" : "", *close = to->is_ip6 ? "]" : to->is_rooted ? "." : "";
    int n = snprintf(dst, CONNECT_TEXT, "CONNECT %s%.*s%s:%u HTTP/1.1\r\nHost: %s%.*s%s:%u\r\n\r\n",
                     open, STR_ARG(to->name), close, to->port, open, STR_ARG(to->name), close,
                     to->port);
    return (size_t)n;
}

static void turned_on_decided(void *arg)
{
    struct client *c = arg;
    struct turned *t = c->turned;
    char text[CONNECT_TEXT];
    if (t->kind == LISTENER_TRANSPARENT && outgoing_is_ours(&c->from.peer, &t->to))
        t->side.where = TURNED_LOOP;
    c->from.kind = t->is_http                 ? SOURCE_TRANSPARENT
                   : t->kind == LISTENER_HOST ? SOURCE_HOST
                                              : SOURCE_TURNED;
    if (!t->is_http) {
        turned_take_sni(c);
        stream_unread(c->stream, text, turned_print_connect(t, text));
    }
    turned_end(c);
    client_set_state(c, CLIENT_HEAD);
    stream_set_user(c->stream, &client_user, c);
    client_run(c);
}

/* Goes on in a turn of its own: nothing is read inside what tells of it. */
static void turned_decide(struct client *c, bool is_http)
{
    c->turned->is_decided = true;
    c->turned->is_http = is_http;
    deadline_clear(&c->turned->timer);
    c->blocked = true;
    stream_pause(c->stream);
    loop_post(c->cs->engine->loop, &c->turned->decided);
}

static void turned_decide_on(struct client *c, enum h1_first_is what, struct str p)
{
    struct turned *t = c->turned;
    bool is_http = what == H1_FIRST_HTTP && t->kind == LISTENER_TRANSPARENT;
    /* No use as a tunnel; so it gets at least an answer, if it can read one. */
    if (what == H1_FIRST_OTHER && !t->may_tunnel)
        is_http = h1_first_is_request(&t->first, p.p, p.len);
    t->side.is_blind = what != H1_FIRST_TLS;
    turned_decide(c, is_http);
}

/* ---- the first bytes */

static enum h1_first_is turned_look(struct turned *t, const char *p, size_t n)
{
    enum h1_first_is what = h1_first_look(&t->first, p, n);
    t->is_hello = what == H1_FIRST_TLS;
    if (t->is_hello) {
        enum tls_hello_is hello = tls_hello_read(p, n, t->sni);
        return hello == TLS_HELLO_MORE   ? H1_FIRST_MORE
               : hello == TLS_HELLO_NONE ? H1_FIRST_OTHER
                                         : H1_FIRST_TLS;
    }
    /* A tunnel that is captured is none of HTTP: no need to wait for the rest of a line. */
    bool is_text = (unsigned char)p[0] < 0x80 && p[0] != 0x16;
    return what == H1_FIRST_MORE && is_text && t->kind == LISTENER_CAPTURED ? H1_FIRST_OTHER : what;
}

/* Nothing more is waited for. */
static void turned_settle(struct client *c, struct str p)
{
    struct turned *t = c->turned;
    turned_decide_on(c, t->is_hello ? H1_FIRST_TLS : h1_first_settle(&t->first, p.p, p.len), p);
}

static size_t turned_on_data(void *arg, const char *p, size_t n)
{
    struct client *c = arg;
    struct turned *t = c->turned;
    struct fault f;
    enum h1_first_is what = turned_look(t, p, n);
    if (what != H1_FIRST_MORE)
        turned_decide_on(c, what, str_make(p, n));
    else if (n > KEPT_FREE && !engine_has_room(c->cs->engine, &f))
        turned_settle(c, str_make(p, n));
    else if (!t->has_begun)
        deadline_set(&t->timer, client_conf(c)->header_timeout);
    t->has_begun = true;
    return 0;
}

/* ---- the stream meanwhile, and time */

/* A silent one may only not have asked yet; others wait for a server that speaks first. */
static bool turned_is_patient(const struct turned *t)
{
    return t->kind == LISTENER_TRANSPARENT && (!t->may_tunnel || t->side.to.port == HTTP_PORT);
}

/* Through to the address, whatever it will say. */
static void turned_decide_blindly(struct client *c)
{
    c->turned->side.is_blind = true;
    turned_decide(c, false);
}

static void turned_on_ready(void *arg)
{
    struct client *c = arg;
    struct turned *t = c->turned;
    if (t->kind == LISTENER_HOST ||
        (t->kind == LISTENER_CAPTURED && !conf_may_intercept(c->cs->engine->use->conf)))
        turned_decide_blindly(c);
}

/* Its client says no more; but it may want to hear what the server says by itself. Who only looks
 * whether this listener is there is one of the operator's. */
static void turned_on_eof(void *arg, bool clean)
{
    struct client *c = arg;
    const struct turned *t = c->turned;
    struct str rest = stream_rest(c->stream);
    (void)clean;
    if (rest.len > 0)
        turned_settle(c, rest);
    else if (turned_is_patient(t) || t->side.where == TURNED_HERE)
        client_close(c);
    else
        turned_decide_blindly(c);
}

static void turned_on_fault(void *arg, const struct fault *f)
{
    struct client *c = arg;
    log_limited(LOG_LEVEL_DEBUG, "%s: %s", c->from.peer_text, f->text);
    client_close(c);
}

static const struct stream_user turned_user = {
    .on_ready = turned_on_ready,
    .on_data = turned_on_data,
    .on_eof = turned_on_eof,
    .on_fault = turned_on_fault,
};

/* A silent one is late with its hello, and not one whose server speaks first: without the name in
 * that its tunnel would be refused, or pass what a rule may have read. */
static bool turned_owes_hello(const struct client *c)
{
    const struct turned *t = c->turned;
    const struct conf *conf = c->cs->engine->use->conf;
    return !policy_name(conf, t->side.to.name) ||
           (t->side.to.port == HTTPS_PORT && conf_may_intercept(conf));
}

/* It has not said enough. */
static void turned_on_timer(void *arg)
{
    struct client *c = arg;
    struct turned *t = c->turned;
    if (!t->has_begun && (c->cs->grace_ms > 0 || turned_is_patient(t))) {
        client_close(c);
    } else if (!t->has_begun && sock_has_input(c->stream->line.fd)) {
        deadline_set(&t->timer, SILENCE_MS); /* it has, and is read in this turn */
    } else if (!t->has_begun && !t->is_late && turned_owes_hello(c)) {
        t->is_late = true;
        deadline_set(&t->timer, client_conf(c)->header_timeout);
    } else if (!t->has_begun) {
        turned_decide_blindly(c);
    } else if (t->is_hello) {
        turned_tell(c, STR("its TLS hello took longer than client.header_timeout"));
        client_close(c);
    } else {
        turned_settle(c, stream_rest(c->stream));
    }
}

void turned_drain(struct client *c, int64_t grace_ms)
{
    if (!c->turned->has_begun && !c->turned->is_decided)
        deadline_set(&c->turned->timer, grace_ms);
}

/* ---- life */

/* Its first bytes decide; so they are not the reader's. */
static void turned_wait(struct client *c)
{
    struct turned *t = c->turned;
    int64_t idle = c->cs->grace_ms > 0 ? c->cs->grace_ms : client_conf(c)->idle_timeout;
    client_set_state(c, CLIENT_FIRST);
    client_set_timer(c, false);
    deadline_set(&t->timer, turned_is_patient(t) ? idle : SILENCE_MS);
    stream_set_user(c->stream, &turned_user, c);
}

void turned_begin(struct client *c, const struct client_listener *l)
{
    struct turned *t = xcalloc(1, sizeof *t);
    c->turned = t;
    c->from.turned = &t->side;
    c->from.kind = SOURCE_TRANSPARENT;
    t->kind = l->kind;
    post_init(&t->decided, turned_on_decided, c);
    deadline_init(&t->timer, c->cs->engine->loop, turned_on_timer, c);
    turned_find(t, l, c->stream->line.fd);
    t->may_tunnel = t->side.is_captured || policy_connect_port(l->conf, t->side.to.port);
    c->from.is_local = !t->side.is_captured && own_addr_has(&c->from.peer);
    if (t->side.is_captured)
        snprintf(c->from.peer_text, sizeof c->from.peer_text, "command");
    stream_count_in(c->stream, c->cs->engine->budget, c->stream->fixed + sizeof *t);
    if (l->kind != LISTENER_CAPTURED_HTTP)
        turned_wait(c);
}

void turned_end(struct client *c)
{
    struct turned *t = c->turned;
    if (t == NULL)
        return;
    loop_unpost(&t->decided);
    deadline_close(&t->timer);
}
