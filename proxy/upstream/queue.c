/* SPDX-License-Identifier: Apache-2.0 */
/* Turns: see queue.h. A place in a list is a turn: whose waiter was taken goes to the back. */
#include "upstream/queue.h"

#include <stdlib.h>

#include "base/hash.h"

/* Owner: the queue; as long as somebody waits there. */
struct wait_person {
    UT_hash_handle hh;
    struct list link;   /* in queue->people */
    struct list groups; /* struct wait_group, the next one's turn first */
    uint64_t id;
};

/* All that waits on behalf of one connection. Owner: its person. */
struct wait_group {
    UT_hash_handle hh;
    struct list link;  /* in person->groups */
    struct list waits; /* struct pool_wait, by how.number */
    struct wait_person *person;
    struct group_key {
        uint64_t person, client;
    } key;
};

void queue_init(struct queue *q)
{
    list_init(&q->people);
    list_init(&q->ahead);
    q->by_id = q->by_client = NULL;
}

static struct wait_person *person_get(struct queue *q, uint64_t id)
{
    struct wait_person *by_id = q->by_id;
    struct wait_person *p;
    HASH_FIND(hh, by_id, &id, sizeof id, p);
    if (p != NULL)
        return p;
    p = xcalloc(1, sizeof *p);
    list_init(&p->groups);
    p->id = id;
    HASH_ADD(hh, by_id, id, sizeof p->id, p);
    q->by_id = by_id;
    list_push_back(&q->people, &p->link);
    return p;
}

static struct wait_group *group_of_wait(struct queue *q, const struct up_how *how)
{
    struct group_key key = {.person = how->person, .client = how->client};
    struct wait_group *by_client = q->by_client;
    struct wait_group *g;
    HASH_FIND(hh, by_client, &key, sizeof key, g);
    if (g != NULL)
        return g;
    g = xcalloc(1, sizeof *g);
    list_init(&g->waits);
    g->key = key;
    HASH_ADD(hh, by_client, key, sizeof g->key, g);
    q->by_client = by_client;
    g->person = person_get(q, how->person);
    list_push_back(&g->person->groups, &g->link);
    return g;
}

static void person_end(struct queue *q, struct wait_person *p)
{
    struct wait_person *by_id = q->by_id;
    list_remove(&p->link);
    HASH_DEL(by_id, p);
    q->by_id = by_id;
    free(p);
}

static void wait_group_end(struct queue *q, struct wait_group *g)
{
    struct wait_group *by_client = q->by_client;
    list_remove(&g->link);
    HASH_DEL(by_client, g);
    q->by_client = by_client;
    if (list_is_empty(&g->person->groups))
        person_end(q, g->person);
    free(g);
}

static inline uint64_t wait_number(const struct list *it)
{
    return container_of(it, struct pool_wait, link)->how.number;
}

/* Nearly all belong at the end; of the others, nearly all before what has not begun yet. */
static void wait_insert(struct list *waits, struct pool_wait *wait)
{
    uint64_t number = wait->how.number;
    struct list *at = waits;
    if (!list_is_empty(waits) && wait_number(waits->prev) > number) {
        at = waits->next;
        while (wait_number(at) <= number)
            at = at->next;
    }
    list_push_back(at, &wait->link);
}

void queue_add(struct queue *q, struct pool_wait *wait)
{
    wait->group = NULL;
    if (wait->how.is_ahead) {
        list_push_back(&q->ahead, &wait->link);
        return;
    }
    wait->group = group_of_wait(q, &wait->how);
    wait_insert(&wait->group->waits, wait);
}

void queue_remove(struct queue *q, struct pool_wait *wait)
{
    struct wait_group *g = wait->group;
    list_remove(&wait->link);
    wait->group = NULL;
    if (g != NULL && list_is_empty(&g->waits))
        wait_group_end(q, g);
}

struct pool_wait *queue_next(struct queue *q)
{
    struct list *first = list_first(&q->people);
    struct list *it = list_first(&q->ahead);
    if (first != NULL) {
        struct wait_person *p = container_of(first, struct wait_person, link);
        struct wait_group *g = container_of(list_first(&p->groups), struct wait_group, link);
        list_remove(&p->link);
        list_push_back(&q->people, &p->link);
        list_remove(&g->link);
        list_push_back(&p->groups, &g->link);
        it = list_first(&g->waits);
    }
    if (it == NULL)
        return NULL;
    struct pool_wait *wait = container_of(it, struct pool_wait, link);
    queue_remove(q, wait);
    return wait;
}
