/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of exchange/ and client/ share: one worker's engine with a real pool, clients that
 * the test plays over TCP, and an origin in plain HTTP (rule "upgrade = off") that it plays too.
 * rig_close() proves that nothing was left behind: exchanges, connections, budget. */
#ifndef TLSFAN_TESTS_CLIENT_FIXTURE_H
#define TLSFAN_TESTS_CLIENT_FIXTURE_H

#include "conf/conf_load.h"
#include "upstream_fixture.h"

#include "client/client_impl.h"
#include "exchange/stats.h"
#include "net/linger.h"

struct rig {
    struct fixture f; /* its loop and helpers; the configuration is the rig's own */
    struct conf *conf;
    struct engine engine;
    struct budget budget;
    struct forward_id id;
    struct clients clients;
    _Atomic unsigned total;
    int origin; /* listener */
    uint16_t port;
    bool tls; /* clients come by a tls: listener */
};

/* Up to twelve options, "KEY=VALUE"; NULL ends them. */
static inline struct conf *rig_conf(const char *const *options)
{
    const char *all[16] = {"listen=127.0.0.1:1", "rule[127.0.0.1].upgrade=off",
                           "rule[127.0.0.1].response_timeout=5s", "log.query=on"};
    unsigned n = 4;
    for (unsigned i = 0; options != NULL && options[i] != NULL; i++)
        all[n++] = options[i];
    struct conf_source src = {.options = all, .n_options = n};
    struct conf_faults faults = {0};
    struct conf *c = conf_load(&src, &faults);
    if (c == NULL)
        fail_msg("%s", faults.text);
    return c;
}

static inline void rig_open(struct rig *r, const char *const *options)
{
    char err[128];
    memset(r, 0, sizeof(*r));
    assert_true(log_open(LOG_LEVEL_ERROR, "/dev/null", err, sizeof(err)));
    fixture_open(&r->f);
    r->conf = rig_conf(options);
    r->f.dns = dns_new(&r->f.loop, r->conf);
    assert_non_null(r->f.dns);
    forward_id_init(&r->id);
    atomic_init(&r->budget.max, (int64_t)r->conf->max_memory);
    struct engine *e = &r->engine;
    e->loop = &r->f.loop;
    e->dns = r->f.dns;
    e->id = &r->id;
    e->budget = &r->budget;
    e->stats = stats_new();
    e->pool = pool_new(&r->f.loop, r->f.dns, &r->id, &r->budget, &e->stats->tally);
    engine_set_conf(e, conf_ref(r->conf));
    sweep_init(&e->sweep, &r->f.loop);
    list_init(&e->running);
    list_init(&e->tunnels);
    clients_init(&r->clients, e, &r->total, 100);
    r->clients.resting_most = 100; /* tests look at them */
    r->origin = fixture_listen(&r->port);
}

static inline unsigned rig_busy(const struct rig *r)
{
    unsigned idle, busy;
    pool_count(r->engine.pool, &idle, &busy);
    return busy;
}

/* Turns until no client and no exchange is left, and checks that they left nothing. */
static inline void rig_check_empty(struct rig *r)
{
    for (int i = 0; i < 20; i++)
        loop_turn(&r->f.loop, false);
    assert_int_equal(r->clients.n, 0);
    assert_int_equal(r->total, 0);
    assert_int_equal(r->engine.open_exchanges, 0);
    assert_int_equal(rig_busy(r), 0);
    assert_true(list_is_empty(&r->engine.sweep.set));
    unsigned idle, busy;
    pool_count(r->engine.pool, &idle, &busy);
    if (idle == 0 && !linger_has_any(&r->f.loop))
        assert_int_equal(r->budget.used, 0);
}

static inline void rig_close(struct rig *r)
{
    clients_close(&r->clients);
    rig_check_empty(r);
    close(r->origin);
    pool_close(r->engine.pool);
    fixture_settle(&r->f);
    linger_close_all(&r->f.loop);
    fixture_settle(&r->f);
    assert_int_equal(r->budget.used, 0);
    clients_clear(&r->clients);
    sweep_close(&r->engine.sweep);
    engine_set_conf(&r->engine, NULL);
    log_buf_clear(&r->engine.log);
    stats_free(r->engine.stats);
    conf_unref(&r->conf);
    fixture_close(&r->f);
    log_close();
}

/* A new client of a listener of KIND, at another port than it connects to, as if it had been
 * turned, unless IS_HERE. Gives its end of the connection. */
static inline int rig_connect_as(struct rig *r, enum listener_kind kind, bool is_here)
{
    uint16_t port;
    int l = fixture_listen(&port);
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    int ours = fixture_accept(&r->f, l);
    close(l);
    assert_int_equal(fcntl(ours, F_SETFL, O_NONBLOCK), 0);
    struct addr peer;
    assert_true(addr_parse_ip(&peer, STR("127.0.0.1"), 1));
    struct client_listener listener = {.addr = peer, .kind = kind, .tls = r->tls, .conf = r->conf};
    addr_set_port(&listener.addr, is_here ? port : 1);
    client_open(&r->clients, ours, &peer, &listener);
    return fd;
}

/* A new client; gives its end of the connection. */
static inline int rig_connect(struct rig *r)
{
    return rig_connect_as(r, LISTENER_PROXY, false);
}

/* Sends FMT, in which %P is the origin's authority. */
static inline void rig_send(struct rig *r, int fd, const char *fmt)
{
    char text[65536];
    size_t n = 0;
    for (const char *p = fmt; *p != '\0' && n < sizeof(text) - 32; p++) {
        if (p[0] == '%' && p[1] == 'P') {
            n += (size_t)snprintf(text + n, 32, "127.0.0.1:%u", r->port);
            p++;
        } else {
            text[n++] = *p;
        }
    }
    assert_int_equal(send(fd, text, n, MSG_NOSIGNAL), (ssize_t)n);
    fixture_settle(&r->f);
}

/* Reads from FD until UNTIL has come, or the end; gives all of it, terminated, in a static buffer.
 * END, when not NULL, tells how the connection ended: 0 it is open, 1 FIN, -1 reset. */
static inline const char *rig_read(struct rig *r, int fd, const char *until, int *end)
{
    static char text[256 * 1024];
    size_t n = 0;
    int64_t limit = loop_now() + 10000000;
    int how = 0;
    text[0] = '\0';
    while (how == 0 && (until == NULL || strstr(text, until) == NULL)) {
        assert_true(n < sizeof(text) - 1);
        ssize_t got = recv(fd, text + n, sizeof(text) - 1 - n, MSG_DONTWAIT);
        if (got > 0)
            n += (size_t)got;
        else if (got == 0 || errno != EAGAIN)
            how = got == 0 ? 1 : -1;
        text[n] = '\0';
        if (loop_now() > limit)
            fail_msg("nothing more came; so far: %s", text);
        loop_turn(&r->f.loop, false);
    }
    if (end != NULL)
        *end = how;
    return text;
}

/* The origin's next connection, with a request read from it up to UNTIL. */
static inline int rig_accept(struct rig *r, const char *until)
{
    int fd = fixture_accept(&r->f, r->origin);
    (void)rig_read(r, fd, until, NULL);
    return fd;
}

/* The only client's requests, oldest first; NULL when there is none. */
static inline struct client *rig_client(const struct rig *r)
{
    struct list *it = list_first(&r->clients.all);
    return it == NULL ? NULL : container_of(it, struct client, link);
}

/* Lines in the access log since the rig was opened. */
static inline unsigned rig_lines(const struct rig *r)
{
    unsigned n = 0;
    for (size_t i = 0; i < r->engine.log.len; i++)
        n += r->engine.log.p[i] == '\n';
    return n;
}

#endif
