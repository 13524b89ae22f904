/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of one connection, in order: who may begin, whose answer is next (RFC 9112 §9.3.2). Safe
 * methods run side by side; an unsafe one waits for all before it, and all after wait for it. Holds
 * no memory of its own. */
#ifndef TLSFAN_EXCHANGE_ORDER_H
#define TLSFAN_EXCHANGE_ORDER_H

#include "base/list.h"

struct order {
    struct list items; /* struct order_item, oldest first */
    struct list
        *next; /* no item in front of it is yet to begin; `items` itself: nor is any other */
    unsigned n;
};

/* Embedded in what is ordered. */
struct order_item {
    struct list link;
    bool is_safe;
    bool started; /* order_next() gave it out */
    bool done;    /* its response is whole */
};

void order_init(struct order *o);
void order_push(struct order *o, struct order_item *item, bool is_safe);
/* The next item that may begin now, marked as started; NULL: none. Call until NULL after each push
 * and each done. */
struct order_item *order_next(struct order *o);
/* The item whose answer is to be written now, or NULL. */
struct order_item *order_first(const struct order *o);
void order_remove(struct order *o, struct order_item *item);

#endif
