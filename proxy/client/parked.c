/* SPDX-License-Identifier: Apache-2.0 */
/* Parked clients: see parked_impl.h. What watches the descriptor goes from the stream to whoever is
 * parked and back, so that the kernel has no part in it. */
#include "client/parked_impl.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/sweep.h"
#include "client/client_impl.h"
#include "net/stream_leave.h"

enum { PARKED_AT_ONCE = 64 }; /* in a turn; the others in the next ones */

/* What is left of a client. Owner: struct clients. Closed by parked_end(). */
struct parked {
    struct clients *cs;
    struct list link;         /* in cs->parked */
    struct fd_event *event;   /* owned; NULL: it has its client again */
    struct timeout idle;      /* client.idle_timeout */
    struct conf *conf;        /* a reference */
    const struct forward *of; /* FORWARD: a part of it; else NULL */
    char *self;               /* heap: of FORWARD; else NULL */
    uint64_t id;
    unsigned admitted, asked;
    bool seen_request;
    struct reap reap;
    socklen_t peer_len;
    struct sockaddr peer[]; /* as many bytes */
};

static void parked_free(void *object)
{
    struct parked *p = object;
    fd_event_free(p->event);
    conf_unref(&p->conf);
    free(p->self);
    free(p);
}

static size_t parked_size(const struct parked *p)
{
    return sizeof *p + sizeof *p->event + p->peer_len;
}

/* Cuts P off from everything but its event and its snapshot. */
static void parked_end(struct parked *p)
{
    struct clients *cs = p->cs;
    budget_add(cs->engine->budget, -(int64_t)parked_size(p));
    timeout_clear(&p->idle);
    list_remove(&p->link);
    cs->n--;
    loop_reap(cs->engine->loop, &p->reap, parked_free, p);
}

static void parked_close(struct parked *p)
{
    int fd = fd_event_of(p->event);
    fd_event_disarm(p->event);
    close(fd);
    atomic_fetch_sub_explicit(p->cs->total, 1, memory_order_relaxed);
    parked_end(p);
}

static void parked_on_idle(void *arg)
{
    parked_close(arg);
}

/* Its client is there again, as if it had never left; and reads what has come. That need not be a
 * request: its idle time goes on. */
static void parked_on_readable(void *arg)
{
    struct parked *p = arg;
    struct source_side who = {.kind = SOURCE_PROXY};
    addr_from_sockaddr(&who.peer, p->peer, p->peer_len);
    if (p->of != NULL)
        parked_speak_for(&who, p->of, p->self);
    struct stream *s = stream_return(p->cs->engine->loop, p->event, &who.peer);
    p->event = NULL;
    struct client *c = client_new(p->cs, s, &who, p->conf);
    c->from.id = p->id;
    c->from.admitted = p->admitted;
    c->from.asked = p->asked;
    c->seen_request = p->seen_request;
    c->asks_again = p->seen_request;
    timeout_pass(&p->idle, &c->timer);
    parked_end(p);
    stream_wake(s);
}

/* What a client is by TLS, by a CONNECT, or by what has turned it here, is not kept. */
static bool parked_is_plain(const struct client *c)
{
    bool is_bare = c->from.kind == SOURCE_PROXY || c->from.kind == SOURCE_FORWARD;
    return is_bare && !c->from.by_tls && c->turned == NULL;
}

static bool parked_may_be(const struct client *c)
{
    bool is_idle = c->state == CLIENT_HEAD && c->order.n == 0 && !c->has_partial && !c->blocked;
    return parked_is_plain(c) && is_idle && c->cs->gathering != c &&
           list_is_empty(&c->rested.link) && list_is_empty(&c->waiting);
}

static struct parked *parked_new(const struct client *c, struct fd_event *e)
{
    const struct source_side *from = &c->from;
    struct parked *p = xmalloc(sizeof *p + from->peer.len);
    *p = (struct parked){.cs = c->cs,
                         .event = e,
                         .conf = conf_ref(c->conf),
                         .of = from->forward,
                         .self = from->forward == NULL ? NULL : xstrdup(from->self),
                         .id = from->id,
                         .admitted = from->admitted,
                         .asked = from->asked,
                         .seen_request = c->seen_request,
                         .peer_len = from->peer.len};
    memcpy(p->peer, &from->peer.sa, from->peer.len);
    fd_event_give(e, parked_on_readable, p);
    timeout_init(&p->idle, parked_on_idle, p);
    list_push_back(&c->cs->parked, &p->link);
    budget_add(c->cs->engine->budget, (int64_t)parked_size(p));
    return p;
}

static void parked_park(struct client *c)
{
    struct clients *cs = c->cs;
    struct fd_event *e = parked_may_be(c) ? stream_leave(c->stream) : NULL;
    if (e == NULL)
        return;
    struct parked *p = parked_new(c, e);
    timeout_pass(&c->timer, &p->idle);
    c->stream = NULL;
    client_end(c);
    cs->n++;
}

/* ---- what is called */

void parked_speak_for(struct source_side *who, const struct forward *f, const char *self)
{
    struct addr literal;
    who->kind = SOURCE_FORWARD;
    who->forward = f;
    who->fixed =
        (struct uri_host){.name = str_from(f->host), .port = f->port, .is_rooted = f->is_rooted};
    who->fixed.is_ip = addr_parse_ip(&literal, who->fixed.name, 0);
    memcpy(who->self, self, strlen(self) + 1);
}

void parked_rest(struct client *c)
{
    if (!list_is_empty(&c->resting) || !parked_is_plain(c))
        return;
    list_push_back(c->asks_again ? &c->cs->woken : &c->cs->resting, &c->resting);
    c->cs->n_resting++;
}

void parked_stir(struct client *c)
{
    if (list_is_empty(&c->resting))
        return;
    list_remove(&c->resting);
    c->cs->n_resting--;
}

/* The end of this turn sees to it. */
static void parked_on_time(void *arg)
{
    (void)arg;
}

void parked_take(struct clients *cs)
{
    bool is_tight = budget_is_tight(cs->engine->budget);
    if (deadline_is_set(&cs->parking) && list_is_empty(&cs->resting) && !is_tight)
        return;
    int64_t before = loop_now() - (is_tight ? 0 : cs->resting_us);
    for (unsigned n = 0; cs->n_resting > cs->resting_most; n++) {
        bool is_woken = list_is_empty(&cs->resting);
        struct list *it = list_first(is_woken ? &cs->woken : &cs->resting);
        struct client *c = container_of(it, struct client, resting);
        int64_t wait = is_woken ? c->timed - before : 0;
        if (wait > 0 || n == PARKED_AT_ONCE) {
            deadline_set(&cs->parking, wait > 0 ? (wait + 999) / 1000 : 1);
            return;
        }
        parked_stir(c);
        parked_park(c);
    }
}

void parked_init(struct clients *cs)
{
    list_init(&cs->resting);
    list_init(&cs->woken);
    list_init(&cs->parked);
    cs->resting_most = CLIENTS_RESTING;
    cs->resting_us = CLIENTS_RESTING_US;
    deadline_init(&cs->parking, cs->engine->loop, parked_on_time, cs);
}

void parked_drain(struct clients *cs, int64_t grace_ms, int64_t n, int64_t per_ms)
{
    list_foreach (it, &cs->parked)
        sweep_set(&cs->timers, &container_of(it, struct parked, link)->idle,
                  grace_ms + n++ / per_ms);
}

void parked_close_all(struct clients *cs)
{
    struct list *it;
    while ((it = list_first(&cs->parked)) != NULL)
        parked_close(container_of(it, struct parked, link));
}
