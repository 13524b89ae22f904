/* SPDX-License-Identifier: Apache-2.0 */
/* An access token that is fetched: see token_fetch.h. */
#include "own/token_fetch.h"

#include <stdlib.h>

#include "base/log_limit.h"
#include "exchange/exchange.h"
#include "exchange/stats.h"
#include "http/h1_parse.h"
#include "own/token_read.h"

enum {
    ANSWER_MAX = 65536, /* bytes */
    FETCH_MS = 30000    /* for all of it */
};

/* Owner: the engine's list until it is over, then its exchange. */
struct token_fetch {
    struct exchange x; /* first */
    struct source_side side;
    struct list link; /* in engine->token_fetches */
    struct token_place *place;
    const struct oauth_conf *oauth; /* of x.conf */
    struct deadline deadline;
    bool is_over;
    size_t n; /* bytes of the answer */
    char answer[ANSWER_MAX];
};

static struct token_fetch *token_fetch_of(struct exchange *x)
{
    return container_of(x, struct token_fetch, x);
}

/* TOKEN lasts LIFETIME ms; p NULL: F says why there is none. */
static void token_fetch_end(struct token_fetch *f, struct str token, int64_t lifetime,
                            const struct fault *fault)
{
    if (f->is_over)
        return;
    f->is_over = true;
    list_remove(&f->link);
    deadline_close(&f->deadline);
    struct stats *s = f->x.engine->stats;
    counter_add(token.p == NULL ? &s->tokens_lost : &s->tokens, 1);
    if (token.p == NULL)
        log_limited(LOG_LEVEL_WARNING, "%s", fault->text);
    token_store_put(f->place, token, lifetime, fault);
    exchange_close(&f->x, FAULT_NONE);
}

static void token_fetch_fail(struct token_fetch *f, struct str why)
{
    struct fault fault;
    fault_set(&fault, FAULT_TOKEN, "no access token for oauth \"%.60s\" from %.100s: %.*s",
              f->oauth->name, f->oauth->host, STR_ARG(why));
    token_fetch_end(f, str_make(NULL, 0), 0, &fault);
}

/* ---- what the exchange tells */

static void token_on_info(struct exchange *x, struct h1_head *head)
{
    (void)x;
    (void)head;
}

static void token_on_head(struct exchange *x, struct h1_head *head, enum h1_framing framing,
                          uint64_t length)
{
    (void)head;
    (void)framing;
    if (x->fault == FAULT_NONE && length > ANSWER_MAX)
        token_fetch_fail(token_fetch_of(x), STR("its answer is larger than 64 KiB"));
}

static void token_on_body(struct exchange *x, const char *p, size_t n)
{
    struct token_fetch *f = token_fetch_of(x);
    if (f->is_over || x->fault != FAULT_NONE)
        return;
    if (n > sizeof(f->answer) - f->n) {
        token_fetch_fail(f, STR("its answer is larger than 64 KiB"));
        return;
    }
    x->bytes_out += n;
    memcpy(f->answer + f->n, p, n);
    f->n += n;
}

static void token_on_end(struct exchange *x, const struct fields *trailers)
{
    struct token_fetch *f = token_fetch_of(x);
    struct token_answer answer;
    (void)trailers;
    if (x->fault != FAULT_NONE) {
        token_fetch_fail(f, x->sentence);
        return;
    }
    token_read(&answer, f->oauth, x->status, str_make(f->answer, f->n), &x->arena);
    token_fetch_end(f, answer.token, answer.lifetime, &answer.fault);
}

static void token_on_cut(struct exchange *x)
{
    token_fetch_fail(token_fetch_of(x), x->sentence.len > 0 ? x->sentence : STR("it broke off"));
}

static struct stream *token_on_tunnel(struct exchange *x, struct h1_head *head)
{
    (void)head;
    token_fetch_fail(token_fetch_of(x), STR("it answered 101"));
    return NULL;
}

static void token_on_connect(struct exchange *x)
{
    token_on_cut(x); /* nobody asks for it */
}

static void token_on_drain(struct exchange *x)
{
    (void)x; /* the body went up whole */
}

static void token_release(struct exchange *x)
{
    struct token_fetch *f = token_fetch_of(x);
    explicit_bzero(f->answer, f->n);
    explicit_bzero(x->first_bytes, sizeof(x->first_bytes));
    xfree(f);
}

static const struct source_ops token_source = {
    .on_info = token_on_info,
    .on_head = token_on_head,
    .on_body = token_on_body,
    .on_end = token_on_end,
    .on_cut = token_on_cut,
    .on_tunnel = token_on_tunnel,
    .on_connect_plain = token_on_connect,
    .on_connect_tls = token_on_connect,
    .on_drain = token_on_drain,
    .release = token_release,
};

/* ---- its beginning */

static void token_on_deadline(void *arg)
{
    token_fetch_fail(arg, STR("it has not answered within 30 s"));
}

/* X is of the snapshot that its rule is of, which this engine may not have heard of yet. */
static void token_fetch_use(struct exchange *x, struct conf *c)
{
    if (x->conf == c) {
        conf_unref(&c);
        return;
    }
    struct conf_use *use = xcalloc(1, sizeof(*use));
    *use = (struct conf_use){c, 1};
    engine_unuse(x->use);
    x->use = use;
    x->conf = c;
}

/* The request as a client would send it. */
static bool token_fetch_write(struct token_fetch *f, struct h1_error *e)
{
    struct exchange *x = &f->x;
    const struct oauth_conf *o = f->oauth;
    struct str rest = str_from_byte(str_from(o->url), sizeof("https://") - 1);
    size_t host = 0;
    while (host < rest.len && strchr("/?", rest.p[host]) == NULL)
        host++;
    struct str head = arena_printf(
        &x->arena,
        "POST %s HTTP/1.1\r\nHost: %.*s\r\nAccept: application/json\r\nUser-Agent: "
        "tlsfan/" TLSFAN_VERSION "\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        "Content-Length: %zu\r\n%s%.*s%s\r\n",
        o->url, (int)host, rest.p, o->body.len,
        o->in_body ? "" : "Authorization: ", STR_ARG(o->authorization), o->in_body ? "" : "\r\n");
    x->bytes_in = head.len + o->body.len;
    if (!h1_parse_request(&x->head, (char *)head.p, head.len, false, e) ||
        !h1_body_of_request(&x->body, &x->head, e))
        return false;
    /* Asked for twice it is two tokens, of which one is not used. */
    x->head.method.is_idempotent = true;
    return true;
}

void token_fetch_start(struct engine *e, const struct token_job *job)
{
    struct token_fetch *f = xcalloc(1, sizeof(*f));
    struct h1_error wrong;
    f->place = job->place;
    f->oauth = job->oauth;
    f->side = (struct source_side){.kind = SOURCE_OWN,
                                   .peer_text = "tlsfan",
                                   .is_local = true,
                                   .admitted = job->conf->generation};
    exchange_init(&f->x, e, &token_source, &f->side);
    token_fetch_use(&f->x, job->conf);
    list_init(&f->link);
    list_push_back(&e->token_fetches, &f->link);
    deadline_init(&f->deadline, e->loop, token_on_deadline, f);
    deadline_set(&f->deadline, FETCH_MS);
    if (token_fetch_write(f, &wrong))
        exchange_start(&f->x, f->oauth->body, true);
    else
        token_fetch_fail(f, STR("token_url makes no request"));
}

void token_fetch_close_all(struct engine *e)
{
    struct list *it;
    while ((it = list_first(&e->token_fetches)) != NULL)
        token_fetch_fail(container_of(it, struct token_fetch, link), STR("tlsfan is ending"));
}
