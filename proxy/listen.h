/* SPDX-License-Identifier: Apache-2.0 */
/* The sockets that tlsfan listens on. A set of places belongs to one snapshot; a reload makes the
 * next set, which takes over the places that stay. Sets are the main thread's only. */
#ifndef TLSFAN_LISTEN_H
#define TLSFAN_LISTEN_H

#include <sys/types.h>

#include "conf/conf.h"

/* One listener of the configuration. */
struct place {
    unsigned id;        /* the same in all sets that have this place */
    struct addr wanted; /* as written */
    enum listener_kind kind;
    bool tls;
    bool is_passed;   /* a socket that others have made: the service manager, or COMMAND's keeper */
    bool is_shared;   /* one socket for all workers (shared.h) */
    bool has_tproxy;  /* TRANSPARENT: it takes what TPROXY sends, too */
    struct addr addr; /* as bound: the port that was picked */
    dev_t dev; /* of the file of a unix: socket, which is removed only while it is still the same */
    ino_t ino;
    int *fds; /* heap: a socket for each worker, one for the service or for all; -1 once it was
                 taken; NULL: taken over */
    unsigned n_fds;
};

/* Zero-initialised. Place i is conf->listeners[i]. */
struct listen_set {
    struct place *v;
    unsigned n;
};

/* Opens all listeners of C for N_WORKERS into S, taking over what OLD has too, and what the service
 * manager has passed. Each address is bound once without SO_REUSEPORT, and that socket is kept, so
 * that at no time another process can share it. False with a sentence in *WHY (heap, for the
 * caller) when one cannot be opened; then S is to be dropped. */
MUST_CHECK bool listen_open(struct listen_set *s, const struct listen_set *old,
                            const struct conf *c, unsigned n_workers, char **why);

/* What may be done about CAUSE, why no socket could be bound: " (...)", or "". A literal. */
const char *listen_advice(int cause);

/* True when S has the place of that id. */
bool listen_has(const struct listen_set *s, unsigned id);

/* The socket of that worker for place I, now the caller's; -1 when the worker has had it before. */
int listen_take(struct listen_set *s, unsigned i, unsigned worker);

/* Where the first proxy listener is that plain HTTP over TCP is spoken to; len 0: there is none. */
struct addr listen_proxy(const struct listen_set *s);

/* Tells the rules against loops of S, instead of another set: nothing is sent to where it would
 * come back (conf/bound.h), and what is turned back is known (net/outgoing.h). */
void listen_set_own(const struct listen_set *s);

/* Empties S: closes what was not taken and removes socket files, but for the places that KEEP has
 * too (NULL: none). */
void listen_drop(struct listen_set *s, const struct listen_set *keep);

#endif
