/* SPDX-License-Identifier: Apache-2.0 */
/* A ticket outlives a holder who leaves while he is being told: only his own thread looks at whose
 * it is. */
#include "upstream/flight.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/hash.h"

/* What is being got. Owner: the table. */
struct flight {
    char *key;
    struct list waiting; /* struct flight_ticket; the leader's is in no list */
    UT_hash_handle hh;
};

/* Owner: its holder; while it `is_sent` and its holder has left, the loop that it was sent to. */
struct flight_ticket {
    struct list link;
    struct loop *loop;
    flight_fn fn; /* this and `arg` are its thread's alone; NULL: its holder has left */
    void *arg;
    struct flight *flight; /* NULL: it is over */
    bool is_sent;
    bool leads;
};

static struct {
    pthread_mutex_t lock; /* guards the rest, and of tickets all but `fn` and `arg` */
    struct flight *all;
} flights = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* On the loop of its holder. */
static void flight_on_sent(void *arg)
{
    struct flight_ticket *t = arg;
    flight_fn fn = t->fn;
    pthread_mutex_lock(&flights.lock);
    t->is_sent = false;
    bool leads = t->leads;
    pthread_mutex_unlock(&flights.lock);
    arg = t->arg;
    if (fn == NULL || !leads)
        free(t);
    if (fn != NULL)
        fn(arg, leads);
}

/* The lock is held here and in the next ones. */
static void flight_send(struct flight_ticket *t)
{
    t->is_sent = true;
    loop_send(t->loop, flight_on_sent, t);
}

static void flight_end(struct flight *f)
{
    HASH_DEL(flights.all, f);
    free(f->key);
    free(f);
}

/* The leader has left: the next one does it, or nobody wants it any more. */
static void flight_hand_over(struct flight *f)
{
    struct list *first = list_pop(&f->waiting);
    if (first == NULL) {
        flight_end(f);
        return;
    }
    struct flight_ticket *next = container_of(first, struct flight_ticket, link);
    next->leads = true;
    flight_send(next);
}

/* It is there: all who wait are told. */
static void flight_tell(struct flight *f)
{
    struct list *it;
    while ((it = list_pop(&f->waiting)) != NULL) {
        struct flight_ticket *t = container_of(it, struct flight_ticket, link);
        t->flight = NULL;
        flight_send(t);
    }
    flight_end(f);
}

/* NULL: there are too many. */
static struct flight *flight_get(const char *key)
{
    struct flight *f;
    HASH_FIND(hh, flights.all, key, strlen(key), f);
    if (f != NULL || HASH_COUNT(flights.all) >= FLIGHTS_MOST)
        return f;
    f = xcalloc(1, sizeof(*f));
    f->key = xstrdup(key);
    list_init(&f->waiting);
    HASH_ADD_KEYPTR(hh, flights.all, f->key, strlen(f->key), f);
    return f;
}

struct flight_ticket *flight_join(struct loop *l, const char *key, bool *leads, flight_fn fn,
                                  void *arg)
{
    struct flight_ticket *t = NULL;
    struct flight *f;
    pthread_mutex_lock(&flights.lock);
    unsigned before = HASH_COUNT(flights.all);
    f = flight_get(key);
    *leads = HASH_COUNT(flights.all) > before;
    if (f != NULL) {
        t = xcalloc(1, sizeof(*t));
        *t = (struct flight_ticket){.loop = l, .fn = fn, .arg = arg, .flight = f, .leads = *leads};
        list_init(&t->link);
    }
    if (f != NULL && !*leads)
        list_push_back(&f->waiting, &t->link);
    pthread_mutex_unlock(&flights.lock);
    return t;
}

void flight_leave(struct flight_ticket *t, bool done)
{
    t->fn = NULL;
    pthread_mutex_lock(&flights.lock);
    if (t->leads && done)
        flight_tell(t->flight);
    else if (t->leads)
        flight_hand_over(t->flight);
    else
        list_remove(&t->link);
    bool is_sent = t->is_sent;
    pthread_mutex_unlock(&flights.lock);
    if (!is_sent)
        free(t);
}
