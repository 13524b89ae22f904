/* SPDX-License-Identifier: Apache-2.0 */
/* What libevhtp gets to read: one whole head that our own parser takes, then the bytes of its body,
 * and never more. Its parser reads one byte past its input when a target is cut, stops for good at
 * bytes that are left behind a request, and holds any number of bytes that make no head. So what
 * comes is kept here until it may go on. */
#include "http/h1_parse.h"
#include "service/service_conn.h"

enum { CONN_COSTS = 8192 }; /* bytes: libevhtp's connection, request and fields, and ours */

/* An empty line before a request is no request yet (RFC 9112 §2.2). */
static void drop_empty_lines(struct service_conn *c)
{
    char two[2];
    while (c->scanned == 0 && evbuffer_copyout(c->in, two, 2) == 2 && memcmp(two, "\r\n", 2) == 0)
        evbuffer_drain(c->in, 2);
}

/* Is the head P of N bytes one that two readers understand alike? */
static bool is_good_head(struct service_conn *c, const char *p, size_t n)
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
    if (!ok) {
        struct fault f;
        h1_request_fault(&f, &e);
        service_conn_refuse(c, &f);
    }
    return ok;
}

/* Bytes of the head that is whole; 0: it is not, or was refused. */
static size_t whole_head(struct service_conn *c)
{
    drop_empty_lines(c);
    size_t n = evbuffer_get_length(c->in), max = service_conn_limits(c)->max_head;
    if (n == 0)
        return 0;
    if (c->state == SERVICE_CONN_IDLE)
        service_conn_begin_head(c);
    const char *p = (const char *)evbuffer_pullup(c->in, (ev_ssize_t)n);
    size_t head = h1_head_end(p, n, &c->scanned, false);
    if (head > max || (head == 0 && n >= max)) {
        service_conn_refuse_as(c, FAULT_HEAD_TOO_LARGE,
                               "the request head is larger than client.max_head");
        return 0;
    }
    return head == 0 || !is_good_head(c, p, head) ? 0 : head;
}

/* Bytes that libevhtp may have now. */
static size_t due(struct service_conn *c)
{
    size_t n = evbuffer_get_length(c->in);
    if (c->is_doomed || c->auth != NULL)
        return 0;
    if (c->state == SERVICE_CONN_IDLE || c->state == SERVICE_CONN_HEAD)
        return whole_head(c);
    if (c->state != SERVICE_CONN_BODY)
        return 0;
    return n < c->body_left ? n : (size_t)c->body_left;
}

static void service_input_pass(struct service_conn *c, size_t n)
{
    struct bufferevent *bev = evhtp_connection_get_bev(c->conn);
    struct evbuffer *in = bufferevent_get_input(bev);
    struct evbuffer *piece = evbuffer_new();
    evbuffer_remove_buffer(c->in, piece, n);
    evbuffer_prepend_buffer(in, piece);
    evbuffer_free(piece);
    c->scanned = 0;
    if (c->state == SERVICE_CONN_BODY)
        c->body_left -= n;
    c->evhtp_read(bev, c->conn);
    if (c->state != SERVICE_CONN_CLOSED)
        evbuffer_drain(in, evbuffer_get_length(in));
}

void service_input_count(struct service_conn *c)
{
    if (c->state == SERVICE_CONN_CLOSED)
        return;
    struct evbuffer *out = bufferevent_get_output(evhtp_connection_get_bev(c->conn));
    share_set(&c->share, CONN_COSTS + evbuffer_get_length(c->in) + evbuffer_get_length(out));
}

void service_input_run(struct service_conn *c)
{
    size_t n;
    while (c->state != SERVICE_CONN_CLOSED && (n = due(c)) > 0)
        service_input_pass(c, n);
}

static void service_input_on_read(struct bufferevent *bev, void *arg)
{
    evhtp_connection_t *conn = arg;
    struct service_conn *c = service_conn_of(conn);
    evbuffer_add_buffer(c->in, bufferevent_get_input(bev));
    if (c->is_last)
        evbuffer_drain(c->in, evbuffer_get_length(c->in));
    service_input_run(c);
    service_input_count(c);
}

void service_input_open(struct service_conn *c)
{
    struct bufferevent *bev = evhtp_connection_get_bev(c->conn);
    bufferevent_data_cb on_write;
    bufferevent_event_cb on_event;
    void *arg;
    c->in = evbuffer_new();
    c->share.budget = c->all->engine->budget;
    service_input_count(c);
    bufferevent_getcb(bev, &c->evhtp_read, &on_write, &on_event, &arg);
    bufferevent_setcb(bev, service_input_on_read, on_write, on_event, arg);
}
