/* SPDX-License-Identifier: Apache-2.0 */
/* A client as a source: its requests, and what their exchanges tell of the answers. */
#include "client/client_impl.h"

#include <stdlib.h>

#include "client/intercept_impl.h"
#include "client/turned_impl.h"
#include "exchange/expect.h"
#include "exchange/hold.h"
#include "exchange/trust.h"

enum {
    HEAD_ON_STACK = 8192,
    SKIP_MOST = 16 * 1024 * 1024, /* bytes of a body that are read though nobody wants them */
    SKIP_LONG = 30 * 1000 * 1000  /* µs that they are read for, however slowly they come */
};

static struct request *request_of(struct exchange *x)
{
    return container_of(x, struct request, x);
}

struct request *request_open(struct client *c)
{
    struct engine *e = c->cs->engine;
    struct request *r = slab_get(&e->requests);
    exchange_init(&r->x, e, &client_source, &c->from);
    r->c = c;
    backlog_init(&r->held, e->budget);
    memset(&r->out, 0, sizeof r->out);
    r->keep_alive = true;
    r->cut = false;
    r->is_told = false;
    memset(&r->trailers, 0, sizeof r->trailers);
    return r;
}

void request_close(struct request *r, enum fault_code fault)
{
    order_remove(&r->c->order, &r->item);
    if (r->c->reading == r)
        r->c->reading = NULL;
    if (r->c->switching == r)
        r->c->switching = NULL;
    backlog_clear(&r->held);
    exchange_close(&r->x, fault);
}

bool request_may_wait(const struct request *r)
{
    const struct exchange *x = &r->x;
    bool is_told = x->is_continued && request_is_first(r);
    return x->res != HALF_HEAD || (x->expects_continue && !rbody_has_begun(&x->rbody) && !is_told);
}

/* Not when it is much or takes long, nor where the client may never send it, for it waits for 100
 * (RFC 9110 §10.1.1). Nor behind the body of a CONNECT, though it has come: for another reader it
 * is what follows the request. */
bool request_may_skip(const struct request *r)
{
    const struct exchange *x = &r->x;
    bool is_chunked = x->body.framing == H1_FRAMING_CHUNKED;
    if (x->head.method.id == METHOD_CONNECT)
        return !is_chunked && x->body.length == 0;
    if (x->req == HALF_DONE)
        return true;
    uint64_t n = is_chunked ? x->bytes_in : x->body.left;
    bool is_late = r->item.done && loop_now() - x->t.end > SKIP_LONG;
    return n <= SKIP_MOST && !expect_is_waiting(x) && !is_late;
}

static bool request_is_last(const struct request *r)
{
    return r->item.link.next == &r->c->order.items;
}

/* Serialises a head. Interim ones leave at once: the client waits for them. */
static void request_emit_head(struct request *r, struct h1_head *head, const struct h1_out *out)
{
    char small[HEAD_ON_STACK];
    size_t size = h1_response_size(head->reason, &head->fields);
    char *dst = size <= sizeof small ? small : xmalloc(size);
    size_t n = h1_write_response(dst, head->status, head->reason, &head->fields, out);
    struct iovec iov = {dst, n};
    request_write(r, &iov, 1);
    if (dst != small)
        free(dst);
}

static void request_on_info(struct exchange *x, struct h1_head *head)
{
    struct request *r = request_of(x);
    if (x->head.minor == 0)
        return; /* a 1.0 client takes it for the answer */
    struct h1_out out = {.framing = H1_FRAMING_NONE, .keep_alive = true};
    request_emit_head(r, head, &out);
    if (head->status != 100)
        return;
    r->is_told = !rbody_has_begun(&x->rbody) && r->c->reading == r && request_is_first(r);
    client_run(r->c); /* the client may send now, and its time runs */
}

static void request_on_head(struct exchange *x, struct h1_head *head, enum h1_framing framing,
                            uint64_t length)
{
    struct request *r = request_of(x);
    r->out.peer_is_1_0 = x->head.minor == 0;
    r->out.framing = framing;
    r->out.length = length;
    if (framing == H1_FRAMING_CHUNKED && r->out.peer_is_1_0)
        r->out.framing = H1_FRAMING_CLOSE;
    r->out.omit_framing = x->res_is_bare;
    /* While draining the last one ends the connection. */
    r->out.keep_alive = r->keep_alive && !x->must_close && request_may_skip(r) &&
                        r->out.framing != H1_FRAMING_CLOSE &&
                        !(x->engine->draining && request_is_last(r));
    request_emit_head(r, head, &r->out);
    if (r->is_told)
        client_run(r->c); /* the time that it is held runs */
}

static void request_on_body(struct exchange *x, const char *p, size_t n)
{
    struct request *r = request_of(x);
    char line[H1_CHUNK_HEAD_MAX];
    struct iovec iov[3] = {{NULL, 0}, {(char *)p, n}, {(char *)"\r\n", 2}};
    if (r->out.framing != H1_FRAMING_CHUNKED) {
        request_write(r, &iov[1], 1);
        return;
    }
    iov[0] = (struct iovec){line, h1_write_chunk_head(line, n)};
    request_write(r, iov, 3);
}

static void request_on_end(struct exchange *x, const struct fields *trailers)
{
    struct request *r = request_of(x);
    if (r->c->state == CLIENT_TUNNEL) {
        request_close(r, FAULT_NONE);
        client_close(r->c);
        return;
    }
    if (r->out.framing == H1_FRAMING_CHUNKED) {
        char small[HEAD_ON_STACK];
        size_t size = h1_trailers_size(trailers);
        char *dst = size <= sizeof small ? small : xmalloc(size);
        struct iovec iov = {dst, h1_write_trailers(dst, trailers)};
        request_write(r, &iov, 1);
        if (dst != small)
            free(dst);
    }
    r->item.done = true;
    if (x->must_close || !request_may_skip(r))
        r->out.keep_alive = false;
    if (!request_is_first(r) || r->c->reading == r)
        exchange_count(x);
    client_run(r->c);
}

/* What has been given stays; the connection ends behind it. */
static void request_on_cut(struct exchange *x)
{
    struct request *r = request_of(x);
    r->cut = true;
    r->item.done = true;
    r->out.keep_alive = false;
    if (source_rules[x->from->kind].is_silent) {
        r->out.framing = H1_FRAMING_CLOSE; /* RST */
        x->bytes_in = 0;
        turned_tell(r->c, x->sentence);
    }
    client_run(r->c);
}

/* The upstream takes request body again. */
static void request_on_drain(struct exchange *x)
{
    struct client *c = request_of(x)->c;
    if (c->reading == request_of(x))
        c->body_full = false;
    client_run(c);
}

/* A CONNECT that was ours is not answered, nor counted as bytes that have come. */
static void request_write_established(struct request *r)
{
    if (source_rules[r->c->from.kind].is_silent) {
        r->x.bytes_in = 0;
        return;
    }
    struct iovec iov = {(char *)"HTTP/1.1 200 Connection established\r\n\r\n", 39};
    request_write(r, &iov, 1);
}

static struct stream *request_on_tunnel(struct exchange *x, struct h1_head *head)
{
    struct request *r = request_of(x);
    struct client *c = r->c;
    struct h1_out out = {
        .framing = H1_FRAMING_NONE, .keep_alive = true, .is_upgrade = head != NULL};
    if (head != NULL)
        request_emit_head(r, head, &out);
    else
        request_write_established(r);
    clients_flush(c->cs);
    client_set_state(c, CLIENT_TUNNEL);
    timeout_clear(&c->timer);
    timeout_clear(&c->write_timer);
    struct stream *stream = c->stream;
    c->stream = NULL;
    return stream;
}

/* From here on the connection speaks for one host. */
static void request_enter(struct request *r, enum source_kind kind)
{
    struct exchange *x = &r->x;
    request_write_established(r);
    r->out.keep_alive = x->req == HALF_DONE;
    r->item.done = true;
    client_become(r->c, kind, &x->target.host, trust_user(x));
    r->c->seen_request = false;
}

static void request_on_connect_plain(struct exchange *x)
{
    struct client *c = request_of(x)->c;
    request_enter(request_of(x), SOURCE_INSIDE);
    client_run(c);
}

static void request_on_connect_tls(struct exchange *x)
{
    struct client *c = request_of(x)->c;
    request_enter(request_of(x), SOURCE_INTERCEPTED);
    intercept_begin(c, x->conf->intercept.mint);
    client_run(c);
}

static void request_on_release(struct exchange *x)
{
    slab_put(&x->engine->requests, request_of(x));
}

const struct source_ops client_source = {
    .on_info = request_on_info,
    .on_head = request_on_head,
    .on_body = request_on_body,
    .on_end = request_on_end,
    .on_cut = request_on_cut,
    .on_tunnel = request_on_tunnel,
    .on_connect_plain = request_on_connect_plain,
    .on_connect_tls = request_on_connect_tls,
    .on_drain = request_on_drain,
    .release = request_on_release,
};
