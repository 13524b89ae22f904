/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"

#include <stdlib.h>
#include <string.h>

#include "conf/policy.h"
#include "net/outgoing.h"
#include "net/tls_ctx.h"
#include "peer_tls.h"

#if __has_include("conf/conf_load.h")
#include "conf/conf_load.h"
#endif

struct conf *world_conf(const char *const *options, unsigned n, bool tls, char **why)
{
    static const char *const common[] = {"listen=127.0.0.1:3128",
                                         "workers=1",
                                         "log.access=off",
                                         "log.level=error",
                                         "rule[*.test].upgrade=off",
                                         "rule[*.tls].verify=off",
                                         "destination.connect_ports=8443"};
    const unsigned n_common = sizeof(common) / sizeof(*common);
    const char **v = xcalloc(n_common + n + 3, sizeof(*v));
    memcpy(v, common, sizeof(common));
    if (n > 0)
        memcpy(v + n_common, options, n * sizeof(*options));
    char *ca = xasprintf("tls.ca_file=%s", tls ? peer_tls_ca() : "");
    char *cert = xasprintf("client.cert=%s", tls ? peer_tls_ca() : "");
    char *key = xasprintf("client.key=%s", tls ? peer_tls_key() : "");
    v[n_common + n] = ca;
    v[n_common + n + 1] = cert;
    v[n_common + n + 2] = key;
    struct conf_source src = {.options = v, .n_options = n_common + n + 3};
    struct conf_faults faults = {0};
    src.check = tls ? tls_ctx_make_all : NULL;
    struct conf *c = conf_load(&src, &faults);
    *why = c == NULL ? faults.text : NULL;
    free(v);
    free(ca);
    free(cert);
    free(key);
    return c;
}

static void on_drained(void *arg)
{
    struct world *w = arg;
    w->is_drained = true;
}

static struct worker_update *make_update(struct world *w, int fd)
{
    struct worker_update *u = xcalloc(1, sizeof(*u) + sizeof(u->places[0]));
    u->conf = conf_ref(w->conf);
    u->n = 1;
    u->places[0].id = 1;
    u->places[0].fd = fd;
    /* "listen" of a script comes behind that of all. */
    u->places[0].kind = w->conf->listeners[0].kind;
    for (unsigned i = 0; i < w->conf->n_listeners; i++) {
        if (w->conf->listeners[i].kind == LISTENER_TRANSPARENT)
            u->places[0].kind = LISTENER_TRANSPARENT;
        u->places[0].tls = u->places[0].tls || w->conf->listeners[i].tls;
    }
    outgoing_watch(u->places[0].kind == LISTENER_TRANSPARENT);
    if (!addr_parse_ip(&u->places[0].addr, STR("127.0.0.1"), 3128))
        abort();
    return u;
}

void world_open(struct world *w, struct conf *c, void (*idle)(void))
{
    char err[128];
    unsetenv("LOCALDOMAIN");
    unsetenv("RES_OPTIONS");
    memset(w, 0, sizeof(*w));
    fake_idle = idle;
    if (!log_open(LOG_LEVEL_ERROR, "/dev/null", err, sizeof(err)))
        abort();
    w->conf = c;
    forward_id_init(&w->id);
    atomic_init(&w->budget.max, (int64_t)c->max_memory);
    if (!loop_init(&w->server))
        abort();
    w->env = (struct worker_env){.id = &w->id,
                                 .budget = &w->budget,
                                 .connections = &w->connections,
                                 .max_connections = c->client.max_connections,
                                 .stats = &w->stats,
                                 .server = &w->server,
                                 .on_drained = on_drained,
                                 .arg = w};
    w->worker = worker_new(0, &w->env, c, false);
    w->listener = fake_listen();
    if (w->worker == NULL)
        abort();
    worker_update(w->worker, make_update(w, w->listener->fd));
}

void world_run(struct world *w)
{
    if (!worker_start(w->worker))
        abort();
    fake_run_thread();
    worker_join(w->worker);
}

void world_reload(struct world *w, struct conf *c)
{
    conf_unref(&w->conf);
    w->conf = c;
    atomic_store(&w->budget.max, (int64_t)c->max_memory);
    worker_update(w->worker, make_update(w, -1));
}

void world_serve(struct world *w)
{
    loop_turn(&w->server, false);
}

bool world_pass(struct world *w, int64_t limit)
{
    (void)w;
    int64_t next = fake_next_timer();
    bool is_timer = next >= 0 && next <= limit;
    int64_t to = is_timer ? next : limit;
    fake_now = to > fake_now ? to : fake_now;
    return is_timer;
}

const char *world_close(struct world *w)
{
    const char *left = NULL;
    worker_free(w->worker);
    loop_clear(&w->server);
    log_close();
    conf_unref(&w->conf);
    if (fake_open != 0)
        left = "descriptors are open after the worker has been freed";
    else if (atomic_load(&w->budget.used) != 0)
        left = "bytes are counted in max_memory after the worker has been freed";
    else if (atomic_load(&w->connections) != 0)
        left = "clients are counted after the worker has been freed";
    else if (fake_fault != NULL)
        left = fake_fault;
    fake_fault = NULL;
    fake_clear();
    return left;
}
