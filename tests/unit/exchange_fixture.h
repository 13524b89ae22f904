/* SPDX-License-Identifier: Apache-2.0 */
/* An exchange of the test's own on a rig, without a client: its source writes down what it is told,
 * as it would stand on the wire. */
#ifndef TLSFAN_TESTS_EXCHANGE_FIXTURE_H
#define TLSFAN_TESTS_EXCHANGE_FIXTURE_H

#include "client_fixture.h"

#include "http/h1_write.h"

/* One exchange. Zeroed by probe_open(). */
struct probe {
    struct exchange x;
    struct source_side side;
    struct fields trailers;
    char told[16384]; /* head, body and "|" for whatever ends it: "|end", "|cut", "|tunnel"... */
    size_t n;
    struct stream *down; /* given to a tunnel */
    unsigned drains;
    bool over, released;
    bool close_at_end; /* exchange_close() in the last callback */
};

static inline void probe_tell(struct probe *p, const char *text, size_t n)
{
    assert_true(p->n + n < sizeof(p->told));
    memcpy(p->told + p->n, text, n);
    p->n += n;
    p->told[p->n] = '\0';
}

static inline void probe_over(struct probe *p, const char *how)
{
    assert_false(p->over);
    p->over = true;
    probe_tell(p, how, strlen(how));
    if (p->close_at_end)
        exchange_close(&p->x, FAULT_NONE);
}

static inline void probe_on_info(struct exchange *x, struct h1_head *head)
{
    char line[32];
    int n = snprintf(line, sizeof(line), "|%u", head->status);
    probe_tell((struct probe *)x, line, (size_t)n);
}

static inline void probe_on_head(struct exchange *x, struct h1_head *head, enum h1_framing framing,
                                 uint64_t length)
{
    char text[8192];
    struct h1_out out = {
        .framing = framing, .length = length, .keep_alive = true, .omit_framing = x->res_is_bare};
    assert_true(h1_response_size(head->reason, &head->fields) < sizeof(text));
    size_t n = h1_write_response(text, head->status, head->reason, &head->fields, &out);
    probe_tell((struct probe *)x, text, n);
}

static inline void probe_on_body(struct exchange *x, const char *bytes, size_t n)
{
    probe_tell((struct probe *)x, bytes, n);
}

static inline void probe_on_end(struct exchange *x, const struct fields *trailers)
{
    probe_over((struct probe *)x, trailers == NULL ? "|end" : "|trailers|end");
}

static inline void probe_on_cut(struct exchange *x)
{
    probe_over((struct probe *)x, "|cut");
}

static inline struct stream *probe_on_tunnel(struct exchange *x, struct h1_head *head)
{
    struct probe *p = (struct probe *)x;
    (void)head;
    if (p->down == NULL)
        probe_over(p, "|no tunnel");
    else
        probe_tell(p, "|tunnel", 7);
    return p->down;
}

static inline void probe_on_plain(struct exchange *x)
{
    probe_over((struct probe *)x, "|plain");
}

static inline void probe_on_tls(struct exchange *x)
{
    probe_over((struct probe *)x, "|tls");
}

static inline void probe_on_drain(struct exchange *x)
{
    ((struct probe *)x)->drains++;
}

static inline void probe_release(struct exchange *x)
{
    ((struct probe *)x)->released = true;
}

static const struct source_ops probe_ops = {
    .on_info = probe_on_info,
    .on_head = probe_on_head,
    .on_body = probe_on_body,
    .on_end = probe_on_end,
    .on_cut = probe_on_cut,
    .on_tunnel = probe_on_tunnel,
    .on_connect_plain = probe_on_plain,
    .on_connect_tls = probe_on_tls,
    .on_drain = probe_on_drain,
    .release = probe_release,
};

/* A new exchange with the head TEXT ("%P" is the origin), lines ended by the test with \r\n and
 * without the empty line. */
static inline void probe_open(struct probe *p, struct rig *r, const char *text)
{
    struct h1_error e;
    char head[4096];
    size_t n = 0;
    memset(p, 0, sizeof(*p));
    assert_true(addr_parse_ip(&p->side.peer, STR("127.0.0.1"), 1));
    memcpy(p->side.peer_text, "127.0.0.1", 10);
    memcpy(p->side.self, "127.0.0.1:9001", 15);
    p->side.is_local = true;
    for (; *text != '\0'; text++) {
        assert_true(n < sizeof(head) - 64);
        if (text[0] == '%' && text[1] == 'P') {
            n += (size_t)snprintf(head + n, 32, "127.0.0.1:%u", r->port);
            text++;
        } else {
            head[n++] = *text;
        }
    }
    memcpy(head + n, "\r\n", 2);
    exchange_init(&p->x, &r->engine, &probe_ops, &p->side);
    struct str bytes = arena_dup(&p->x.arena, str_make(head, n + 2));
    if (!h1_parse_request(&p->x.head, bytes.p, bytes.len, false, &e) ||
        !h1_body_of_request(&p->x.body, &p->x.head, &e))
        fail_msg("%s: %s", head, e.reason);
}

/* Ends it, whatever it does, and sees that it is gone. */
static inline void probe_close(struct probe *p, struct rig *r)
{
    exchange_close(&p->x, FAULT_CLIENT_GONE);
    fixture_settle(&r->f);
    assert_true(p->released);
}

/* T's time is over. */
static inline void fire(struct timeout *t)
{
    assert_false(list_is_empty(&t->link));
    timeout_clear(t);
    t->fn(t->arg);
}

#endif
