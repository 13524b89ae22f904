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

/* Slots that are free go to those whose turn it is, as queue_next() says: people take turns. */
static void plan_slots(struct origin *o)
{
    while (!queue_is_empty(&o->queue)) {
        bool is_ahead = o->pace != NULL && queue_is_ahead(&o->queue);
        if (!pool_slot_take(o, is_ahead))
            return;
        pool_wait_undial(pool_wait_next(o));
    }
}

/* WAIT must have a connection of its own, and that is made when its time has come. */
static bool plan_is_apart(const struct origin *o, const struct pool_wait *wait)
{
    return o->pace != NULL && wait->how.is_alone && !wait->had_dial;
}

/* A place on a connection to the first of WAITS who may have it, or leave to make one; false when
 * neither can be. */
static bool plan_place(struct origin *o, const struct list *waits, unsigned n_dials)
{
    list_foreach (it, waits) {
        struct pool_wait *wait = container_of(it, struct pool_wait, link);
        if (plan_is_apart(o, wait) && n_dials > 0) {
            pool_dial_begin(o, wait);
            return true;
        }
        struct ustream *us = pool_conn_find(o, &wait->how);
        if (us != NULL) {
            pool_wait_serve(wait, us);
            return true; /* the list may be another one now */
        }
    }
    return false;
}

/* The same for anybody who waits, in time. */
static bool plan_next(struct origin *o, unsigned n_dials)
{
    if (o->pace != NULL && !origin_is_waited_for(o))
        return false;
    if (o->pace != NULL && !origin_pace_go(o->pace, PACE_BEGIN))
        return false;
    if (plan_place(o, &o->dialled, n_dials) || plan_place(o, &o->undialled, n_dials))
        return true;
    if (o->pace != NULL)
        origin_pace_back(o->pace, PACE_BEGIN);
    return false;
}

/* Places on connections that wait for the time of those who wait. */
struct ready {
    unsigned h1, h2;
};

static struct ready plan_ready(const struct origin *o)
{
    struct ready n = {0, 0};
    if (o->pace == NULL || !origin_pace_is_closed(o->pace, PACE_BEGIN))
        return n;
    list_foreach (it, &o->open) {
        const struct pool_conn *c = container_of(it, struct pool_conn, link);
        unsigned room = c->room - c->n_requests;
        if (!c->is_shared)
            n.h1++;
        else
            n.h2 = room < UINT_MAX - n.h2 ? n.h2 + room : UINT_MAX;
    }
    return n;
}

/* One of them is for WAIT; a connection that was dialled for another try is, when its time comes.
 */
static bool plan_takes(struct ready *n, const struct pool_wait *wait)
{
    if (wait->how.is_alone || (wait->how.not_before != 0 && !wait->had_dial))
        return false;
    unsigned *left = !wait->how.h1_only && n->h2 > 0 ? &n->h2 : &n->h1;
    if (*left == 0)
        return false;
    --*left;
    return true;
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
    struct ready ready = plan_ready(o);
    unsigned room = list_is_empty(&o->undialled) ? 0 : pool_dial_room(o);
    for (struct list *it = o->undialled.next; it != &o->undialled; it = next) {
        struct pool_wait *wait = container_of(it, struct pool_wait, link);
        bool suits = pool_dial_suits(o, wait);
        next = it->next;
        if (plan_takes(&ready, wait)) {
            pool_wait_time(wait);
            continue;
        }
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
        if (plan_is_apart(o, wait) && !origin_pace_go(o->pace, PACE_BEGIN)) {
            pool_wait_time(wait);
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
    if (o->pace != NULL && list_is_empty(&o->open))
        origin_pace_leave(o->pace, PACE_BEGIN);
    while (!list_is_empty(&o->open) && plan_next(o, n_dials))
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
