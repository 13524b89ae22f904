/* SPDX-License-Identifier: Apache-2.0 */
/* One thread that accepts for all workers. A connection costs a call to another thread more than
 * one that a worker accepts itself, and wakes that worker alone. */
#include "shared.h"

#include <stdlib.h>

#include "base/fds.h"

static void shared_go_on(void *arg)
{
    struct shared *s = arg;
    acceptors_go_on(&s->acceptors);
}

/* On the thread of the worker that was dealt a connection, behind it. */
static void shared_on_judged(void *arg)
{
    struct shared *s = arg;
    loop_send(s->acceptors.loop, shared_go_on, s);
}

/* Connections on their way to workers could use up the descriptors that are kept for others: once
 * one has reached those, the next is taken when a worker has judged it. */
static bool shared_deal(void *arg, int fd, const struct addr *peer, const struct client_listener *l)
{
    struct shared *s = arg;
    unsigned to = s->deals_by_client ? worker_for(peer, s->n_workers) : s->turn++ % s->n_workers;
    struct worker *w = s->workers[to];
    bool is_kept = fds_is_kept(fd);
    worker_serve(w, fd, peer, l);
    if (is_kept)
        worker_call(w, shared_on_judged, s);
    return !is_kept;
}

/* A worker will give one up, but not now. */
static bool shared_make_room(void *arg)
{
    struct shared *s = arg;
    worker_make_room(s->workers[s->turn % s->n_workers]);
    return false;
}

void shared_init(struct shared *s, struct loop *l, struct worker **workers, unsigned n,
                 const _Atomic unsigned *connections)
{
    static const struct accept_user user = {shared_deal, shared_make_room};
    *s = (struct shared){.workers = workers, .n_workers = n};
    acceptors_init(&s->acceptors, l, &user, s, connections);
}

void shared_update(struct shared *s, struct listen_set *places, struct conf *c)
{
    struct accept_place *shared = xcalloc(places->n + 1, sizeof *shared);
    unsigned n = 0;
    s->deals_by_client = conf_may_read_ahead(c);
    for (unsigned i = 0; i < places->n; i++) {
        const struct place *p = &places->v[i];
        if (p->is_shared)
            shared[n++] = (struct accept_place){.id = p->id,
                                                .fd = listen_take(places, i, 0),
                                                .addr = p->addr,
                                                .kind = p->kind,
                                                .tls = p->tls,
                                                .forward = c->listeners[i].forward};
    }
    acceptors_set(&s->acceptors, shared, n, c);
    free(shared);
}

void shared_close(struct shared *s, bool is_kind)
{
    acceptors_close(&s->acceptors, is_kind);
}
