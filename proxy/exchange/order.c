/* SPDX-License-Identifier: Apache-2.0 */
/* Order of the requests of one connection: see order.h. The items that have begun are a prefix of
 * the list, whatever its length, so what is behind them is found at once; and while an unsafe one
 * is under way it is the last of them. One that its owner begins may come behind others that wait,
 * and says nothing of those in front: what is behind it begins when it is the first. */
#include "exchange/order.h"

static struct order_item *order_at(struct list *it)
{
    return container_of(it, struct order_item, link);
}

void order_init(struct order *o)
{
    list_init(&o->items);
    o->next = &o->items;
    o->n = 0;
}

void order_push(struct order *o, struct order_item *item, bool is_safe)
{
    item->is_safe = is_safe;
    item->started = false;
    item->done = false;
    list_init(&item->link);
    list_push_back(&o->items, &item->link);
    if (o->next == &o->items)
        o->next = &item->link;
    o->n++;
}

/* What stands before ITEM lets it begin. */
static bool order_may_begin(const struct order *o, const struct order_item *item)
{
    struct list *it = item->link.prev;
    if (it == &o->items || item->is_safe)
        return it == &o->items || order_at(it)->is_safe || order_at(it)->done;
    while (it != &o->items && order_at(it)->done)
        it = it->prev;
    return it == &o->items;
}

struct order_item *order_next(struct order *o)
{
    while (o->next != &o->items && order_at(o->next)->started) {
        if (o->next->prev != &o->items)
            return NULL;
        o->next = o->next->next;
    }
    if (o->next == &o->items || !order_may_begin(o, order_at(o->next)))
        return NULL;
    struct order_item *item = order_at(o->next);
    item->started = true;
    o->next = item->link.next;
    return item;
}

struct order_item *order_first(const struct order *o)
{
    struct list *first = list_first(&o->items);
    return first == NULL ? NULL : order_at(first);
}

void order_remove(struct order *o, struct order_item *item)
{
    if (list_is_empty(&item->link))
        return;
    if (o->next == &item->link)
        o->next = item->link.next;
    list_remove(&item->link);
    o->n--;
}
