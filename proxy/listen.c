/* SPDX-License-Identifier: Apache-2.0 */
/* Opening listeners. The first socket of an address is bound without SO_REUSEPORT, which fails when
 * any other process is there; then it gets the option, and the workers' further sockets join it.
 * Where the system does not let them, and for unix:, the first one is shared (shared.h). A socket
 * that the service manager has passed is shared as well: it must be the same one when another
 * tlsfan takes over, or who waits in its queue would be lost. So is one in the network of COMMAND,
 * where only its keeper can open any. */
#include "listen.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "capture.h"
#include "manager.h"
#include "base/fds.h"
#include "conf/bound.h"
#include "net/outgoing.h"
#include "net/sock.h"

/* Never 0. */
static unsigned last_id;

bool listen_has(const struct listen_set *s, unsigned id)
{
    for (unsigned i = 0; i < s->n; i++) {
        if (s->v[i].id == id)
            return true;
    }
    return false;
}

/* The socket of a proxy listener may become that of a forward and back, with TLS and without, but
 * for port 0, which is another one for each; and one of COMMAND's network that of another kind
 * there. Other kinds have sockets, or threads, of their own. */
static bool listen_is_same(const struct place *p, const struct listener *l)
{
    bool is_plain = (p->kind <= LISTENER_FORWARD && l->kind <= LISTENER_FORWARD) ||
                    (listener_is_captured(p->kind) && listener_is_captured(l->kind));
    bool is_fixed = addr_port(&l->addr) != 0 || addr_family(&l->addr) == AF_UNIX;
    bool is_alike = p->kind == l->kind && p->tls == l->tls;
    return addr_equal(&p->wanted, &l->addr) && (is_alike || (is_plain && is_fixed));
}

/* The place of OLD for L, unless S has it already: port 0 may be written twice. */
static const struct place *find_old(const struct listen_set *old, const struct listen_set *s,
                                    const struct listener *l)
{
    for (unsigned i = 0; i < old->n; i++) {
        if (listen_is_same(&old->v[i], l) && !listen_has(s, old->v[i].id))
            return &old->v[i];
    }
    return NULL;
}

/* True when a socket of OLD is in the way of one for A: 127.0.0.1 becomes 0.0.0.0, or the address
 * is to be a listener of another kind. */
static bool holds_port(const struct listen_set *old, const struct addr *a)
{
    for (unsigned i = 0; i < old->n; i++) {
        const struct addr *o = &old->v[i].addr;
        if (addr_port(a) == 0 || addr_port(o) != addr_port(a) || addr_family(o) != addr_family(a))
            continue;
        if (addr_is_any(o) || addr_is_any(a) || addr_same_ip(o, a))
            return true;
    }
    return false;
}

static int bind_first(const struct listen_set *old, const struct addr *a)
{
    int fd = sock_listen(a, false);
    if (fd < 0 && errno == EADDRINUSE && holds_port(old, a))
        fd = sock_listen(a, true);
    return fd;
}

static void share_port(struct place *p)
{
    int on = 1;
    (void)setsockopt(p->fds[0], SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
}

/* All workers are served by the first socket. */
static void share(struct place *p)
{
    for (unsigned i = 1; i < p->n_fds; i++) {
        if (p->fds[i] >= 0)
            close(p->fds[i]);
    }
    p->n_fds = 1;
    p->is_shared = true;
}

/* The sockets of the other workers, if there are any. The port is shared all the same: with what a
 * reload opens. */
static void open_others(struct place *p)
{
    if (p->is_passed || addr_family(&p->addr) == AF_UNIX) {
        if (p->n_fds > 1)
            share(p);
        return;
    }
    share_port(p);
    for (unsigned i = 1; i < p->n_fds && !p->is_shared; i++) {
        p->fds[i] = sock_listen(&p->addr, true);
        if (p->fds[i] < 0)
            share(p);
    }
}

/* A socket may get this option at any time. Without the right to it, what REDIRECT turns comes all
 * the same. */
static void take_tproxy(struct place *p)
{
    p->has_tproxy = p->kind == LISTENER_TRANSPARENT && addr_family(&p->addr) != AF_UNIX;
    for (unsigned i = 0; i < p->n_fds && p->has_tproxy; i++)
        p->has_tproxy = sock_set_transparent(p->fds[i], &p->addr);
}

static void note_file(struct place *p)
{
    struct stat st;
    if (p->is_passed || addr_family(&p->addr) != AF_UNIX || lstat(p->addr.un.sun_path, &st) < 0)
        return;
    p->dev = st.st_dev;
    p->ino = st.st_ino;
}

/* A network without IPv6 has no socket there, and needs none: then there is nothing to take. */
static bool open_captured(struct place *p)
{
    p->id = ++last_id;
    p->addr = p->wanted;
    p->is_passed = p->is_shared = true;
    int fd = capture_socket(&p->wanted, SOCK_STREAM);
    if (fd < 0)
        return addr_family(&p->wanted) == AF_INET6 && errno == EAFNOSUPPORT;
    p->fds = xmalloc(sizeof(*p->fds));
    p->fds[0] = fd;
    p->n_fds = 1;
    return true;
}

static bool open_place(struct place *p, const struct listen_set *old, unsigned n_workers)
{
    if (listener_is_captured(p->kind))
        return open_captured(p);
    p->id = ++last_id;
    p->fds = xmalloc(n_workers * sizeof(*p->fds));
    p->n_fds = n_workers;
    for (unsigned i = 0; i < n_workers; i++)
        p->fds[i] = -1;
    p->fds[0] = manager_socket(&p->wanted);
    p->is_passed = p->fds[0] >= 0;
    if (!p->is_passed && errno == 0)
        p->fds[0] = bind_first(old, &p->wanted);
    if (p->fds[0] < 0)
        return false;
    p->addr = p->wanted;
    if (addr_family(&p->wanted) != AF_UNIX && !sock_local(p->fds[0], &p->addr))
        return false;
    note_file(p);
    open_others(p);
    take_tproxy(p);
    return true;
}

const char *listen_advice(int cause)
{
    switch (cause) {
    case EADDRINUSE:
        return " (is another tlsfan running?); ss -ltnp shows who has it";
    case EADDRNOTAVAIL:
        return " (no interface of this machine has it)";
    case EACCES:
        return " (a port below 1024 wants CAP_NET_BIND_SERVICE or a socket of the service manager, "
               "a "
               "unix: socket a directory that may be written)";
    case EAFNOSUPPORT:
        return " (this machine has no IPv6)";
    default:
        return "";
    }
}

static char *listen_explain(const struct listener *l, int cause)
{
    struct stat st;
    char why[256];
    if (listener_is_captured(l->kind) && cause == EPIPE)
        return xasprintf("cannot listen on %s (%s) in the command's network: the process that "
                         "keeps that has ended; start the command again",
                         l->text, l->where);
    if (fds_is_short(cause))
        return xasprintf("cannot listen on %s (%s): %s", l->text, l->where,
                         fds_explain(why, sizeof(why), cause));
    bool is_file = addr_family(&l->addr) == AF_UNIX && lstat(l->addr.un.sun_path, &st) == 0 &&
                   !S_ISSOCK(st.st_mode);
    const char *hint = is_file ? " (there is a file that is no socket)" : listen_advice(cause);
    return xasprintf("cannot listen on %s (%s): %s%s", l->text, l->where, strerror(cause), hint);
}

bool listen_open(struct listen_set *s, const struct listen_set *old, const struct conf *c,
                 unsigned n_workers, char **why)
{
    s->v = xcalloc(c->n_listeners + 1, sizeof(*s->v));
    for (unsigned i = 0; i < c->n_listeners; i++) {
        const struct listener *l = &c->listeners[i];
        const struct place *stays = find_old(old, s, l);
        struct place *p = &s->v[s->n++];
        if (stays != NULL) {
            *p = *stays;
            p->fds = NULL;
            p->n_fds = 0;
            p->kind = l->kind;
            p->tls = l->tls;
            continue;
        }
        p->wanted = l->addr;
        p->kind = l->kind;
        p->tls = l->tls;
        if (!open_place(p, old, l->kind == LISTENER_SERVICE ? 1 : n_workers)) {
            *why = listen_explain(l, errno);
            return false;
        }
    }
    return true;
}

int listen_take(struct listen_set *s, unsigned i, unsigned worker)
{
    if (s->v[i].fds == NULL)
        return -1;
    int fd = s->v[i].fds[worker];
    s->v[i].fds[worker] = -1;
    return fd;
}

/* Listeners in the namespace of COMMAND are at addresses that mean something else here. */
void listen_set_own(const struct listen_set *s)
{
    struct bound *own = xcalloc(s->n + 1, sizeof(*own));
    unsigned n = 0;
    bool is_turned = false;
    for (unsigned i = 0; i < s->n; i++) {
        const struct place *p = &s->v[i];
        is_turned = is_turned || p->kind == LISTENER_TRANSPARENT;
        if (addr_family(&p->addr) != AF_UNIX && !listener_is_captured(p->kind))
            own[n++] = (struct bound){p->addr, p->kind, p->tls};
    }
    bound_set(own, n);
    outgoing_watch(is_turned);
    free(own);
}

struct addr listen_proxy(const struct listen_set *s)
{
    for (unsigned i = 0; i < s->n; i++) {
        const struct place *p = &s->v[i];
        if (p->kind == LISTENER_PROXY && !p->tls && addr_family(&p->addr) != AF_UNIX)
            return p->addr;
    }
    return (struct addr){.len = 0};
}

/* Only while the name still leads to our socket: another process may have replaced it. */
static void remove_file(const struct place *p)
{
    struct stat st;
    if (p->ino == 0 || lstat(p->addr.un.sun_path, &st) < 0)
        return;
    if (st.st_dev == p->dev && st.st_ino == p->ino)
        unlink(p->addr.un.sun_path);
}

void listen_drop(struct listen_set *s, const struct listen_set *keep)
{
    for (unsigned i = 0; i < s->n; i++) {
        struct place *p = &s->v[i];
        for (unsigned k = 0; p->fds != NULL && k < p->n_fds; k++) {
            if (p->fds[k] >= 0)
                close(p->fds[k]);
        }
        free(p->fds);
        if (keep == NULL || !listen_has(keep, p->id))
            remove_file(p);
    }
    free(s->v);
    *s = (struct listen_set){0};
}
