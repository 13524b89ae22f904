/* SPDX-License-Identifier: Apache-2.0 */
/* One thread's event loop: time, deadlines, posts, and the one place where closed objects are
 * freed. A turn is: libevent's active events; then what was posted; then the turn hooks; then the
 * reaper, with no callback on the stack. Everything here belongs to the loop's thread, but
 * loop_send() and loop_stop(). */
#ifndef TLSFAN_BASE_LOOP_H
#define TLSFAN_BASE_LOOP_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <pthread.h>

#include "base/claim.h"
#include "base/list.h"
#include "base/str.h"

struct loop {
    struct event_base *base;
    struct list posts; /* struct post */
    struct list next;  /* struct post: for the next turn */
    struct list turns; /* struct turn */
    struct list reaps; /* struct reap */
    bool stopping;
    uint64_t turn;        /* its number, from 1 */
    char *rbuf;           /* what streams read into, one at a time */
    size_t rcap;          /* bytes of it for most streams */
    size_t rmost;         /* and for those whose bytes pass unseen: all of it */
    struct claim reading; /* from before a read until its bytes have been taken: guards `rbuf` */
    pthread_mutex_t lock; /* guards `sent` */
    struct list sent;     /* calls from other threads */
    int wake_fd;          /* eventfd */
    struct event wake;
};

/* A call that comes later in this turn, never before the function that asked for it has returned.
 * Embedded in its object. */
struct post {
    struct list link;
    void (*fn)(void *arg);
    void *arg;
};

/* A call at the end of every turn (flushing what many callbacks gathered). Embedded in its object,
 * whose close calls loop_remove_turn(). */
struct turn {
    struct list link;
    void (*fn)(void *arg);
    void *arg;
};

/* An object on its way to being freed. Embedded in it. */
struct reap {
    struct list link;
    void (*free)(void *object);
    void *object;
};

/* A point in time after which `fn` is called once. Moving it is cheap: the timer beneath is left
 * where it is and looks again when it fires. Embedded in its object. */
struct deadline {
    struct loop *loop;
    struct event timer;
    int64_t at;    /* µs, 0 = not set */
    int64_t armed; /* µs when the timer fires, 0 = it is not pending */
    void (*fn)(void *arg);
    void *arg;
};

/* Makes the loop. False with errno when the system refuses (descriptors). */
MUST_CHECK bool loop_init(struct loop *l);
/* Runs what is left to free, then releases the loop. Every object on it must have been closed. */
void loop_clear(struct loop *l);

/* Turns until loop_stop(). */
void loop_run(struct loop *l);
/* One turn; with WAIT false it does not wait for an event. For tests, too. */
void loop_turn(struct loop *l, bool wait);
/* Makes loop_run() return after the turn. From any thread. */
void loop_stop(struct loop *l);

/* Monotonic µs; the wall clock in µs since 1970. */
int64_t loop_now(void);
int64_t loop_wall(void);

/* Calls P->fn(P->arg) later in this turn. Posting twice is posting once. P is initialised by
 * post_init(). */
void post_init(struct post *p, void (*fn)(void *), void *arg);
void loop_post(struct loop *l, struct post *p);
/* Calls it in the next turn instead, when the events that have come until then have been seen to:
 * for work that is done in parts, so that others have a turn between two of them. */
void loop_post_next(struct loop *l, struct post *p);
void loop_unpost(struct post *p);

void loop_add_turn(struct loop *l, struct turn *t, void (*fn)(void *), void *arg);
void loop_remove_turn(struct turn *t);

/* Calls FREE(OBJECT) when no callback is on the stack any more. Once for each object, whose R was
 * zero: a second time ends the process, or two owners would share what is made of its memory. */
void loop_reap(struct loop *l, struct reap *r, void (*free)(void *), void *object);

/* From any thread: calls FN(ARG) on the loop's thread, in order. Pass values or ids, not closable
 * objects. */
void loop_send(struct loop *l, void (*fn)(void *), void *arg);

/* deadline_set() with MS <= 0 clears it ("0 = none"). It never fires early, and some milliseconds
 * late at most. deadline_close() before the object is reaped; any number of times. */
void deadline_init(struct deadline *d, struct loop *l, void (*fn)(void *), void *arg);
void deadline_set(struct deadline *d, int64_t ms);
void deadline_clear(struct deadline *d);
void deadline_close(struct deadline *d);
static inline bool deadline_is_set(const struct deadline *d)
{
    return d->at != 0;
}

#endif
