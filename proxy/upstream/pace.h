/* SPDX-License-Identifier: Apache-2.0 */
/* When requests to an origin (host and port) may begin, over all workers: `rate` spaces them
 * evenly, and a Retry-After of the origin holds all of them. When that is over they begin spaced,
 * too, for a moment: the first answers tell whether the origin bears the others. Only origins whose
 * rule says one of these have a pace; it is asked under a lock.
 *
 * Two lines stand there, with the same interval. In the first one a request gets its turn: it
 * leaves the queue, and a connection is found or made for it. In the second it begins: how long
 * connections take to be made differs, and what is sent is spaced all the same. In each, workers
 * that wait take turns.
 *
 *     pace_set_rate(p, generation, interval); seat.is_spaced, obeys
 *     pace_go(&seat, now, &when)     true: now; false: SEAT waits in its line, until WHEN at least
 *     pace_back(&seat)               it went, and nothing has come of it
 *     pace_leave(&seat)              it does not wait any more
 */
#ifndef TLSFAN_UPSTREAM_PACE_H
#define TLSFAN_UPSTREAM_PACE_H

#include "base/list.h"
#include "base/str.h"

struct pace; /* counted references */

enum pace_line { PACE_TURN, PACE_BEGIN, PACE_LINES };

/* A worker's place in a line. Embedded, zero-initialised; one thread uses it. */
struct pace_seat {
    struct list link; /* in its line */
    bool sits;
    struct pace *pace; /* borrowed */
    enum pace_line line;
    int64_t took;   /* ns: the interval when it last went */
    bool is_spaced; /* by the rate */
    bool obeys;     /* a pause */
};

/* Finds or makes; a reference for the caller. What nobody refers to is remembered as long as it
 * holds anybody, a bounded number of them. */
struct pace *pace_get(struct str host, uint16_t port);
void pace_put(struct pace *p);

/* A rule says INTERVAL (ns between two requests, not 0). In the newest configuration the longest
 * one holds, for those who wait already, too. */
void pace_set_rate(struct pace *p, unsigned generation, int64_t interval);

void pace_seat_init(struct pace_seat *seat, struct pace *p, enum pace_line line);
/* NOW and WHEN in µs. */
MUST_CHECK bool pace_go(struct pace_seat *seat, int64_t now, int64_t *when);
void pace_back(struct pace_seat *seat);
void pace_leave(struct pace_seat *seat);

/* No request of a seat that obeys goes before UNTIL (µs). A shorter one does not end a longer one.
 */
void pace_pause(struct pace *p, int64_t until);
/* Until when; in the past: there is none. */
int64_t pace_paused_until(const struct pace *p);

/* How many are remembered, for tests. */
unsigned pace_count(void);

#endif
