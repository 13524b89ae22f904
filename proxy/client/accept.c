/* SPDX-License-Identifier: Apache-2.0 */
/* Accepting: see accept.h. With a lone connection the look for a second one is wasted, so more are
 * taken in one turn only when they come in crowds. */
#include "client/accept.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fds.h"
#include "base/log_limit.h"
#include "net/sock.h"

enum {
    ACCEPT_MAX = 32,    /* connections of one socket in one turn */
    PATIENCE = 8,       /* that have come without a pause, for each further one in a turn */
    ACCEPT_LAST = 4096, /* and before the socket closes */
    PAUSE_MS = 100      /* without accepting when descriptors are used up */
};

/* A listening socket. Owner: struct acceptors. Closed by acceptor_close(). */
struct acceptor {
    struct list link;
    struct acceptors *all;
    unsigned id;
    unsigned in_a_row; /* accepted since there was none */
    int fd;
    struct event event;
    struct client_listener listener; /* what clients are told they came by */
    struct reap reap;
};

static struct acceptor *acceptor_at(struct list *it)
{
    return container_of(it, struct acceptor, link);
}

static void acceptors_stop(struct acceptors *as)
{
    list_foreach (it, &as->all) {
        event_del(&acceptor_at(it)->event);
    }
}

void acceptors_go_on(struct acceptors *as)
{
    if (deadline_is_set(&as->pause))
        return;
    list_foreach (it, &as->all) {
        event_add(&acceptor_at(it)->event, NULL);
    }
}

static void acceptors_on_pause_over(void *arg)
{
    acceptors_go_on(arg);
}

static void acceptors_pause(struct acceptors *as, int cause)
{
    log_limited(LOG_LEVEL_ERROR,
                "no connection is accepted for a moment: %s (of %u open ones in all)",
                strerror(cause), atomic_load(as->connections));
    acceptors_stop(as);
    deadline_set(&as->pause, PAUSE_MS);
}

/* sock_accept() has given no connection for CAUSE. True: another try is worth it. */
static bool acceptor_may_retry(struct acceptor *a, int cause)
{
    struct acceptors *as = a->all;
    a->in_a_row = 0;
    if (cause == EAGAIN || cause == EWOULDBLOCK)
        return false;
    if (sock_is_passing(cause) || (fds_is_short(cause) && as->user->make_room(as->arg)))
        return true;
    acceptors_pause(as, cause);
    return false;
}

/* COMMAND, which comes from whatever address it connects to, is one client, of this machine. */
static void acceptor_is_command(struct addr *peer)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    addr_from_sockaddr(peer, (const struct sockaddr *)&in, sizeof(in));
}

static void acceptor_take(struct acceptor *a, unsigned max, bool is_last)
{
    struct acceptors *as = a->all;
    for (unsigned i = 0; i < max; i++) {
        struct addr peer;
        int fd = sock_accept(a->fd, &peer);
        if (fd < 0 && !acceptor_may_retry(a, errno))
            return;
        if (fd < 0)
            continue;
        a->in_a_row++;
        if (listener_is_captured(a->listener.kind))
            acceptor_is_command(&peer);
        if (as->user->on_accepted(as->arg, fd, &peer, &a->listener) || is_last)
            continue;
        acceptors_stop(as);
        return;
    }
}

static void acceptor_on_event(evutil_socket_t fd, short what, void *arg)
{
    struct acceptor *a = arg;
    unsigned max = 1 + a->in_a_row / PATIENCE;
    (void)fd;
    (void)what;
    acceptor_take(a, max < ACCEPT_MAX ? max : ACCEPT_MAX, false);
}

static struct acceptor *acceptor_open(struct acceptors *as, const struct accept_place *p)
{
    struct acceptor *a = xcalloc(1, sizeof *a);
    list_init(&a->link);
    a->all = as;
    a->id = p->id;
    a->fd = p->fd;
    event_assign(&a->event, as->loop->base, a->fd, EV_READ | EV_PERSIST, acceptor_on_event, a);
    if (!deadline_is_set(&as->pause))
        event_add(&a->event, NULL);
    return a;
}

static void acceptor_close(struct acceptor *a)
{
    event_del(&a->event);
    list_remove(&a->link);
    close(a->fd);
    conf_unref(&a->listener.conf);
    loop_reap(a->all->loop, &a->reap, free, a);
}

static struct acceptor *acceptor_find(struct acceptors *as, unsigned id)
{
    list_foreach (it, &as->all) {
        if (acceptor_at(it)->id == id)
            return acceptor_at(it);
    }
    return NULL;
}

void acceptors_init(struct acceptors *as, struct loop *l, const struct accept_user *user, void *arg,
                    const _Atomic unsigned *connections)
{
    *as = (struct acceptors){.loop = l, .user = user, .arg = arg, .connections = connections};
    list_init(&as->all);
    deadline_init(&as->pause, l, acceptors_on_pause_over, as);
}

void acceptors_set(struct acceptors *as, const struct accept_place *places, unsigned n,
                   struct conf *c)
{
    struct list stay;
    list_init(&stay);
    for (unsigned i = 0; i < n; i++) {
        const struct accept_place *p = &places[i];
        struct acceptor *a = p->fd < 0 ? acceptor_find(as, p->id) : acceptor_open(as, p);
        if (a == NULL)
            continue;
        list_remove(&a->link);
        list_push_back(&stay, &a->link);
        conf_unref(&a->listener.conf);
        a->listener = (struct client_listener){p->addr, p->kind, p->tls, p->forward, conf_ref(c)};
    }
    acceptors_close(as, true);
    list_move(&as->all, &stay);
}

void acceptors_close(struct acceptors *as, bool is_kind)
{
    struct list *it;
    while ((it = list_first(&as->all)) != NULL) {
        if (is_kind)
            acceptor_take(acceptor_at(it), ACCEPT_LAST, true);
        acceptor_close(acceptor_at(it));
    }
}
