/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers that one thread counts and any thread reads. A load and a store, both relaxed: as cheap
 * as a plain variable, and never torn. Counters read one after the other need not fit together. */
#ifndef TLSFAN_BASE_COUNTER_H
#define TLSFAN_BASE_COUNTER_H

#include <stdatomic.h>
#include <stdint.h>

/* Zero-initialised. */
struct counter {
    _Atomic uint64_t n;
};

static inline uint64_t counter_get(const struct counter *c)
{
    return atomic_load_explicit(&c->n, memory_order_relaxed);
}

/* On the counting thread alone. */
static inline void counter_add(struct counter *c, uint64_t n)
{
    atomic_store_explicit(&c->n, counter_get(c) + n, memory_order_relaxed);
}

/* The same for what goes up and down; never below 0. */
static inline void counter_sub(struct counter *c, uint64_t n)
{
    atomic_store_explicit(&c->n, counter_get(c) - n, memory_order_relaxed);
}

#endif
