/* SPDX-License-Identifier: Apache-2.0 */
/* A list behind a lock, and a bit for each port, as the port of nearly every request is nobody's
 * here. */
#include "conf/bound.h"

#include <ifaddrs.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/mem.h"

enum { PORTS = 65536, WORD = 64 };

/* Set at start and reload, read at each dial. */
static struct {
    pthread_rwlock_t lock;
    struct bound *v;
    unsigned n;
} bound = {.lock = PTHREAD_RWLOCK_INITIALIZER};

_Atomic uint64_t bound_ports[PORTS / WORD];

static void bound_set_ports(const struct bound *v, unsigned n)
{
    uint64_t words[PORTS / WORD] = {0};
    for (unsigned i = 0; i < n; i++) {
        uint16_t port = addr_port(&v[i].addr);
        words[port / WORD] |= UINT64_C(1) << port % WORD;
    }
    for (unsigned i = 0; i < PORTS / WORD; i++)
        atomic_store_explicit(&bound_ports[i], words[i], memory_order_relaxed);
}

void bound_set(const struct bound *v, unsigned n)
{
    struct bound *copy = xcalloc(n + 1, sizeof(*copy));
    for (unsigned i = 0; i < n; i++) {
        copy[i] = v[i];
        copy[i].addr = addr_plain(&v[i].addr);
    }
    pthread_rwlock_wrlock(&bound.lock);
    struct bound *before = bound.v;
    bound.v = copy;
    bound.n = n;
    pthread_rwlock_unlock(&bound.lock);
    bound_set_ports(v, n);
    free(before);
}

/* Interfaces change while we run, so they are asked each time; that is rare, because the port of a
 * listener on all addresses has matched before. */
static bool is_on_this_machine(const struct addr *a)
{
    if (addr_is_loopback(a) || addr_is_any(a))
        return true;
    struct ifaddrs *list = NULL;
    if (getifaddrs(&list) != 0)
        return true;
    bool found = false;
    for (struct ifaddrs *i = list; i != NULL && !found; i = i->ifa_next) {
        if (i->ifa_addr == NULL)
            continue;
        int family = i->ifa_addr->sa_family;
        if (family != AF_INET && family != AF_INET6)
            continue;
        struct addr mine;
        addr_from_sockaddr(&mine, i->ifa_addr,
                           family == AF_INET ? sizeof(mine.in4) : sizeof(mine.in6));
        found = addr_same_ip(&mine, a);
    }
    freeifaddrs(list);
    return found;
}

bool bound_find(const struct addr *address, struct bound *b)
{
    struct addr plain = addr_plain(address);
    const struct addr *a = &plain;
    struct bound found, any;
    bool is_found = false, has_any = false;
    pthread_rwlock_rdlock(&bound.lock);
    for (unsigned i = 0; i < bound.n && !is_found; i++) {
        const struct bound *l = &bound.v[i];
        if (addr_port(&l->addr) != addr_port(a))
            continue;
        if (addr_is_any(&l->addr))
            any = *l;
        has_any = has_any || addr_is_any(&l->addr);
        found = *l;
        is_found = addr_same_ip(&l->addr, a) || (addr_is_any(a) && addr_is_loopback(&l->addr));
    }
    pthread_rwlock_unlock(&bound.lock);
    if (!is_found && !(has_any && is_on_this_machine(a)))
        return false;
    if (b != NULL)
        *b = is_found ? found : any;
    return true;
}

bool bound_service(struct addr *a)
{
    bool found = false;
    pthread_rwlock_rdlock(&bound.lock);
    for (unsigned i = 0; i < bound.n && !found; i++) {
        found = bound.v[i].kind == LISTENER_SERVICE;
        if (found)
            *a = bound.v[i].addr;
    }
    pthread_rwlock_unlock(&bound.lock);
    return found;
}

const char *bound_shown(const struct addr *a, char *dst)
{
    struct addr loopback = *a;
    bool is_ip6 = addr_family(a) == AF_INET6;
    if (addr_is_any(a) && addr_parse_ip(&loopback, is_ip6 ? STR("::1") : STR("127.0.0.1"), 0))
        addr_set_port(&loopback, addr_port(a));
    return addr_print(&loopback, dst);
}
