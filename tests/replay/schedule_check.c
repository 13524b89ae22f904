/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold whatever happens: see schedule.h. */
#include "schedule_impl.h"

#include <stdlib.h>
#include <string.h>

static void blame(struct schedule *s, const char *what)
{
    s->fault = s->fault == NULL ? what : s->fault;
}

static bool is_of(struct str body, unsigned id)
{
    return body.len <= BODY_MAX && memcmp(body.p, schedule_body(id), body.len) == 0;
}

/* The body of M, without its chunks. Heap. */
static struct str plain_body(const struct message *m)
{
    char *p = xmalloc(m->body.len + 1);
    if (m->is_chunked)
        return str_make(p, message_unchunk(m->body, p));
    memcpy(p, m->body.p, m->body.len);
    return str_make(p, m->body.len);
}

/* ---- origins */

static void look_at_head(struct schedule *s, const struct fake_sock *sock, const struct message *m)
{
    struct conn *o = &s->conns[sock->number];
    struct str target = str_from_byte(m->start, str_find(m->start, ' ') + 1);
    bool is_absolute = str_starts(target, STR("http://"));
    if (is_absolute != (addr_port(&sock->peer) == PARENT_PORT))
        blame(s, "the target has the wrong form");
    if (is_absolute)
        target = str_from_byte(target, sizeof("http://") - 1);
    const char *slash = memchr(target.p, '/', target.len);
    unsigned id = slash == NULL ? REQUESTS : (unsigned)strtoul(slash + 1, NULL, 10);
    bool is_ahead = message_field(m->head, "Sec-Purpose").len > 0;
    if (id >= (is_ahead ? REQUESTS + AHEAD_MAX : s->n_reqs)) {
        blame(s, "an origin is asked what no client has asked");
        return;
    }
    struct req *r = &s->reqs[id];
    o->id = id;
    o->has_head = o->is_used = true;
    o->is_ahead = is_ahead;
    if (is_ahead && !str_starts(m->start, STR("GET ")))
        blame(s, "another method than GET is asked ahead");
    r->is_ahead |= is_ahead;
    if (is_ahead)
        return;
    r->seen++;
    if (r->method == M_POST && r->seen > 1)
        blame(s, "an unsafe request is asked twice");
    if (r->seen > MOST_TRIES)
        blame(s, "a request is asked again and again");
}

static void look_at(struct schedule *s, struct fake_sock *sock)
{
    struct conn *o = &s->conns[sock->number];
    struct message m = message_read(fake_got(sock), false, false);
    if (o->is_whole && o->is_answered)
        o->has_head = o->is_whole = o->is_answered = false;
    if (m.head.len == 0)
        return;
    if (o->is_whole) {
        blame(s, "an origin is asked before it has answered");
        return;
    }
    if (!o->has_head)
        look_at_head(s, sock, &m);
    if (s->fault != NULL || !m.is_whole)
        return;
    struct str body = plain_body(&m);
    if (body.len != (o->is_ahead ? 0 : s->reqs[o->id].body) || !is_of(body, o->id))
        blame(s, "the body of a request is not what was sent");
    free((char *)body.p);
    o->is_whole = true;
    fake_take(sock, m.len);
}

/* NULL when the origin has nothing to answer there. */
static const struct req *in_flight(const struct schedule *s, unsigned dial)
{
    const struct conn *o = &s->conns[dial];
    bool is_open = !o->is_over && fake_dial(dial)->state == FAKE_OPEN;
    return is_open && o->has_head && !o->is_answered && !o->is_ahead ? &s->reqs[o->id] : NULL;
}

static bool may_be_together(const struct req *a, const struct req *b)
{
    return a->client != b->client || (a->method < M_PUT && b->method < M_PUT);
}

/* Of one client, an unsafe request is at an origin alone. */
static void look_at_order(struct schedule *s, unsigned n)
{
    const struct req *flying[DIALS + 1];
    unsigned k = 0;
    for (unsigned i = 1; i <= n; i++) {
        const struct req *r = in_flight(s, i);
        for (unsigned j = 0; r != NULL && j < k; j++) {
            if (!may_be_together(flying[j], r))
                blame(s, "an unsafe request has not waited, or was not waited for");
        }
        if (r != NULL)
            flying[k++] = r;
    }
}

void schedule_look(struct schedule *s)
{
    unsigned n = fake_dials < DIALS ? fake_dials : DIALS;
    for (unsigned i = 1; i <= n && s->fault == NULL; i++) {
        struct fake_sock *sock = fake_dial(i);
        if (addr_port(&sock->peer) != TUNNEL_PORT && !schedule_look_at_parent(s, sock))
            look_at(s, sock);
    }
    look_at_order(s, n);
}

/* ---- clients */

/* M is an answer to request ID: an origin's to it, or one of tlsfan's own. */
static void judge_answer(struct schedule *s, const struct message *m, unsigned id)
{
    struct req *r = &s->reqs[id];
    struct str mark = message_field(m->head, "X-Id");
    struct str body = plain_body(m);
    if (mark.len == 0) {
        if (m->status < 400)
            blame(s, "an answer of tlsfan's own says that all is well");
        if (body.len > 2 && memmem(body.p, body.len, "id=", 3) != NULL)
            blame(s, "an answer of tlsfan's own holds an origin's");
    } else {
        if (strtoul(mark.p, NULL, 10) != id)
            blame(s, "an answer reaches another request");
        if (!is_of(body, id))
            blame(s, "the body of an answer is another one's");
        if (m->is_whole && r->method != M_HEAD && m->status == 200 && !r->is_any &&
            body.len != r->answer)
            blame(s, "a part of an answer is taken for all of it");
        if (r->seen == 0 && !(r->is_ahead && r->method == M_GET))
            blame(s, "an answer comes to what nobody was asked");
    }
    free((char *)body.p);
}

static void judge_client(struct schedule *s, const struct side *c)
{
    struct str got = fake_got(c->sock);
    bool is_over = c->sock->out_end;
    unsigned n = 0;
    while (got.len > 0) {
        bool is_bare = n < c->n && s->reqs[c->asked[n]].method == M_HEAD;
        struct message m = message_read(got, is_bare, is_over);
        if (m.head.len == 0 || (!m.is_whole && !is_over)) {
            if (!is_over)
                blame(s, "an answer goes on for ever");
            break;
        }
        if (n == c->n && m.status >= 200 && m.status != 408 && m.status != 503)
            blame(s, "there are more answers than requests");
        if (s->fault != NULL)
            return;
        if (m.status >= 200 && n < c->n)
            judge_answer(s, &m, c->asked[n]);
        n += m.status >= 200;
        if (!m.is_whole)
            break;
        got = str_make(got.p + m.len, got.len - m.len);
    }
    if (n < c->n && !is_over)
        blame(s, "a request waits for ever");
}

void schedule_judge(struct schedule *s)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        if (s->sides[i].sock != NULL)
            judge_client(s, &s->sides[i]);
    }
    const char *lost = schedule_judge_tunnel(s);
    if (lost != NULL)
        blame(s, lost);
    unsigned fds = WORLD_FDS - (s->is_draining ? 1 : 0);
    if (fake_open != fds)
        blame(s, "hours later descriptors are open");
    else if (atomic_load(&s->world.budget.used) != 0)
        blame(s, "hours later bytes are counted in max_memory");
    else if (atomic_load(&s->world.connections) != 0)
        blame(s, "hours later clients are counted");
    else if (s->is_draining && !s->world.is_drained)
        blame(s, "hours later the worker has not been drained");
}

/* Whoever has kept a slot keeps it from being served. */
bool schedule_probe(struct schedule *s)
{
    static const char ask[] = "GET http://a.test/probe HTTP/1.1\r\nHost: a.test\r\n\r\n";
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nprobe";
    switch (s->probed++) {
    case 0:
        s->dials = fake_dials;
        s->prober = schedule_connect("192.0.2.9:80");
        fake_send(s->prober, ask, sizeof(ask) - 1);
        return false;
    case 1:
        if (fake_dials == s->dials)
            blame(s, "hours later nobody is served");
        else
            fake_accept(fake_dial(fake_dials));
        return false;
    case 2:
        fake_send(fake_dial(fake_dials), answer, sizeof(answer) - 1);
        return false;
    default:
        if (message_read(fake_got(s->prober), false, false).status != 200)
            blame(s, "hours later a request is not answered");
        return true;
    }
}
