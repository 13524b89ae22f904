/* SPDX-License-Identifier: Apache-2.0 */
/* Rings of several threads as one list of records, of which a reader is told what has come since
 * the last time. His place is a cursor: the process's start and a position in each ring. */
#ifndef TLSFAN_SERVICE_FEED_H
#define TLSFAN_SERVICE_FEED_H

#include "exchange/ring.h"

/* One ring. Records are those from `from` to before `end`; what lies before `held` is gone. */
struct feed_ring {
    const struct ring *ring;
    uint64_t from, held, end;
};

struct feed {
    int64_t since; /* of the process */
    bool goes_on;  /* the cursor was one of this process: `gone` and the like are since then */
    unsigned n;
    struct feed_ring v[];
};

/* One record. Every record begins with a struct exchange_times. */
struct feed_pick {
    unsigned ring; /* in feed->v */
    uint64_t number;
    int64_t end; /* µs: when it ended */
};

/* With N rings, to be filled in: `ring`, and `end` where it is not what the ring says. Heap. */
struct feed *feed_new(int64_t since, unsigned n);
/* All of V are filled in: finds the places that CURSOR says. */
void feed_begin(struct feed *f, struct str cursor);

/* The records that are there, by their ends: at most MAX of them, spread over all (or the newest
 * where the reader does not go on). PICKS has room for MAX. All places are at their ends then.
 * Gives how many. */
unsigned feed_sample(struct feed *f, struct feed_pick *picks, unsigned max);
/* The first MAX that are there, in the order of their ends but for what a ring has otherwise. All
 * places are behind them then. */
unsigned feed_take(struct feed *f, struct feed_pick *picks, unsigned max);

/* How many have come since the cursor and are gone, before anything was taken; and how many are
 * there to be taken. */
uint64_t feed_gone(const struct feed *f);
uint64_t feed_left(const struct feed *f);

/* The cursor of the places. Heap. */
char *feed_cursor(const struct feed *f);

#endif
