/* SPDX-License-Identifier: Apache-2.0 */
/* How many requests one HTTP/2 connection of an origin carries before it takes no more. Nothing in
 * the protocol says it beforehand: it is learnt from two connections in a row that turned requests
 * away, for one may have ended with a restart. While it is known, no more are put on a connection
 * that has others under way, and as many connections are made side by side as that takes. It is
 * forgotten after a minute that did not confirm it, and doubled by a connection that carries more.
 */
#ifndef TLSFAN_UPSTREAM_CARRY_H
#define TLSFAN_UPSTREAM_CARRY_H

#include <stdint.h>

/* Zero-initialised: nothing is known. */
struct carry {
    unsigned most; /* 0: as many as there are */
    unsigned once; /* what the first connection carried that turned some away; 0: none has */
    int64_t until; /* µs: when both are forgotten */
};

/* A connection took no more after N requests, though it had more: to be told once of each. N 0 says
 * nothing of a limit. */
void carry_learn(struct carry *c, unsigned n, int64_t now);

/* A connection has given N answers. */
static inline void carry_answered(struct carry *c, unsigned n)
{
    if (n > c->most)
        c->most *= 2;
}

/* How many, or UINT32_MAX. */
unsigned carry_most(struct carry *c, int64_t now);

#endif
