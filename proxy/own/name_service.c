/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets and how much is taken of them in a turn; questions are own/name_query.c's. */
#include "own/name_service.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log_limit.h"
#include "net/datagram.h"
#include "net/sock.h"
#include "own/name_conn.h"

enum {
    DATAGRAMS = 32, /* of one socket in one turn */
    CONNECTIONS = 8,
    PAUSE_MS = 100 /* without accepting when descriptors are used up */
};

/* A socket of it. */
struct name_end {
    struct name_service *service;
    int fd;
    struct event event;
};

/* Owner: the worker. Closed by name_service_close(). */
struct name_service {
    struct name_queries queries;
    struct name_conns conns;
    struct name_end udp[NAME_SOCKETS], tcp[NAME_SOCKETS];
    unsigned n_udp, n_tcp;
    struct deadline pause;
    struct reap reap;
};

/* ---- UDP */

static void on_datagram_known(const struct name_asker *a, const uint8_t *p, size_t n)
{
    const struct name_end *end = a->arg;
    datagram_send(end->fd, p, n, &a->from);
}

/* What is longer than a query gets is cut, which is FORMERR. */
static void take_datagram(struct name_end *end, struct str query, const struct datagram *from)
{
    struct name_asker asker = {.fn = on_datagram_known, .arg = end, .from = *from};
    uint8_t out[DNS_ANSWER_SIZE];
    size_t len;
    if (name_queries_ask(&end->service->queries, query, &asker, out, &len) == NAME_NOW)
        datagram_send(end->fd, out, len, from);
}

static void on_datagrams(evutil_socket_t fd, short what, void *arg)
{
    char query[NAME_QUERY_MAX];
    (void)what;
    for (int i = 0; i < DATAGRAMS; i++) {
        struct datagram from;
        ssize_t n = datagram_receive(fd, query, sizeof(query), &from);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (n < 0)
            continue;
        size_t len = (size_t)n < sizeof(query) ? (size_t)n : sizeof(query);
        take_datagram(arg, str_make(query, len), &from);
    }
}

/* ---- TCP */

static void pause_accepting(struct name_service *s, int cause)
{
    log_limited(LOG_LEVEL_WARNING, "no DNS connection of COMMAND is accepted for a moment: %s",
                strerror(cause));
    for (unsigned i = 0; i < s->n_tcp; i++)
        event_del(&s->tcp[i].event);
    deadline_set(&s->pause, PAUSE_MS);
}

static void on_pause_over(void *arg)
{
    struct name_service *s = arg;
    for (unsigned i = 0; i < s->n_tcp; i++)
        event_add(&s->tcp[i].event, NULL);
}

static void on_connections(evutil_socket_t fd, short what, void *arg)
{
    struct name_end *end = arg;
    (void)what;
    for (int i = 0; i < CONNECTIONS; i++) {
        struct addr peer;
        int connection = sock_accept(fd, &peer);
        if (connection >= 0) {
            name_conns_add(&end->service->conns, connection, &peer);
            continue;
        }
        if (errno != EAGAIN && errno != EWOULDBLOCK && !sock_is_passing(errno))
            pause_accepting(end->service, errno);
        return;
    }
}

/* ---- from beginning to end */

static void end_open(struct name_end *end, struct name_service *s, int fd, event_callback_fn fn)
{
    end->service = s;
    end->fd = fd;
    event_assign(&end->event, s->queries.engine->loop->base, fd, EV_READ | EV_PERSIST, fn, end);
    event_add(&end->event, NULL);
}

static void end_close(struct name_end *end)
{
    event_del(&end->event);
    close(end->fd);
}

struct name_service *name_service_new(struct engine *e, const struct name_sockets *from)
{
    struct name_service *s = xcalloc(1, sizeof(*s));
    name_queries_init(&s->queries, e);
    name_conns_init(&s->conns, &s->queries);
    deadline_init(&s->pause, e->loop, on_pause_over, s);
    for (unsigned i = 0; i < from->n_udp; i++) {
        if (!datagram_set_up(from->udp[i]))
            log_limited(LOG_LEVEL_WARNING, "DNS of COMMAND may not be answered: %s",
                        strerror(errno));
        end_open(&s->udp[s->n_udp++], s, from->udp[i], on_datagrams);
    }
    for (unsigned i = 0; i < from->n_tcp; i++)
        end_open(&s->tcp[s->n_tcp++], s, from->tcp[i], on_connections);
    return s;
}

void name_service_close(struct name_service *s)
{
    if (s == NULL)
        return;
    for (unsigned i = 0; i < s->n_udp; i++)
        end_close(&s->udp[i]);
    for (unsigned i = 0; i < s->n_tcp; i++)
        end_close(&s->tcp[i]);
    deadline_close(&s->pause);
    name_conns_close(&s->conns);
    name_queries_drop(&s->queries, NULL);
    loop_reap(s->queries.engine->loop, &s->reap, free, s);
}
