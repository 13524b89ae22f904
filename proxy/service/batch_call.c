/* SPDX-License-Identifier: Apache-2.0 */
/* The batch call of the service listener: libevhtp on one side, the batch engine as an upstream on
 * the other. An HTTP/1.1 client gets chunks; to 1.0 the answer ends with the connection. */
#include "conf/policy.h"
#include "exchange/trust.h"
#include "own/batch.h"
#include "service/service_conn.h"

enum {
    OUTPUT_MAX = 256 * 1024, /* bytes that wait for a slow client before the batch does */
    OUTPUT_LEAST = 16 * 1024 /* the same when memory is full */
};

static bool is_1_1(const struct service_conn *c)
{
    return c->rq->proto == EVHTP_PROTO_11;
}

static void batch_call_on_info(void *arg, struct h1_head *head)
{
    (void)arg;
    (void)head;
}

static void batch_call_put_field(evhtp_request_t *rq, const struct field *f)
{
    char *name = xstrndup(f->name.p, f->name.len);
    char *value = xstrndup(f->value.p, f->value.len);
    evhtp_headers_add_header(rq->headers_out, evhtp_header_new(name, value, 1, 1));
    free(name);
    free(value);
}

static void batch_call_on_head(void *arg, struct h1_head *head, const struct h1_body *body)
{
    struct service_conn *c = arg;
    (void)body;
    for (unsigned i = 0; i < head->fields.n; i++)
        if (head->fields.v[i].name.p != NULL)
            batch_call_put_field(c->rq, &head->fields.v[i]);
    /* What was sent behind this request has not been read, and will not be. */
    evhtp_request_disable_flag(c->rq, EVHTP_REQ_FLAG_KEEPALIVE);
    c->has_begun = true;
    if (is_1_1(c))
        evhtp_send_reply_chunk_start(c->rq, (evhtp_res)head->status);
    else
        evhtp_send_reply_start(c->rq, (evhtp_res)head->status);
}

/* Never nothing, so that the answer goes on. */
static size_t output_bound(const struct service_conn *c)
{
    size_t bound = budget_bound(c->all->engine->budget, OUTPUT_MAX);
    return bound < OUTPUT_LEAST ? OUTPUT_LEAST : bound;
}

static void batch_call_on_body(void *arg, const char *p, size_t n)
{
    struct service_conn *c = arg;
    struct evbuffer *out = bufferevent_get_output(evhtp_connection_get_bev(c->conn));
    struct evbuffer *data = evbuffer_new();
    evbuffer_add(data, p, n);
    if (is_1_1(c))
        evhtp_send_reply_chunk(c->rq, data);
    else
        evhtp_send_reply_body(c->rq, data);
    evbuffer_free(data);
    service_input_count(c);
    if (c->batch == NULL || c->is_held || evbuffer_get_length(out) < output_bound(c))
        return;
    c->is_held = true;
    c->batch->ops->pause(c->batch, true);
}

static void batch_call_on_end(void *arg, const struct fields *trailers)
{
    struct service_conn *c = arg;
    (void)trailers;
    c->batch = NULL;
    if (is_1_1(c))
        evhtp_send_reply_chunk_end(c->rq);
    else
        evhtp_send_reply_end(c->rq);
    /* Where nothing waits to be written, nothing else would tell libevhtp. */
    bufferevent_trigger(evhtp_connection_get_bev(c->conn), EV_WRITE, 0);
}

static void batch_call_on_fault(void *arg, const struct fault *f, enum up_loss loss)
{
    struct service_conn *c = arg;
    (void)loss;
    c->batch = NULL;
    service_conn_refuse(c, f);
}

static void batch_call_on_drain(void *arg)
{
    struct service_conn *c = arg;
    if (!c->is_whole)
        bufferevent_enable(evhtp_connection_get_bev(c->conn), EV_READ);
}

static const struct ustream_events events = {
    .on_info = batch_call_on_info,
    .on_head = batch_call_on_head,
    .on_body = batch_call_on_body,
    .on_end = batch_call_on_end,
    .on_fault = batch_call_on_fault,
    .on_drain = batch_call_on_drain,
};

void batch_call_open(struct service_conn *c)
{
    static const char *const names[] = {"Content-Type", "Content-Encoding", "Accept"};
    struct arena arena;
    struct fields fields;
    char memory[1024];
    struct up_request rq = {.method = {.name = STR("POST"), .id = METHOD_POST},
                            .target = STR("/batch"),
                            .fields = &fields,
                            .framing = H1_FRAMING_LENGTH,
                            .buffer = OUTPUT_MAX};
    bool ok = str_to_u64(service_conn_field(c, "Content-Length"), &rq.length);
    (void)ok; /* the head has been checked */
    arena_init(&arena, memory, sizeof memory);
    fields_init(&fields, &arena, NULL, 0);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct str value = service_conn_field(c, names[i]);
        if (value.p != NULL)
            fields_put(&fields, str_from(names[i]), value);
    }
    struct source_side from = c->from;
    char user[USER_MAX];
    if (c->all->engine->use->conf->htpasswd != NULL)
        from.user = policy_user(service_conn_field(c, "Authorization"), user, sizeof user);
    c->batch = batch_open(c->all->engine, &from);
    ustream_attach(c->batch, &events, c);
    c->batch->ops->start(c->batch, &rq, str_make(NULL, 0), rq.length == 0);
    arena_clear(&arena);
}

void batch_call_body(struct service_conn *c, struct evbuffer *data)
{
    struct evbuffer_iovec piece;
    while (c->batch != NULL && evbuffer_peek(data, -1, NULL, &piece, 1) > 0) {
        if (!c->batch->ops->body(c->batch, str_make(piece.iov_base, piece.iov_len)))
            bufferevent_disable(evhtp_connection_get_bev(c->conn), EV_READ);
        evbuffer_drain(data, piece.iov_len);
    }
}

void batch_call_end(struct service_conn *c)
{
    if (c->batch != NULL)
        c->batch->ops->end(c->batch, str_make(NULL, 0), NULL);
}

void batch_call_drain(struct service_conn *c)
{
    if (!c->is_held || c->batch == NULL)
        return;
    c->is_held = false;
    c->batch->ops->pause(c->batch, false);
}

void batch_call_cancel(struct service_conn *c)
{
    struct ustream *batch = c->batch;
    c->batch = NULL;
    if (batch != NULL)
        batch->ops->cancel(batch);
}
