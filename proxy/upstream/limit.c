/* SPDX-License-Identifier: Apache-2.0 */
/* The process-wide count of requests to one origin. A giver first lowers the count and then looks
 * whether somebody waits; a waiter first says that it waits and then tries the count again. Both
 * are sequentially consistent, so one of the two sees the other and no wake-up is lost. A slot
 * whose turn is another thread's goes to it without being free in between: by the time that thread
 * is awake, this one would have taken it many times. */
#include "upstream/limit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/hash.h"

enum { CACHE_LINE = 64 };

struct limit {
    _Alignas(CACHE_LINE) _Atomic unsigned in_use;
    _Atomic unsigned waiting; /* seats in `seats` */
    /* A line of its own for what is touched at every request. */
    _Alignas(CACHE_LINE) UT_hash_handle hh;
    struct list seats; /* struct limit_seat, the next one's turn first */
    unsigned refs;
    size_t key_len;
    char key[]; /* port, tls, host */
};

/* Guards everything here but the two atomics. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct limit *table;
static struct list members = {&members, &members};
static uint64_t last_id;

void limit_join(struct limit_member *m, struct loop *l,
                void (*on_turn)(void *, struct limit_seat *), void *arg)
{
    list_init(&m->called);
    m->loop = l;
    m->on_turn = on_turn;
    m->arg = arg;
    pthread_mutex_lock(&lock);
    m->id = ++last_id;
    list_push_back(&members, &m->link);
    pthread_mutex_unlock(&lock);
}

void limit_part(struct limit_member *m)
{
    pthread_mutex_lock(&lock);
    list_remove(&m->link);
    pthread_mutex_unlock(&lock);
}

static struct limit *limit_new(const char *key, size_t len)
{
    size_t size = sizeof(struct limit) + len;
    size = (size + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    struct limit *l = aligned_alloc(CACHE_LINE, size);
    if (l == NULL)
        abort();
    memset(l, 0, size);
    list_init(&l->seats);
    l->key_len = len;
    memcpy(l->key, key, len);
    return l;
}

struct limit *limit_get(struct str host, uint16_t port, bool tls)
{
    struct limit *l;
    size_t len = sizeof(port) + 1 + host.len;
    char *key = xmalloc(len);
    memcpy(key, &port, sizeof(port));
    key[sizeof(port)] = tls;
    if (host.len > 0)
        memcpy(key + sizeof(port) + 1, host.p, host.len);
    pthread_mutex_lock(&lock);
    HASH_FIND(hh, table, key, len, l);
    if (l == NULL) {
        l = limit_new(key, len);
        HASH_ADD_KEYPTR(hh, table, l->key, len, l);
    }
    l->refs++;
    pthread_mutex_unlock(&lock);
    free(key);
    return l;
}

void limit_put(struct limit *l)
{
    pthread_mutex_lock(&lock);
    bool is_last = --l->refs == 0;
    if (is_last)
        HASH_DEL(table, l);
    pthread_mutex_unlock(&lock);
    if (is_last)
        free(l);
}

bool limit_take(struct limit *l, unsigned max)
{
    unsigned n = atomic_load(&l->in_use);
    /* Not an addition that is taken back: for a moment it would hide a free slot from others. */
    while (max == 0 || n < max) {
        if (atomic_compare_exchange_weak(&l->in_use, &n, n + 1))
            return true;
    }
    return false;
}

bool limit_take_turn(struct limit_seat *seat, struct limit *l, unsigned max)
{
    unsigned kept = seat->limit == NULL ? 0 : atomic_load(&seat->kept);
    while (kept > 0) {
        if (atomic_compare_exchange_weak(&seat->kept, &kept, kept - 1))
            return true;
    }
    return limit_take(l, max);
}

/* The next seat of M that has its turn and has not heard of it, or NULL. */
static struct limit_seat *next_called(struct limit_member *m)
{
    pthread_mutex_lock(&lock);
    struct list *it = list_pop(&m->called);
    pthread_mutex_unlock(&lock);
    return it == NULL ? NULL : container_of(it, struct limit_seat, called);
}

/* Seats of the member with this id have their turn, unless it is gone. Called on its own thread,
 * which alone may give them up. */
static void on_sent(void *arg)
{
    struct limit_member *found = NULL;
    struct limit_seat *seat;
    pthread_mutex_lock(&lock);
    list_foreach (it, &members) {
        struct limit_member *m = container_of(it, struct limit_member, link);
        if (m->id == (uintptr_t)arg)
            found = m;
    }
    pthread_mutex_unlock(&lock);
    while (found != NULL && (seat = next_called(found)) != NULL)
        found->on_turn(found->arg, seat);
}

/* SEAT has its turn, and its member hears of it; once for all of its seats that have it now. Under
 * the lock. */
static void call(struct limit_seat *seat)
{
    struct limit_member *m = seat->member;
    if (!list_is_empty(&seat->called))
        return;
    if (list_is_empty(&m->called))
        loop_send(m->loop, on_sent, (void *)(uintptr_t)m->id);
    list_push_back(&m->called, &seat->called);
}

/* The first seat that could take a slot if N were in use, or NULL. Under the lock. */
static struct limit_seat *next_seat(const struct limit *l, unsigned n)
{
    list_foreach (it, &l->seats) {
        struct limit_seat *seat = container_of(it, struct limit_seat, link);
        if (seat->max == 0 || n < seat->max)
            return seat;
    }
    return NULL;
}

/* Calls the seat whose turn it is, which goes to the back; when it is SELF's, it is the result. */
static struct limit_seat *wake_next(struct limit *l, const struct limit_member *self)
{
    struct limit_seat *own = NULL;
    pthread_mutex_lock(&lock);
    struct limit_seat *seat = next_seat(l, atomic_load(&l->in_use));
    if (seat != NULL) {
        list_remove(&seat->link);
        list_push_back(&l->seats, &seat->link);
        if (seat->member == self)
            own = seat;
        else
            call(seat);
    }
    pthread_mutex_unlock(&lock);
    return own;
}

/* The slot that is given back goes to another member's seat, if that is next. */
static bool hand_over(struct limit *l, const struct limit_member *self)
{
    pthread_mutex_lock(&lock);
    struct limit_seat *seat = next_seat(l, atomic_load(&l->in_use) - 1);
    bool is_other = seat != NULL && seat->member != self;
    if (is_other) {
        list_remove(&seat->link);
        list_push_back(&l->seats, &seat->link);
        atomic_fetch_add(&seat->kept, 1);
        call(seat);
    }
    pthread_mutex_unlock(&lock);
    return is_other;
}

struct limit_seat *limit_give(struct limit *l, const struct limit_member *self)
{
    if (atomic_load(&l->waiting) != 0 && hand_over(l, self))
        return NULL;
    atomic_fetch_sub(&l->in_use, 1);
    if (atomic_load(&l->waiting) == 0)
        return NULL;
    return wake_next(l, self);
}

void limit_wait(struct limit *l, struct limit_seat *seat, struct limit_member *m, unsigned max)
{
    if (seat->limit != NULL)
        return;
    seat->limit = l;
    seat->member = m;
    seat->max = max;
    list_init(&seat->called);
    pthread_mutex_lock(&lock);
    list_push_back(&l->seats, &seat->link);
    atomic_fetch_add(&l->waiting, 1);
    pthread_mutex_unlock(&lock);
}

void limit_leave(struct limit_seat *seat)
{
    struct limit *l = seat->limit;
    if (l == NULL)
        return;
    seat->limit = NULL;
    pthread_mutex_lock(&lock);
    list_remove(&seat->link);
    list_remove(&seat->called);
    atomic_fetch_sub(&l->waiting, 1);
    unsigned kept = atomic_exchange(&seat->kept, 0);
    pthread_mutex_unlock(&lock);
    while (kept-- > 0) {
        if (limit_give(l, NULL) != NULL)
            abort(); /* nobody is NULL's */
    }
    /* A giver may have chosen this seat a moment ago: somebody else must not miss that slot. */
    if (atomic_load(&l->waiting) != 0)
        (void)wake_next(l, NULL);
}

bool limit_is_waited_for(const struct limit *l)
{
    return atomic_load(&l->waiting) != 0;
}

unsigned limit_in_use(const struct limit *l)
{
    return atomic_load(&l->in_use);
}
