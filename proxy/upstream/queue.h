/* SPDX-License-Identifier: Apache-2.0 */
/* Who waits for a slot of one origin, in one worker. People take turns (an address of a client and
 * its credentials are one person), the connections of one person take turns, and within one
 * connection what was asked for first is first, another try of it, too: its answer is what the
 * others there wait for. Neither a thousand pipelined requests nor a hundred connections of one
 * person are in another's way. What nobody has asked for yet comes behind all.
 */
#ifndef TLSFAN_UPSTREAM_QUEUE_H
#define TLSFAN_UPSTREAM_QUEUE_H

#include "base/list.h"
#include "upstream/pool.h"

/* Embedded in its origin; empty when that ends. */
struct queue {
    struct list people; /* struct wait_person, the next one's turn first */
    struct list ahead;  /* struct pool_wait, made ahead of who will ask */
    void *by_id;        /* the same people */
    void *by_client;    /* struct wait_group of all of them */
};

void queue_init(struct queue *q);
static inline bool queue_is_empty(const struct queue *q)
{
    return list_is_empty(&q->people) && list_is_empty(&q->ahead);
}
/* Nobody waits but for what is made ahead. */
static inline bool queue_is_ahead(const struct queue *q)
{
    return list_is_empty(&q->people);
}

/* WAIT waits, as wait->how says whose it is. */
void queue_add(struct queue *q, struct pool_wait *wait);
/* Takes out the one whose turn it is; NULL: there is none. */
struct pool_wait *queue_next(struct queue *q);
/* Takes out WAIT, which is in Q. */
void queue_remove(struct queue *q, struct pool_wait *wait);

#endif
