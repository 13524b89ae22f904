/* SPDX-License-Identifier: Apache-2.0 */
/* A table of sets: a connection is in the set that its key says, in place of the oldest one. With
 * keys of 64 bits that nobody outside can compute, two are never taken for each other. */
#include "net/outgoing.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/hash.h"
#include "base/loop.h"
#include "net/sock.h"

enum {
    SETS = 4096,                  /* a power of two */
    WAYS = 4,                     /* connections in a set */
    REMEMBERED = 10 * 1000 * 1000 /* µs */
};

struct outgoing {
    uint64_t key;
    int64_t at; /* µs; 0: none */
};

static pthread_mutex_t outgoing_lock = PTHREAD_MUTEX_INITIALIZER;
static struct outgoing outgoings[SETS][WAYS];
static _Atomic bool is_watched;

struct outgoing_end {
    uint8_t ip[16];
    uint16_t family, port;
};

static void outgoing_fill(struct outgoing_end *e, const struct addr *a)
{
    struct addr plain = addr_plain(a);
    e->family = (uint16_t)addr_family(&plain);
    e->port = addr_port(&plain);
    if (e->family == AF_INET)
        memcpy(e->ip, &plain.in4.sin_addr, 4);
    else if (e->family == AF_INET6)
        memcpy(e->ip, &plain.in6.sin6_addr, 16);
}

static uint64_t outgoing_key(const struct addr *from, const struct addr *to)
{
    struct outgoing_end ends[2];
    memset(ends, 0, sizeof(ends));
    outgoing_fill(&ends[0], from);
    outgoing_fill(&ends[1], to);
    return hash_bytes(ends, sizeof(ends));
}

/* The place of KEY in its set; else, the oldest. The lock is held. */
static struct outgoing *outgoing_place(uint64_t key)
{
    struct outgoing *set = outgoings[key % SETS], *found = set;
    for (unsigned i = 0; i < WAYS; i++) {
        if (set[i].key == key)
            return &set[i];
        if (set[i].at < found->at)
            found = &set[i];
    }
    return found;
}

void outgoing_watch(bool on)
{
    atomic_store(&is_watched, on);
}

void outgoing_note(int fd, const struct addr *to)
{
    struct addr from;
    if (!atomic_load_explicit(&is_watched, memory_order_relaxed) || !sock_local(fd, &from))
        return;
    uint64_t key = outgoing_key(&from, to);
    pthread_mutex_lock(&outgoing_lock);
    *outgoing_place(key) = (struct outgoing){key, loop_now()};
    pthread_mutex_unlock(&outgoing_lock);
}

bool outgoing_is_ours(const struct addr *peer, const struct addr *original)
{
    uint64_t key = outgoing_key(peer, original);
    pthread_mutex_lock(&outgoing_lock);
    struct outgoing o = *outgoing_place(key);
    pthread_mutex_unlock(&outgoing_lock);
    return o.key == key && o.at != 0 && loop_now() - o.at < REMEMBERED;
}
