/* SPDX-License-Identifier: Apache-2.0 */
/* Requests in: one connection's heads and bodies become exchanges. What arrives together runs
 * together (order.h); reading stops while room.c says so. client_run() is the one
 * place where things begin and end; it may be called from any callback. */
#include "client/client.h"

#include <stdlib.h>

#include "base/log_limit.h"
#include "client/admit.h"
#include "client/room.h"
#include "exchange/expect.h"
#include "exchange/hold.h"
#include "exchange/tunnel.h"
#include "net/stream_share.h"

enum {
    SPARE_ASKS = 256,
    REST_MS = 5000,  /* between two reads of a body that nobody waits for any more */
    CLOSED_A_MS = 32 /* idle connections in a drain: the others go on meanwhile */
};

static const struct client_conf *client_conf(const struct client *c)
{
    return &c->cs->engine->use->conf->client;
}

static struct ask *ask_at(struct order_item *item)
{
    return container_of(item, struct ask, item);
}

/* ---- reading */

/* Answers with F in its turn and reads no more. */
static void client_refuse(struct client *c, struct ask *a, const struct fault *f)
{
    c->state = CLIENT_LAST;
    order_push(&c->order, &a->item, true);
    a->item.started = true;
    a->keep_alive = false;
    exchange_count(&a->x);
    exchange_refuse(&a->x, f);
}

static void client_refuse_new(struct client *c, enum fault_code code, const char *text)
{
    struct fault f;
    fault_say(&f, code, text);
    client_refuse(c, ask_new(c), &f);
}

/* The first bytes of a connection may be another protocol's. True: dealt with. */
static bool client_is_foreign(struct client *c)
{
    bool is_silent = false;
    const char *what = h1_foreign(c->in.p, c->in.len, &is_silent);
    if (c->seen_request || what == NULL)
        return false;
    log_limited(LOG_LEVEL_WARNING, "%s: %s", c->from.peer_text, what);
    if (is_silent)
        client_close(c);
    else
        client_refuse_new(c, FAULT_BAD_REQUEST, what);
    return true;
}

/* Parses the head of N bytes into a new exchange. False: it has been refused. */
static bool client_parse(struct client *c, struct ask *a, size_t n)
{
    struct exchange *x = &a->x;
    struct str bytes = arena_dup(&x->arena, str_make(c->in.p, n));
    struct h1_error e;
    struct fault f;
    x->bytes_in = n;
    if (h1_parse_request(&x->head, bytes.p, bytes.len, client_conf(c)->lenient, &e) &&
        h1_body_of_request(&x->body, &x->head, &e)) {
        x->body.max_trailer = client_conf(c)->max_head;
        return true;
    }
    h1_request_fault(&f, &e);
    client_refuse(c, a, &f);
    return false;
}

/* A whole head of N bytes is there. */
static void client_take_head(struct client *c, size_t n)
{
    struct ask *a = ask_new(c);
    c->scanned = 0;
    if (++c->heads == CLIENT_HEADS_A_TURN)
        loop_post_next(c->cs->engine->loop, &c->rested);
    c->waits_since = 0;
    c->seen_request = true;
    c->timer_is = TIMER_NONE;
    deadline_clear(&c->timer);
    if (!client_parse(c, a, n))
        return;
    c->in = str_from_byte(c->in, n);
    const struct h1_head *head = &a->x.head;
    bool switches = head->method.id == METHOD_CONNECT || fields_has(&head->fields, FIELD_UPGRADE);
    a->keep_alive = forward_keep_alive(head);
    order_push(&c->order, &a->item, head->method.is_safe && !switches);
    if (switches)
        c->switching = a;
    if (h1_body_is_done(&a->x.body)) {
        client_request_ended(c, a);
    } else {
        c->state = CLIENT_BODY;
        c->reading = a;
    }
    if (c->order.n > 1) /* else it is counted as it begins */
        exchange_count(&a->x);
    client_run(c);
}

/* False: more bytes are needed. */
static bool client_read_head(struct client *c)
{
    bool lenient = client_conf(c)->lenient;
    if (c->scanned == 0 && c->in.p[0] == '\r' && c->in.len >= 2 && c->in.p[1] == '\n') {
        c->in = str_from_byte(c->in, 2); /* an empty line before a request (RFC 9112 §2.2) */
        return true;
    }
    if (c->scanned == 0 && client_is_foreign(c))
        return true;
    size_t n = h1_head_end(c->in.p, c->in.len, &c->scanned, lenient);
    size_t max = client_conf(c)->max_head;
    if (n > max || (n == 0 && c->in.len >= max)) {
        client_refuse_new(c, FAULT_HEAD_TOO_LARGE,
                          "the request head is larger than client.max_head");
        return true;
    }
    struct fault f;
    enum room room = client_room(c, n, &f);
    if (room == ROOM_NONE)
        client_refuse(c, ask_new(c), &f);
    else if (n > 0 && room == ROOM_ENOUGH)
        client_take_head(c, n);
    else
        return false;
    return true;
}

/* ---- flow */

/* Which timeout runs now. HAS_READ: something has just come, which moves that of a body; all others
 * run from when they began. */
static void client_set_timer(struct client *c, bool has_read)
{
    enum client_timer is = TIMER_NONE;
    int64_t ms = 0;
    if (c->state == CLIENT_BODY && c->reading->is_told && c->reading->held != NULL) {
        is = TIMER_TOLD;
        ms = EXPECT_MS;
    } else if (c->state == CLIENT_BODY && c->reading->item.done) {
        is = TIMER_REST;
        ms = client_conf(c)->body_timeout;
        ms = ms > 0 && ms < REST_MS ? ms : REST_MS;
    } else if (c->state == CLIENT_BODY && !c->blocked && !ask_may_wait(c->reading)) {
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
    if (is == c->timer_is && !is_moved)
        return;
    c->timer_is = is;
    deadline_set(&c->timer, ms);
}

/* Cancels what has not been answered. */
static void client_drop_asks(struct client *c)
{
    struct order_item *item;
    while ((item = order_first(&c->order)) != NULL) {
        bool is_answered = item->done && ask_at(item)->held == NULL;
        ask_close(ask_at(item), is_answered ? FAULT_NONE : FAULT_CLIENT_GONE);
    }
}

/* The last answer has been given: end properly once it has been written. Nothing may follow it, so
 * what was asked for behind it is cancelled. */
static void client_finish(struct client *c)
{
    c->finishing = true;
    c->state = CLIENT_LAST;
    client_set_timer(c, false);
    client_drop_asks(c);
    clients_flush(c->cs);
    if (c->stream == NULL || stream_pending(c->stream) > 0)
        return; /* on_drain() or the write timeout goes on */
    struct stream *s = c->stream;
    c->stream = NULL;
    if (c->cut)
        stream_abort(s);
    else if (c->said_last && !c->dropped)
        stream_close(s);
    else
        stream_linger(s);
    client_close(c);
}

/* Takes off answers that are whole; what is next in line goes out. False: C is closed or closing.
 */
static bool client_retire(struct client *c)
{
    struct order_item *first;
    while ((first = order_first(&c->order)) != NULL && first->done) {
        struct ask *a = ask_at(first);
        bool ends = !a->out.keep_alive;
        if (c->reading == a && (!ends || a->is_told))
            break; /* the rest of its body is read first, or some of it */
        c->cut = c->cut || (a->cut && a->out.framing == H1_FRAMING_CLOSE);
        ask_close(a, FAULT_NONE);
        if (ends) {
            client_finish(c);
            return false;
        }
        first = order_first(&c->order);
        if (first != NULL)
            ask_promote(ask_at(first));
    }
    return true;
}

void client_run(struct client *c)
{
    if (c->state == CLIENT_TUNNEL || c->state == CLIENT_CLOSED || c->finishing)
        return;
    if (c->running) {
        c->again = true;
        return;
    }
    c->running = true;
    do {
        c->again = false;
        struct order_item *next;
        if (!client_retire(c))
            break;
        while (c->state != CLIENT_TUNNEL && (next = client_next(c)) != NULL)
            ask_start(ask_at(next));
    } while (c->again && c->state != CLIENT_CLOSED && c->state != CLIENT_TUNNEL);
    c->running = false;
    if (c->state == CLIENT_CLOSED || c->state == CLIENT_TUNNEL || c->finishing)
        return;
    if (c->state == CLIENT_LAST && c->order.n == 0) {
        client_finish(c);
        return;
    }
    client_set_flow(c);
    if (c->in.p == NULL) /* else on_data() does it */
        client_set_timer(c, false);
}

/* Others have had a turn. */
static void on_rested(void *arg)
{
    struct client *c = arg;
    c->heads = 0;
    client_run(c);
}

/* ---- what the stream tells */

/* True when a part of an answer has been given away, but not its end. */
static bool client_is_mid_answer(const struct client *c)
{
    const struct order_item *first = order_first(&c->order);
    return first != NULL && !first->done &&
           container_of(first, const struct ask, item)->x.res == HALF_BODY;
}

static size_t on_data(void *arg, const char *p, size_t n)
{
    struct client *c = arg;
    c->in = str_make(p, n);
    c->heads = 0;
    bool more = true;
    while (more && c->in.len > 0 && !c->blocked) {
        if (c->state == CLIENT_HEAD)
            more = client_read_head(c);
        else if (c->state == CLIENT_BODY)
            client_read_body(c);
        else
            break;
        if (c->state == CLIENT_BODY || c->state == CLIENT_HEAD)
            client_set_flow(c);
    }
    size_t left = c->in.len;
    c->in = str_make(NULL, 0);
    if (c->state == CLIENT_CLOSED)
        return n;
    bool is_last = c->state == CLIENT_LAST;
    c->dropped = c->dropped || (is_last && left > 0);
    c->has_partial = left > 0;
    client_set_timer(c, true);
    return is_last ? n : n - left; /* whatever follows the last request will not be answered */
}

/* The client has gone, or will send no more: like other proxies we take the end of its side for its
 * leaving, and cancel what it asked for; only what has been answered is still written. */
static void on_eof(void *arg, bool clean)
{
    struct client *c = arg;
    (void)clean;
    clients_flush(c->cs);
    if (c->stream != NULL && stream_pending(c->stream) > 0 && !client_is_mid_answer(c))
        client_finish(c);
    else
        client_close(c);
}

static void on_drain(void *arg)
{
    struct client *c = arg;
    deadline_clear(&c->write_timer);
    if (c->finishing) {
        client_finish(c);
        return;
    }
    struct order_item *first = order_first(&c->order);
    if (first != NULL)
        exchange_pause(&ask_at(first)->x, false);
    client_run(c);
}

static void on_fault(void *arg, const struct fault *f)
{
    struct client *c = arg;
    log_limited(LOG_LEVEL_DEBUG, "%s: %s", c->from.peer_text, f->text);
    client_close(c);
}

static const struct stream_user client_user = {
    .on_data = on_data,
    .on_eof = on_eof,
    .on_drain = on_drain,
    .on_fault = on_fault,
};

static void on_timer(void *arg)
{
    struct client *c = arg;
    struct fault f;
    switch (c->timer_is) {
    case TIMER_HEAD:
        client_refuse_new(c, FAULT_REQUEST_TIMEOUT,
                          "the request head took longer than client.header_timeout");
        client_run(c);
        break;
    case TIMER_BODY:
    case TIMER_REST:
        if (c->timer_is == TIMER_BODY && ask_may_wait(c->reading)) {
            client_set_timer(c, false); /* an answer has overtaken it */
            break;
        }
        fault_say(&f, FAULT_REQUEST_TIMEOUT,
                  "the request body made a pause longer than client.body_timeout");
        client_stop_body(c, &f);
        break;
    case TIMER_TOLD:
        ask_release(c->reading);
        client_run(c);
        break;
    default:
        client_close(c);
        break;
    }
}

/* No byte of an answer was taken for write_timeout: the client has stalled. */
static void on_write_timer(void *arg)
{
    struct client *c = arg;
    if (c->stream->bytes_out != c->write_mark) {
        c->write_mark = c->stream->bytes_out;
        deadline_set(&c->write_timer, client_conf(c)->write_timeout);
        return;
    }
    log_limited(LOG_LEVEL_INFO, "%s: took no byte of its answer for client.write_timeout",
                c->from.peer_text);
    struct order_item *first = order_first(&c->order);
    if (first != NULL && ask_at(first)->x.fault == FAULT_NONE)
        ask_at(first)->x.sentence =
            STR("the client took no byte of its answer for client.write_timeout");
    stream_abort(c->stream);
    client_close(c);
}

/* ---- life */

static void client_free(void *object)
{
    struct client *c = object;
    conf_unref(&c->conf);
    free(c->user);
    free(c);
}

void client_close(struct client *c)
{
    if (c->state == CLIENT_CLOSED)
        return;
    c->state = CLIENT_CLOSED;
    struct clients *cs = c->cs;
    bool cut = c->stream != NULL && (stream_pending(c->stream) > 0 || client_is_mid_answer(c));
    if (cs->gathering == c) {
        cut = cut || cs->gathered > 0;
        cs->gathering = NULL;
        cs->gathered = 0;
    }
    client_drop_asks(c);
    client_wait_end(c);
    tunnel_close(c->tunnel);
    c->tunnel = NULL;
    if (cut) /* a FIN could be taken for the end of the answer */
        stream_abort(c->stream);
    else
        stream_close(c->stream);
    c->stream = NULL;
    c->in = str_make(NULL, 0);
    loop_unpost(&c->rested);
    deadline_close(&c->timer);
    deadline_close(&c->write_timer);
    list_remove(&c->link);
    cs->n--;
    atomic_fetch_sub_explicit(cs->total, 1, memory_order_relaxed);
    loop_reap(cs->engine->loop, &c->reap, client_free, c);
}

void client_open(struct clients *cs, int fd, const struct addr *peer,
                 const struct client_listener *l)
{
    if (!admit_client(cs, fd, peer, l))
        return;
    struct stream *s = stream_new(cs->engine->loop, fd, peer);
    struct client *c = xcalloc(1, sizeof *c);
    c->cs = cs;
    c->stream = s;
    stream_count_in(s, cs->engine->budget, sizeof *c + sizeof *s);
    s->fail_fast = true;
    s->rest_max = l->conf->client.max_head + cs->engine->loop->rcap;
    c->conf = conf_ref(l->conf);
    c->from.peer = *peer;
    c->from.forward = l->forward;
    c->from.is_local = addr_is_loopback(peer);
    c->from.id = ++cs->next_id;
    if (l->forward != NULL)
        addr_print(&l->addr, c->from.self);
    addr_print_ip(peer, c->from.peer_text);
    order_init(&c->order);
    post_init(&c->rested, on_rested, c);
    deadline_init(&c->timer, cs->engine->loop, on_timer, c);
    deadline_init(&c->write_timer, cs->engine->loop, on_write_timer, c);
    list_init(&c->link);
    list_init(&c->waiting);
    list_push_back(&cs->all, &c->link);
    cs->n++;
    client_set_timer(c, false);
    stream_set_user(s, &client_user, c);
    stream_start(s);
}

static void on_turn(void *arg)
{
    struct clients *cs = arg;
    if (cs->gathering != NULL)
        clients_flush(cs);
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
    room_init(cs);
    slab_init(&e->asks, sizeof(struct ask), SPARE_ASKS);
    loop_add_turn(e->loop, &cs->flush, on_turn, cs);
}

void clients_clear(struct clients *cs)
{
    loop_remove_turn(&cs->flush);
    room_clear(cs);
    slab_clear(&cs->engine->asks);
    free(cs->gather);
}

void clients_drain(struct clients *cs, int64_t grace_ms)
{
    int64_t n = 0;
    cs->grace_ms = grace_ms;
    list_foreach (it, &cs->all) {
        struct client *c = container_of(it, struct client, link);
        if (c->timer_is == TIMER_IDLE)
            deadline_set(&c->timer, grace_ms + n++ / CLOSED_A_MS);
    }
}

void clients_close(struct clients *cs)
{
    struct list *item;
    while ((item = list_first(&cs->all)) != NULL)
        client_close(container_of(item, struct client, link));
}
