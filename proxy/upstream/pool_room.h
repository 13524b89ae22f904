/* SPDX-License-Identifier: Apache-2.0 */
/* What idle connections to origins hold, descriptors and memory, is given up first when there is
 * too little of it for those who are served. Their number has one bound for the whole process,
 * fds_budget()->idle. */
#ifndef TLSFAN_UPSTREAM_POOL_ROOM_H
#define TLSFAN_UPSTREAM_POOL_ROOM_H

#include <stdbool.h>

struct pool;

/* Closes the N connections of P that have been idle longest; gives how many there were. On the
 * thread of P, and not inside a callback of a connection that carries nothing. */
unsigned pool_give_up_idle(struct pool *p, unsigned n);

/* Closes the one that has been idle longest in P. When P has none, asks the pool of another worker,
 * which does so soon. False: no pool has any, or many have been asked already. As above. */
bool pool_make_room(struct pool *p);

/* Idle connections of all pools, as far as they have told. */
unsigned pool_idle_of_all(void);

#endif
