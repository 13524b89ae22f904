/* SPDX-License-Identifier: Apache-2.0 */
/* Asks all workers what they have under way. Each writes it down on its own thread and sends it
 * back; one that hangs is not waited for longer than WATCH_MS, and is not asked again before it has
 * answered. To be asked also gives a worker credit: of so many exchanges it notes the fields.
 *
 * Memory: one struct running_list a worker, of RUNNING_MOST exchanges at most, kept until the next
 * one is there. */
#ifndef TLSFAN_SERVICE_WATCH_H
#define TLSFAN_SERVICE_WATCH_H

#include "exchange/running.h"
#include "service/service_view.h"

enum { WATCH_MS = 100 };

/* What is known of one worker. */
struct watch_worker {
    struct running_list *list; /* its last word, owned; NULL: none yet */
    int64_t asked;             /* µs: since when its answer is waited for; 0: it is not */
};

/* Somebody who waits for the answers. Embedded in its owner, which calls watch_leave(). */
struct watch_wait {
    struct list link;
    void (*fn)(void *arg);
    void *arg;
};

struct watch;

/* For the workers whose stats V has, on the loop L, which runs until all of them have ended. */
struct watch *watch_new(struct loop *l, const struct service_view *v);
/* Calls nobody any more. The memory goes when the last answer is there. */
void watch_close(struct watch *w);

/* Calls FN(ARG) when all workers have answered, or WATCH_MS are over; never before this returns. */
void watch_ask(struct watch *w, struct watch_wait *wait, void (*fn)(void *arg), void *arg);
/* Does not call it. Harmless when WAIT, which was zero at first, does not wait. */
void watch_leave(struct watch_wait *wait);

/* One for each of V's stats. */
const struct watch_worker *watch_workers(const struct watch *w);

#endif
