/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 towards an origin: what its stream tells, above all the response. */
#include <stdio.h>

#include "http/forward.h"
#include "upstream/ask.h"
#include "upstream/up_h1_impl.h"

enum {
    INFOS_MAX = 32, /* interim responses to one request */
    FIELDS_ON_STACK = 64,
    ARENA_ON_STACK = 2048, /* bytes */
    GATHER_FREE = 16384,   /* bytes of a head or of trailers that are always kept */
    PEER_TEXT = 320
};

static void up_h1_fail_parse(struct up_h1 *c, const struct h1_error *e)
{
    struct fault f;
    struct str host = origin_host(c->conn.origin);
    if (e->lenient_takes) {
        fault_set(&f, FAULT_UP_PROTOCOL,
                  "the origin's response is not valid HTTP: %s; a rule for %.*s with lenient = on "
                  "takes it",
                  e->reason, STR_ARG(host));
        f.phrase = "Invalid response from %s, which lenient = on takes";
    } else
        fault_set(&f, FAULT_UP_PROTOCOL, "the origin's response is not valid HTTP: %s", e->reason);
    up_h1_fail(c, &f);
}

static void up_h1_give_back(struct up_h1 *c)
{
    if (c->conn.stream->paused)
        stream_resume(c->conn.stream);
    pool_conn_done(&c->conn);
}

/* The response is complete. SURPLUS: bytes came behind it. */
static void up_h1_finish(struct up_h1 *c, bool surplus)
{
    const struct ustream_events *events = c->us.events;
    void *arg = c->us.arg;
    bool reusable = c->req == UP_H1_DONE && c->body.framing != H1_FRAMING_CLOSE && c->keep_alive &&
                    !surplus && stream_pending(c->conn.stream) == 0;
    /* The connection may carry the next request before on_end() has returned, so what on_end()
     * looks at leaves it first. */
    struct h1_body body = c->body;
    struct arena arena;
    struct fields trailers;
    struct field first[4];
    arena_init(&arena, NULL, 0);
    fields_init(&trailers, &arena, first, sizeof(first) / sizeof(first[0]));
    bool valid = body.framing != H1_FRAMING_CHUNKED || h1_body_trailers(&body, &trailers);
    memset(&c->body, 0, sizeof(c->body));
    if (body.trailer_cap > 0)
        pool_conn_holds(&c->conn, 0);
    c->us.events = NULL;
    up_h1_set_state(c, UP_H1_IDLE);
    if (reusable && valid)
        up_h1_give_back(c);
    else
        up_h1_close(c);
    if (valid) {
        events->on_end(arg, trailers.n > 0 ? &trailers : NULL);
    } else {
        struct fault f;
        fault_set(&f, FAULT_UP_PROTOCOL, "the origin's trailer section is not valid HTTP");
        events->on_fault(arg, &f, LOSS_FINAL);
    }
    arena_clear(&arena);
    h1_body_clear(&body);
}

/* A 1xx. False: stop, C may be closed or switched. */
static bool up_h1_info(struct up_h1 *c, struct h1_head *head)
{
    struct fault f;
    const struct ustream_events *events = c->us.events;
    if (head->status == 101 && c->is_upgrade) {
        struct h1_body none = {.framing = H1_FRAMING_NONE};
        up_h1_set_state(c, UP_H1_SWITCHED);
        c->res = UP_H1_DONE;
        stream_pause(c->conn.stream);
        events->on_head(c->us.arg, head, &none);
        return false;
    }
    c->infos++;
    if (head->status == 101 || c->infos > INFOS_MAX) {
        fault_set(&f, FAULT_UP_PROTOCOL, "the origin sent %s",
                  head->status == 101 ? "101 although no upgrade was asked for"
                                      : "more than 32 interim responses");
        up_h1_fail(c, &f);
        return false;
    }
    events->on_info(c->us.arg, head);
    return c->state == UP_H1_ACTIVE;
}

/* The parent that read the request answers for itself: it did not pass it on, or got nothing
 * back. */
static void up_h1_refused(struct up_h1 *c, const struct h1_head *head)
{
    const struct origin *o = c->conn.origin;
    struct fault f;
    bool had_auth = o->parent_auth != NULL && c->method != METHOD_TRACE;
    bool may_be_done = head->status >= 500 && c->method != METHOD_GET && c->method != METHOD_HEAD;
    ask_refused(&f, o->parent, had_auth,
                may_be_done ? "the request, which may have been carried out," : "the request",
                head);
    up_h1_fail(c, &f);
}

/* A head that has been parsed. False: stop. */
static bool up_h1_take_head(struct up_h1 *c, struct h1_head *head)
{
    struct h1_error e = {0};
    bool keep_alive = false;
    if (head->status < 200) {
        forward_response(head, c->conn.id, c->conn.origin->via, &keep_alive);
        return up_h1_info(c, head);
    }
    if (c->conn.origin->parent != NULL && ask_is_parents(head)) {
        up_h1_refused(c, head);
        return false;
    }
    if (!h1_body_of_response(&c->body, head, c->method, c->conn.origin->lenient, &e)) {
        up_h1_fail_parse(c, &e);
        return false;
    }
    forward_response(head, c->conn.id, c->conn.origin->via, &keep_alive);
    c->keep_alive = keep_alive;
    pool_conn_answered(&c->conn);
    c->res = h1_body_is_done(&c->body) ? UP_H1_DONE : UP_H1_BODY;
    c->us.events->on_head(c->us.arg, head, &c->body);
    return c->state == UP_H1_ACTIVE;
}

/* True when N bytes of a head or trailers are more than there is memory for, and C has failed. */
static bool up_h1_is_full(struct up_h1 *c, size_t n)
{
    struct fault f;
    if (n <= GATHER_FREE || !pool_conn_is_full(&c->conn, &f))
        return false;
    up_h1_fail(c, &f);
    return true;
}

/* Takes a head off P; gives its bytes, 0 when it is not complete or C has failed. */
static size_t up_h1_read_head(struct up_h1 *c, const char *p, size_t n, bool *go_on)
{
    size_t max = c->conn.origin->max_head;
    bool lenient = c->conn.origin->lenient;
    size_t len = h1_head_end(p, n, &c->scanned, lenient);
    *go_on = false;
    if (len > max || (len == 0 && n > max)) {
        struct fault f;
        fault_set(&f, FAULT_UP_PROTOCOL,
                  "the head of the origin's response is larger than upstream.max_head (%zu bytes)",
                  max);
        up_h1_fail(c, &f);
        return 0;
    }
    if (len == 0 && up_h1_is_full(c, n))
        return 0;
    if (len == 0)
        return 0;
    c->scanned = 0;
    struct h1_head head = {0};
    struct h1_error e = {0};
    struct arena arena;
    struct field fields[FIELDS_ON_STACK];
    uint64_t memory[ARENA_ON_STACK / sizeof(uint64_t)];
    arena_init(&arena, memory, sizeof(memory));
    fields_init(&head.fields, &arena, fields, FIELDS_ON_STACK);
    if (h1_parse_response(&head, p, len, lenient, &e))
        *go_on = up_h1_take_head(c, &head);
    else
        up_h1_fail_parse(c, &e);
    arena_clear(&arena);
    return len;
}

/* USED bytes of the body, or a fault, were taken off the wire, with DATA among them. Gives how many
 * were taken. */
static size_t up_h1_take_body(struct up_h1 *c, ssize_t used, struct str data, bool *go_on)
{
    *go_on = false;
    if (used < 0) {
        struct h1_error e = c->body.error;
        up_h1_fail_parse(c, &e);
        return 0;
    }
    if (h1_body_is_done(&c->body))
        c->res = UP_H1_DONE;
    if (c->body.trailer_cap > 0) {
        pool_conn_holds(&c->conn, c->body.trailer_cap);
        if (up_h1_is_full(c, c->body.trailer_len))
            return 0;
    }
    if (data.len > 0)
        c->us.events->on_body(c->us.arg, data.p, data.len);
    *go_on = c->state == UP_H1_ACTIVE;
    return (size_t)used;
}

/* Small chunks are told together. */
static size_t up_h1_read_chunks(struct up_h1 *c, const char *p, size_t n, bool *go_on)
{
    char room[H1_BODY_JOIN];
    struct str in = str_make(p, n);
    struct str data = {0};
    ssize_t used = h1_body_feed_joined(&c->body, &in, room, &data);
    return up_h1_take_body(c, used, data, go_on);
}

/* Takes body bytes off P; gives how many. */
static size_t up_h1_read_body(struct up_h1 *c, const char *p, size_t n, bool *go_on)
{
    struct str data = {0};
    if (c->body.framing == H1_FRAMING_CHUNKED)
        return up_h1_read_chunks(c, p, n, go_on);
    ssize_t used = h1_body_feed(&c->body, p, n, &data);
    return up_h1_take_body(c, used, data, go_on);
}

static size_t up_h1_on_data(void *arg, const char *p, size_t n)
{
    struct up_h1 *c = CHECKED(up_h1, arg);
    size_t used = 0;
    bool go_on = true;
    if (c->state == UP_H1_IDLE) {
        /* Nobody has asked: these bytes must not become anybody's answer. */
        struct fault f;
        fault_set(&f, FAULT_UP_CLOSED, "the origin sent bytes that nobody had asked for");
        up_h1_fail(c, &f);
        return n;
    }
    if (c->state != UP_H1_ACTIVE)
        return 0;
    c->has_answered = true;
    while (go_on && used < n && c->res != UP_H1_DONE && !c->conn.stream->paused) {
        size_t got = c->res == UP_H1_HEAD ? up_h1_read_head(c, p + used, n - used, &go_on)
                                          : up_h1_read_body(c, p + used, n - used, &go_on);
        used += got;
    }
    if (c->state == UP_H1_ACTIVE && c->res == UP_H1_DONE) {
        up_h1_finish(c, used < n);
        return n;
    }
    return used;
}

/* Whose connection it is: "origin", or "parent proxy HOST:PORT". */
static const char *up_h1_peer(const struct up_h1 *c, char dst[PEER_TEXT])
{
    const char *parent = c->conn.origin->parent;
    snprintf(dst, PEER_TEXT, parent == NULL ? "origin" : "parent proxy %s", parent);
    return dst;
}

/* F is about the connection. */
static void up_h1_fail_conn(struct up_h1 *c, struct fault *f)
{
    if (c->conn.origin->parent != NULL)
        f->phrase = "Connection closed by the parent proxy";
    up_h1_fail(c, f);
}

static void up_h1_on_eof(void *arg, bool clean)
{
    struct up_h1 *c = CHECKED(up_h1, arg);
    struct fault f;
    char who[PEER_TEXT];
    if (c->state == UP_H1_ACTIVE && c->res == UP_H1_BODY && clean && h1_body_at_close(&c->body)) {
        c->res = UP_H1_DONE;
        up_h1_finish(c, false);
        return;
    }
    up_h1_peer(c, who);
    if (c->state == UP_H1_ACTIVE && c->res == UP_H1_BODY)
        fault_set(&f, FAULT_RESPONSE_INCOMPLETE, "the %s closed the connection inside the body%s",
                  who, clean ? "" : " (without a TLS close_notify)");
    else if (c->has_answered)
        fault_set(&f, FAULT_UP_CLOSED, "the %s closed the connection inside the response head",
                  who);
    else
        fault_set(&f, FAULT_UP_CLOSED, "the %s closed the connection before it answered", who);
    up_h1_fail_conn(c, &f);
}

static void up_h1_on_fault(void *arg, const struct fault *cause)
{
    struct up_h1 *c = CHECKED(up_h1, arg);
    struct fault f = *cause;
    char who[PEER_TEXT];
    if (c->state == UP_H1_ACTIVE && c->res == UP_H1_BODY)
        fault_set(&f, FAULT_RESPONSE_INCOMPLETE, "inside the response body: %s", cause->text);
    else if (c->conn.origin->parent != NULL)
        fault_set(&f, cause->code, "the %s: %s", up_h1_peer(c, who), cause->text);
    up_h1_fail_conn(c, &f);
}

static void up_h1_on_drain(void *arg)
{
    struct up_h1 *c = CHECKED(up_h1, arg);
    if (!c->wants_drain || c->state != UP_H1_ACTIVE)
        return;
    c->wants_drain = false;
    if (c->req == UP_H1_BODY)
        c->us.events->on_drain(c->us.arg);
}

const struct stream_user up_h1_stream_user = {
    .on_data = up_h1_on_data,
    .on_eof = up_h1_on_eof,
    .on_drain = up_h1_on_drain,
    .on_fault = up_h1_on_fault,
};
