/* SPDX-License-Identifier: Apache-2.0 */
/* The plan of one origin: who gets a slot, who a place on a connection, and who waits on which
 * dial. It is made anew from what is there, from a post: nobody is called back from inside
 * another's callback.
 *
 * What offers HTTP/2 may turn out to carry many: while it is not known what an origin speaks, one
 * dial is made and everybody else waits for what its handshake says. Where HTTP/2 is known, as many
 * are made as it takes. By HTTP/1 each has a dial of its own, all at once. */
#include <limits.h>

#include "upstream/pool_impl.h"

/* Slots that are free go to those whose turn it is, as origin_next() says: clients take turns. */
static void plan_slots(struct origin *o)
{
    while (!list_is_empty(&o->groups) && pool_slot_take(o, false))
        pool_wait_undial(pool_wait_next(o));
}

/* A place on a connection to the first of WAITS who may have it; false when that cannot be. */
static bool plan_place(struct origin *o, const struct list *waits)
{
    list_foreach (it, waits) {
        struct pool_wait *wait = container_of(it, struct pool_wait, link);
        struct ustream *us = pool_conn_find(o, &wait->how);
        if (us != NULL) {
            pool_wait_serve(wait, us);
            return true; /* the list may be another one now */
        }
    }
    return false;
}

/* WAIT counts on a connection that is being made: as long as its own dial might take. */
static void plan_hold(struct pool_wait *wait)
{
    if (!wait->is_held)
        deadline_set(&wait->deadline, wait->where.conf->upstream.connect_timeout);
    wait->is_held = true;
}

/* Who waits on which dial: a connection in the making that will carry others as well is waited for
 * as long as one's own might take; one that nobody waits for any more is adopted; and N_MOST at
 * most are begun. */
static void plan_dials(struct origin *o, unsigned n_most)
{
    struct list *next;
    unsigned n_held = 0;
    bool is_hungry = false;
    unsigned room = list_is_empty(&o->undialled) ? 0 : pool_dial_room(o);
    for (struct list *it = o->undialled.next; it != &o->undialled; it = next) {
        struct pool_wait *wait = container_of(it, struct pool_wait, link);
        bool suits = pool_dial_suits(o, wait);
        next = it->next;
        if (suits && n_held < room) {
            n_held++;
            plan_hold(wait);
            continue;
        }
        bool is_adopted = pool_dial_adopt(o, wait);
        if (!is_adopted && n_most == 0) {
            is_hungry = true;
            pool_room_wait(wait);
            continue;
        }
        if (!is_adopted) {
            n_most--;
            pool_dial_begin(o, wait);
        }
        if (suits)
            room = pool_dial_room(o);
    }
    pool_room_set(o, is_hungry);
}

/* O itself stays at least as long as callbacks are on the stack. What has come on idle connections
 * is read, once, before anything is dialled in their place: an origin that never stops talking
 * there is not waited for. */
void pool_plan(struct origin *o, unsigned n_dials)
{
    o->is_restless = false;
    plan_slots(o);
    while (!list_is_empty(&o->open) && (plan_place(o, &o->dialled) || plan_place(o, &o->undialled)))
        plan_slots(o);
    o->has_looked = o->is_restless && !o->has_looked;
    if (o->has_looked)
        loop_post(o->pool->loop, &o->serve);
    else
        plan_dials(o, n_dials);
}

void pool_serve(void *origin)
{
    struct origin *o = origin;
    pool_plan(o, pool_room_is_starving(o->pool) ? 0 : UINT_MAX);
}

void pool_replan(struct origin *o)
{
    if (origin_is_waited_for(o))
        loop_post(o->pool->loop, &o->serve);
}
