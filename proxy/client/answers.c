/* SPDX-License-Identifier: Apache-2.0 */
/* Answers out: the one whose turn it is goes straight to the client, later ones wait in bounded
 * buffers and slow their upstream down. Small writes of a turn are gathered, so that a head, its
 * body, and the answers behind it leave in one system call. */
#include "client/ask.h"

#include <stdlib.h>

#include "exchange/expect.h"
#include "exchange/hold.h"
#include "exchange/trust.h"
#include "exchange/tunnel.h"

enum {
    HEAD_ON_STACK = 8192,
    SKIP_MOST = 16 * 1024 * 1024, /* bytes of a body that are read though nobody wants them */
    SKIP_LONG = 30 * 1000 * 1000  /* µs that they are read for, however slowly they come */
};

static const char joining[] = "the buffer that joins small writes";

static struct ask *ask_of(struct exchange *x)
{
    return container_of(x, struct ask, x);
}

void clients_flush(struct clients *cs)
{
    struct client *c = cs->gathering;
    size_t n = cs->gathered;
    cs->gathering = NULL;
    cs->gathered = 0;
    if (c == NULL || n == 0 || c->stream == NULL)
        return;
    claim_take(&cs->joining, joining);
    stream_put(c->stream, cs->gather, n);
    claim_give(&cs->joining, joining);
    client_mind_output(c);
}

void client_write(struct client *c, const struct iovec *iov, int n)
{
    struct clients *cs = c->cs;
    struct iovec all[6];
    size_t total = 0;
    if (cs->gathering != c) {
        clients_flush(cs);
        cs->gathering = c;
    }
    for (int i = 0; i < n; i++) {
        all[i + 1] = iov[i];
        total += iov[i].iov_len;
    }
    claim_take(&cs->joining, joining);
    bool is_full = cs->gathered + total > CLIENT_GATHER_MAX;
    if (is_full) {
        all[0] = (struct iovec){cs->gather, cs->gathered};
        cs->gathered = 0;
        stream_write(c->stream, all, n + 1);
    }
    for (int i = 0; i < n && !is_full; i++) {
        memcpy(cs->gather + cs->gathered, iov[i].iov_base, iov[i].iov_len);
        cs->gathered += iov[i].iov_len;
    }
    claim_give(&cs->joining, joining);
    if (is_full)
        client_mind_output(c);
}

struct ask *ask_new(struct client *c)
{
    struct engine *e = c->cs->engine;
    struct ask *a = slab_get(&e->asks);
    exchange_init(&a->x, e, &client_source, &c->from);
    a->c = c;
    backlog_init(&a->held, e->budget);
    memset(&a->out, 0, sizeof a->out);
    a->keep_alive = true;
    a->cut = false;
    a->is_told = false;
    memset(&a->trailers, 0, sizeof a->trailers);
    return a;
}

void ask_close(struct ask *a, enum fault_code fault)
{
    order_remove(&a->c->order, &a->item);
    if (a->c->reading == a)
        a->c->reading = NULL;
    if (a->c->switching == a)
        a->c->switching = NULL;
    backlog_clear(&a->held);
    exchange_close(&a->x, fault);
}

static bool ask_is_first(const struct ask *a)
{
    return order_first(&a->c->order) == &a->item;
}

bool ask_may_wait(const struct ask *a)
{
    const struct exchange *x = &a->x;
    bool is_told = x->is_continued && ask_is_first(a);
    return x->res != HALF_HEAD || (x->expects_continue && !rbody_has_begun(&x->rbody) && !is_told);
}

bool ask_may_skip(const struct ask *a)
{
    const struct exchange *x = &a->x;
    bool is_chunked = x->body.framing == H1_FRAMING_CHUNKED;
    if (x->head.method.id == METHOD_CONNECT)
        return !is_chunked && x->body.length == 0;
    uint64_t n = is_chunked ? x->bytes_in : x->body.left;
    bool is_late = a->item.done && loop_now() - x->t.end > SKIP_LONG;
    return x->req == HALF_DONE || (n <= SKIP_MOST && !expect_is_waiting(x) && !is_late);
}

static bool ask_is_last(const struct ask *a)
{
    return a->item.link.next == &a->c->order.items;
}

/* The first answer always has room for something, so that it can go on when the budget is spent. */
static size_t client_bound(const struct client *c, bool is_first)
{
    size_t bound = budget_bound(c->cs->engine->budget, c->cs->engine->use->conf->client.buffer);
    return is_first && bound < CLIENT_GATHER_MAX ? CLIENT_GATHER_MAX : bound;
}

bool client_is_full(const struct client *c)
{
    size_t waiting = c->stream == NULL ? 0 : stream_pending(c->stream);
    return waiting > 0 && waiting > client_bound(c, true);
}

void client_mind_output(struct client *c)
{
    size_t waiting = c->stream == NULL ? 0 : stream_pending(c->stream);
    if (waiting == 0)
        deadline_clear(&c->write_timer);
    else if (!deadline_is_set(&c->write_timer)) {
        c->write_mark = c->stream->bytes_out;
        deadline_set(&c->write_timer, c->cs->engine->use->conf->client.write_timeout);
    }
    struct order_item *first = order_first(&c->order);
    if (first != NULL && client_is_full(c))
        exchange_pause(&container_of(first, struct ask, item)->x, true);
}

/* Bytes of the answer of A, in its turn or held. */
static void ask_emit(struct ask *a, const struct iovec *iov, int n)
{
    size_t total = 0;
    for (int i = 0; i < n; i++)
        total += iov[i].iov_len;
    a->x.bytes_out += total;
    if (ask_is_first(a) && !a->is_told) {
        client_write(a->c, iov, n);
        return;
    }
    for (int i = 0; i < n; i++)
        backlog_add(&a->held, str_make(iov[i].iov_base, iov[i].iov_len));
    if (backlog_len(&a->held) > client_bound(a->c, false))
        exchange_pause(&a->x, true);
}

void ask_promote(struct ask *a)
{
    if (backlog_len(&a->held) == 0)
        return;
    struct client *c = a->c;
    clients_flush(c->cs);
    stream_write_buffer(c->stream, a->held.bytes);
    backlog_clear(&a->held);
    client_mind_output(c);
    if (stream_pending(c->stream) == 0)
        exchange_pause(&a->x, false);
}

void ask_release(struct ask *a)
{
    if (!a->is_told)
        return;
    a->is_told = false;
    if (ask_is_first(a))
        ask_promote(a);
}

/* Serialises a head. Interim ones leave at once: the client waits for them. */
static void ask_emit_head(struct ask *a, struct h1_head *head, const struct h1_out *out)
{
    char small[HEAD_ON_STACK];
    size_t size = h1_response_size(head->reason, &head->fields);
    char *dst = size <= sizeof small ? small : xmalloc(size);
    size_t n = h1_write_response(dst, head->status, head->reason, &head->fields, out);
    struct iovec iov = {dst, n};
    ask_emit(a, &iov, 1);
    if (dst != small)
        free(dst);
}

static void on_info(struct exchange *x, struct h1_head *head)
{
    struct ask *a = ask_of(x);
    if (x->head.minor == 0)
        return; /* a 1.0 client takes it for the answer */
    struct h1_out out = {.framing = H1_FRAMING_NONE, .keep_alive = true};
    ask_emit_head(a, head, &out);
    if (head->status != 100)
        return;
    a->is_told = !rbody_has_begun(&x->rbody) && a->c->reading == a && ask_is_first(a);
    client_run(a->c); /* the client may send now, and its time runs */
}

static void on_head(struct exchange *x, struct h1_head *head, enum h1_framing framing,
                    uint64_t length)
{
    struct ask *a = ask_of(x);
    a->out.peer_is_1_0 = x->head.minor == 0;
    a->out.framing = framing;
    a->out.length = length;
    if (framing == H1_FRAMING_CHUNKED && a->out.peer_is_1_0)
        a->out.framing = H1_FRAMING_CLOSE;
    a->out.omit_framing = x->res_is_bare;
    /* While draining the last one ends the connection. */
    a->out.keep_alive = a->keep_alive && !x->must_close && ask_may_skip(a) &&
                        a->out.framing != H1_FRAMING_CLOSE &&
                        !(x->engine->draining && ask_is_last(a));
    ask_emit_head(a, head, &a->out);
    if (a->is_told)
        client_run(a->c); /* the time that it is held runs */
}

static void on_body(struct exchange *x, const char *p, size_t n)
{
    struct ask *a = ask_of(x);
    char line[H1_CHUNK_HEAD_MAX];
    struct iovec iov[3] = {{NULL, 0}, {(char *)p, n}, {(char *)"\r\n", 2}};
    if (a->out.framing != H1_FRAMING_CHUNKED) {
        ask_emit(a, &iov[1], 1);
        return;
    }
    iov[0] = (struct iovec){line, h1_write_chunk_head(line, n)};
    ask_emit(a, iov, 3);
}

static void on_end(struct exchange *x, const struct fields *trailers)
{
    struct ask *a = ask_of(x);
    if (a->out.framing == H1_FRAMING_CHUNKED) {
        char small[HEAD_ON_STACK];
        size_t size = h1_trailers_size(trailers);
        char *dst = size <= sizeof small ? small : xmalloc(size);
        struct iovec iov = {dst, h1_write_trailers(dst, trailers)};
        ask_emit(a, &iov, 1);
        if (dst != small)
            free(dst);
    }
    a->item.done = true;
    if (x->must_close || !ask_may_skip(a))
        a->out.keep_alive = false;
    if (!ask_is_first(a) || a->c->reading == a)
        exchange_count(x);
    client_run(a->c);
}

/* What has been given stays; the connection ends behind it. */
static void on_cut(struct exchange *x)
{
    struct ask *a = ask_of(x);
    a->cut = true;
    a->item.done = true;
    a->out.keep_alive = false;
    client_run(a->c);
}

/* The upstream takes request body again. */
static void on_drain(struct exchange *x)
{
    struct client *c = ask_of(x)->c;
    if (c->reading == ask_of(x))
        c->body_full = false;
    client_run(c);
}

/* The tunnel has ended: its exchange gets its line, the client goes. */
static void on_tunnel_end(void *arg, uint64_t up, uint64_t down)
{
    struct ask *a = arg;
    struct client *c = a->c;
    c->tunnel = NULL;
    a->x.bytes_in += up;
    a->x.bytes_out += down;
    ask_close(a, FAULT_NONE);
    client_close(c);
}

static void on_tunnel(struct exchange *x, struct h1_head *head, struct stream *up, void *slot)
{
    struct ask *a = ask_of(x);
    struct client *c = a->c;
    struct h1_out out = {
        .framing = H1_FRAMING_NONE, .keep_alive = true, .is_upgrade = head != NULL};
    struct iovec established = {(char *)"HTTP/1.1 200 Connection established\r\n\r\n", 39};
    if (head != NULL)
        ask_emit_head(a, head, &out);
    else
        ask_emit(a, &established, 1);
    clients_flush(c->cs);
    c->state = CLIENT_TUNNEL;
    deadline_clear(&c->timer);
    deadline_clear(&c->write_timer);
    struct tunnel_ends ends = {.client = c->stream,
                               .up = up,
                               .slot = slot,
                               .timeout_ms = x->rule->tunnel_timeout,
                               .buffer = x->conf->client.buffer};
    c->stream = NULL;
    c->tunnel = tunnel_open(x->engine, &ends, on_tunnel_end, a);
}

/* From here on the connection speaks plain HTTP for one host, whose name must outlive the exchange.
 */
static void on_connect_plain(struct exchange *x)
{
    struct ask *a = ask_of(x);
    struct client *c = a->c;
    struct str name = x->target.host.name;
    struct iovec established = {(char *)"HTTP/1.1 200 Connection established\r\n\r\n", 39};
    ask_emit(a, &established, 1);
    a->out.keep_alive = x->req == HALF_DONE;
    a->item.done = true;
    if (name.len >= sizeof c->fixed_name) {
        client_close(c);
        return;
    }
    memcpy(c->fixed_name, name.p, name.len);
    c->from.fixed = x->target.host;
    c->from.fixed.name = str_make(c->fixed_name, name.len);
    c->from.is_trusted = true;
    struct str user = trust_user(x);
    if (user.len > 0)
        c->user = xstrndup(user.p, user.len);
    c->from.user = str_make(c->user, user.len);
    c->seen_request = false;
    client_run(c);
}

static void release(struct exchange *x)
{
    slab_put(&x->engine->asks, ask_of(x));
}

const struct source_ops client_source = {
    .on_info = on_info,
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_cut = on_cut,
    .on_tunnel = on_tunnel,
    .on_connect_plain = on_connect_plain,
    .on_drain = on_drain,
    .release = release,
};
