/* SPDX-License-Identifier: Apache-2.0 */
/* One thread that accepts for all workers. A connection costs a call to another thread more than
 * one that a worker accepts itself, and wakes that worker alone. */
#include "shared.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fds.h"
#include "base/log_limit.h"
#include "net/sock.h"

/* A socket. Owner: struct shared. Closed by door_close(). */
struct door {
    struct list link;
    struct shared *shared;
    unsigned id;
    unsigned in_a_row; /* accepted since there was none */
    int fd;
    struct event event;
    struct client_listener listener; /* what clients are told they came by */
    struct reap reap;
};

static struct door *door_of(struct list *it)
{
    return container_of(it, struct door, link);
}

static void stop_accepting(struct shared *s)
{
    list_foreach (it, &s->doors) {
        event_del(&door_of(it)->event);
    }
}

static void pause_accepting(struct shared *s, int cause)
{
    log_limited(LOG_LEVEL_ERROR, "no connection is accepted for a moment: %s", strerror(cause));
    if (fds_is_short(cause))
        worker_make_room(s->workers[s->turn % s->n_workers]);
    stop_accepting(s);
    deadline_set(&s->pause, LISTEN_PAUSE_MS);
}

static void go_on(void *arg)
{
    struct shared *s = arg;
    if (deadline_is_set(&s->pause))
        return;
    list_foreach (it, &s->doors) {
        event_add(&door_of(it)->event, NULL);
    }
}

/* On the thread of the worker that was dealt a connection, behind it. */
static void on_judged(void *arg)
{
    struct shared *s = arg;
    loop_send(s->loop, go_on, s);
}

static void accept_some(struct door *d, unsigned max)
{
    struct shared *s = d->shared;
    bool is_last = max == LISTEN_LAST_ACCEPT;
    for (unsigned i = 0; i < max; i++) {
        struct addr peer;
        int fd = sock_accept(d->fd, &peer);
        if (fd >= 0) {
            struct worker *w = s->workers[s->turn++ % s->n_workers];
            d->in_a_row++;
            worker_serve(w, fd, &peer, &d->listener);
            if (!fds_is_kept(fd) || is_last)
                continue;
            /* On their way to workers they could use up what is kept for others. */
            stop_accepting(s);
            worker_call(w, on_judged, s);
            return;
        }
        d->in_a_row = 0;
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            return;
        if (!sock_is_passing(errno)) {
            pause_accepting(s, errno);
            return;
        }
    }
}

static void on_accept(evutil_socket_t fd, short what, void *arg)
{
    struct door *d = arg;
    (void)fd;
    (void)what;
    accept_some(d, listen_accept_now(d->in_a_row));
}

static struct door *door_open(struct shared *s, unsigned id, int fd)
{
    struct door *d = xcalloc(1, sizeof(*d));
    list_init(&d->link);
    d->shared = s;
    d->id = id;
    d->fd = fd;
    event_assign(&d->event, s->loop->base, fd, EV_READ | EV_PERSIST, on_accept, d);
    if (!deadline_is_set(&s->pause))
        event_add(&d->event, NULL);
    return d;
}

static void door_close(struct door *d)
{
    event_del(&d->event);
    list_remove(&d->link);
    close(d->fd);
    conf_unref(&d->listener.conf);
    loop_reap(d->shared->loop, &d->reap, free, d);
}

static struct door *find_door(struct shared *s, unsigned id)
{
    list_foreach (it, &s->doors) {
        if (door_of(it)->id == id)
            return door_of(it);
    }
    return NULL;
}

void shared_init(struct shared *s, struct loop *l, struct worker **workers, unsigned n)
{
    *s = (struct shared){.loop = l, .workers = workers, .n_workers = n};
    list_init(&s->doors);
    deadline_init(&s->pause, l, go_on, s);
}

void shared_update(struct shared *s, struct listen_set *places, struct conf *c)
{
    struct list stay;
    list_init(&stay);
    for (unsigned i = 0; i < places->n; i++) {
        const struct place *p = &places->v[i];
        if (!p->is_shared)
            continue;
        struct door *d = find_door(s, p->id);
        if (d == NULL)
            d = door_open(s, p->id, listen_take(places, i, 0));
        list_remove(&d->link);
        list_push_back(&stay, &d->link);
        conf_unref(&d->listener.conf);
        d->listener = (struct client_listener){p->addr, c->listeners[i].forward, conf_ref(c)};
    }
    shared_close(s, true);
    list_move(&s->doors, &stay);
}

void shared_close(struct shared *s, bool is_kind)
{
    struct list *it;
    while ((it = list_first(&s->doors)) != NULL) {
        if (is_kind)
            accept_some(door_of(it), LISTEN_LAST_ACCEPT);
        door_close(door_of(it));
    }
}
