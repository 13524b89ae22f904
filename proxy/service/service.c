/* SPDX-License-Identifier: Apache-2.0 */
/* The service listener: libevhtp set up on the loop of its worker. */
#include "service/service.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fds.h"
#include "base/log_limit.h"
#include "own/json_limit.h"
#include "service/service_conn.h"
#include "upstream/pool_room.h"

enum {
    BACKLOG = 128,
    PAUSE_MS = 100,
    ACCEPT_MAX = FDS_GUESTS / 4 /* in one turn: a health check is over in less than four */
};

struct service {
    evhtp_t *htp;
    struct service_conns conns;
    struct deadline pause; /* set while accepting is paused */
    struct post next_turn;
    unsigned accepted; /* in this turn */
    struct reap reap;
};

static void service_go_on(void *arg)
{
    struct service *s = arg;
    s->accepted = 0;
    if (s->htp->server != NULL && !deadline_is_set(&s->pause))
        evconnlistener_enable(s->htp->server);
}

/* libevent accepts as long as somebody comes, and nobody would be answered meanwhile. */
static evhtp_res on_accepted(evhtp_connection_t *conn, void *arg)
{
    struct service *s = arg;
    loop_post(s->conns.engine->loop, &s->next_turn);
    if (++s->accepted >= ACCEPT_MAX)
        evconnlistener_disable(s->htp->server);
    return service_conns_accept(conn, &s->conns);
}

/* ARG is libevhtp's own for this listener. Without a pause the loop would only turn. */
static void on_accept_fault(struct evconnlistener *listener, void *arg)
{
    const evhtp_t *htp = arg;
    struct service *s = htp->arg;
    log_limited(LOG_LEVEL_ERROR, "the service listener takes no connection for a moment: %s",
                strerror(errno));
    evconnlistener_disable(listener);
    deadline_set(&s->pause, PAUSE_MS);
    (void)pool_make_room(s->conns.engine->pool);
}

struct service *service_new(struct engine *e, const struct service_view *v,
                            const _Atomic unsigned *connections)
{
    struct service *s = xcalloc(1, sizeof *s);
    s->htp = evhtp_new(e->loop->base, s);
    if (s->htp == NULL)
        abort();
    evhtp_disable_flag(s->htp, EVHTP_FLAG_ENABLE_100_CONT); /* it answers HTTP/1.0 so, too */
    json_limit_install();
    service_conns_init(&s->conns, e, v);
    s->conns.connections = connections;
    deadline_init(&s->pause, e->loop, service_go_on, s);
    post_init(&s->next_turn, service_go_on, s);
    evhtp_set_pre_accept_cb(s->htp, service_conns_admit, &s->conns);
    evhtp_set_post_accept_cb(s->htp, on_accepted, s);
    evhtp_set_gencb(s->htp, service_conns_take, &s->conns);
    return s;
}

bool service_listen(struct service *s, int fd)
{
    if (s->htp->server != NULL)
        evhtp_unbind_socket(s->htp);
    if (fd < 0)
        return true;
    if (evhtp_accept_socket(s->htp, fd, BACKLOG) != 0) {
        int cause = errno;
        close(fd);
        errno = cause;
        return false;
    }
    evconnlistener_set_error_cb(s->htp->server, on_accept_fault);
    return true;
}

void service_set_proxy(struct service *s, const struct addr *addr)
{
    s->conns.view.proxy[0] = '\0';
    if (addr->len > 0)
        addr_print(addr, s->conns.view.proxy);
}

void service_drain(struct service *s)
{
    s->conns.is_ending = true;
}

unsigned service_busy(const struct service *s)
{
    return s->conns.busy;
}

static void service_free(void *arg)
{
    struct service *s = arg;
    evhtp_free(s->htp);
    free(s);
}

void service_close(struct service *s)
{
    struct loop *loop = s->conns.engine->loop;
    bool ok = service_listen(s, -1);
    (void)ok; /* nothing to listen on cannot fail */
    service_conns_close(&s->conns);
    deadline_close(&s->pause);
    loop_unpost(&s->next_turn);
    loop_reap(loop, &s->reap, service_free, s);
}
