/* SPDX-License-Identifier: Apache-2.0 */
/* Order of the requests of one connection: see order.h. The items that have begun are always a
 * prefix of the list, so the next one is found from the first that has not. */
#include "exchange/order.h"

void order_init(struct order *o)
{
    list_init(&o->items);
    o->n = 0;
}

void order_push(struct order *o, struct order_item *item, bool is_safe)
{
    item->is_safe = is_safe;
    item->started = false;
    item->done = false;
    list_init(&item->link);
    list_push_back(&o->items, &item->link);
    o->n++;
}

struct order_item *order_next(struct order *o)
{
    bool all_done = true;
    list_foreach (it, &o->items) {
        struct order_item *item = container_of(it, struct order_item, link);
        if (!item->started) {
            if (!item->is_safe && !all_done)
                return NULL;
            item->started = true;
            return item;
        }
        if (item->done)
            continue;
        if (!item->is_safe)
            return NULL;
        all_done = false;
    }
    return NULL;
}

struct order_item *order_first(const struct order *o)
{
    struct list *first = list_first(&o->items);
    return first == NULL ? NULL : container_of(first, struct order_item, link);
}

void order_remove(struct order *o, struct order_item *item)
{
    if (list_is_empty(&item->link))
        return;
    list_remove(&item->link);
    o->n--;
}
