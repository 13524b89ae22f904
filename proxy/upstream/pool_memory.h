/* SPDX-License-Identifier: Apache-2.0 */
/* Idle connections give way to requests when memory fills. */
#ifndef TLSFAN_UPSTREAM_POOL_MEMORY_H
#define TLSFAN_UPSTREAM_POOL_MEMORY_H

struct pool;

/* Closes idle connections, those of P first, longest idle first, until max_memory is not tight any
 * more; some at a time. Other workers close theirs soon. */
void pool_give_up_memory(struct pool *p);

#endif
