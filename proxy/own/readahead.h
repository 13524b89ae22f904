/* SPDX-License-Identifier: Apache-2.0 */
/* Read-ahead: the pages that a client will ask for next are fetched while it has yet to ask. A walk
 * is three GETs of one client that rise by a constant step (walk.h); from then on a window of pages
 * is under way or ready, 2 at first and twice as many with each one that was asked for, up to the
 * rule's `readahead`. The page that an answer names as the next one is fetched, too.
 *
 * A walk ends at an answer that is no 2xx or 3xx, at a Set-Cookie, when its connection is asked for
 * something else of the same shape, at Vary: *, and at an answer for which there is no memory left.
 * What was fetched and not asked for within 10 s is dropped, and when its client asks that origin
 * by a method that may change something. One thread; the connections of one
 * client's address must all come to it (worker.c). */
#ifndef TLSFAN_OWN_READAHEAD_H
#define TLSFAN_OWN_READAHEAD_H

#include "exchange/performer.h"

struct readahead;

struct readahead *readahead_new(struct engine *e);
/* Cancels and forgets all that nobody has asked for; may be used again. */
void readahead_drop(struct readahead *r);
/* The same, for good; before the pool is closed. NULL: nothing. */
void readahead_close(struct readahead *r);

/* Hands out what was fetched for this request, else asks the pool. */
extern const struct performer performer_readahead;

#endif
