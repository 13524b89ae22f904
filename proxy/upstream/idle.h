/* SPDX-License-Identifier: Apache-2.0 */
/* Idle connections give way to requests when memory fills. */
#ifndef TLSFAN_UPSTREAM_IDLE_H
#define TLSFAN_UPSTREAM_IDLE_H

#include "upstream/upstream.h"

/* Closes idle connections of P, longest idle first, until max_memory is not tight any more; where
 * that is not enough, other workers will do the same. */
void pool_give_up_idle(struct pool *p);

#endif
