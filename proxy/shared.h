/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets that are one for all workers: unix: ones, for which there is no SO_REUSEPORT,
 * and those that the service manager has passed. If every worker waited at them, each connection
 * would wake them all. So the main thread alone accepts there, and deals what comes out to the
 * workers in turn, or by their clients' addresses while some rule has read-ahead. It sends in
 * order: who was dealt out comes before the drain that follows. Main thread only. */
#ifndef TLSFAN_SHARED_H
#define TLSFAN_SHARED_H

#include "listen.h"
#include "worker.h"

/* Embedded in the server. */
struct shared {
    struct acceptors acceptors;
    struct worker **workers; /* borrowed */
    unsigned n_workers;
    bool deals_by_client; /* some rule has read-ahead: worker_for() */
    unsigned turn;        /* whose is the next connection */
};

/* Deals out to N WORKERS, which serve proxy clients, from L, the main thread's loop. CONNECTIONS
 * are the open ones of all of them. */
void shared_init(struct shared *s, struct loop *l, struct worker **workers, unsigned n,
                 const _Atomic unsigned *connections);

/* Takes over the shared places of a set that holds with C. What has connected to one that is not in
 * it any more is still served. */
void shared_update(struct shared *s, struct listen_set *places, struct conf *c);

/* Stops accepting. IS_KIND: who has connected already is still served. Any number of times. */
void shared_close(struct shared *s, bool is_kind);

#endif
