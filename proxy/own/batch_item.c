/* SPDX-License-Identifier: Apache-2.0 */
/* One request of a batch: see batch_item.h. Multipart passes a response on as it comes; NDJSON
 * needs it whole, to know whether it is text, and makes a line of it while it is given. */
#include "own/batch_item.h"

#include <stdlib.h>

#include "http/h1_parse.h"

enum { FIRST_MIN = 16384 }; /* bytes that the first item may always hold, so that it can go on */

static struct batch_item *item_of(struct exchange *x)
{
    return container_of(x, struct batch_item, x);
}

static void item_changed(struct batch_item *it)
{
    it->kind->on_change(it->kind->arg);
}

/* How much may wait before the origin is slowed down. */
static size_t item_bound(const struct batch_item *it)
{
    size_t bound = budget_bound(it->x.engine->budget, it->kind->conf->client.buffer);
    if (it->is_first && it->kind->is_ndjson)
        return SIZE_MAX; /* max_item_response is the bound */
    return it->is_first && bound < FIRST_MIN ? FIRST_MIN : bound;
}

static void item_held_more(struct batch_item *it)
{
    if (backlog_len(&it->held) > item_bound(it))
        exchange_pause(&it->x, true);
    item_changed(it);
}

/* Breaks IT off: what has not been given yet becomes the answer for the fault. */
static void PRINTF_LIKE(3, 4)
    item_break(struct batch_item *it, enum fault_code code, const char *fmt, ...)
{
    struct fault f;
    va_list args;
    va_start(args, fmt);
    fault_vset(&f, code, fmt, args);
    va_end(args);
    exchange_refuse(&it->x, &f);
}

static void item_done(struct batch_item *it)
{
    it->is_done = true;
    it->kind->under_way--;
    deadline_clear(&it->deadline);
}

/* ---- NDJSON: the response as a line */

static const char *error_of(const struct batch_item *it)
{
    return it->x.fault == FAULT_NONE ? NULL : fault_info(it->x.fault)->type;
}

static void item_begin_line(struct batch_item *it, unsigned status, const struct fields *fields)
{
    backlog_clear(&it->line);
    batch_line_begin(backlog_buffer(&it->line), it->index, it->want, status, fields);
}

/* Adds S to the body. */
static void item_add_text(struct batch_item *it, struct str s)
{
    it->is_text = it->is_text && utf8_take(&it->utf8, s);
    backlog_add(&it->held, s);
}

/* The body is whole. */
static void item_end_body(struct batch_item *it)
{
    it->is_text = it->is_text && utf8_is_whole(&it->utf8);
    batch_line_begin_body(backlog_buffer(&it->line), it->is_text);
}

/* A response that broke off says nothing of what came. */
static void item_make_broken_line(struct batch_item *it)
{
    const struct fault_info *info = fault_info(it->x.fault);
    item_begin_line(it, info->status != 0 ? (unsigned)info->status : 502, NULL);
    backlog_clear(&it->held);
    memset(&it->utf8, 0, sizeof it->utf8);
    it->is_text = true;
    item_add_text(it, it->x.sentence.len > 0 ? it->x.sentence
                                             : STR("the response broke off before its end"));
    item_end_body(it);
    item_held_more(it);
}

/* Moves some of the line to OUT. False: all of it has been given. */
static bool item_take_line(struct batch_item *it, struct evbuffer *out, size_t n)
{
    size_t until = evbuffer_get_length(out) + n;
    backlog_move(&it->line, out, n);
    while (evbuffer_get_length(out) < until && backlog_len(&it->held) > 0) {
        char piece[BATCH_LINE_PIECE];
        size_t got = backlog_take(&it->held, piece, sizeof piece);
        batch_line_body(out, it->is_text, str_make(piece, got));
    }
    if (evbuffer_get_length(out) >= until)
        return true;
    if (!it->is_ended)
        batch_line_end(out, error_of(it), it->x.t.end - it->x.t.begin);
    it->is_ended = true;
    return false;
}

/* ---- what the exchange tells */

static void on_info(struct exchange *x, struct h1_head *head)
{
    (void)x;
    (void)head;
}

static void item_on_head(struct exchange *x, struct h1_head *head, enum h1_framing framing,
                         uint64_t length)
{
    struct batch_item *it = item_of(x);
    struct h1_out out = {
        .framing = framing, .length = length, .keep_alive = true, .omit_framing = x->res_is_bare};
    if (it->kind->is_ndjson) {
        item_begin_line(it, head->status, &head->fields);
        return;
    }
    struct evbuffer *held = backlog_buffer(&it->held);
    it->is_chunked = framing == H1_FRAMING_CHUNKED && !x->res_is_bare;
    batch_put_part(held, it->kind->boundary, it->index, it->want);
    batch_put_head(held, head, &out);
    item_held_more(it);
}

/* A response that must be held whole has no room for N bytes more, and is broken off. */
static bool item_is_full(struct batch_item *it, size_t n)
{
    size_t max = it->kind->conf->batch.max_item_response, need = backlog_len(&it->held) + n;
    if (!it->kind->is_ndjson || it->x.fault != FAULT_NONE)
        return false;
    if (need > max) {
        item_break(it, FAULT_RESPONSE_SIZE,
                   "the response is larger than %zu bytes (batch.max_item_response); ask for "
                   "multipart/mixed, which streams",
                   max);
        return true;
    }
    /* What is not first waits for its turn. The first of one call would wait for those of others,
     * which wait for it. */
    if (it->is_first && need > FIRST_MIN && budget_is_spent(it->x.engine->budget)) {
        item_break(it, FAULT_LIMIT,
                   "the proxy's memory is full (max_memory) before the response was whole; try "
                   "again, or ask for multipart/mixed, which streams");
        return true;
    }
    return false;
}

static void item_on_body(struct exchange *x, const char *p, size_t n)
{
    struct batch_item *it = item_of(x);
    if (item_is_full(it, n))
        return;
    x->bytes_out += n;
    if (it->is_chunked)
        batch_put_chunk(backlog_buffer(&it->held), p, n);
    else if (it->kind->is_ndjson)
        item_add_text(it, str_make(p, n));
    else
        backlog_add(&it->held, str_make(p, n));
    item_held_more(it);
}

static void item_on_end(struct exchange *x, const struct fields *trailers)
{
    struct batch_item *it = item_of(x);
    item_done(it);
    if (it->kind->is_ndjson) {
        item_end_body(it);
        item_changed(it);
        return;
    }
    if (it->is_chunked)
        batch_put_last_chunk(backlog_buffer(&it->held), trailers);
    item_held_more(it);
}

static void on_cut(struct exchange *x)
{
    struct batch_item *it = item_of(x);
    item_done(it);
    if (it->kind->is_ndjson)
        item_make_broken_line(it);
    else
        item_changed(it);
}

/* Neither CONNECT nor Upgrade get into a batch, so no origin should come to this. */
static struct stream *on_tunnel(struct exchange *x, struct h1_head *head)
{
    (void)head;
    x->fault = FAULT_UP_PROTOCOL;
    on_cut(x);
    return NULL;
}

static void item_on_connect(struct exchange *x)
{
    x->fault = FAULT_BAD_REQUEST;
    on_cut(x);
}

static void item_on_drain(struct exchange *x)
{
    (void)x; /* the body went up whole */
}

static void item_free(struct exchange *x)
{
    free(item_of(x));
}

static const struct source_ops batch_source = {
    .on_info = on_info,
    .on_head = item_on_head,
    .on_body = item_on_body,
    .on_end = item_on_end,
    .on_cut = on_cut,
    .on_tunnel = on_tunnel,
    .on_connect_plain = item_on_connect,
    .on_connect_tls = item_on_connect,
    .on_drain = item_on_drain,
    .release = item_free,
};

/* ---- life */

static void on_deadline(void *arg)
{
    struct batch_item *it = arg;
    item_break(it, FAULT_RESPONSE_TIMEOUT, "the item took longer than its timeout_ms (%lld)%s",
               (long long)it->want->timeout_ms,
               it->x.head.method.is_safe ? "" : "; the request may have been carried out");
}

/* The checks that any request of a client must pass. */
static bool item_parse(struct batch_item *it, struct fault *f)
{
    const struct batch_want *want = it->want;
    struct exchange *x = &it->x;
    struct h1_error e;
    if (want->wrong != NULL) {
        fault_set(f, FAULT_BAD_REQUEST, "%s", want->wrong);
        f->phrase = "Malformed item of the batch";
        return false;
    }
    x->bytes_in = want->head_len + want->body_len;
    if (want->head_len > it->kind->conf->client.max_head) {
        fault_say(f, FAULT_HEAD_TOO_LARGE, "the request head is larger than client.max_head");
        return false;
    }
    struct str head = arena_dup(&x->arena, str_make(want->head, want->head_len));
    if (h1_parse_request(&x->head, head.p, head.len, false, &e) &&
        h1_body_of_request(&x->body, &x->head, &e))
        return true;
    h1_request_fault(f, &e);
    return false;
}

struct batch_item *item_begin(struct batch_kind *kind, const struct batch_want *want,
                              unsigned index)
{
    struct batch_item *it = xmalloc(sizeof *it);
    struct fault f;
    memset((char *)it + sizeof it->x, 0, sizeof *it - sizeof it->x);
    exchange_init(&it->x, kind->engine, &batch_source, (struct source_side *)&kind->from);
    list_init(&it->link);
    it->kind = kind;
    it->want = want;
    it->index = index;
    backlog_init(&it->held, kind->engine->budget);
    backlog_init(&it->line, kind->engine->budget);
    it->is_text = true;
    kind->under_way++;
    deadline_init(&it->deadline, kind->engine->loop, on_deadline, it);
    if (!item_parse(it, &f)) {
        exchange_refuse(&it->x, &f);
        return it;
    }
    deadline_set(&it->deadline, want->timeout_ms);
    exchange_start(&it->x, str_make(want->body, want->body_len), true);
    return it;
}

void item_promote(struct batch_item *it)
{
    it->is_first = true;
    if (it->kind->is_ndjson)
        exchange_pause(&it->x, false);
}

bool item_take(struct batch_item *it, struct evbuffer *out, size_t n)
{
    if (it->kind->is_ndjson)
        return it->is_done && item_take_line(it, out, n);
    backlog_move(&it->held, out, n);
    size_t left = backlog_len(&it->held);
    if (left <= item_bound(it) / 2)
        exchange_pause(&it->x, false);
    return left > 0;
}

void item_close(struct batch_item *it, enum fault_code fault)
{
    backlog_clear(&it->held);
    backlog_clear(&it->line);
    deadline_close(&it->deadline);
    list_remove(&it->link);
    exchange_close(&it->x, fault);
}
