/* SPDX-License-Identifier: Apache-2.0 */
/* What libevhtp gets to read: one whole head that our own parser takes, then the bytes of its body,
 * and never more. Its parser reads one byte past its input when a target is cut, stops for good at
 * bytes that are left behind a request, and holds any number of bytes that make no head. So what
 * comes is kept here until it may go on. */
#include "http/h1_parse.h"
#include "service/caller.h"

enum { CALLER_COSTS = 8192 }; /* bytes: libevhtp's connection, request and fields, and ours */

/* An empty line before a request is no request yet (RFC 9112 §2.2). */
static void drop_empty_lines(struct caller *k)
{
    char two[2];
    while (k->scanned == 0 && evbuffer_copyout(k->in, two, 2) == 2 && memcmp(two, "\r\n", 2) == 0)
        evbuffer_drain(k->in, 2);
}

/* Is the head P of N bytes one that two readers understand alike? */
static bool is_good_head(struct caller *k, const char *p, size_t n)
{
    struct arena arena;
    struct h1_head head;
    struct h1_error e;
    char memory[2048];
    memset(&head, 0, sizeof head);
    arena_init(&arena, memory, sizeof memory);
    fields_init(&head.fields, &arena, NULL, 0);
    bool ok = h1_parse_request(&head, p, n, false, &e);
    arena_clear(&arena);
    if (!ok)
        caller_refuse_as(k, e.code, e.reason);
    return ok;
}

/* Bytes of the head that is whole; 0: it is not, or was refused. */
static size_t whole_head(struct caller *k)
{
    drop_empty_lines(k);
    size_t n = evbuffer_get_length(k->in), max = caller_limits(k)->max_head;
    if (n == 0)
        return 0;
    if (k->state == CALLER_IDLE)
        caller_begin_head(k);
    const char *p = (const char *)evbuffer_pullup(k->in, (ev_ssize_t)n);
    size_t head = h1_head_end(p, n, &k->scanned, false);
    if (head > max || (head == 0 && n >= max)) {
        caller_refuse_as(k, FAULT_HEAD_TOO_LARGE,
                         "the request head is larger than client.max_head");
        return 0;
    }
    return head == 0 || !is_good_head(k, p, head) ? 0 : head;
}

/* Bytes that libevhtp may have now. */
static size_t due(struct caller *k)
{
    size_t n = evbuffer_get_length(k->in);
    if (k->is_doomed || k->auth != NULL)
        return 0;
    if (k->state == CALLER_IDLE || k->state == CALLER_HEAD)
        return whole_head(k);
    if (k->state != CALLER_BODY)
        return 0;
    return n < k->body_left ? n : (size_t)k->body_left;
}

static void feed(struct caller *k, size_t n)
{
    struct bufferevent *bev = evhtp_connection_get_bev(k->conn);
    struct evbuffer *in = bufferevent_get_input(bev);
    struct evbuffer *piece = evbuffer_new();
    evbuffer_remove_buffer(k->in, piece, n);
    evbuffer_prepend_buffer(in, piece);
    evbuffer_free(piece);
    k->scanned = 0;
    if (k->state == CALLER_BODY)
        k->body_left -= n;
    k->evhtp_read(bev, k->conn);
    if (k->state != CALLER_CLOSED)
        evbuffer_drain(in, evbuffer_get_length(in));
}

void feed_count(struct caller *k)
{
    if (k->state == CALLER_CLOSED)
        return;
    struct evbuffer *out = bufferevent_get_output(evhtp_connection_get_bev(k->conn));
    share_set(&k->share, CALLER_COSTS + evbuffer_get_length(k->in) + evbuffer_get_length(out));
}

void feed_caller(struct caller *k)
{
    size_t n;
    while (k->state != CALLER_CLOSED && (n = due(k)) > 0)
        feed(k, n);
}

static void on_read(struct bufferevent *bev, void *arg)
{
    evhtp_connection_t *conn = arg;
    struct caller *k = caller_of(conn);
    evbuffer_add_buffer(k->in, bufferevent_get_input(bev));
    if (k->is_last)
        evbuffer_drain(k->in, evbuffer_get_length(k->in));
    feed_caller(k);
    feed_count(k);
}

void feed_open(struct caller *k)
{
    struct bufferevent *bev = evhtp_connection_get_bev(k->conn);
    bufferevent_data_cb on_write;
    bufferevent_event_cb on_event;
    void *arg;
    k->in = evbuffer_new();
    k->share.budget = k->all->engine->budget;
    feed_count(k);
    bufferevent_getcb(bev, &k->evhtp_read, &on_write, &on_event, &arg);
    bufferevent_setcb(bev, on_read, on_write, on_event, arg);
}
