/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target: upstream/up_h1.c on what an origin sends. The first byte says how many bytes
 * come at once, the second what the exchange asks for and does; the rest comes over a socket pair,
 * then the end. Whatever comes, an exchange ends exactly once, and gets no more than was sent. */
#include "fuzz_up.h"

#include "upstream/up_h1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    IS_HEAD = 1,
    IS_UPGRADE = 2,
    PAUSES = 4,
    CANCELS = 8,
    HAS_BODY = 16,
    LENIENT = 32,
    TURNS = 100000
};

struct probe {
    struct ustream *us; /* NULL when the exchange is over */
    unsigned flags, ends;
    size_t body;
    bool paused;
    struct stream *taken;
};

static struct rule rules[] = {
    {.host = "*", .connect_host = none, .sni = none},
    {.index = 1, .host = "*", .connect_host = none, .sni = none, .lenient = true}};

static void on_info(void *arg, struct h1_head *head)
{
    const struct probe *p = arg;
    assert(p->us != NULL && head->status >= 100 && head->status < 200);
}

static void on_head(void *arg, struct h1_head *head, const struct h1_body *body)
{
    struct probe *p = arg;
    void *slot = NULL;
    (void)body;
    assert(p->us != NULL);
    struct ustream *us = p->us;
    if (head->status == 101) {
        assert(p->flags & IS_UPGRADE);
        p->us = NULL;
        p->taken = us->ops->take(us, &slot);
        pool_release_slot(slot);
    } else if (p->flags & CANCELS) {
        p->us = NULL;
        us->ops->cancel(us);
    }
}

static void on_body(void *arg, const char *bytes, size_t n)
{
    struct probe *p = arg;
    (void)bytes;
    assert(p->us != NULL && !p->paused && n > 0);
    p->body += n;
    p->paused = (p->flags & PAUSES) != 0;
    if (p->paused)
        p->us->ops->pause(p->us, true);
}

static void on_end(void *arg, const struct fields *trailers)
{
    struct probe *p = arg;
    (void)trailers;
    p->us = NULL;
    p->ends++;
}

static void on_fault(void *arg, const struct fault *f, enum up_loss loss)
{
    struct probe *p = arg;
    assert(f->code != FAULT_NONE && f->code != FAULT_INTERNAL && loss != LOSS_REUSED);
    p->us = NULL;
    p->ends++;
}

static void on_drain(void *arg)
{
    (void)arg;
}

static const struct ustream_events events = {on_info, on_head, on_body, on_end, on_fault, on_drain};

/* A busy connection over FD, as the pool would have given it out. */
static struct ustream *connect_fd(int fd, const struct rule *rule)
{
    struct origin *o = origin_of(rule);
    struct addr nowhere = {0};
    struct pool_made made = {.loop = &loop,
                             .pool = pool,
                             .origin = o,
                             .stream = stream_new(&loop, fd, &nowhere),
                             .id = &id};
    struct pool_conn *c = up_h1_new(&made);
    o->conns++;
    take_slot(o);
    return pool_conn_use(c);
}

static void start(struct probe *p)
{
    struct up_request rq = {.method = method_lookup(p->flags & IS_HEAD ? STR("HEAD") : STR("GET")),
                            .framing = p->flags & HAS_BODY ? H1_FRAMING_CHUNKED : H1_FRAMING_NONE,
                            .is_upgrade = (p->flags & IS_UPGRADE) != 0};
    start_on(p->us, rq, &events, p);
}

static void turn(struct probe *p)
{
    loop_turn(&loop, false);
    if (p->us == NULL || !p->paused)
        return;
    p->paused = false;
    p->us->ops->pause(p->us, false);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fds[2];
    if (pool == NULL)
        set_up();
    if (size < 2 || size > 32768 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) != 0)
        return 0;
    size_t step = data[0] < 8 ? data[0] + 1U : data[0] * 16U;
    struct probe p = {.us = connect_fd(fds[0], &rules[(data[1] & LENIENT) != 0]), .flags = data[1]};
    start(&p);
    bool is_open = true;
    for (size_t at = 2; at < size && is_open; at += step) {
        is_open = send_piece(fds[1], data, size, at, step);
        turn(&p);
    }
    shutdown(fds[1], SHUT_WR);
    for (int i = 0; p.us != NULL && i < TURNS; i++)
        turn(&p);
    assert(p.us == NULL && p.ends <= 1 && p.body <= size);
    stream_close(p.taken);
    close(fds[1]);
    for (int i = 0; i < 3; i++)
        loop_turn(&loop, false);
    return 0;
}
