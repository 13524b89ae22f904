/* SPDX-License-Identifier: Apache-2.0 */
/* Accepting: the listening sockets of one thread, and when connections are taken from them. Each
 * worker has its own; those that are one for all workers are the main thread's (shared.h). */
#ifndef TLSFAN_CLIENT_ACCEPT_H
#define TLSFAN_CLIENT_ACCEPT_H

#include "base/loop.h"
#include "client/client.h"

/* Who gets what is accepted. */
struct accept_user {
    /* FD is the callee's, L lasts until it returns. False: nothing more is to be accepted until
     * acceptors_go_on(); not obeyed by who accepts for the last time. */
    bool (*on_accepted)(void *arg, int fd, const struct addr *peer,
                        const struct client_listener *l);
    /* A descriptor is lacking. True: one has been closed, and it is tried again at once. */
    bool (*make_room)(void *arg);
};

/* Embedded in whoever owns the thread. Closed by acceptors_close(), whose caller closes `pause`. */
struct acceptors {
    struct loop *loop;
    struct list all; /* struct acceptor, one a socket */
    const struct accept_user *user;
    void *arg;
    const _Atomic unsigned *connections; /* open ones of all workers, for the log */
    struct deadline pause;               /* set while descriptors are used up */
};

/* A listener as one thread gets it. */
struct accept_place {
    unsigned id;
    int fd; /* owned; -1: the thread has this place already */
    struct addr addr;
    enum listener_kind kind;
    bool tls;
    const struct forward *forward; /* part of the snapshot */
};

void acceptors_init(struct acceptors *as, struct loop *l, const struct accept_user *user, void *arg,
                    const _Atomic unsigned *connections);
/* From now on these N places of C are accepted from. What has connected to one that is not among
 * them any more is still served, and its socket closed. */
void acceptors_set(struct acceptors *as, const struct accept_place *places, unsigned n,
                   struct conf *c);
/* After on_accepted() has said stop. */
void acceptors_go_on(struct acceptors *as);
/* Closes the sockets. IS_KIND: who has connected already is still served. Any number of times. */
void acceptors_close(struct acceptors *as, bool is_kind);

#endif
