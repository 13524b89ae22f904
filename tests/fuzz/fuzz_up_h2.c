/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target: upstream/up_h2*.c on what an origin sends. The first byte says how many bytes
 * come at once, the second what the requests ask for and do; the rest comes over a socket pair,
 * then the end. Whatever comes, each of the requests ends exactly once, and they get no more than
 * was sent. */
#include "fuzz_up.h"

#include "upstream/up_h2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    IS_HEAD = 1,
    PAUSES = 2,
    CANCELS = 4,
    HAS_BODY = 8,
    ASKS_AGAIN = 16,
    STREAMS = 3,
    SENT_MAX = 32768,
    TURNS = 100000
};

struct probe {
    struct ustream *us; /* NULL when the exchange is over */
    unsigned flags, heads, ends;
    size_t body;
    bool paused, is_written;
};

static struct origin *origin;
static struct rule rule = {.host = "*", .connect_host = none, .sni = none, .http2 = true};
static struct probe probes[STREAMS + 1];

static void start(struct probe *p);

static void on_info(void *arg, struct h1_head *head)
{
    const struct probe *p = arg;
    assert(p->us != NULL && p->heads == 0 && head->status >= 100 && head->status < 200);
    assert(head->status != 101);
}

static void on_head(void *arg, struct h1_head *head, const struct h1_body *body)
{
    struct probe *p = arg;
    assert(p->us != NULL && p->heads == 0 && head->status >= 200 && head->status <= 999);
    assert(body->framing != H1_FRAMING_CHUNKED);
    p->heads++;
    for (unsigned i = 0; i < head->fields.n; i++) {
        const struct field *f = &head->fields.v[i];
        assert(f->name.p == NULL ||
               (f->name.len > 0 && memchr(f->name.p, ':', f->name.len) == NULL));
        assert(f->value.len == 0 || (memchr(f->value.p, '\n', f->value.len) == NULL &&
                                     memchr(f->value.p, '\r', f->value.len) == NULL &&
                                     memchr(f->value.p, '\0', f->value.len) == NULL));
    }
    if ((p->flags & CANCELS) == 0)
        return;
    struct ustream *us = p->us;
    p->us = NULL;
    us->ops->cancel(us);
}

static void on_body(void *arg, const char *bytes, size_t n)
{
    struct probe *p = arg;
    (void)bytes;
    assert(p->us != NULL && p->heads == 1 && !p->paused && n > 0);
    p->body += n;
    p->paused = (p->flags & PAUSES) != 0;
    if (p->paused)
        p->us->ops->pause(p->us, true);
}

/* Another request in the place of P's, on the same connection where there is room. */
static void ask_again(struct probe *p)
{
    struct up_how how = {0};
    struct probe *more = &probes[STREAMS];
    if ((p->flags & ASKS_AGAIN) == 0 || more->ends > 0 || more->us != NULL)
        return;
    more->us = pool_conn_find(origin, &how);
    if (more->us == NULL)
        return;
    take_slot(origin);
    start(more);
}

static void on_end(void *arg, const struct fields *trailers)
{
    struct probe *p = arg;
    (void)trailers;
    assert(p->us != NULL && p->heads == 1);
    p->us = NULL;
    p->ends++;
    ask_again(p);
}

static void on_fault(void *arg, const struct fault *f, enum up_loss loss)
{
    struct probe *p = arg;
    assert(f->code != FAULT_NONE && f->code != FAULT_INTERNAL);
    assert(p->us != NULL && (p->heads == 0 || loss == LOSS_FINAL));
    p->us = NULL;
    p->ends++;
}

static void on_drain(void *arg)
{
    struct probe *p = arg;
    assert(p->us != NULL);
}

static const struct ustream_events events = {on_info, on_head, on_body, on_end, on_fault, on_drain};

static struct pool_conn *connect_fd(int fd)
{
    struct addr nowhere = {0};
    origin = origin_of(&rule);
    struct stream *s = stream_new(&loop, fd, &nowhere);
    stream_start(s);
    struct pool_made made = {
        .loop = &loop, .pool = pool, .origin = origin, .stream = s, .id = &id, .h2 = &pool->h2};
    struct pool_conn *c = up_h2_new(&made);
    origin->conns++;
    origin->n_settling++;
    return c;
}

static void start(struct probe *p)
{
    struct up_request rq = {.method = method_lookup(p->flags & IS_HEAD ? STR("HEAD") : STR("GET")),
                            .framing = p->flags & HAS_BODY ? H1_FRAMING_CHUNKED : H1_FRAMING_NONE,
                            .buffer = 100};
    start_on(p->us, rq, &events, p);
}

static void turn(void)
{
    static char block[3000];
    loop_turn(&loop, false);
    for (struct probe *p = probes; p <= &probes[STREAMS]; p++) {
        if (p->us != NULL && (p->flags & HAS_BODY) && !p->is_written) {
            p->is_written = true;
            (void)p->us->ops->body(p->us, str_make(block, sizeof(block)));
            p->us->ops->end(p->us, STR(""), NULL);
        }
        if (p->us == NULL || !p->paused)
            continue;
        p->paused = false;
        p->us->ops->pause(p->us, false);
    }
}

static bool is_live(void)
{
    bool live = false;
    for (const struct probe *p = probes; p <= &probes[STREAMS]; p++)
        live = live || p->us != NULL;
    return live;
}

/* What we write is read, or it would stop there. */
static void drain(int fd)
{
    char buf[16384];
    while (recv(fd, buf, sizeof(buf), MSG_DONTWAIT) > 0)
        continue;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fds[2];
    size_t bodies = 0;
    if (pool == NULL)
        set_up();
    if (size < 2 || size > SENT_MAX ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) != 0)
        return 0;
    size_t step = data[0] < 8 ? data[0] + 1U : data[0] * 16U;
    memset(probes, 0, sizeof(probes));
    struct pool_conn *c = connect_fd(fds[0]);
    for (unsigned i = 0; i < STREAMS; i++) {
        take_slot(origin);
        probes[i].flags = data[1] >> i;
        probes[i].us = pool_conn_use(c);
        start(&probes[i]);
    }
    bool is_open = true;
    for (size_t at = 2; at < size && is_open; at += step) {
        is_open = send_piece(fds[1], data, size, at, step);
        turn();
        drain(fds[1]);
    }
    shutdown(fds[1], SHUT_WR);
    for (int i = 0; is_live() && i < TURNS; i++)
        turn();
    for (const struct probe *p = probes; p <= &probes[STREAMS]; p++) {
        assert(p->us == NULL && p->ends <= 1);
        bodies += p->body;
    }
    assert(bodies <= size);
    close(fds[1]);
    for (int i = 0; i < 3; i++)
        loop_turn(&loop, false);
    assert(origin->conns == 0 && origin->slots == 0 && origin->n_settling == 0);
    return 0;
}
