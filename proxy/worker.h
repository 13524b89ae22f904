/* SPDX-License-Identifier: Apache-2.0 */
/* One thread that serves: its loop, its listeners, and everything a request needs. The server talks
 * to it by the functions below, from the main thread. */
#ifndef TLSFAN_WORKER_H
#define TLSFAN_WORKER_H

#include "client/accept.h"
#include "own/name_service.h"
#include "service/service.h"

/* What all workers share; it outlives them. */
struct worker_env {
    const struct forward_id *id;
    struct budget *budget;
    _Atomic unsigned *connections; /* open ones of all workers */
    unsigned max_connections;
    struct worker *const *workers; /* that serve proxy clients; read once threads run */
    unsigned n_workers;
    struct stats **stats;             /* one a worker, filled in by worker_new(); the worker's */
    const struct service_view *view;  /* what the service tells of */
    const struct name_sockets *names; /* worker 0 serves them, and owns them then; NULL: none */
    struct loop *server;              /* the main thread's loop */
    void (*on_drained)(void *arg);    /* on that loop: a worker has nothing left to do; once each */
    void *arg;
};

/* A snapshot and all listeners that go with it; a listener that is not named is closed. Heap. */
struct worker_update {
    struct worker *worker; /* set by worker_update() */
    struct conf *conf;     /* a reference */
    struct addr proxy;     /* of the first proxy listener over TCP; len 0: none */
    unsigned n;
    struct accept_place places[];
};

/* Makes worker INDEX (from 0), which does nothing yet, with the settings of C. With IS_SERVICE it
 * has no proxy clients: the places that it gets are the service listener's. NULL with errno. */
struct worker *worker_new(unsigned index, const struct worker_env *env, struct conf *c,
                          bool is_service);
/* Takes over U and everything in it. Before worker_start() it is done at once, else on the worker's
 * thread. */
void worker_update(struct worker *w, struct worker_update *u);
/* Starts the thread. False with errno. */
MUST_CHECK bool worker_start(struct worker *w);

/* Calls FN(ARG) on the worker's thread, later. */
void worker_call(struct worker *w, void (*fn)(void *arg), void *arg);

/* Gives up an idle connection to an origin, soon: whoever calls lacks a descriptor. */
void worker_make_room(struct worker *w);

/* Which of N workers a client is served by while some rule has read-ahead: what is known of one
 * that walks, and what was fetched for it, stays with one thread, whatever connection it asks on.
 * All clients of unix: count as one. */
unsigned worker_for(const struct addr *peer, unsigned n);

/* Serves FD, which it owns from now on, accepted elsewhere from PEER on what L says (copied). */
void worker_serve(struct worker *w, int fd, const struct addr *peer,
                  const struct client_listener *l);

/* From now on answers carry Connection: close; accepting goes on. */
void worker_announce_end(struct worker *w);
/* Closes the listeners; idle connections get GRACE_MS. env->on_drained() tells when the last one is
 * gone. */
void worker_drain(struct worker *w, int64_t grace_ms);

/* Ends the thread; what is open is cut. Returns at once: worker_join() waits. */
void worker_stop(struct worker *w);
void worker_join(struct worker *w);
/* After worker_join() of all workers, and after whatever else sends calls to its loop has ended. */
void worker_free(struct worker *w);

#endif
