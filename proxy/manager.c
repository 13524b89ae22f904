/* SPDX-License-Identifier: Apache-2.0 */
/* The passed sockets stay open here until the drain, so that a reload can take one again that it
 * had given up. */
#include "manager.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "manager_env.h"
#include "net/sock.h"
#include "worker.h"

/* One socket that was passed. */
struct passed {
    int fd;
    struct addr addr; /* len 0: it is none to listen on */
    bool is_claimed;
};

static struct passed *passed;
static unsigned n_passed;

/* ---- sockets */

static void adopt(struct passed *p, int fd)
{
    int on = 1;
    p->fd = fd;
    if (!manager_env_listens(fd) || !sock_local(fd, &p->addr))
        return;
    if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
        p->addr.len = 0;
    /* Connections inherit it, as from a socket of our own. */
    if (addr_family(&p->addr) != AF_UNIX)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

void manager_adopt(void)
{
    n_passed = manager_env_fds();
    if (n_passed == 0)
        return;
    passed = xcalloc(n_passed, sizeof(*passed));
    for (unsigned i = 0; i < n_passed; i++)
        adopt(&passed[i], MANAGER_FIRST_FD + (int)i);
}

int manager_socket(const struct addr *a)
{
    errno = 0;
    for (unsigned i = 0; i < n_passed; i++) {
        struct passed *p = &passed[i];
        if (p->addr.len == 0 || !addr_equal(&p->addr, a))
            continue;
        p->is_claimed = true;
        return fcntl(p->fd, F_DUPFD_CLOEXEC, 3);
    }
    return -1;
}

char *manager_unclaimed(void)
{
    char text[ADDR_TEXT];
    for (unsigned i = 0; i < n_passed; i++) {
        const struct passed *p = &passed[i];
        if (p->is_claimed)
            continue;
        if (p->addr.len == 0)
            return xasprintf("descriptor %d, which the service manager passed, is no socket that "
                             "listens for connections",
                             p->fd);
        return xasprintf("the service manager passed a socket for %s, and no listener of the "
                         "configuration has that address: write it into listen, service or forward",
                         addr_print(&p->addr, text));
    }
    return NULL;
}

void manager_close(void)
{
    for (unsigned i = 0; i < n_passed; i++)
        close(passed[i].fd);
    free(passed);
    passed = NULL;
    n_passed = 0;
}

/* ---- notes */

void manager_tell(const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (n > 0)
        manager_env_notify(text, strlen(text));
}

void manager_tell_reload(void)
{
    manager_tell("RELOADING=1\nMONOTONIC_USEC=%lld\nSTATUS=Reading the configuration again",
                 (long long)loop_now());
}

/* ---- the watchdog */

/* On a worker's thread: its loop turns. */
static void on_answer(void *arg)
{
    struct watchdog *d = arg;
    atomic_fetch_sub_explicit(&d->missing, 1, memory_order_relaxed);
}

static void manager_on_tick(void *arg)
{
    struct watchdog *d = arg;
    deadline_set(&d->tick, d->every);
    if (atomic_load_explicit(&d->missing, memory_order_relaxed) > 0)
        return;
    manager_tell("WATCHDOG=1");
    atomic_store_explicit(&d->missing, d->n, memory_order_relaxed);
    for (unsigned i = 0; i < d->n; i++)
        worker_call(d->workers[i], on_answer, d);
}

void watchdog_start(struct watchdog *d, struct loop *l, struct worker **workers, unsigned n)
{
    uint64_t us = manager_env_watchdog();
    d->loop = l;
    d->workers = workers;
    d->n = n;
    atomic_store(&d->missing, 0);
    if (us == 0)
        return;
    /* Four times as often as must be: the answers to one tick are looked at in the next. */
    d->every = (int64_t)(us / 4000);
    d->every = d->every > 0 ? d->every : 1;
    deadline_init(&d->tick, l, manager_on_tick, d);
    manager_on_tick(d);
}

void watchdog_close(struct watchdog *d)
{
    if (d->every > 0)
        deadline_close(&d->tick);
}
