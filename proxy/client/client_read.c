/* SPDX-License-Identifier: Apache-2.0 */
/* Requests in: one connection's heads and bodies become exchanges. What arrives together runs
 * together (order.h); reading stops while client_memory.c says so. What a read has brought of a
 * body leaves together, in however small chunks it came. */
#include "client/client_impl.h"

#include "base/log_limit.h"
#include "client/intercept_impl.h"
#include "client/parked_impl.h"
#include "client/turned_impl.h"
#include "exchange/hold.h"

/* The request of R is whole. Behind CONNECT and Upgrade bytes may follow that are not HTTP, so
 * nothing is read until they are answered, whatever they say of the connection. */
static void client_request_ended(struct client *c, const struct request *r)
{
    bool is_last = !r->keep_alive && c->switching != r;
    c->reading = NULL;
    c->body_full = false;
    client_set_state(c, is_last ? CLIENT_LAST : r->x.must_close ? CLIENT_STOPPED : CLIENT_HEAD);
}

/* ---- heads */

/* Answers with F in its turn and reads no more. */
static void request_refuse(struct request *r, const struct fault *f)
{
    struct client *c = r->c;
    client_set_state(c, CLIENT_STOPPED);
    order_push(&c->order, &r->item, true);
    r->item.started = true;
    r->keep_alive = false;
    exchange_count(&r->x);
    exchange_refuse(&r->x, f);
}

void client_refuse(struct client *c, enum fault_code code, const char *text)
{
    struct fault f;
    fault_say(&f, code, text);
    request_refuse(request_open(c), &f);
}

/* The first bytes of a connection may be another protocol's. True: dealt with. */
static bool client_is_foreign(struct client *c)
{
    bool is_silent = false;
    const char *what = h1_foreign(c->in.p, c->in.len, &is_silent);
    if (c->seen_request || what == NULL)
        return false;
    c->seen_request = true; /* all that there will be of it */
    /* Who sends it on what is turned or intercepted has no URL of the proxy to mend. */
    if (c->from.kind == SOURCE_INTERCEPTED)
        intercept_unread(c);
    else if (c->turned != NULL)
        turned_tell(c, STR("what has come is not HTTP/1.1, as which its port is read"));
    else
        log_limited(LOG_LEVEL_WARNING, "%s: %s", c->from.peer_text, what);
    if (is_silent)
        client_close(c);
    else
        client_refuse(c, FAULT_BAD_REQUEST, what);
    return true;
}

/* Parses the head of N bytes into a new exchange. False: it has been refused. */
static bool client_parse(struct client *c, struct request *r, size_t n)
{
    struct exchange *x = &r->x;
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
    request_refuse(r, &f);
    return false;
}

/* A whole head of N bytes is there. */
static void client_take_head(struct client *c, size_t n)
{
    struct request *r = request_open(c);
    bool is_first = !c->seen_request;
    c->scanned = 0;
    if (++c->heads == CLIENT_HEADS_A_TURN)
        loop_post_next(c->cs->engine->loop, &c->rested);
    c->waits_since = 0;
    c->seen_request = true;
    c->timer_is = TIMER_NONE;
    timeout_clear(&c->timer);
    parked_stir(c);
    if (!client_parse(c, r, n)) {
        if (is_first && c->from.kind == SOURCE_INTERCEPTED)
            intercept_unread(c);
        return;
    }
    c->in = str_from_byte(c->in, n);
    const struct h1_head *head = &r->x.head;
    bool switches = head->method.id == METHOD_CONNECT || fields_has(&head->fields, FIELD_UPGRADE);
    r->keep_alive = forward_keep_alive(head);
    order_push(&c->order, &r->item, head->method.is_safe && !switches);
    if (switches)
        c->switching = r;
    if (h1_body_is_done(&r->x.body)) {
        client_request_ended(c, r);
    } else {
        client_set_state(c, CLIENT_BODY);
        c->reading = r;
    }
    if (c->order.n > 1) /* else it is counted as it begins */
        exchange_count(&r->x);
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
        client_refuse(c, FAULT_HEAD_TOO_LARGE, "the request head is larger than client.max_head");
        return true;
    }
    struct fault f;
    enum room room = client_room(c, n, &f);
    if (room == ROOM_NONE)
        request_refuse(request_open(c), &f);
    else if (n > 0 && room == ROOM_ENOUGH)
        client_take_head(c, n);
    else
        return false;
    return true;
}

/* ---- bodies */

/* The body of `reading` is whole; LAST has not been given yet. */
static void client_body_ended(struct client *c, struct str last)
{
    struct request *r = c->reading;
    struct fields *trailers = NULL;
    client_request_ended(c, r);
    if (r->x.body.trailer_len > 0) {
        fields_init(&r->trailers, &r->x.arena, NULL, 0);
        if (!h1_body_trailers(&r->x.body, &r->trailers)) {
            struct fault f;
            h1_request_fault(&f, &r->x.body.error);
            if (c->state == CLIENT_HEAD)
                client_set_state(c, CLIENT_STOPPED);
            exchange_refuse(&r->x, &f);
            client_run(c);
            return;
        }
        trailers = &r->trailers;
    }
    exchange_end(&r->x, last, trailers);
    if (r->item.done)
        client_run(c);
}

void client_stop_body(struct client *c, const struct fault *f)
{
    struct request *r = c->reading;
    client_set_state(c, CLIENT_STOPPED);
    c->reading = NULL;
    request_release(r);
    exchange_refuse(&r->x, f);
    client_run(c);
}

/* Trailers are kept until all have come: where there is no room, the request is refused. */
static bool client_has_trailer_room(struct client *c)
{
    struct request *r = c->reading;
    struct fault f;
    if (r->x.body.trailer_cap == 0)
        return true;
    exchange_count(&r->x);
    if (client_may_gather(c, r->x.body.trailer_len, &f))
        return true;
    client_stop_body(c, &f);
    return false;
}

/* Takes as much of the body that is being read off c->in as JOINED has a place for: what a read has
 * brought leaves together. False: it is bad and was refused. */
static bool client_feed_body(struct client *c, char *joined, struct str *data)
{
    struct request *r = c->reading;
    struct h1_body *body = &r->x.body;
    ssize_t used = h1_body_feed_joined(body, &c->in, joined, data);
    if (used < 0) {
        struct fault f;
        h1_request_fault(&f, &body->error);
        client_stop_body(c, &f);
        return false;
    }
    r->x.bytes_in += (size_t)used;
    c->in = str_from_byte(c->in, (size_t)used);
    return client_has_trailer_room(c);
}

/* Begins R with what is there of its body. */
static void request_start_with(struct request *r)
{
    struct client *c = r->c;
    struct h1_body *body = &r->x.body;
    char joined[H1_BODY_JOIN];
    struct str data = {NULL, 0};
    if (!client_feed_body(c, joined, &data))
        return;
    exchange_start(&r->x, data, h1_body_is_done(body) && body->trailer_len == 0);
    if (c->reading == r && h1_body_is_done(body))
        client_body_ended(c, str_make(NULL, 0));
}

void request_start(struct request *r)
{
    if (r->c->reading == r && r->c->in.len > 0)
        request_start_with(r);
    else
        exchange_start(&r->x, str_make(NULL, 0), h1_body_is_done(&r->x.body));
}

/* The next part of the body that is being read. */
static void client_read_body(struct client *c)
{
    struct request *r = c->reading;
    struct h1_body *body = &r->x.body;
    char joined[H1_BODY_JOIN];
    struct str data = {NULL, 0};
    request_release(r);
    if (!h1_body_is_done(body) && !client_feed_body(c, joined, &data))
        return;
    if (h1_body_is_done(body)) {
        client_body_ended(c, data);
    } else if (r->item.done && !request_may_skip(r)) {
        struct fault f;
        fault_say(&f, FAULT_BAD_REQUEST, "it was answered, and the rest of its body is too much");
        client_stop_body(c, &f);
    } else if (!exchange_body(&r->x, data)) {
        c->body_full = true;
    }
}

/* ---- what has come */

/* Bytes behind the last request, which will not be answered: closing at once would reset what the
 * client has not read yet. */
static void client_drop_input(struct client *c)
{
    if (c->state == CLIENT_LAST)
        client_set_state(c, CLIENT_STOPPED);
    else if (c->state == CLIENT_TO_CLOSE)
        client_set_state(c, CLIENT_TO_LINGER);
}

size_t client_read(struct client *c, const char *p, size_t n)
{
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
    c->has_partial = left > 0;
    client_set_timer(c, true);
    if (c->state < CLIENT_LAST)
        return n - left;
    if (left > 0)
        client_drop_input(c);
    return n;
}
