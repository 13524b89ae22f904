/* SPDX-License-Identifier: Apache-2.0 */
/* The body of the request that is being read, on its way to the exchange: what a read has brought
 * of it leaves together, in however small chunks it came. */
#include "client/room.h"
#include "exchange/hold.h"

/* The request of A is whole. Behind CONNECT and Upgrade bytes may follow that are not HTTP, so
 * nothing is read until they are answered, whatever they say of the connection. */
void client_request_ended(struct client *c, const struct ask *a)
{
    bool said_last = !a->keep_alive && c->switching != a;
    c->reading = NULL;
    c->body_full = false;
    c->said_last = said_last;
    c->state = said_last || a->x.must_close ? CLIENT_LAST : CLIENT_HEAD;
}

/* The body of `reading` is whole; LAST has not been given yet. */
static void client_body_ended(struct client *c, struct str last)
{
    struct ask *a = c->reading;
    struct fields *trailers = NULL;
    client_request_ended(c, a);
    if (a->x.body.trailer_len > 0) {
        fields_init(&a->trailers, &a->x.arena, NULL, 0);
        if (!h1_body_trailers(&a->x.body, &a->trailers)) {
            struct fault f;
            h1_request_fault(&f, &a->x.body.error);
            c->state = CLIENT_LAST;
            exchange_refuse(&a->x, &f);
            client_run(c);
            return;
        }
        trailers = &a->trailers;
    }
    exchange_end(&a->x, last, trailers);
    if (a->item.done)
        client_run(c);
}

void client_stop_body(struct client *c, const struct fault *f)
{
    struct ask *a = c->reading;
    c->state = CLIENT_LAST;
    c->reading = NULL;
    ask_release(a);
    exchange_refuse(&a->x, f);
    client_run(c);
}

/* Trailers are kept until all have come: where there is no room, the request is refused. */
static bool client_has_trailer_room(struct client *c)
{
    struct ask *a = c->reading;
    struct fault f;
    if (a->x.body.trailer_cap == 0)
        return true;
    exchange_count(&a->x);
    if (client_may_gather(c, a->x.body.trailer_len, &f))
        return true;
    client_stop_body(c, &f);
    return false;
}

/* Takes as much of the body that is being read off c->in as ROOM has a place for: what a read has
 * brought leaves together. False: it is bad and was refused. */
static bool client_feed_body(struct client *c, char *room, struct str *data)
{
    struct ask *a = c->reading;
    struct h1_body *body = &a->x.body;
    ssize_t used = h1_body_feed_joined(body, &c->in, room, data);
    if (used < 0) {
        struct fault f;
        h1_request_fault(&f, &body->error);
        client_stop_body(c, &f);
        return false;
    }
    a->x.bytes_in += (size_t)used;
    c->in = str_from_byte(c->in, (size_t)used);
    return client_has_trailer_room(c);
}

/* Begins A with what is there of its body. */
static void ask_start_with(struct ask *a)
{
    struct client *c = a->c;
    struct h1_body *body = &a->x.body;
    char room[H1_BODY_JOIN];
    struct str data = {NULL, 0};
    if (!client_feed_body(c, room, &data))
        return;
    exchange_start(&a->x, data, h1_body_is_done(body) && body->trailer_len == 0);
    if (c->reading == a && h1_body_is_done(body))
        client_body_ended(c, str_make(NULL, 0));
}

void ask_start(struct ask *a)
{
    if (a->c->reading == a && a->c->in.len > 0)
        ask_start_with(a);
    else
        exchange_start(&a->x, str_make(NULL, 0), h1_body_is_done(&a->x.body));
}

void client_read_body(struct client *c)
{
    struct ask *a = c->reading;
    struct h1_body *body = &a->x.body;
    char room[H1_BODY_JOIN];
    struct str data = {NULL, 0};
    ask_release(a);
    if (!h1_body_is_done(body) && !client_feed_body(c, room, &data))
        return;
    if (h1_body_is_done(body)) {
        client_body_ended(c, data);
    } else if (a->item.done && !ask_may_skip(a)) {
        struct fault f;
        fault_say(&f, FAULT_BAD_REQUEST, "it was answered, and the rest of its body is too much");
        client_stop_body(c, &f);
    } else if (!exchange_body(&a->x, data)) {
        c->body_full = true;
    }
}
