/* SPDX-License-Identifier: Apache-2.0 */
/* The main thread. It owns the newest snapshot, the listeners and the workers, and does what the
 * signals ask for; it takes no part in serving. A reload makes everything new first and swaps when
 * nothing can fail any more. */
#include "server.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fds.h"
#include "base/log_limit.h"
#include "base/state.h"
#include "net/tls_ctx.h"
#include "net/tls_mint.h"
#include "exchange/auth.h"
#include "capture.h"
#include "listen.h"
#include "logs.h"
#include "manager.h"
#include "notice.h"
#include "shared.h"
#include "trial.h"
#include "watcher.h"
#include "worker.h"

enum {
    IDLE_GRACE_MS =
        1000,      /* for a request that is on its way to an idle connection as the drain begins */
    OF_LOOP = 4,   /* descriptors of one */
    OF_CLIENTS = 6 /* the least there may be, for them and their connections to origins */
};

enum server_state {
    SERVER_SERVING, /* the zero of a new one */
    SERVER_DELAY,   /* drain_delay runs: told to end, accepting still */
    SERVER_DRAINING /* drain_timeout runs: waits for the workers */
};

/* Owner: main. */
struct server {
    struct loop loop;
    bool has_loop;
    const struct conf_source *source; /* borrowed */
    struct conf *conf;                /* the newest snapshot */
    struct listen_set places;
    struct shared shared; /* the sockets of those places that no worker has for itself */
    struct worker_env env;
    struct worker **workers; /* those that serve proxy clients; behind them the service's */
    unsigned n_workers;      /* without it */
    unsigned n_made, n_drained;
    struct stats **stats; /* one a worker; the workers' */
    struct service_view view;
    struct service_reloads reloads;
    struct forward_id id;
    struct budget budget;
    _Atomic unsigned connections;
    enum server_state state;
    struct deadline drain;
    struct watchdog watchdog;
    struct watcher watcher;
    int signal_fd;
    struct event signals;
    server_signal_fn on_signal; /* NULL: what a server does */
    void *arg;
};

static void server_set_state(struct server *s, enum server_state to)
{
    static const struct state_row states[] = {
        [SERVER_SERVING] = {"SERVING", STATE_BIT(SERVER_DELAY) | STATE_BIT(SERVER_DRAINING)},
        [SERVER_DELAY] = {"DELAY", STATE_BIT(SERVER_DRAINING)},
        [SERVER_DRAINING] = {"DRAINING", 0},
    };
    state_check("server", 0, states, s->state, to);
    s->state = to;
}

struct conf *server_load(const struct conf_source *source, struct conf_faults *faults)
{
    struct conf_source with_tls = *source;
    with_tls.check = tls_ctx_make_all;
    return conf_load(&with_tls, faults);
}

/* ---- what both start and reload do */

/* The service's worker, which comes last, gets the service listener, the others all the rest. */
static struct worker_update *make_update(struct server *s, unsigned worker)
{
    struct listen_set *places = &s->places;
    struct worker_update *u = xcalloc(1, sizeof(*u) + places->n * sizeof(u->places[0]));
    bool is_service = worker == s->n_workers;
    u->conf = conf_ref(s->conf);
    u->proxy = listen_proxy(places);
    for (unsigned i = 0; i < places->n; i++) {
        if ((places->v[i].kind == LISTENER_SERVICE) != is_service || places->v[i].is_shared)
            continue;
        u->places[u->n++] = (struct accept_place){
            .id = places->v[i].id,
            .fd = listen_take(places, i, is_service ? 0 : worker),
            .addr = places->v[i].addr,
            .kind = places->v[i].kind,
            .tls = places->v[i].tls,
            .forward = s->conf->listeners[i].forward,
        };
    }
    return u;
}

/* From here on C and PLACES hold. Nothing in it can fail. */
static void install(struct server *s, struct conf *c, struct listen_set *places)
{
    struct listen_set old = s->places;
    struct conf *old_conf = s->conf;
    s->places = *places;
    s->conf = c;
    atomic_store(&s->budget.max, (int64_t)c->max_memory);
    listen_set_own(&s->places);
    for (unsigned i = 0; i < s->n_made; i++)
        worker_update(s->workers[i], make_update(s, i));
    shared_update(&s->shared, &s->places, c);
    watcher_set(&s->watcher, c);
    notice_places(&s->places, &old, c);
    notice_rules(c);
    trial_tell(c, s->source->is_run);
    listen_drop(&old, &s->places);
    conf_unref(&old_conf);
}

/* ---- reload */

static void log_faults(struct conf_faults *faults)
{
    struct str rest = str_from(faults->text);
    struct str line;
    while (str_next_part(&rest, '\n', &line))
        log_error("%.*s", STR_ARG(line));
    log_error("the configuration has %u fault%s: nothing was changed", faults->n,
              faults->n == 1 ? "" : "s");
    free(faults->text);
}

static bool open_all(const struct server *s, const struct conf *c, struct listen_set *next)
{
    char *why = NULL;
    bool ok = listen_open(next, &s->places, c, s->n_workers, &why);
    if (!ok) {
        log_error("%s", why);
        free(why);
    }
    return ok && logs_open(c);
}

/* RUNNING: see struct conf_source. False when that failed, which is logged. */
static bool load_again(struct server *s, const struct conf *running)
{
    struct conf_faults faults = {0};
    struct listen_set next = {0};
    struct conf_source source = *s->source;
    source.running = running;
    source.last = s->conf;
    watcher_tried(&s->watcher);
    struct conf *c = server_load(&source, &faults);
    if (c == NULL) {
        log_faults(&faults);
        return false;
    }
    if (!open_all(s, c, &next)) {
        log_error("the new configuration cannot be used: nothing was changed");
        listen_drop(&next, &s->places);
        conf_unref(&c);
        return false;
    }
    notice_at_start(c, s->conf);
    install(s, c, &next);
    log_info("configuration reloaded");
    return true;
}

static void tell_serving(const struct server *s)
{
    if (!s->source->is_run)
        manager_tell("READY=1\nSTATUS=Serving with %u workers", s->n_workers);
}

static void reload(struct server *s, const struct conf *running)
{
    if (!s->source->is_run)
        manager_tell_reload();
    bool ok = load_again(s, running);
    atomic_store(&s->reloads.failed, !ok);
    if (ok)
        atomic_store(&s->reloads.at, loop_wall());
    tell_serving(s);
}

/* The operator may be about to change the configuration, and says by HUP when it is done: until
 * then its text is what it was. */
static void on_file_change(void *arg)
{
    struct server *s = arg;
    reload(s, s->conf);
}

/* ---- the end */

static void begin_drain(struct server *s)
{
    server_set_state(s, SERVER_DRAINING);
    manager_tell("STOPPING=1\nSTATUS=Draining %u connections", atomic_load(&s->connections));
    log_info("draining: no new connections, and %u to finish", atomic_load(&s->connections));
    shared_close(&s->shared, true);
    for (unsigned i = 0; i < s->n_made; i++)
        worker_drain(s->workers[i], IDLE_GRACE_MS);
    listen_drop(&s->places, NULL);
    manager_close();
    deadline_set(&s->drain, s->conf->drain_timeout);
}

static void on_drain_deadline(void *arg)
{
    struct server *s = arg;
    if (s->state == SERVER_DELAY) {
        begin_drain(s);
        return;
    }
    log_warning("drain_timeout is over: %u connections are cut", atomic_load(&s->connections));
    server_quit(s);
}

static void on_worker_drained(void *arg)
{
    struct server *s = arg;
    if (++s->n_drained == s->n_made)
        server_quit(s);
}

static void on_end_signal(struct server *s)
{
    if (s->state != SERVER_SERVING) {
        log_info("a second signal: ending at once");
        server_quit(s);
        return;
    }
    watcher_close(&s->watcher);
    for (unsigned i = 0; i < s->n_made; i++)
        worker_announce_end(s->workers[i]);
    if (s->conf->drain_delay > 0) {
        server_set_state(s, SERVER_DELAY);
        manager_tell("STOPPING=1\nSTATUS=Ending, and accepting for drain_delay");
        deadline_set(&s->drain, s->conf->drain_delay);
    } else {
        begin_drain(s);
    }
}

void server_quit(struct server *s)
{
    loop_stop(&s->loop);
}

/* ---- signals */

static void on_server_signal(struct server *s, int number)
{
    switch (number) {
    case SIGHUP:
        if (s->state == SERVER_SERVING)
            reload(s, NULL);
        else
            log_warning("ending: the configuration is not reloaded");
        break;
    case SIGUSR1:
        logs_reopen();
        break;
    default:
        on_end_signal(s);
    }
}

static void on_signals(evutil_socket_t fd, short what, void *arg)
{
    struct server *s = arg;
    struct signalfd_siginfo info;
    (void)what;
    while (read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (s->on_signal != NULL)
            s->on_signal(s->arg, &info);
        else
            on_server_signal(s, (int)info.ssi_signo);
    }
}

void server_run(struct server *s, server_signal_fn on_signal, void *arg)
{
    s->on_signal = on_signal;
    s->arg = arg;
    loop_run(&s->loop);
}

/* ---- start and stop */

/* With none for clients it would only turn them away. */
static bool suffice(const struct conf *c, unsigned wanted)
{
    if (fds_left() >= wanted)
        return true;
    log_error("cannot start: the %u descriptors of this process (RLIMIT_NOFILE) are too few for "
              "workers = %u and what it listens on: %s, or lower workers",
              fds_budget()->limit, c->workers, FDS_ADVICE);
    return false;
}

static bool open_signals(struct server *s)
{
    if (!loop_init(&s->loop))
        return false;
    s->has_loop = true;
    deadline_init(&s->drain, &s->loop, on_drain_deadline, s);
    watcher_init(&s->watcher, &s->loop, on_file_change, s);
    log_limit_set_loop(&s->loop);
    s->signal_fd = signals_open(s->source->is_run);
    if (s->signal_fd < 0)
        return false;
    event_assign(&s->signals, s->loop.base, s->signal_fd, EV_READ | EV_PERSIST, on_signals, s);
    event_add(&s->signals, NULL);
    return true;
}

static bool make_workers(struct server *s, struct conf *c)
{
    s->env = (struct worker_env){
        .id = &s->id,
        .budget = &s->budget,
        .connections = &s->connections,
        .max_connections = c->client.max_connections,
        .view = &s->view,
        .names = capture_take_names(),
        .server = &s->loop,
        .on_drained = on_worker_drained,
        .arg = s,
    };
    s->n_workers = c->workers;
    s->stats = xcalloc(c->workers + 1, sizeof(*s->stats));
    s->env.stats = s->stats;
    s->view = (struct service_view){.stats = s->stats,
                                    .n = c->workers + 1,
                                    .workers = c->workers,
                                    .budget = &s->budget,
                                    .since = loop_now(),
                                    .since_wall = loop_wall(),
                                    .max_connections = fds_clients(c->client.max_connections),
                                    .reloads = &s->reloads};
    atomic_store(&s->reloads.at, s->view.since_wall);
    s->workers = xcalloc(c->workers + 1, sizeof(*s->workers));
    s->env.workers = s->workers;
    s->env.n_workers = s->n_workers;
    shared_init(&s->shared, &s->loop, s->workers, s->n_workers, &s->connections);
    while (s->n_made <= s->n_workers) {
        struct worker *w = worker_new(s->n_made, &s->env, c, s->n_made == s->n_workers);
        if (w == NULL)
            return false;
        s->workers[s->n_made++] = w;
    }
    return true;
}

static bool start_workers(struct server *s)
{
    for (unsigned i = 0; i < s->n_made; i++) {
        if (!worker_start(s->workers[i]))
            return false;
    }
    return true;
}

/* Takes over C. */
static bool start(struct server *s, struct conf *c)
{
    struct listen_set places = {0};
    fds_init(c->workers, c->n_listeners);
    if (!s->source->is_run)
        notice_descriptors(c);
    forward_id_init(&s->id);
    if (!suffice(c, OF_LOOP * (c->workers + 2) + OF_CLIENTS)) {
        conf_unref(&c);
        return false;
    }
    if (!open_signals(s) || !make_workers(s, c)) {
        log_error("cannot start: %s", strerror(errno));
        conf_unref(&c);
        return false;
    }
    if (!open_all(s, c, &places) || !suffice(c, OF_CLIENTS)) {
        listen_drop(&places, NULL);
        conf_unref(&c);
        return false;
    }
    char *unclaimed = manager_unclaimed();
    if (unclaimed != NULL) {
        log_error("%s", unclaimed);
        free(unclaimed);
        listen_drop(&places, NULL);
        conf_unref(&c);
        return false;
    }
    install(s, c, &places);
    if (!start_workers(s)) {
        log_error("cannot start a thread: %s", strerror(errno));
        return false;
    }
    return true;
}

struct server *server_start(const struct conf_source *source, enum exit_status *status)
{
    struct conf_faults faults = {0};
    struct conf *c = server_load(source, &faults);
    if (c == NULL) {
        log_plain(LOG_LEVEL_ERROR, faults.text);
        free(faults.text);
        *status = STATUS_BAD_CONF;
        return NULL;
    }
    *status = STATUS_NOT_STARTED;
    if (!capture_wait()) {
        conf_unref(&c);
        return NULL;
    }
    struct server *s = xcalloc(1, sizeof(*s));
    s->source = source;
    s->signal_fd = -1;
    if (!source->is_run)
        manager_adopt();
    if (!start(s, c)) {
        server_stop(s);
        return NULL;
    }
    log_info("tlsfan " TLSFAN_VERSION " has started: %u worker%s", s->n_workers,
             s->n_workers == 1 ? "" : "s");
    if (!source->is_run)
        watchdog_start(&s->watchdog, &s->loop, s->workers, s->n_made);
    tell_serving(s);
    return s;
}

const struct conf *server_conf(const struct server *s)
{
    return s->conf;
}

uint16_t server_port(const struct server *s)
{
    struct addr a = listen_proxy(&s->places);
    return a.len == 0 ? 0 : addr_port(&a);
}

static void stop_workers(struct server *s)
{
    for (unsigned i = 0; i < s->n_made; i++)
        worker_stop(s->workers[i]);
    for (unsigned i = 0; i < s->n_made; i++)
        worker_join(s->workers[i]);
    /* The threads that check credentials and make leaves send to the loops, which therefore go
     * last. */
    auth_stop();
    tls_mint_stop();
    for (unsigned i = 0; i < s->n_made; i++)
        worker_free(s->workers[i]);
    free(s->workers);
    free(s->stats);
}

void server_stop(struct server *s)
{
    watchdog_close(&s->watchdog);
    if (s->workers != NULL) {
        shared_close(&s->shared, false);
        deadline_close(&s->shared.acceptors.pause);
    }
    stop_workers(s);
    listen_drop(&s->places, NULL);
    manager_close();
    listen_set_own(&s->places);
    conf_unref(&s->conf);
    if (s->signal_fd >= 0) {
        event_del(&s->signals);
        close(s->signal_fd);
    }
    if (s->has_loop) {
        deadline_close(&s->drain);
        watcher_close(&s->watcher);
        log_limit_set_loop(NULL);
        loop_clear(&s->loop);
    }
    logs_close();
    free(s);
}
