/* SPDX-License-Identifier: Apache-2.0 */
/* The service manager that may have started us (systemd, or whoever speaks its protocols): the
 * sockets that it has passed (sd_listen_fds(3)), and what it is told (sd_notify(3)). Without one
 * all of it does nothing. Main thread only. */
#ifndef TLSFAN_MANAGER_H
#define TLSFAN_MANAGER_H

#include "base/addr.h"
#include "base/loop.h"

struct worker;

/* Takes over the sockets that were passed, before anything is opened. A child does not get them. */
void manager_adopt(void);
/* A new descriptor, owned by the caller, of the passed socket that is bound to A; -1 with errno 0
 * when there is none. It listens already. */
int manager_socket(const struct addr *a);
/* The first passed socket that was asked for by nobody, as a sentence (heap, for the caller), or
 * NULL. */
char *manager_unclaimed(void);
/* Closes our descriptors of the passed sockets: who passed them keeps its own, and with them who
 * waits to be accepted. */
void manager_close(void);

/* "READY=1\nSTATUS=..." and the like. */
void manager_tell(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* A reload begins: RELOADING=1 with the time that goes with it. READY=1 ends it. */
void manager_tell_reload(void);

/* Tells the manager that we are alive, as often as it wants, as long as the loops of all workers
 * turn. Embedded in the server; watchdog_close() before the workers' loops go, and again after
 * them any number of times. */
struct watchdog {
    struct loop *loop;
    struct deadline tick;
    struct worker **workers;
    unsigned n;
    int64_t every;            /* ms; 0: nobody wants to know */
    _Atomic unsigned missing; /* answers */
};
void watchdog_start(struct watchdog *d, struct loop *l, struct worker **workers, unsigned n);
void watchdog_close(struct watchdog *d);

#endif
