/* SPDX-License-Identifier: Apache-2.0 */
/* Clients and max_memory: see room.h. Nobody waits here for memory of another's: a connection waits
 * for answers of its own, and without one it is read, and served or refused. */
#include "client/room.h"

#include "exchange/hold.h"

enum { GATHER_FREE = 1024 }; /* bytes of a head that are always kept: most are whole by then */

bool client_may_read(const struct client *c)
{
    const struct engine *e = c->cs->engine;
    size_t most = budget_bound(e->budget, e->use->conf->client.max_pipeline);
    return c->order.n < (most > 0 ? most : 1);
}

struct order_item *client_next(struct client *c)
{
    const struct order_item *first = order_first(&c->order);
    if (first != NULL && first->started && budget_is_tight(c->cs->engine->budget))
        return NULL;
    return order_next(&c->order);
}

bool client_may_gather(struct client *c, size_t n, struct fault *f)
{
    return n <= GATHER_FREE || engine_has_room(c->cs->engine, f);
}
