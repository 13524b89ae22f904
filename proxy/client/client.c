/* SPDX-License-Identifier: Apache-2.0 */
/* A connection from its first byte to its end, and its timers. client_run() is the one place where
 * requests begin and end; it may be called from any callback. */
#include "client/client.h"

#include <stdlib.h>

#include "base/log_limit.h"
#include "base/state.h"
#include "client/client_impl.h"
#include "client/intercept_impl.h"
#include "client/parked_impl.h"
#include "client/secure_impl.h"
#include "client/turned_impl.h"
#include "exchange/expect.h"
#include "exchange/hold.h"
#include "exchange/trust.h"
#include "net/stream_share.h"
#include "net/tls_wire.h"

enum {
    SPARE_REQUESTS = 256,
    REST_MS = 5000,   /* between two reads of a body that nobody waits for any more */
    CLOSED_A_MS = 32, /* idle connections in a drain: the others go on meanwhile */
    ASKED_AND_ENDED =
        500000 /* µs between a request and the end of its client, where it was meant */
};

/* ---- flow */

/* Those that are not moved run from when they began. */
void client_set_timer(struct client *c, bool has_read)
{
    enum client_timer is = TIMER_NONE;
    int64_t ms = 0;
    if (c->state == CLIENT_BODY && c->reading->is_told && backlog_len(&c->reading->held) > 0) {
        is = TIMER_TOLD;
        ms = EXPECT_MS;
    } else if (c->state == CLIENT_BODY && c->reading->item.done) {
        is = TIMER_REST;
        ms = client_conf(c)->body_timeout;
        ms = ms > 0 && ms < REST_MS ? ms : REST_MS;
    } else if (c->state == CLIENT_BODY && !c->blocked && !request_may_wait(c->reading)) {
        is = TIMER_BODY;
        ms = client_conf(c)->body_timeout;
    } else if (c->state == CLIENT_HEAD && c->has_partial && !c->blocked) {
        is = TIMER_HEAD;
        ms = client_conf(c)->header_timeout;
    } else if (c->state == CLIENT_HEAD && c->order.n == 0 && list_is_empty(&c->waiting)) {
        is = TIMER_IDLE;
        ms = c->cs->grace_ms > 0 ? c->cs->grace_ms : client_conf(c)->idle_timeout;
    }
    bool is_moved = has_read && (is == TIMER_BODY || is == TIMER_REST);
    if (is != c->timer_is || is_moved) {
        c->timer_is = is;
        c->timed = loop_now();
        sweep_set_from(&c->cs->timers, &c->timer, ms, c->timed);
    }
    if (is == TIMER_IDLE)
        parked_rest(c); /* again: what kept it from being parked may be over */
    else
        parked_stir(c);
}

/* ---- where things begin and end */

#define TO(state) STATE_BIT(CLIENT_##state)

void client_set_state(struct client *c, enum client_state to)
{
    enum { ENDS = TO(TO_LINGER) | TO(TO_RESET) | TO(CLOSED) };
    static const struct state_row states[] = {
        [CLIENT_HEAD] = {"HEAD", TO(HEAD) | TO(BODY) | TO(SHAKES) | TO(FIRST) | TO(TUNNEL) |
                                     TO(LAST) | TO(STOPPED) | ENDS},
        [CLIENT_SHAKES] = {"SHAKES", TO(HEAD) | TO(CLOSED)},
        [CLIENT_FIRST] = {"FIRST", TO(HEAD) | TO(CLOSED)},
        [CLIENT_BODY] = {"BODY", TO(HEAD) | TO(TUNNEL) | TO(LAST) | TO(STOPPED) | ENDS},
        [CLIENT_TUNNEL] = {"TUNNEL", TO(CLOSED)},
        [CLIENT_LAST] = {"LAST", TO(STOPPED) | TO(TO_CLOSE) | TO(TO_RESET) | TO(CLOSED)},
        [CLIENT_STOPPED] = {"STOPPED", ENDS},
        [CLIENT_TO_CLOSE] = {"TO_CLOSE", TO(TO_LINGER) | TO(CLOSED)},
        [CLIENT_TO_LINGER] = {"TO_LINGER", TO(CLOSED)},
        [CLIENT_TO_RESET] = {"TO_RESET", TO(CLOSED)},
        [CLIENT_CLOSED] = {"CLOSED", 0},
    };
    state_check("client", c->from.id, states, c->state, to);
    c->state = to;
}

/* Cancels what has not been answered. */
static void client_drop_requests(struct client *c)
{
    struct request *r;
    while ((r = client_first(c)) != NULL) {
        bool is_answered = r->item.done && backlog_len(&r->held) == 0;
        request_close(r, is_answered ? FAULT_NONE : FAULT_CLIENT_GONE);
    }
}

/* No answer is due any more: the connection ends once all has been written, with RST if IS_CUT.
 * Nothing may follow, so what was asked for behind it is cancelled. */
static void client_finish(struct client *c, bool is_cut)
{
    if (c->state < CLIENT_TO_CLOSE)
        client_set_state(c, is_cut                    ? CLIENT_TO_RESET
                            : c->state == CLIENT_LAST ? CLIENT_TO_CLOSE
                                                      : CLIENT_TO_LINGER);
    client_set_timer(c, false);
    client_drop_requests(c);
    clients_flush(c->cs);
    if (c->stream == NULL || stream_pending(c->stream) > 0)
        return; /* client_on_drain() or the write timeout goes on */
    struct stream *s = c->stream;
    c->stream = NULL;
    if (c->state == CLIENT_TO_RESET)
        stream_abort(s);
    else if (c->state == CLIENT_TO_CLOSE)
        stream_close(s);
    else
        stream_linger(s);
    client_close(c);
}

/* Takes off answers that are whole; what is next in line goes out. False: C is closed or closing.
 */
static bool client_retire(struct client *c)
{
    struct request *r;
    while ((r = client_first(c)) != NULL && r->item.done) {
        bool ends = !r->out.keep_alive;
        if (c->reading == r && (!ends || r->is_told))
            break; /* the rest of its body is read first, or some of it */
        bool is_cut = r->cut && r->out.framing == H1_FRAMING_CLOSE;
        if (r->cut)
            tls_wire_mute(c->stream);
        request_close(r, FAULT_NONE);
        if (ends) {
            client_finish(c, is_cut);
            return false;
        }
        if ((r = client_first(c)) != NULL)
            request_promote(r);
    }
    return true;
}

void client_run(struct client *c)
{
    if (client_is_over(c))
        return;
    if (c->running) {
        c->again = true;
        return;
    }
    c->running = true;
    do {
        c->again = false;
        struct request *next;
        if (!client_retire(c))
            break;
        while (!client_is_over(c) && (next = client_next(c)) != NULL)
            request_start(next);
    } while (c->again && !client_is_over(c));
    c->running = false;
    if (client_is_over(c))
        return;
    if (c->state >= CLIENT_LAST && c->order.n == 0) {
        client_finish(c, false);
        return;
    }
    client_set_flow(c);
    if (c->in.p == NULL) /* else client_on_data() does it */
        client_set_timer(c, false);
}

/* Others have had a turn. */
static void client_on_rested(void *arg)
{
    struct client *c = arg;
    c->heads = 0;
    client_run(c);
}

/* ---- what the stream tells */

/* True when a part of an answer has been given away, but not its end. */
static bool client_is_mid_answer(const struct client *c)
{
    const struct request *first = client_first(c);
    return first != NULL && !first->item.done && first->x.res == HALF_BODY;
}

static size_t client_on_data(void *arg, const char *p, size_t n)
{
    return client_read(arg, p, n);
}

/* Who does not know of us speaks to a server, which would answer whoever ends his side right behind
 * his request: printf | nc. Who does so later has given up. */
static bool client_waits_on(const struct client *c)
{
    bool is_whole = c->state == CLIENT_HEAD || c->state == CLIENT_LAST;
    if (c->from.kind != SOURCE_TRANSPARENT || !is_whole || c->order.n == 0)
        return false;
    const struct request *last = container_of(c->order.items.prev, struct request, item.link);
    /* An end that came before it was read from again is not seen until then. */
    int64_t since = last->x.t.begin > c->reads_since ? last->x.t.begin : c->reads_since;
    return loop_now() - since < ASKED_AND_ENDED;
}

/* The client has gone, or will send no more: like other proxies we take the end of its side for its
 * leaving, and cancel what it asked for; only what has been answered is still written. */
static void client_on_eof(void *arg, bool clean)
{
    struct client *c = arg;
    (void)clean;
    if (client_waits_on(c)) {
        if (c->state == CLIENT_HEAD)
            client_set_state(c, CLIENT_LAST);
        client_run(c);
        return;
    }
    if (c->from.kind == SOURCE_INTERCEPTED && !c->seen_request)
        intercept_left(c);
    clients_flush(c->cs);
    if (c->stream != NULL && stream_pending(c->stream) > 0 && !client_is_mid_answer(c))
        client_finish(c, false);
    else
        client_close(c);
}

static void client_on_drain(void *arg)
{
    struct client *c = arg;
    timeout_clear(&c->write_timer);
    if (c->state >= CLIENT_TO_CLOSE) {
        client_finish(c, false);
        return;
    }
    struct request *first = client_first(c);
    if (first != NULL)
        exchange_pause(&first->x, false);
    client_run(c);
}

static void client_on_fault(void *arg, const struct fault *f)
{
    struct client *c = arg;
    log_limited(LOG_LEVEL_DEBUG, "%s: %s", c->from.peer_text, f->text);
    if (c->from.kind == SOURCE_INTERCEPTED && !c->seen_request)
        intercept_failed(c, f);
    client_close(c);
}

const struct stream_user client_user = {
    .on_data = client_on_data,
    .on_eof = client_on_eof,
    .on_drain = client_on_drain,
    .on_fault = client_on_fault,
};

void client_shaken(struct client *c)
{
    size_t less = CLIENT_SHAKES_TLS - CLIENT_HOLDS_TLS;
    stream_count_in(c->stream, c->cs->engine->budget, c->stream->fixed - less);
    client_set_state(c, CLIENT_HEAD);
    c->has_partial = false;
    stream_set_user(c->stream, &client_user, c);
    client_run(c);
}

static void client_on_timer(void *arg)
{
    struct client *c = arg;
    struct fault f;
    switch (c->timer_is) {
    case TIMER_HEAD:
        if (c->from.kind == SOURCE_INTERCEPTED && !c->seen_request)
            intercept_unread(c);
        c->seen_request = true;
        client_refuse(c, FAULT_REQUEST_TIMEOUT,
                      "the request head took longer than client.header_timeout");
        client_run(c);
        break;
    case TIMER_BODY:
    case TIMER_REST:
        if (c->timer_is == TIMER_BODY && request_may_wait(c->reading)) {
            client_set_timer(c, false); /* an answer has overtaken it */
            break;
        }
        fault_say(&f, FAULT_REQUEST_TIMEOUT,
                  "the request body made a pause longer than client.body_timeout");
        client_stop_body(c, &f);
        break;
    case TIMER_TOLD:
        request_release(c->reading);
        client_run(c);
        break;
    default:
        client_close(c);
        break;
    }
}

/* No byte of an answer was taken for write_timeout: the client has stalled. */
static void client_on_write_timer(void *arg)
{
    struct client *c = arg;
    if (c->stream->bytes_out != c->write_mark) {
        c->write_mark = c->stream->bytes_out;
        sweep_set(&c->cs->timers, &c->write_timer, client_conf(c)->write_timeout);
        return;
    }
    log_limited(LOG_LEVEL_INFO, "%s: took no byte of its answer for client.write_timeout",
                c->from.peer_text);
    struct request *first = client_first(c);
    if (first != NULL && first->x.fault == FAULT_NONE)
        first->x.sentence = STR("the client took no byte of its answer for client.write_timeout");
    stream_abort(c->stream);
    client_close(c);
}

/* ---- life */

static void client_free(void *object)
{
    struct client *c = object;
    conf_unref(&c->conf);
    free(c->texts);
    free(c->turned);
    free(c);
}

void client_end(struct client *c)
{
    if (c->state != CLIENT_CLOSED)
        client_set_state(c, CLIENT_CLOSED);
    loop_unpost(&c->rested);
    timeout_clear(&c->timer);
    timeout_clear(&c->write_timer);
    parked_stir(c);
    list_remove(&c->link);
    c->cs->n--;
    loop_reap(c->cs->engine->loop, &c->reap, client_free, c);
}

void client_close(struct client *c)
{
    if (c->state == CLIENT_CLOSED)
        return;
    client_set_state(c, CLIENT_CLOSED);
    struct clients *cs = c->cs;
    bool cut = c->stream != NULL && (stream_pending(c->stream) > 0 || client_is_mid_answer(c));
    if (cs->gathering == c) {
        cut = cut || cs->gathered > 0;
        cs->gathering = NULL;
        cs->gathered = 0;
    }
    client_drop_requests(c);
    client_wait_end(c);
    intercept_end(c);
    secure_end(c);
    turned_end(c);
    if (cut) /* a FIN could be taken for the end of the answer */
        stream_abort(c->stream);
    else
        stream_close(c->stream);
    c->stream = NULL;
    c->in = str_make(NULL, 0);
    atomic_fetch_sub_explicit(cs->total, 1, memory_order_relaxed);
    client_end(c);
}

void client_become(struct client *c, enum source_kind kind, const struct uri_host *fixed,
                   struct str user)
{
    char *old = c->texts;
    struct str host = fixed->name;
    c->texts = NULL;
    if (host.p != NULL || user.len > 0)
        c->texts = xmalloc(host.len + user.len + 1);
    c->from.kind = kind;
    c->from.fixed = *fixed;
    if (host.p != NULL)
        c->from.fixed.name = str_make(memcpy(c->texts, host.p, host.len), host.len);
    c->from.user = str_make(NULL, 0);
    if (user.len > 0)
        c->from.user = str_make(memcpy(c->texts + host.len, user.p, user.len), user.len);
    c->from.person = trust_person(&c->from.peer, c->from.user);
    free(old);
}

struct client *client_new(struct clients *cs, struct stream *s, const struct source_side *who,
                          struct conf *conf)
{
    struct client *c = xzalloc(sizeof *c);
    c->cs = cs;
    c->stream = s;
    stream_count_in(s, cs->engine->budget, sizeof *c + stream_size(s));
    s->fail_fast = true;
    s->rest_max = conf->client.max_head + cs->engine->loop->rcap;
    c->conf = conf_ref(conf);
    c->from = *who;
    c->from.is_local = addr_is_loopback(&who->peer);
    c->from.id = ++cs->next_id;
    addr_print_ip(&who->peer, c->from.peer_text);
    client_become(c, who->kind, &who->fixed, who->user);
    order_init(&c->order);
    post_init(&c->rested, client_on_rested, c);
    timeout_init(&c->timer, client_on_timer, c);
    timeout_init(&c->write_timer, client_on_write_timer, c);
    list_init(&c->link);
    list_init(&c->resting);
    list_init(&c->waiting);
    list_push_back(&cs->all, &c->link);
    cs->n++;
    client_set_timer(c, false);
    stream_set_user(s, &client_user, c);
    return c;
}

void client_open(struct clients *cs, int fd, const struct addr *peer,
                 const struct client_listener *l)
{
    struct source_side who = {.kind = SOURCE_PROXY, .peer = *peer, .by_tls = l->tls};
    char self[ADDR_TEXT];
    if (!admit_client(cs, fd, peer, l))
        return;
    if (l->kind == LISTENER_FORWARD)
        parked_speak_for(&who, l->forward, addr_print(&l->addr, self));
    struct stream *s = stream_new(cs->engine->loop, fd, peer);
    struct client *c = client_new(cs, s, &who, l->conf);
    if (l->kind >= LISTENER_TRANSPARENT)
        turned_begin(c, l);
    else if (l->tls)
        secure_begin(c);
    stream_start(s);
}

static void clients_on_turn(void *arg)
{
    struct clients *cs = arg;
    if (cs->gathering != NULL)
        clients_flush(cs);
    if (cs->n_resting > cs->resting_most)
        parked_take(cs);
}

void clients_init(struct clients *cs, struct engine *e, _Atomic unsigned *total, unsigned max)
{
    memset(cs, 0, sizeof *cs);
    cs->engine = e;
    cs->total = total;
    cs->max = max;
    cs->gather = xmalloc(CLIENT_GATHER_MAX);
    cs->next_id = e->next_id;
    list_init(&cs->all);
    sweep_init(&cs->timers, e->loop);
    parked_init(cs);
    room_init(cs);
    slab_init(&e->requests, sizeof(struct request), SPARE_REQUESTS);
    loop_add_turn(e->loop, &cs->flush, clients_on_turn, cs);
}

void clients_clear(struct clients *cs)
{
    loop_remove_turn(&cs->flush);
    deadline_close(&cs->parking);
    room_clear(cs);
    sweep_close(&cs->timers);
    slab_clear(&cs->engine->requests);
    free(cs->gather);
}

void clients_drain(struct clients *cs, int64_t grace_ms)
{
    int64_t n = 0;
    cs->grace_ms = grace_ms;
    list_foreach (it, &cs->all) {
        struct client *c = container_of(it, struct client, link);
        if (c->timer_is == TIMER_IDLE)
            sweep_set(&cs->timers, &c->timer, grace_ms + n++ / CLOSED_A_MS);
        else if (c->secure != NULL)
            secure_drain(c, grace_ms);
        else if (c->state == CLIENT_SHAKES)
            intercept_drain(c, grace_ms);
        else if (c->state == CLIENT_FIRST)
            turned_drain(c, grace_ms);
    }
    parked_drain(cs, grace_ms, n, CLOSED_A_MS);
}

void clients_close(struct clients *cs)
{
    struct list *item;
    while ((item = list_first(&cs->all)) != NULL)
        client_close(container_of(item, struct client, link));
    parked_close_all(cs);
}
