/* SPDX-License-Identifier: Apache-2.0 */
/* Idle connections and max_memory: see idle.h. */
#include "upstream/idle.h"

#include "upstream/pool_impl.h"

enum { ASK_OTHERS_EVERY = 10000 }; /* µs */

bool pool_is_tight(const struct pool *p)
{
    return p->budget != NULL && budget_is_tight(p->budget);
}

bool pool_conn_is_full(const struct pool_conn *c, struct fault *f)
{
    const struct budget *b = c->pool->budget;
    if (b == NULL || !budget_is_spent(b))
        return false;
    fault_set(
        f, FAULT_LIMIT,
        "the proxy's memory is full (max_memory = %lld bytes), and the head or trailers of the "
        "origin's response are long; the request may have been carried out",
        (long long)atomic_load_explicit(&b->max, memory_order_relaxed));
    return true;
}

void pool_give_up_own(struct pool *p)
{
    while (p->n_idle > 0 && pool_is_tight(p))
        pool_conn_drop_oldest(p);
}

void pool_give_up_idle(struct pool *p)
{
    int64_t now = loop_now();
    pool_give_up_own(p);
    if (!pool_is_tight(p) || now - p->asked_others < ASK_OTHERS_EVERY)
        return;
    p->asked_others = now;
    limit_call_others(&p->member);
}
