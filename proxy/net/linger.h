/* SPDX-License-Identifier: Apache-2.0 */
/* Streams that linger: they belong to nobody, and are in nobody's count but the one of their
 * thread. However many connections a peer makes, fds_budget()->lingering of them linger at most. */
#ifndef TLSFAN_NET_LINGER_H
#define TLSFAN_NET_LINGER_H

#include "net/stream.h"

/* The last words of S, which has been started and is its own from now on: N bytes at P, then it
 * lingers. Where many linger already it is closed with RST instead. */
void linger_with(struct stream *s, const char *p, size_t n);

/* What a stream needs for that. Owner: the stream; made by linger_join(). */
struct lingering {
    struct list link;
    struct stream *s; /* borrowed */
    struct deadline timer;
};

/* For stream.c. S, in its state LINGER, is one of them: another one goes where there are too many,
 * one that has written all if there is such a one, else the oldest. And S has ended. */
void linger_join(struct stream *s);
void linger_part(struct stream *s);

/* Closes what lingers on L: before loop_clear(). */
void linger_close_all(struct loop *l);
/* True while a stream lingers on L, which must be this thread's. */
bool linger_has_any(const struct loop *l);

#endif
