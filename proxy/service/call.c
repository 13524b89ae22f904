/* SPDX-License-Identifier: Apache-2.0 */
/* The batch call of the service listener: libevhtp on one side, the batch engine as an upstream on
 * the other. HTTP/1.1 callers get chunks; to 1.0 the answer ends with the connection. */
#include "conf/policy.h"
#include "exchange/trust.h"
#include "own/batch.h"
#include "service/caller.h"

enum {
    OUTPUT_MAX = 256 * 1024, /* bytes that wait for a slow caller before the batch does */
    OUTPUT_LEAST = 16 * 1024 /* the same when memory is full */
};

static bool is_1_1(const struct caller *k)
{
    return k->rq->proto == EVHTP_PROTO_11;
}

static void on_info(void *arg, struct h1_head *head)
{
    (void)arg;
    (void)head;
}

static void put_field(evhtp_request_t *rq, const struct field *f)
{
    char *name = xstrndup(f->name.p, f->name.len);
    char *value = xstrndup(f->value.p, f->value.len);
    evhtp_headers_add_header(rq->headers_out, evhtp_header_new(name, value, 1, 1));
    free(name);
    free(value);
}

static void on_head(void *arg, struct h1_head *head, const struct h1_body *body)
{
    struct caller *k = arg;
    (void)body;
    for (unsigned i = 0; i < head->fields.n; i++)
        if (head->fields.v[i].name.p != NULL)
            put_field(k->rq, &head->fields.v[i]);
    /* What was sent behind this request has not been read, and will not be. */
    evhtp_request_disable_flag(k->rq, EVHTP_REQ_FLAG_KEEPALIVE);
    k->has_begun = true;
    if (is_1_1(k))
        evhtp_send_reply_chunk_start(k->rq, (evhtp_res)head->status);
    else
        evhtp_send_reply_start(k->rq, (evhtp_res)head->status);
}

/* Never nothing, so that the answer goes on. */
static size_t output_bound(const struct caller *k)
{
    size_t bound = budget_bound(k->all->engine->budget, OUTPUT_MAX);
    return bound < OUTPUT_LEAST ? OUTPUT_LEAST : bound;
}

static void on_body(void *arg, const char *p, size_t n)
{
    struct caller *k = arg;
    struct evbuffer *out = bufferevent_get_output(evhtp_connection_get_bev(k->conn));
    struct evbuffer *data = evbuffer_new();
    evbuffer_add(data, p, n);
    if (is_1_1(k))
        evhtp_send_reply_chunk(k->rq, data);
    else
        evhtp_send_reply_body(k->rq, data);
    evbuffer_free(data);
    feed_count(k);
    if (k->batch == NULL || k->is_held || evbuffer_get_length(out) < output_bound(k))
        return;
    k->is_held = true;
    k->batch->ops->pause(k->batch, true);
}

static void on_end(void *arg, const struct fields *trailers)
{
    struct caller *k = arg;
    (void)trailers;
    k->batch = NULL;
    if (is_1_1(k))
        evhtp_send_reply_chunk_end(k->rq);
    else
        evhtp_send_reply_end(k->rq);
    /* Where nothing waits to be written, nothing else would tell libevhtp. */
    bufferevent_trigger(evhtp_connection_get_bev(k->conn), EV_WRITE, 0);
}

static void on_fault(void *arg, const struct fault *f, enum up_loss loss)
{
    struct caller *k = arg;
    (void)loss;
    k->batch = NULL;
    caller_refuse(k, f);
}

static void on_drain(void *arg)
{
    struct caller *k = arg;
    if (!k->is_whole)
        bufferevent_enable(evhtp_connection_get_bev(k->conn), EV_READ);
}

static const struct ustream_events events = {
    .on_info = on_info,
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_fault = on_fault,
    .on_drain = on_drain,
};

void call_open(struct caller *k)
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
    bool ok = str_to_u64(caller_field(k, "Content-Length"), &rq.length);
    (void)ok; /* the head has been checked */
    arena_init(&arena, memory, sizeof memory);
    fields_init(&fields, &arena, NULL, 0);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct str value = caller_field(k, names[i]);
        if (value.p != NULL)
            fields_put(&fields, str_from(names[i]), value);
    }
    struct source_side from = k->from;
    char user[USER_MAX];
    if (k->all->engine->use->conf->htpasswd != NULL)
        from.user = policy_user(caller_field(k, "Authorization"), user, sizeof user);
    k->batch = batch_open(k->all->engine, &from);
    ustream_attach(k->batch, &events, k);
    k->batch->ops->start(k->batch, &rq, str_make(NULL, 0), rq.length == 0);
    arena_clear(&arena);
}

void call_body(struct caller *k, struct evbuffer *data)
{
    struct evbuffer_iovec piece;
    while (k->batch != NULL && evbuffer_peek(data, -1, NULL, &piece, 1) > 0) {
        if (!k->batch->ops->body(k->batch, str_make(piece.iov_base, piece.iov_len)))
            bufferevent_disable(evhtp_connection_get_bev(k->conn), EV_READ);
        evbuffer_drain(data, piece.iov_len);
    }
}

void call_end(struct caller *k)
{
    if (k->batch != NULL)
        k->batch->ops->end(k->batch, str_make(NULL, 0), NULL);
}

void call_drain(struct caller *k)
{
    if (!k->is_held || k->batch == NULL)
        return;
    k->is_held = false;
    k->batch->ops->pause(k->batch, false);
}

void call_cancel(struct caller *k)
{
    struct ustream *batch = k->batch;
    k->batch = NULL;
    if (batch != NULL)
        batch->ops->cancel(batch);
}
