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
#include "conf/policy.h"
#include "net/tls_ctx.h"
#include "exchange/auth.h"
#include "listen.h"
#include "manager.h"
#include "shared.h"
#include "watcher.h"
#include "worker.h"

enum {
    IDLE_GRACE_MS =
        1000,      /* for a request that is on its way to an idle connection as the drain begins */
    OF_LOOP = 4,   /* descriptors of one */
    OF_CLIENTS = 6 /* the least there may be, for them and their connections to origins */
};

enum server_state {
    SERVER_SERVING,
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
    struct watch watch;
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

/* `run` takes all that can be waited for: but SIGPIPE, and those that a thread's own fault raises.
 * That they are blocked has process 1 get them, too, whom the kernel spares their default. */
static void signals_of_run(sigset_t *set)
{
    static const int others[] = {SIGPIPE, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS};
    sigfillset(set);
    for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
        sigdelset(set, others[i]);
}

static void signals_of(bool is_run, sigset_t *set)
{
    static const int of_server[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};
    if (is_run) {
        signals_of_run(set);
        return;
    }
    sigemptyset(set);
    for (size_t i = 0; i < sizeof(of_server) / sizeof(*of_server); i++)
        sigaddset(set, of_server[i]);
}

void server_take_signals(bool is_run, struct signals_before *before)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct sigaction old;
    sigset_t set;
    sigaction(SIGPIPE, &ignore, &old);
    before->ignores_pipe = old.sa_handler == SIG_IGN;
    signals_of(is_run, &set);
    pthread_sigmask(SIG_BLOCK, &set, &before->mask);
}

struct conf *server_load(const struct conf_source *source, struct conf_faults *faults)
{
    struct conf_source with_tls = *source;
    with_tls.check = tls_ctx_make_all;
    return conf_load(&with_tls, faults);
}

/* ---- what both start and reload do */

/* What the operator should know each time, as it is easily forgotten. */
static void tell_rules(const struct conf *c)
{
    for (unsigned i = 0; i < c->n_rules; i++) {
        const struct rule *r = &c->rules[i];
        if (r->upgrade && !r->tls.verify)
            log_warning(
                "%s: rule \"%s\" has verify = off: these hosts' certificates are not checked",
                r->where, r->pattern);
        if (!r->upgrade)
            log_info("%s: rule \"%s\" has upgrade = off: http:// stays plain HTTP there", r->where,
                     r->pattern);
    }
}

static void tell_places(const struct server *s, const struct listen_set *old)
{
    char text[ADDR_TEXT];
    for (unsigned i = 0; i < s->places.n; i++) {
        const struct place *p = &s->places.v[i];
        const struct forward *f = s->conf->listeners[i].forward;
        if (p->fds != NULL && p->is_service)
            log_info("the service listener is http://%s/", addr_print(&p->addr, text));
        else if (p->fds != NULL && f == NULL)
            log_info("listening on %s", addr_print(&p->addr, text));
        else if (p->fds != NULL)
            log_info("listening on %s for %s://%s:%u%s", addr_print(&p->addr, text),
                     f->tls ? "https" : "http", f->host, f->port, f->path);
    }
    for (unsigned i = 0; i < old->n; i++) {
        if (!listen_has(&s->places, old->v[i].id))
            log_info("no longer listening on %s", addr_print(&old->v[i].addr, text));
    }
}

static void set_own_addresses(const struct listen_set *places)
{
    struct addr *own = xcalloc(places->n + 1, sizeof(*own));
    unsigned n = 0;
    for (unsigned i = 0; i < places->n; i++) {
        if (addr_family(&places->v[i].addr) != AF_UNIX)
            own[n++] = places->v[i].addr;
    }
    policy_set_own(own, n);
    free(own);
}

/* The service's worker, which comes last, gets the service listener, the others all the rest. */
static struct worker_update *make_update(struct server *s, unsigned worker)
{
    struct listen_set *places = &s->places;
    struct worker_update *u = xcalloc(1, sizeof(*u) + places->n * sizeof(u->places[0]));
    bool is_service = worker == s->n_workers;
    u->conf = conf_ref(s->conf);
    for (unsigned i = 0; i < places->n; i++) {
        if (places->v[i].is_service != is_service || places->v[i].is_shared)
            continue;
        u->places[u->n++] = (struct worker_place){
            .id = places->v[i].id,
            .fd = listen_take(places, i, is_service ? 0 : worker),
            .addr = places->v[i].addr,
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
    set_own_addresses(&s->places);
    for (unsigned i = 0; i < s->n_made; i++)
        worker_update(s->workers[i], make_update(s, i));
    shared_update(&s->shared, &s->places, c);
    watcher_set(&s->watcher, c);
    tell_places(s, &old);
    tell_rules(c);
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

static void tell_fixed(const struct server *s, const struct conf *c)
{
    if (c->workers != s->n_workers)
        log_warning("workers is taken at start only: %u, not %u", s->n_workers, c->workers);
    if (c->client.max_connections != s->env.max_connections)
        log_warning("client.max_connections is taken at start only: %u, not %u",
                    s->env.max_connections, c->client.max_connections);
}

static bool open_all(const struct server *s, const struct conf *c, struct listen_set *next)
{
    char err[256];
    char *why = NULL;
    bool ok = listen_open(next, &s->places, c, s->n_workers, &why);
    if (!ok) {
        log_error("%s", why);
        free(why);
    } else if (!log_open(c->log.level, c->log.access, err, sizeof(err))) {
        log_error("the access log %s cannot be opened: %s", c->log.access, err);
        ok = false;
    }
    return ok;
}

/* RUNNING: see struct conf_source. */
static void load_again(struct server *s, const struct conf *running)
{
    struct conf_faults faults = {0};
    struct listen_set next = {0};
    struct conf_source source = *s->source;
    source.running = running;
    watcher_tried(&s->watcher);
    struct conf *c = server_load(&source, &faults);
    if (c == NULL) {
        log_faults(&faults);
        return;
    }
    if (!open_all(s, c, &next)) {
        log_error("the new configuration cannot be used: nothing was changed");
        listen_drop(&next, &s->places);
        conf_unref(&c);
        return;
    }
    tell_fixed(s, c);
    install(s, c, &next);
    log_info("configuration reloaded");
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
    load_again(s, running);
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
    s->state = SERVER_DRAINING;
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
    s->state = SERVER_DELAY;
    watcher_close(&s->watcher);
    for (unsigned i = 0; i < s->n_made; i++)
        worker_announce_end(s->workers[i]);
    if (s->conf->drain_delay > 0) {
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
        log_reopen();
        log_info("log files were opened again");
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

/* Fewer clients than were wanted, rather than clients who cannot be served. */
static void tell_descriptors(const struct conf *c)
{
    const struct fds *fds = fds_budget();
    unsigned wanted = c->client.max_connections;
    if (wanted <= fds->clients)
        return;
    log_warning("this process may have %u descriptors, which allow %u client connections with "
                "theirs to origins, and client.max_connections = %u: for these it takes %u; %s, or "
                "lower the key",
                fds->limit, fds->clients, wanted, fds_need(wanted, c->workers, c->n_listeners),
                FDS_ADVICE);
}

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
    sigset_t set;
    if (!loop_init(&s->loop))
        return false;
    s->has_loop = true;
    deadline_init(&s->drain, &s->loop, on_drain_deadline, s);
    watcher_init(&s->watcher, &s->loop, on_file_change, s);
    log_limit_set_loop(&s->loop);
    signals_of(s->source->is_run, &set);
    s->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
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
        .watch = &s->watch,
        .server = &s->loop,
        .on_drained = on_worker_drained,
        .arg = s,
    };
    s->n_workers = c->workers;
    s->stats = xcalloc(c->workers + 1, sizeof(*s->stats));
    s->env.stats = s->stats;
    s->watch = (struct watch){.stats = s->stats,
                              .n = c->workers + 1,
                              .workers = c->workers,
                              .budget = &s->budget,
                              .since = loop_now(),
                              .since_wall = loop_wall()};
    s->workers = xcalloc(c->workers + 1, sizeof(*s->workers));
    shared_init(&s->shared, &s->loop, s->workers, s->n_workers);
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
        tell_descriptors(c);
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
        fputs(faults.text, stderr);
        free(faults.text);
        *status = STATUS_BAD_CONF;
        return NULL;
    }
    struct server *s = xcalloc(1, sizeof(*s));
    s->source = source;
    s->signal_fd = -1;
    if (!source->is_run)
        manager_adopt();
    if (!start(s, c)) {
        server_stop(s);
        *status = STATUS_NOT_STARTED;
        return NULL;
    }
    log_info("tlsfan " TLSFAN_VERSION " has started: %u worker%s", s->n_workers,
             s->n_workers == 1 ? "" : "s");
    if (!source->is_run)
        watchdog_start(&s->watchdog, &s->loop, s->workers, s->n_made);
    tell_serving(s);
    return s;
}

bool server_intercepts(const struct server *s)
{
    return conf_may_intercept(s->conf);
}

uint16_t server_port(const struct server *s)
{
    for (unsigned i = 0; i < s->places.n; i++) {
        if (s->conf->listeners[i].forward == NULL && !s->places.v[i].is_service)
            return addr_port(&s->places.v[i].addr);
    }
    return 0;
}

static void stop_workers(struct server *s)
{
    for (unsigned i = 0; i < s->n_made; i++)
        worker_stop(s->workers[i]);
    for (unsigned i = 0; i < s->n_made; i++)
        worker_join(s->workers[i]);
    /* The thread that checks credentials sends to the loops, which therefore go last. */
    auth_stop();
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
        deadline_close(&s->shared.pause);
    }
    stop_workers(s);
    listen_drop(&s->places, NULL);
    manager_close();
    policy_set_own(NULL, 0);
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
    log_close();
    free(s);
}
