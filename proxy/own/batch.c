/* SPDX-License-Identifier: Apache-2.0 */
/* The batch engine: see batch.h. The body is gathered, read piece by piece, and checked as a whole
 * before the answer begins. Then a window of items is under way, in the order asked for; what is
 * first in line is given on, the others hold theirs.
 *
 * Everything that calls out is done by batch_run(), which a post calls; items and the user of the
 * batch only ask for it. */
#include "own/batch.h"

#include <stdlib.h>

#include "base/state.h"
#include "exchange/hold.h"
#include "exchange/trust.h"
#include "own/batch_item.h"
#include "own/batch_read.h"

enum {
    PIECE = 65536 - 64, /* bytes given on at a time: with libevent's own a power of two */
    TURN = 4 * PIECE,   /* bytes given on in one turn: what is written may be read as fast */
    FIRST_ROOM = 4096,  /* bytes of a body to begin with */
    BEGUN_MAX = 64,     /* items begun in one go */
    WANT_COSTS = 384,   /* bytes of what is read of it that each item costs besides its text */
    WAIT_US = 1000000,  /* how long items wait for memory when none is under way */
    LOOK_MS = 1         /* between two looks for it */
};

enum batch_state {
    BATCH_BODY,   /* gathers the body */
    BATCH_READ,   /* reads it, a piece each turn */
    BATCH_ANSWER, /* items are under way */
    BATCH_CLOSED  /* waits for the reaper */
};

#define TO(state) STATE_BIT(BATCH_##state)

static const struct state_row batch_states[] = {
    [BATCH_BODY] = {"BODY", TO(READ) | TO(CLOSED)},
    [BATCH_READ] = {"READ", TO(ANSWER) | TO(CLOSED)},
    [BATCH_ANSWER] = {"ANSWER", TO(CLOSED)},
    [BATCH_CLOSED] = {"CLOSED", 0},
};

/* Owner: its user. Closed by cancel(), or by itself with on_end() and on_fault(). */
struct batch {
    struct ustream us;
    enum batch_state state;
    struct batch_kind kind;
    char *user;           /* what kind.from.user points to */
    struct conf_use *use; /* keeps kind.conf */
    struct fault fault;   /* code NONE: nothing is wrong with the whole */
    char *body;           /* heap; until it has been read */
    size_t len, cap;
    struct share share; /* the body, then about what was made of it */
    bool is_json;
    struct batch_reader reader;
    struct list items; /* struct batch_item: begun, and not given to the end */
    unsigned next;     /* index of the next one to begin */
    unsigned n_begun;  /* in this run: each keeps its memory until the end of the turn */
    bool paused;       /* the user takes no more */
    bool is_awaited;   /* the caller waits for 100 before it sends the body */
    size_t given;      /* in this turn */
    struct deadline look;
    int64_t waits_since; /* µs: since when there is no memory for the next item; 0: there was */
    struct post run;
    struct reap reap;
};

static struct batch *batch_of(struct ustream *us)
{
    return container_of(us, struct batch, us);
}

static void batch_set_state(struct batch *b, enum batch_state to)
{
    state_check("batch", (uintptr_t)b, batch_states, b->state, to);
    b->state = to;
}

static void batch_wake(void *arg)
{
    struct batch *b = arg;
    if (b->state != BATCH_CLOSED)
        loop_post(b->kind.engine->loop, &b->run);
}

static void batch_drop_body(struct batch *b)
{
    free(b->body);
    b->body = NULL;
    b->cap = 0;
}

static void batch_free(void *arg)
{
    struct batch *b = arg;
    batch_read_clear(&b->reader);
    engine_unuse(b->use);
    free(b->user);
    free(b);
}

/* What is under way is cancelled. */
static void batch_close(struct batch *b)
{
    struct list *it;
    if (b->state == BATCH_CLOSED)
        return;
    batch_set_state(b, BATCH_CLOSED);
    b->us.events = NULL;
    while ((it = list_first(&b->items)) != NULL)
        item_close(container_of(it, struct batch_item, link), FAULT_CLIENT_GONE);
    batch_drop_body(b);
    share_set(&b->share, 0);
    loop_unpost(&b->run);
    deadline_close(&b->look);
    loop_reap(b->kind.engine->loop, &b->reap, batch_free, b);
}

/* ---- the body */

static void batch_fail(struct batch *b, enum fault_code code, const char *text)
{
    if (b->fault.code == FAULT_NONE)
        fault_set(&b->fault, code, "%s", text);
    batch_wake(b);
}

static void batch_too_large(struct batch *b)
{
    char text[128];
    snprintf(text, sizeof text, "the body has more than %zu bytes (batch.max_size)",
             b->kind.conf->batch.max_size);
    batch_fail(b, FAULT_TOO_LARGE, text);
}

static size_t batch_next_cap(const struct batch *b, size_t need)
{
    size_t cap = b->cap == 0 ? FIRST_ROOM : b->cap;
    while (cap < need)
        cap *= 2;
    return cap;
}

static void batch_grow(struct batch *b, size_t cap)
{
    b->body = xrealloc(b->body, cap);
    b->cap = cap;
    share_set(&b->share, sizeof *b + cap);
}

static bool batch_body(struct ustream *us, struct str data)
{
    struct batch *b = batch_of(us);
    if (b->state != BATCH_BODY || b->fault.code != FAULT_NONE || data.len == 0)
        return true;
    if (data.len > b->kind.conf->batch.max_size - b->len) {
        batch_too_large(b);
        return true;
    }
    size_t cap = batch_next_cap(b, b->len + data.len);
    if (budget_lacks(b->kind.engine->budget, cap - b->cap)) {
        batch_fail(
            b, FAULT_LIMIT,
            "the proxy has no memory left for the body (max_memory); try again, or raise it");
        return true;
    }
    if (cap > b->cap)
        batch_grow(b, cap);
    memcpy(b->body + b->len, data.p, data.len);
    b->len += data.len;
    return true;
}

static void batch_end(struct ustream *us, struct str last, const struct fields *trailers)
{
    struct batch *b = batch_of(us);
    (void)trailers;
    (void)batch_body(us, last);
    if (b->state != BATCH_BODY)
        return;
    batch_set_state(b, BATCH_READ);
    batch_read_init(&b->reader, str_make(b->body, b->len), b->is_json,
                    b->kind.conf->batch.max_items, b->kind.conf->client.max_head);
    batch_wake(b);
}

/* ---- the head of the request */

static bool wants_ndjson(const struct fields *fields)
{
    return fields_accept(fields, STR("application/x-ndjson")) ||
           fields_accept(fields, STR("application/ndjson"));
}

static bool is_encoded(const struct fields *fields)
{
    for (unsigned i = 0; i < fields->n; i++)
        if (fields->v[i].name.p != NULL && str_ieq(fields->v[i].name, STR("Content-Encoding")) &&
            !str_ieq(fields->v[i].value, STR("identity")))
            return true;
    return false;
}

static void batch_start(struct ustream *us, const struct up_request *rq, struct str body, bool end)
{
    struct batch *b = batch_of(us);
    const struct field *type = fields_find(rq->fields, FIELD_CONTENT_TYPE, NULL);
    struct str media = type == NULL ? str_make(NULL, 0) : media_type(type->value);
    b->is_json = str_ieq(media, STR("application/json"));
    b->kind.is_ndjson = wants_ndjson(rq->fields);
    if (!b->is_json && !str_ieq(media, STR("text/plain")))
        batch_fail(b, FAULT_MEDIA_TYPE,
                   "send the batch as Content-Type application/json or text/plain");
    else if (is_encoded(rq->fields))
        batch_fail(b, FAULT_MEDIA_TYPE, "send the batch without Content-Encoding");
    else if (rq->framing == H1_FRAMING_LENGTH && rq->length > b->kind.conf->batch.max_size)
        batch_too_large(b);
    b->is_awaited = fields_has(rq->fields, FIELD_EXPECT) && body.len == 0 && !end;
    if (b->is_awaited)
        batch_wake(b);
    if (end)
        batch_end(us, body, NULL);
    else
        batch_body(us, body);
}

/* ---- the answer */

static void batch_give_head(struct batch *b)
{
    struct h1_head head = {.status = 200, .reason = STR("OK"), .minor = 1};
    struct h1_body body = {.framing = H1_FRAMING_CHUNKED};
    struct arena arena;
    char memory[1024];
    arena_init(&arena, memory, sizeof memory);
    fields_init(&head.fields, &arena, NULL, 0);
    fields_put(&head.fields, STR("Content-Type"),
               b->kind.is_ndjson
                   ? STR("application/x-ndjson")
                   : arena_printf(&arena, "multipart/mixed; boundary=%s", b->kind.boundary));
    fields_put(&head.fields, STR("Cache-Control"), STR("no-store"));
    fields_put(&head.fields, STR("X-Content-Type-Options"), STR("nosniff"));
    b->us.events->on_head(b->us.arg, &head, &body);
    arena_clear(&arena);
}

/* The rest when others have had a turn, though an item may have asked for this one meanwhile. */
static void batch_next_turn(struct batch *b)
{
    loop_unpost(&b->run);
    loop_post_next(b->kind.engine->loop, &b->run);
}

/* True when the next item waits for memory, none being under way whose end would make room. */
static bool batch_waits(struct batch *b)
{
    struct fault f;
    int64_t now = loop_now();
    if (engine_has_room(b->kind.engine, &f)) {
        b->waits_since = 0;
        return false;
    }
    if (b->waits_since == 0)
        b->waits_since = now;
    if (now - b->waits_since >= WAIT_US)
        return false;
    deadline_set(&b->look, LOOK_MS);
    return true;
}

/* A bounded number at once. Where a rule lets fewer go to a host, they wait in its queue, behind
 * each other and for as long as it takes: timeout_ms is the caller's to set. */
static void batch_begin(struct batch *b)
{
    unsigned max = b->kind.conf->rules[0].max_per_host;
    for (; b->kind.under_way < max && b->next < b->reader.n; b->next++) {
        bool is_first = list_is_empty(&b->items);
        if (is_first ? batch_waits(b) : budget_is_tight(b->kind.engine->budget))
            return; /* each that ends is a reason to come back */
        if (b->n_begun == BEGUN_MAX) {
            batch_next_turn(b);
            return;
        }
        b->n_begun++;
        struct batch_item *item = item_begin(&b->kind, &b->reader.v[b->next], b->next);
        list_push_back(&b->items, &item->link);
    }
}

/* Gives on one piece. False: the user has had enough, or is gone. */
static bool batch_give(struct batch *b, struct evbuffer *out)
{
    size_t n = evbuffer_get_length(out);
    if (n > 0)
        b->us.events->on_body(b->us.arg, (const char *)evbuffer_pullup(out, -1), n);
    if (b->state == BATCH_CLOSED)
        return false;
    b->given += n;
    evbuffer_drain(out, n);
    return !b->paused;
}

/* Gives on what the first item has. False: nothing more for now. */
static bool batch_give_first(struct batch *b, struct evbuffer *out)
{
    struct list *first = list_first(&b->items);
    if (first == NULL)
        return false;
    struct batch_item *it = container_of(first, struct batch_item, link);
    if (!it->is_first)
        item_promote(it);
    bool more = item_take(it, out, PIECE);
    if (!more && it->is_done) {
        item_close(it, FAULT_NONE);
        batch_want_clear(&b->reader.v[it->index]);
        more = true;
    }
    return batch_give(b, out) && more;
}

/* The last item has been given. */
static void batch_finish(struct batch *b, struct evbuffer *out)
{
    const struct ustream_events *events = b->us.events;
    void *arg = b->us.arg;
    if (!b->kind.is_ndjson)
        batch_put_close(out, b->kind.boundary);
    if (!batch_give(b, out) && b->state == BATCH_CLOSED)
        return;
    batch_close(b);
    events->on_end(arg, NULL);
}

static void batch_answer(struct batch *b)
{
    struct evbuffer *out = evbuffer_new();
    bool more = !b->paused;
    b->n_begun = 0;
    batch_begin(b);
    b->given = 0;
    while (more && b->state == BATCH_ANSWER && b->given < TURN) {
        more = batch_give_first(b, out);
        if (b->state == BATCH_ANSWER)
            batch_begin(b);
    }
    if (more && b->state == BATCH_ANSWER) {
        batch_next_turn(b);
    } else if (b->state == BATCH_ANSWER && !b->paused && list_is_empty(&b->items) &&
               b->next == b->reader.n) {
        batch_finish(b, out);
    }
    evbuffer_free(out);
}

static void batch_read(struct batch *b)
{
    switch (batch_read_step(&b->reader)) {
    case BATCH_READ_MORE:
        loop_post_next(b->kind.engine->loop, &b->run);
        return;
    case BATCH_READ_BAD:
        b->fault = b->reader.fault;
        batch_wake(b);
        return;
    case BATCH_READ_DONE:
        break;
    }
    batch_drop_body(b);
    share_set(&b->share, sizeof *b + b->len + b->reader.n * WANT_COSTS);
    batch_set_state(b, BATCH_ANSWER);
    batch_wake(b);
    batch_give_head(b);
}

/* RFC 9110 §10.1.1. */
static void batch_give_continue(struct batch *b)
{
    struct h1_head head = {.status = 100, .reason = STR("Continue"), .minor = 1};
    struct arena arena;
    b->is_awaited = false;
    arena_init(&arena, NULL, 0);
    fields_init(&head.fields, &arena, NULL, 0);
    b->us.events->on_info(b->us.arg, &head);
    arena_clear(&arena);
}

static void batch_run(void *arg)
{
    struct batch *b = arg;
    const struct ustream_events *events = b->us.events;
    void *user = b->us.arg;
    if (b->fault.code != FAULT_NONE) {
        struct fault f = b->fault;
        batch_close(b);
        events->on_fault(user, &f, LOSS_FINAL);
        return;
    }
    if (b->state == BATCH_BODY && b->is_awaited)
        batch_give_continue(b);
    else if (b->state == BATCH_READ)
        batch_read(b);
    else if (b->state == BATCH_ANSWER)
        batch_answer(b);
}

/* ---- as an upstream */

static void batch_pause(struct ustream *us, bool paused)
{
    struct batch *b = batch_of(us);
    b->paused = paused;
    if (!paused)
        batch_wake(b);
}

static void batch_cancel(struct ustream *us)
{
    batch_close(batch_of(us));
}

static struct stream *batch_take(struct ustream *us, void **slot)
{
    (void)us;
    (void)slot;
    return NULL; /* it answers no 101 */
}

static const struct ustream_ops batch_ops = {
    .start = batch_start,
    .body = batch_body,
    .end = batch_end,
    .pause = batch_pause,
    .cancel = batch_cancel,
    .take = batch_take,
};

struct ustream *batch_open(struct engine *e, const struct source_side *from)
{
    struct batch *b = xcalloc(1, sizeof *b);
    b->us.ops = &batch_ops;
    b->use = engine_use(e);
    b->kind.engine = e;
    b->share.budget = e->budget;
    b->kind.conf = b->use->conf;
    b->kind.on_change = batch_wake;
    b->kind.arg = b;
    b->kind.from = *from;
    b->user = xstrndup(from->user.p == NULL ? "" : from->user.p, from->user.len);
    b->kind.from.user = str_make(b->user, from->user.len);
    b->kind.from.person = trust_person(&from->peer, b->kind.from.user);
    b->kind.from.kind = SOURCE_BATCH;
    b->kind.from.fixed = (struct uri_host){0};
    batch_boundary(b->kind.boundary);
    list_init(&b->items);
    post_init(&b->run, batch_run, b);
    deadline_init(&b->look, e->loop, batch_wake, b);
    return &b->us;
}

/* An exchange of a proxy listener that is a batch call: its requests are of the same user. */
static struct ustream *batch_perform(struct exchange *x)
{
    struct source_side from = *x->from;
    from.user = trust_user(x);
    return batch_open(x->engine, &from);
}

const struct performer performer_batch = {.start = batch_perform};
