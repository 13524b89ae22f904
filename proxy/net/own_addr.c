/* SPDX-License-Identifier: Apache-2.0 */
#include "net/own_addr.h"

#include <ifaddrs.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/loop.h"
#include "base/mem.h"

enum {
    KEPT = 10 * 1000 * 1000, /* µs that what was found is good for */
    AGAIN = 1000 * 1000      /* µs that not having found an address is */
};

/* As of the last look; `v` is on the heap and stays to the end of the process. */
static struct {
    pthread_rwlock_t lock;
    struct addr *v;
    unsigned n, room;
    int64_t looked; /* µs; 0: never */
} known = {.lock = PTHREAD_RWLOCK_INITIALIZER};

static void own_addr_add(const struct sockaddr *sa)
{
    if (sa == NULL || (sa->sa_family != AF_INET && sa->sa_family != AF_INET6))
        return;
    if (known.n == known.room) {
        known.room = known.room * 2 + 8;
        known.v = xrealloc(known.v, known.room * sizeof(*known.v));
    }
    bool is_ip4 = sa->sa_family == AF_INET;
    addr_from_sockaddr(&known.v[known.n++], sa,
                       is_ip4 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
}

/* Unless another thread has just done so. Where the system does not answer, the old ones stay. */
static void own_addr_look(int64_t now, int64_t age)
{
    struct ifaddrs *list = NULL;
    pthread_rwlock_wrlock(&known.lock);
    bool is_due = known.looked == 0 || now - known.looked >= age;
    if (is_due)
        known.looked = now;
    if (is_due && getifaddrs(&list) == 0) {
        known.n = 0;
        for (struct ifaddrs *i = list; i != NULL; i = i->ifa_next)
            own_addr_add(i->ifa_addr);
        freeifaddrs(list);
    }
    pthread_rwlock_unlock(&known.lock);
}

/* *LOOKED is when that was known. */
static bool own_addr_find(const struct addr *a, int64_t *looked)
{
    bool found = false;
    pthread_rwlock_rdlock(&known.lock);
    for (unsigned i = 0; i < known.n && !found; i++)
        found = addr_same_ip(&known.v[i], a);
    *looked = known.looked;
    pthread_rwlock_unlock(&known.lock);
    return found;
}

bool own_addr_has(const struct addr *a)
{
    struct addr plain = addr_plain(a);
    if (addr_family(&plain) == AF_UNIX)
        return false;
    if (addr_is_loopback(&plain))
        return true;
    int64_t looked, now = loop_now();
    bool found = own_addr_find(&plain, &looked);
    int64_t age = found ? KEPT : AGAIN;
    if (looked != 0 && now - looked < age)
        return found;
    own_addr_look(now, age);
    return own_addr_find(&plain, &looked);
}
