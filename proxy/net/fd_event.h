/* SPDX-License-Identifier: Apache-2.0 */
/* A descriptor that is watched until it can be read, or written, and for whom. It may become
 * another's while it is armed: epoll need not be told, so that costs no system call. */
#ifndef TLSFAN_NET_FD_EVENT_H
#define TLSFAN_NET_FD_EVENT_H

#include "base/loop.h"

/* Owner: whoever made it, or was given it; freed by fd_event_free(). */
struct fd_event {
    struct event event;
    void (*fn)(void *arg); /* called again and again, while it is armed and nothing is done */
    void *arg;
    bool is_armed;
};

/* Of FD, for WHAT: EV_READ or EV_WRITE. Not armed. */
struct fd_event *fd_event_new(struct loop *l, int fd, short what);
/* FN(ARG) is called from now on. */
static inline void fd_event_give(struct fd_event *e, void (*fn)(void *arg), void *arg)
{
    e->fn = fn;
    e->arg = arg;
}
static inline int fd_event_of(const struct fd_event *e)
{
    return event_get_fd(&e->event);
}

/* Arming twice is arming once. For the latter two E may be NULL; it is not armed when it is freed,
 * from the reaper. */
void fd_event_arm(struct fd_event *e);
void fd_event_disarm(struct fd_event *e);
void fd_event_free(struct fd_event *e);

#endif
