/* SPDX-License-Identifier: Apache-2.0 */
/* One worker thread. It is made on the main thread, so that what fails there fails at start; from
 * worker_start() to worker_join() all of it belongs to its own thread, and the server reaches it by
 * loop_send(). */
#include "worker.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fds.h"
#include "base/hash.h"
#include "base/log_limit.h"
#include "net/dns.h"
#include "net/linger.h"
#include "upstream/pool_room.h"
#include "exchange/stats.h"
#include "exchange/token_store.h"
#include "own/batch.h"
#include "own/readahead.h"
#include "own/token_fetch.h"

enum {
    LOOK_MS = 20,      /* between two looks at what is left in a drain */
    CLOSE_TURNS = 1000 /* in which all must be gone once it was closed */
};

struct worker {
    struct loop loop;
    struct engine engine;
    struct clients clients;
    struct acceptors acceptors;
    struct turn flush;            /* access lines leave once a turn */
    struct post again;            /* and once more, with those of others */
    struct deadline look;         /* set during the drain */
    struct service *service;      /* NULL: this worker serves proxy clients */
    struct name_service *names;   /* the DNS of a captured command; NULL: none */
    const struct worker_env *env; /* borrowed */
    unsigned index;
    bool deals; /* a connection may be another worker's: worker_for() */
    int64_t grace_ms;
    pthread_t thread;
    bool has_thread;
};

/* ---- listeners */

unsigned worker_for(const struct addr *peer, unsigned n)
{
    uint8_t key[ADDR_HOST_KEY];
    addr_host_key(peer, key);
    return (unsigned)(hash_bytes(key, sizeof key) % n);
}

/* Who drains gives nothing away: the other may have reported that it has nothing left to do. Nor
 * are descriptors sent round that are kept for others. */
static bool worker_accepted(void *arg, int fd, const struct addr *peer,
                            const struct client_listener *l)
{
    struct worker *w = arg;
    bool deals = w->deals && !w->engine.draining && !fds_is_kept(fd);
    unsigned to = deals ? worker_for(peer, w->env->n_workers) : w->index;
    if (to != w->index)
        worker_serve(w->env->workers[to], fd, peer, l);
    else
        client_open(&w->clients, fd, peer, l);
    return true;
}

/* True when a descriptor has been closed for one to be accepted; else another worker may do so. */
static bool worker_give_up_idle(void *arg)
{
    struct worker *w = arg;
    if (pool_give_up_idle(w->engine.pool, 1) > 0)
        return true;
    (void)pool_make_room(w->engine.pool);
    return false;
}

static const struct accept_user worker_accepts = {worker_accepted, worker_give_up_idle};

/* ---- what the server says */

static void set_service(struct worker *w, const struct worker_update *u)
{
    service_set_proxy(w->service, &u->proxy);
    if (u->n > 0 && u->places[0].fd < 0)
        return; /* it stays */
    if (!service_listen(w->service, u->n > 0 ? u->places[0].fd : -1))
        log_error("the service listener takes no connections: %s", strerror(errno));
}

/* Frees U. */
static void take_places(struct worker *w, struct worker_update *u)
{
    w->deals = w->env->n_workers > 1 && conf_may_read_ahead(u->conf);
    if (w->service != NULL)
        set_service(w, u);
    else
        acceptors_set(&w->acceptors, u->places, u->n, u->conf);
    conf_unref(&u->conf);
    free(u);
}

static void apply_update(void *arg)
{
    struct worker_update *u = arg;
    struct worker *w = u->worker;
    engine_set_conf(&w->engine, conf_ref(u->conf));
    dns_configure(w->engine.dns, u->conf);
    pool_retire(w->engine.pool, u->conf->generation);
    token_store_use(u->conf);
    readahead_drop(w->engine.ahead); /* under the old snapshot, which no new request asks */
    take_places(w, u);
}

void worker_update(struct worker *w, struct worker_update *u)
{
    u->worker = w;
    if (w->has_thread) {
        loop_send(&w->loop, apply_update, u);
        return;
    }
    take_places(w, u);
}

void worker_call(struct worker *w, void (*fn)(void *arg), void *arg)
{
    loop_send(&w->loop, fn, arg);
}

/* A connection that the main thread has accepted, on its way. */
struct arrival {
    struct worker *worker;
    int fd;
    struct addr peer;
    struct client_listener listener;
};

static void take_arrival(void *arg)
{
    struct arrival *a = arg;
    client_open(&a->worker->clients, a->fd, &a->peer, &a->listener);
    conf_unref(&a->listener.conf);
    free(a);
}

void worker_serve(struct worker *w, int fd, const struct addr *peer,
                  const struct client_listener *l)
{
    struct arrival *a = xmalloc(sizeof(*a));
    *a = (struct arrival){w, fd, *peer, *l};
    a->listener.conf = conf_ref(l->conf);
    loop_send(&w->loop, take_arrival, a);
}

static void announce_end(void *arg)
{
    struct worker *w = arg;
    w->engine.draining = true;
}

static void worker_on_lack(void *arg)
{
    (void)worker_give_up_idle(arg);
}

void worker_make_room(struct worker *w)
{
    loop_send(&w->loop, worker_on_lack, w);
}

void worker_announce_end(struct worker *w)
{
    loop_send(&w->loop, announce_end, w);
}

/* Exchanges end in the reaper, where nobody is called: hence a look now and then. */
static void on_look(void *arg)
{
    struct worker *w = arg;
    bool has_callers = w->service != NULL && service_busy(w->service) > 0;
    if (w->clients.n > 0 || has_callers || w->engine.open_exchanges > 0 || linger_has_any(&w->loop))
        deadline_set(&w->look, LOOK_MS);
    else
        loop_send(w->env->server, w->env->on_drained, w->env->arg);
}

static void drain(void *arg)
{
    struct worker *w = arg;
    w->engine.draining = true;
    readahead_drop(w->engine.ahead);
    acceptors_close(&w->acceptors, true);
    clients_drain(&w->clients, w->grace_ms);
    if (w->service != NULL)
        service_drain(w->service);
    on_look(w);
}

void worker_drain(struct worker *w, int64_t grace_ms)
{
    w->grace_ms = grace_ms;
    loop_send(&w->loop, drain, w);
}

/* ---- from beginning to end */

static void worker_on_turn(void *arg)
{
    struct worker *w = arg;
    if (log_buf_flush(&w->engine.log))
        loop_post_next(&w->loop, &w->again);
}

/* It was posted that there may be a turn, which ends with a flush. */
static void worker_on_again(void *arg)
{
    (void)arg;
}

static void engine_init(struct worker *w, struct conf *c)
{
    struct engine *e = &w->engine;
    e->loop = &w->loop;
    e->id = w->env->id;
    e->budget = w->env->budget;
    e->stats = w->env->stats[w->index] = stats_new();
    e->stats->engine = e;
    e->next_id = (uint64_t)(w->index + 1) << 48;
    engine_set_conf(e, conf_ref(c));
    sweep_init(&e->sweep, &w->loop);
    list_init(&e->token_fetches);
    list_init(&e->running);
    list_init(&e->tunnels);
    e->fetch_token = token_fetch_start;
    token_store_join();
}

struct worker *worker_new(unsigned index, const struct worker_env *env, struct conf *c,
                          bool is_service)
{
    struct worker *w = xcalloc(1, sizeof(*w));
    w->env = env;
    w->index = index;
    if (!loop_init(&w->loop)) {
        free(w);
        return NULL;
    }
    engine_init(w, c);
    acceptors_init(&w->acceptors, &w->loop, &worker_accepts, w, env->connections);
    deadline_init(&w->look, &w->loop, on_look, w);
    clients_init(&w->clients, &w->engine, env->connections, fds_clients(env->max_connections));
    loop_add_turn(&w->loop, &w->flush, worker_on_turn, w);
    post_init(&w->again, worker_on_again, w);
    w->engine.dns = dns_new(&w->loop, c);
    if (w->engine.dns == NULL) {
        int cause = errno;
        worker_free(w);
        errno = cause;
        return NULL;
    }
    dns_count_stale(w->engine.dns, &w->engine.stats->dns_stale);
    w->engine.pool =
        pool_new(&w->loop, w->engine.dns, env->id, env->budget, &w->engine.stats->tally);
    pool_retire(w->engine.pool, c->generation);
    w->engine.batch = &performer_batch;
    w->engine.reads_ahead = &performer_readahead;
    w->engine.ahead = readahead_new(&w->engine);
    if (is_service)
        w->service = service_new(&w->engine, env->view, env->connections);
    else if (index == 0 && env->names != NULL)
        w->names = name_service_new(&w->engine, env->names);
    return w;
}

/* Cuts all that is open. What is closed is freed between two turns, and may close more when it is.
 */
static void close_all(struct worker *w)
{
    acceptors_close(&w->acceptors, false);
    deadline_close(&w->acceptors.pause);
    deadline_close(&w->look);
    w->engine.ending = true;
    clients_close(&w->clients);
    if (w->service != NULL)
        service_close(w->service);
    w->service = NULL;
    token_fetch_close_all(&w->engine);
    name_service_close(w->names);
    w->names = NULL;
    for (int i = 0; i < CLOSE_TURNS && w->engine.open_exchanges > 0; i++)
        loop_turn(&w->loop, false);
    if (w->engine.open_exchanges > 0)
        log_error("%u exchanges did not end with their worker", w->engine.open_exchanges);
    readahead_close(w->engine.ahead);
    w->engine.ahead = NULL;
    w->engine.reads_ahead = NULL;
    if (w->engine.pool != NULL)
        pool_close(w->engine.pool);
    w->engine.pool = NULL;
    loop_turn(&w->loop, false);
    linger_close_all(&w->loop);
    if (w->engine.dns != NULL)
        dns_close(w->engine.dns);
    w->engine.dns = NULL;
    loop_turn(&w->loop, false);
}

static void *run(void *arg)
{
    struct worker *w = arg;
    char name[16];
    if (w->service != NULL)
        snprintf(name, sizeof(name), "service");
    else
        snprintf(name, sizeof(name), "worker %u", w->index + 1); /* as in ids */
    pthread_setname_np(pthread_self(), name);
    loop_run(&w->loop);
    close_all(w);
    return NULL;
}

bool worker_start(struct worker *w)
{
    int cause = pthread_create(&w->thread, NULL, run, w);
    w->has_thread = cause == 0;
    errno = cause;
    return w->has_thread;
}

void worker_stop(struct worker *w)
{
    if (w->has_thread)
        loop_stop(&w->loop);
}

void worker_join(struct worker *w)
{
    if (w->has_thread)
        pthread_join(w->thread, NULL);
    w->has_thread = false;
}

void worker_free(struct worker *w)
{
    /* Again: without a thread nothing was closed yet, and with one a late call may have come. */
    close_all(w);
    loop_remove_turn(&w->flush);
    clients_clear(&w->clients);
    sweep_close(&w->engine.sweep);
    engine_set_conf(&w->engine, NULL);
    log_buf_clear(&w->engine.log);
    loop_clear(&w->loop);
    token_store_leave();
    stats_free(w->engine.stats);
    free(w);
}
