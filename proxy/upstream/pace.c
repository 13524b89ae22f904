/* SPDX-License-Identifier: Apache-2.0 */
/* Paces of origins: see pace.h. Who waits in a line has no time of its own: it follows from when
 * the line is free and who stands before it, so that nothing is lost when somebody leaves. One that
 * was there before and does not go when it could is overtaken. */
#include "upstream/pace.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/loop.h"

enum {
    REMEMBERED_MOST = 10000, /* paces that nobody refers to */
    SHORT_NS = 50000000,     /* an interval that the lateness of a timer matters to; */
    LATE_NS = 4000000,       /* so much of it is made good, or 1000/s would be 500/s */
    CALM_US = 1000000,       /* behind a pause */
    CALM_NS = 10000000       /* the interval there */
};

struct pace {
    UT_hash_handle hh;
    struct list unused; /* in `forgotten`, when nobody refers to it */
    unsigned refs;
    unsigned generation;           /* whose rate it is */
    int64_t interval;              /* ns */
    int64_t went_ns[PACE_LINES];   /* when the last one went, or was to go */
    struct list lines[PACE_LINES]; /* struct pace_seat */
    _Atomic int64_t paused_until;
    size_t key_len;
    char key[]; /* port, host */
};

/* Guards all but paused_until. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct pace *table;
static struct list unused = {&unused, &unused}; /* longest unused first */
static unsigned n_unused;

static struct pace *pace_new(const char *key, size_t len)
{
    struct pace *p = xcalloc(1, sizeof *p + len);
    list_init(&p->unused);
    for (int i = 0; i < PACE_LINES; i++)
        list_init(&p->lines[i]);
    for (int i = 0; i < PACE_LINES; i++)
        p->went_ns[i] = INT64_MIN / 2;
    p->key_len = len;
    memcpy(p->key, key, len);
    HASH_ADD_KEYPTR(hh, table, p->key, len, p);
    return p;
}

static void pace_free(struct pace *p)
{
    list_remove(&p->unused);
    HASH_DEL(table, p);
    free(p);
}

static bool pace_holds(const struct pace *p, int64_t now)
{
    return p->went_ns[PACE_TURN] + p->interval > now * 1000 ||
           p->went_ns[PACE_BEGIN] + p->interval > now * 1000 || pace_paused_until(p) > now;
}

/* Of those unused longest, what holds nobody any more, and what is too many. */
static void pace_forget(void)
{
    enum { AT_ONCE = 4 };
    int64_t now = loop_now();
    for (int i = 0; i < AT_ONCE; i++) {
        struct list *it = list_first(&unused);
        if (it == NULL)
            return;
        struct pace *p = container_of(it, struct pace, unused);
        list_remove(it);
        if (pace_holds(p, now) && n_unused <= REMEMBERED_MOST) {
            list_push_back(&unused, it); /* looked at again, when all others were */
            continue;
        }
        n_unused--;
        pace_free(p);
    }
}

struct pace *pace_get(struct str host, uint16_t port)
{
    struct pace *p;
    size_t len = sizeof port + host.len;
    char *key = xmalloc(len);
    memcpy(key, &port, sizeof port);
    if (host.len > 0)
        memcpy(key + sizeof port, host.p, host.len);
    pthread_mutex_lock(&lock);
    HASH_FIND(hh, table, key, len, p);
    if (p == NULL)
        p = pace_new(key, len);
    if (!list_is_empty(&p->unused)) {
        list_remove(&p->unused);
        n_unused--;
    }
    p->refs++;
    pthread_mutex_unlock(&lock);
    free(key);
    return p;
}

void pace_put(struct pace *p)
{
    pthread_mutex_lock(&lock);
    if (--p->refs == 0) {
        list_push_back(&unused, &p->unused);
        n_unused++;
        pace_forget();
    }
    pthread_mutex_unlock(&lock);
}

void pace_seat_init(struct pace_seat *seat, struct pace *p, enum pace_line line)
{
    list_init(&seat->link);
    seat->pace = p;
    seat->line = line;
}

void pace_set_rate(struct pace *p, unsigned generation, int64_t interval)
{
    pthread_mutex_lock(&lock);
    if (generation > p->generation || (generation == p->generation && interval > p->interval))
        p->interval = interval;
    if (generation > p->generation)
        p->generation = generation;
    pthread_mutex_unlock(&lock);
}

/* When SEAT, which stands in its line, may go if INTERVAL is between two: ns. */
static int64_t pace_time(const struct pace_seat *seat, int64_t interval)
{
    const struct pace *p = seat->pace;
    int64_t ns = p->went_ns[seat->line] + interval;
    list_foreach (it, &p->lines[seat->line]) {
        if (it == &seat->link)
            break;
        ns += interval;
    }
    return ns;
}

/* SEAT goes NOW. */
static void pace_went(struct pace_seat *seat, int64_t now, int64_t interval)
{
    int64_t *went_ns = &seat->pace->went_ns[seat->line];
    int64_t late = interval < SHORT_NS ? LATE_NS : 0;
    list_remove(&seat->link);
    seat->sits = false;
    seat->took = interval;
    *went_ns += interval;
    if (*went_ns < now * 1000 - late)
        *went_ns = now * 1000 - late;
}

/* A pause was over a moment ago. */
static bool pace_is_calm(const struct pace_seat *seat, int64_t paused_until, int64_t now)
{
    return seat->obeys && paused_until > 0 && now - paused_until < CALM_US;
}

bool pace_go(struct pace_seat *seat, int64_t now, int64_t *when)
{
    int64_t paused_until = seat->obeys ? pace_paused_until(seat->pace) : 0;
    *when = paused_until;
    if (paused_until > now)
        return false;
    bool is_calm = pace_is_calm(seat, paused_until, now);
    if (!seat->is_spaced && !is_calm) {
        pace_leave(seat);
        seat->took = 0;
        return true;
    }
    pthread_mutex_lock(&lock);
    if (!seat->sits)
        list_push_back(&seat->pace->lines[seat->line], &seat->link);
    seat->sits = true;
    int64_t interval = seat->is_spaced ? seat->pace->interval : 0;
    if (is_calm && interval < CALM_NS)
        interval = CALM_NS;
    *when = (pace_time(seat, interval) + 999) / 1000;
    bool goes = *when <= now;
    if (goes)
        pace_went(seat, now, interval);
    pthread_mutex_unlock(&lock);
    return goes;
}

void pace_back(struct pace_seat *seat)
{
    pthread_mutex_lock(&lock);
    seat->pace->went_ns[seat->line] -= seat->took;
    pthread_mutex_unlock(&lock);
}

void pace_leave(struct pace_seat *seat)
{
    if (!seat->sits)
        return;
    seat->sits = false;
    pthread_mutex_lock(&lock);
    list_remove(&seat->link);
    pthread_mutex_unlock(&lock);
}

void pace_pause(struct pace *p, int64_t until)
{
    int64_t was = atomic_load(&p->paused_until);
    while (was < until && !atomic_compare_exchange_weak(&p->paused_until, &was, until))
        continue;
}

int64_t pace_paused_until(const struct pace *p)
{
    return atomic_load(&p->paused_until);
}

unsigned pace_count(void)
{
    pthread_mutex_lock(&lock);
    unsigned n = HASH_COUNT(table);
    pthread_mutex_unlock(&lock);
    return n;
}
