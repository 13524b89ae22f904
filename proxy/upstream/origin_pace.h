/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker has of the pace of an origin (pace.h): its seats there, and a timer that makes the
 * plan of the origin again when somebody may go. */
#ifndef TLSFAN_UPSTREAM_ORIGIN_PACE_H
#define TLSFAN_UPSTREAM_ORIGIN_PACE_H

#include "base/loop.h"
#include "upstream/pace.h"
#include "upstream/want.h"

/* Owner: its origin. */
struct origin_pace {
    struct pace *pace; /* a reference */
    struct pace_seat seats[PACE_LINES];
    int64_t opens[PACE_LINES]; /* µs: until when the last who asked must wait; 0: it need not */
    struct deadline timer;
    struct loop *loop;
    struct post *serve; /* borrowed: makes the plan */
};

/* The last who asked there must wait. */
static inline bool origin_pace_is_closed(const struct origin_pace *p, enum pace_line line)
{
    return p->opens[line] != 0;
}

/* NULL where the rule of WHERE says neither rate nor retry_after. */
struct origin_pace *origin_pace_new(const struct up_where *where, struct loop *l,
                                    struct post *serve);
void origin_pace_free(struct origin_pace *p);

/* May one more request go now? It has, then; else the plan is made again in time. */
MUST_CHECK bool origin_pace_go(struct origin_pace *p, enum pace_line line);
/* It went, and nothing has come of that. */
void origin_pace_back(struct origin_pace *p, enum pace_line line);
/* Nobody waits there for now. */
void origin_pace_leave(struct origin_pace *p, enum pace_line line);
/* The plan is made again in MS milliseconds at the latest. */
void origin_pace_wake(struct origin_pace *p, int64_t ms);

#endif
