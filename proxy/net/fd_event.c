/* SPDX-License-Identifier: Apache-2.0 */
/* Watched descriptors: libevent's events, which have one callback and one argument for life. */
#include "net/fd_event.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"

static void fd_event_on_event(evutil_socket_t fd, short what, void *arg)
{
    struct fd_event *e = arg;
    (void)fd;
    (void)what;
    e->fn(e->arg);
}

struct fd_event *fd_event_new(struct loop *l, int fd, short what)
{
    struct fd_event *e = xzalloc(sizeof *e);
    event_assign(&e->event, l->base, fd, (short)(what | EV_PERSIST), fd_event_on_event, e);
    return e;
}

void fd_event_arm(struct fd_event *e)
{
    if (e->is_armed)
        return;
    e->is_armed = true;
    event_add(&e->event, NULL);
}

void fd_event_disarm(struct fd_event *e)
{
    if (e == NULL || !e->is_armed)
        return;
    e->is_armed = false;
    event_del(&e->event);
}

void fd_event_free(struct fd_event *e)
{
    assert(e == NULL || !e->is_armed);
    free(e);
}
