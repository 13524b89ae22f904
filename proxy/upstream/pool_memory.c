/* SPDX-License-Identifier: Apache-2.0 */
/* Idle connections and max_memory: see pool_memory.h. */
#include "upstream/pool_memory.h"

#include "upstream/pool_impl.h"
#include "upstream/pool_room.h"

enum { CLOSED_AT_ONCE = 16 }; /* each makes room for half a request, or for more */

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
    f->phrase = "Memory of the proxy is full";
    return true;
}

void pool_give_up_memory(struct pool *p)
{
    for (int i = 0; i < CLOSED_AT_ONCE && pool_is_tight(p) && pool_make_room(p); i++)
        continue;
}
