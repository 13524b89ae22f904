/* SPDX-License-Identifier: Apache-2.0 */
/* The memory of an exchange: see hold.h. */
#include "exchange/hold.h"

#include "upstream/pool_memory.h"

enum {
    /* Bytes: what waits for the client and what waits behind it, a TLS record each. */
    RESERVE = 2 * 16384
};

void exchange_count(struct exchange *x)
{
    bool is_under_way = x->state != EXCHANGE_NEW && !exchange_is_over(x);
    size_t n = sizeof *x + x->arena.total + x->body.trailer_cap;
    share_set(&x->share, n + (is_under_way ? (size_t)RESERVE : 0));
}

bool engine_make_room(struct engine *e, struct fault *f)
{
    if (e->pool != NULL)
        pool_give_up_memory(e->pool);
    if (!budget_is_spent(e->budget))
        return true;
    fault_set(f, FAULT_LIMIT,
              "the proxy's memory is full (max_memory = %lld bytes); try again, or raise it",
              (long long)atomic_load_explicit(&e->budget->max, memory_order_relaxed));
    f->phrase = "Memory of the proxy is full, try again";
    return false;
}

bool exchange_admit(struct exchange *x, struct fault *f)
{
    if (!engine_has_room(x->engine, f))
        return false;
    share_set(&x->share, sizeof *x + x->arena.total + RESERVE);
    return true;
}
