/* SPDX-License-Identifier: Apache-2.0 */
/* Idle connections of all pools, and who waits for a descriptor.
 *
 * Each pool publishes in a cell of its own how many idle connections it has and since when the
 * first of them has been so; a request writes nothing that workers share. Cells are only read when
 * more connections are open than may be idle, or when something is short.
 *
 * A dial that finds no descriptor is not the end of its request: while `starved` has members no
 * dial of this pool begins but from here, one for each origin in turn, whenever a connection has
 * ended or become idle, and every TICK_MS, for descriptors come free elsewhere, too. */
#include <pthread.h>
#include <stdlib.h>

#include "base/fds.h"
#include "upstream/pool_impl.h"
#include "upstream/pool_room.h"

enum {
    CELLS = 1040, /* more than there can be workers */
    CACHE_LINE = 64,
    TICK_MS = 5,
    ASKED_MAX = 16, /* connections that pools are asked for at once: while they have not heard of
                       it, what is kept for others is used */
    FEED_MAX = 8    /* dials at once */
};

struct room_cell {
    _Alignas(CACHE_LINE) _Atomic unsigned idle;
    _Atomic int64_t oldest; /* µs: since when the first one is idle */
    /* Guarded by `lock`. */
    uint64_t id; /* 0: the cell is free */
    struct loop *loop;
    struct pool *pool;
    unsigned asked; /* connections that it has been asked to give up and has not yet */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct room_cell cells[CELLS];
static _Atomic unsigned n_cells; /* those ever used */
static uint64_t last_id;
static unsigned n_asked;         /* of all cells; guarded by `lock` */
static _Atomic unsigned n_conns; /* of all pools, idle and busy */

/* ---- what a pool tells */

static void pool_room_join(struct pool *p)
{
    unsigned i = 0;
    pthread_mutex_lock(&lock);
    while (i < CELLS && cells[i].id != 0)
        i++;
    if (i == CELLS)
        abort();
    struct room_cell *cell = &cells[i];
    cell->id = ++last_id;
    cell->loop = p->loop;
    cell->pool = p;
    cell->asked = 0;
    atomic_store(&cell->idle, 0);
    if (i >= atomic_load(&n_cells))
        atomic_store(&n_cells, i + 1);
    pthread_mutex_unlock(&lock);
    p->cell = cell;
}

static void pool_room_part(struct pool *p)
{
    pthread_mutex_lock(&lock);
    p->cell->id = 0;
    n_asked -= p->cell->asked;
    atomic_store(&p->cell->idle, 0);
    pthread_mutex_unlock(&lock);
}

void pool_room_conns(int delta)
{
    atomic_fetch_add_explicit(&n_conns, (unsigned)delta, memory_order_relaxed);
}

/* The front of `idle` may have changed. */
static void publish(struct pool *p, unsigned n)
{
    struct list *it = list_first(&p->idle);
    p->n_idle = n;
    atomic_store_explicit(&p->cell->idle, n, memory_order_relaxed);
    if (it != NULL)
        atomic_store_explicit(&p->cell->oldest,
                              container_of(it, struct pool_conn, by_age)->idle_since,
                              memory_order_relaxed);
}

void pool_room_idle(struct pool *p)
{
    publish(p, p->n_idle + 1);
}

void pool_room_used(struct pool *p)
{
    publish(p, p->n_idle - 1);
}

unsigned pool_idle_of_all(void)
{
    unsigned sum = 0;
    unsigned n = atomic_load_explicit(&n_cells, memory_order_relaxed);
    for (unsigned i = 0; i < n; i++)
        sum += atomic_load_explicit(&cells[i].idle, memory_order_relaxed);
    return sum;
}

/* ---- giving up */

unsigned pool_give_up_idle(struct pool *p, unsigned n)
{
    unsigned given = 0;
    struct list *it;
    while (given < n && (it = list_first(&p->idle)) != NULL) {
        struct pool_conn *c = container_of(it, struct pool_conn, by_age);
        c->ops->close(c);
        given++;
    }
    return given;
}

/* On the thread of the pool with that id, unless it is gone. */
static void on_asked(void *arg)
{
    struct pool *p = NULL;
    unsigned n = atomic_load(&n_cells);
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < n && p == NULL; i++) {
        if (cells[i].id != (uintptr_t)arg)
            continue;
        cells[i].asked--;
        n_asked--;
        p = cells[i].pool;
    }
    pthread_mutex_unlock(&lock);
    if (p != NULL)
        pool_give_up_idle(p, 1);
}

/* The pool whose connection has been idle longest gives it up: at once when that is P itself and
 * OTHERS is false. False when there is none. */
static bool give_up_oldest(struct pool *p, bool others)
{
    struct room_cell *found = NULL;
    int64_t since = 0;
    unsigned n = atomic_load(&n_cells);
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < n; i++) {
        struct room_cell *cell = &cells[i];
        int64_t oldest = atomic_load_explicit(&cell->oldest, memory_order_relaxed);
        if (cell->id == 0 || (others && cell->pool == p) ||
            atomic_load_explicit(&cell->idle, memory_order_relaxed) <= cell->asked)
            continue;
        if (found == NULL || oldest < since) {
            found = cell;
            since = oldest;
        }
    }
    bool is_own = found != NULL && found->pool == p;
    if (found != NULL && !is_own && n_asked >= ASKED_MAX)
        found = NULL;
    if (found != NULL && !is_own) {
        found->asked++;
        n_asked++;
        loop_send(found->loop, on_asked, (void *)(uintptr_t)found->id);
    }
    pthread_mutex_unlock(&lock);
    return is_own ? pool_give_up_idle(p, 1) > 0 : found != NULL;
}

void pool_room_trim(struct pool *p)
{
    unsigned max = fds_budget()->idle;
    if (atomic_load_explicit(&n_conns, memory_order_relaxed) <= max || pool_idle_of_all() <= max)
        return;
    if (!give_up_oldest(p, false))
        pool_give_up_idle(p, 1);
}

bool pool_make_room(struct pool *p)
{
    return pool_give_up_idle(p, 1) > 0 || give_up_oldest(p, true);
}

/* ---- waiting for a descriptor */

bool pool_room_is_starving(const struct pool *p)
{
    return !list_is_empty(&p->starved);
}

/* Once: set anew by each plan, the deadline would be pushed away by plans in quick succession. */
void pool_room_wait(struct pool_wait *wait)
{
    if (wait->is_hungry)
        return;
    wait->is_held = wait->is_hungry = true;
    deadline_set(&wait->deadline, pool_wait_left(wait));
}

void pool_room_set(struct origin *o, bool is_hungry)
{
    struct pool *p = o->pool;
    if (!is_hungry) {
        list_remove(&o->starved);
        return;
    }
    if (list_is_empty(&o->starved))
        list_push_back(&p->starved, &o->starved);
    if (!deadline_is_set(&p->hunger))
        deadline_set(&p->hunger, TICK_MS);
}

void pool_room_starve(struct origin *o)
{
    pool_room_set(o, true);
    if (pool_give_up_idle(o->pool, 1) > 0)
        pool_room_feed(o->pool);
    else
        (void)give_up_oldest(o->pool, true);
}

void pool_room_feed(struct pool *p)
{
    if (pool_room_is_starving(p))
        loop_post(p->loop, &p->feed);
}

/* A dial for the origin whose turn it is; its plan says whether it needs another. */
static void feed_one(struct pool *p)
{
    struct list *it = list_pop(&p->starved);
    list_push_back(&p->starved, it);
    pool_plan(container_of(it, struct origin, starved), 1);
}

static void feed(void *arg)
{
    struct pool *p = arg;
    bool has_room = fds_left() > 0 || pool_give_up_idle(p, 1) > 0;
    for (unsigned i = 0; has_room && i < FEED_MAX && pool_room_is_starving(p); i++)
        feed_one(p);
    if (!pool_room_is_starving(p))
        return;
    if (!has_room)
        (void)give_up_oldest(p, true);
    deadline_set(&p->hunger, TICK_MS);
}

void pool_room_init(struct pool *p)
{
    list_init(&p->starved);
    post_init(&p->feed, feed, p);
    deadline_init(&p->hunger, p->loop, feed, p);
    pool_room_join(p);
}

void pool_room_close(struct pool *p)
{
    deadline_close(&p->hunger);
    loop_unpost(&p->feed);
    pool_room_part(p);
}
