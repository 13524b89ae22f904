/* SPDX-License-Identifier: Apache-2.0 */
/* The body of the request that is being read, on its way to the exchange: what a read has brought
 * of it leaves together, in however small chunks it came. */
#include "client/room.h"
#include "exchange/hold.h"

/* The request of R is whole. Behind CONNECT and Upgrade bytes may follow that are not HTTP, so
 * nothing is read until they are answered, whatever they say of the connection. */
void client_request_ended(struct client *c, const struct request *r)
{
    bool said_last = !r->keep_alive && c->switching != r;
    c->reading = NULL;
    c->body_full = false;
    c->said_last = said_last;
    c->state = said_last || r->x.must_close ? CLIENT_LAST : CLIENT_HEAD;
}

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
            fault_say(&f, FAULT_BAD_REQUEST, r->x.body.error.reason);
            c->state = CLIENT_LAST;
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
    c->state = CLIENT_LAST;
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

/* Takes as much of the body that is being read off c->in as ROOM has a place for: what a read has
 * brought leaves together. False: it is bad and was refused. */
static bool client_feed_body(struct client *c, char *room, struct str *data)
{
    struct request *r = c->reading;
    struct h1_body *body = &r->x.body;
    ssize_t used = h1_body_feed_joined(body, &c->in, room, data);
    if (used < 0) {
        struct fault f;
        fault_say(&f, body->fault, body->error.reason);
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
    char room[H1_BODY_JOIN];
    struct str data = {NULL, 0};
    if (!client_feed_body(c, room, &data))
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

void client_read_body(struct client *c)
{
    struct request *r = c->reading;
    struct h1_body *body = &r->x.body;
    char room[H1_BODY_JOIN];
    struct str data = {NULL, 0};
    request_release(r);
    if (!h1_body_is_done(body) && !client_feed_body(c, room, &data))
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
