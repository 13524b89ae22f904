/* SPDX-License-Identifier: Apache-2.0 */
/* Who waits for a connection, and ends. A request needs two things, in this order: a slot under
 * max_per_host (process-wide, limit.h), then a place on a connection: on one that is there, or on
 * one that is dialled for it. Waiters therefore stand in one of three places of their origin:
 *
 *     queue       no slot yet; people take turns; queue_timeout runs
 *     undialled   a slot, no connection: the first one that comes serves it, given back or dialled;
 *                 without a dial of its own while another's may turn out to carry both
 *     dialled     the same, with one
 *
 * Who goes from one to the next, and who is served, the plan says (pool_plan.c). */
#include <errno.h>
#include <stdlib.h>

#include "base/fds.h"
#include "base/state.h"
#include "upstream/pool_impl.h"

enum { AHEAD_MS = 100 }; /* between two looks for a slot that nobody waits for */

/* ---- slots */

/* Another worker has ended a request to the origin of SEAT, that somebody waits for here. */
static void pool_on_turn(void *arg, struct limit_seat *seat)
{
    struct pool *p = arg;
    loop_post(p->loop, &container_of(seat, struct origin, seat)->serve);
}

/* A slot when the turn has come. Without one, or without the other, the turn is another's. */
static bool pool_slot_in_turn(struct origin *o, bool is_ahead, unsigned max)
{
    if (!origin_pace_go(o->pace, PACE_TURN)) {
        limit_leave(&o->seat);
        return false;
    }
    if (is_ahead)
        limit_leave(&o->seat);
    if (!(is_ahead && limit_is_waited_for(o->limit)) && limit_take_turn(&o->seat, o->limit, max))
        return true;
    if (!is_ahead && !queue_is_empty(&o->queue)) {
        limit_wait(o->limit, &o->seat, &o->pool->member, o->max_requests);
        if (limit_take(o->limit, max))
            return true;
    }
    origin_pace_back(o->pace, PACE_TURN);
    if (is_ahead)
        origin_pace_wake(o->pace, AHEAD_MS);
    return false;
}

static inline bool pool_slot_free(struct origin *o, unsigned max)
{
    return o->seat.limit == NULL ? limit_take(o->limit, max)
                                 : limit_take_turn(&o->seat, o->limit, max);
}

bool pool_slot_take(struct origin *o, bool is_ahead)
{
    unsigned max = o->max_requests;
    if (is_ahead && max == 1)
        return false;
    max = is_ahead && max > 1 ? max - 1 : max;
    if (o->pace == NULL ? !pool_slot_free(o, max) : !pool_slot_in_turn(o, is_ahead, max))
        return false;
    o->slots++;
    counter_add(&o->place->in_flight, 1);
    return true;
}

void pool_slot_give(struct origin *o)
{
    struct pool *p = o->pool;
    o->slots--;
    counter_sub(&o->place->in_flight, 1);
    struct limit_seat *turn = limit_give(o->limit, &p->member);
    if (turn != NULL)
        loop_post(p->loop, &container_of(turn, struct origin, seat)->serve);
    origins_settle(&p->origins, o);
}

/* WAIT, which had a slot of O, has ended, and nothing was sent: its turn is another's. */
static void pool_slot_unused(struct origin *o, const struct pool_wait *wait)
{
    if (o->pace != NULL) {
        origin_pace_back(o->pace, PACE_TURN);
        if (wait->how.is_alone && wait->had_dial)
            origin_pace_back(o->pace, PACE_BEGIN);
        loop_post(o->pool->loop, &o->serve);
    }
    pool_slot_give(o);
}

/* ---- waiting */

#define TO(state) STATE_BIT(WAIT_##state)

void pool_wait_set_state(struct pool_wait *wait, enum wait_state to)
{
    static const struct state_row states[] = {
        [WAIT_NONE] = {"NONE", TO(QUEUED) | TO(UNDIALLED)},
        [WAIT_QUEUED] = {"QUEUED", TO(UNDIALLED) | TO(NONE)},
        [WAIT_UNDIALLED] = {"UNDIALLED", TO(DIALLED) | TO(NONE)},
        /* Its dial has found no descriptor, or is over. */
        [WAIT_DIALLED] = {"DIALLED", TO(UNDIALLED) | TO(NONE)},
    };
    state_check("wait", (uintptr_t)wait, states, wait->state, to);
    deadline_close(&wait->deadline);
    wait->is_held = wait->is_hungry = wait->is_timed = false;
    wait->state = to;
}

/* WAIT leaves the queue for slots. */
static void wait_unqueue(struct origin *o, struct pool_wait *wait)
{
    wait->queued_us = loop_now() - wait->since;
    queue_remove(&o->queue, wait);
    origin_count_queued(o, -1);
    if (queue_is_empty(&o->queue) || (o->pace != NULL && queue_is_ahead(&o->queue)))
        limit_leave(&o->seat);
    if (o->pace != NULL && queue_is_empty(&o->queue))
        origin_pace_leave(o->pace, PACE_TURN);
}

/* WAIT is over, served or not: no link to it is left but the slot it may hold. */
static void wait_end(struct pool_wait *wait)
{
    struct pool_dial *d = wait->dial;
    struct origin *o = wait->origin;
    if (wait->state >= WAIT_UNDIALLED)
        list_remove(&wait->link);
    else
        wait_unqueue(o, wait);
    pool_wait_set_state(wait, WAIT_NONE);
    if (d != NULL) {
        d->wait = NULL;
        list_remove(&d->link);
        list_push_front(&o->dials, &d->link);
    }
    wait->dial = NULL;
    wait->origin = NULL;
    if (o->pace != NULL && !origin_is_waited_for(o))
        origin_pace_leave(o->pace, PACE_BEGIN);
}

void pool_wait_serve(struct pool_wait *wait, struct ustream *us)
{
    wait_end(wait);
    if (!wait->had_dial)
        wait->queued_us = loop_now() - wait->since;
    wait->on_ready(wait->arg, us);
}

void pool_wait_fail(struct pool_wait *wait, const struct fault *f)
{
    struct origin *o = wait->origin;
    bool has_slot = wait->state >= WAIT_UNDIALLED;
    wait_end(wait);
    wait->failed.place = o->place;
    if (has_slot)
        pool_slot_unused(o, wait);
    else
        origins_settle(&o->pool->origins, o);
    wait->on_fault(wait->arg, f);
}

/* Why WAIT has waited for its time in vain. */
static void pool_say_time(const struct pool_wait *wait, enum pace_line line, struct fault *f)
{
    const struct origin *o = wait->origin;
    int64_t now = loop_now();
    int64_t pause = o->pace->seats[line].obeys ? pace_paused_until(o->pace->pace) - now : 0;
    int64_t left = o->pace->opens[line] - now;
    if (pause > 0)
        fault_set(f, FAULT_LIMIT,
                  "%.*s has asked that nobody asks it for %lld s more (Retry-After), and "
                  "upstream.queue_timeout is over",
                  STR_ARG(wait->where.host), (long long)(pause + 999999) / 1000000);
    else if (wait->where.rule->rate == 0)
        fault_set(
            f, FAULT_LIMIT,
            "%.*s had asked that nobody asks it for a while (Retry-After), and the turn of this "
            "request behind that did not come within upstream.queue_timeout",
            STR_ARG(wait->where.host));
    else
        fault_set(f, FAULT_LIMIT,
                  "requests to %.*s begin one after the other (rate of rule \"%s\"), and the turn "
                  "of this one did not come within upstream.queue_timeout",
                  STR_ARG(wait->where.host), wait->where.rule->pattern);
    f->phrase = "Too many requests to %s at once, try again";
    f->retry_after = left > 0 ? (unsigned)((left + 999999) / 1000000) : 0;
}

static void on_queue_timeout(void *arg)
{
    struct pool_wait *wait = arg;
    const struct origin *o = wait->origin;
    struct fault f;
    if (o->pace != NULL && origin_pace_is_closed(o->pace, PACE_TURN)) {
        pool_say_time(wait, PACE_TURN, &f);
        pool_wait_fail(wait, &f);
        return;
    }
    fault_set(&f, FAULT_LIMIT,
              "%u requests to %.*s are under way already (max_per_host), and none ended within "
              "upstream.queue_timeout",
              o->max_requests, STR_ARG(wait->where.host));
    f.phrase = "Too many requests to %s at once, try again";
    pool_wait_fail(wait, &f);
}

static void on_hold_timeout(void *arg)
{
    struct pool_wait *wait = arg;
    const struct origin *o = wait->origin;
    struct fault f;
    char why[256];
    if (wait->is_timed)
        pool_say_time(wait, PACE_BEGIN, &f);
    else if (!list_is_empty(&o->starved))
        fault_set(&f, FAULT_DESCRIPTORS, "no connection could be made for too long: %s",
                  fds_explain(why, sizeof(why), EMFILE));
    else
        fault_set(&f, FAULT_CONNECT_TIMEOUT,
                  "no connection to %.*s was made within %lld ms (upstream.connect_timeout)",
                  STR_ARG(wait->where.host), (long long)wait->where.conf->upstream.connect_timeout);
    pool_wait_fail(wait, &f);
}

int64_t pool_wait_left(const struct pool_wait *wait)
{
    int64_t ms = wait->where.conf->upstream.queue_timeout;
    int64_t until = wait->since + ms * 1000;
    if (wait->how.queue_by != 0)
        until = wait->how.queue_by;
    else if (wait->how.is_patient || ms == 0)
        return 0;
    ms = (until - loop_now() + 999) / 1000;
    return ms > 0 ? ms : 1;
}

void pool_wait_time(struct pool_wait *wait)
{
    if (!wait->is_timed)
        deadline_set(&wait->deadline, pool_wait_left(wait));
    wait->is_timed = wait->was_timed = true;
    wait->is_held = wait->is_hungry = false;
}

void pool_wait_push(struct list *waits, struct pool_wait *wait)
{
    struct list *at = waits;
    while (!wait->how.is_ahead && at->prev != waits &&
           container_of(at->prev, struct pool_wait, link)->how.is_ahead)
        at = at->prev;
    list_push_back(at, &wait->link);
}

void pool_wait_undial(struct pool_wait *wait)
{
    pool_wait_set_state(wait, WAIT_UNDIALLED);
    deadline_init(&wait->deadline, wait->origin->pool->loop, on_hold_timeout, wait);
    list_remove(&wait->link);
    pool_wait_push(&wait->origin->undialled, wait);
}

struct pool_wait *pool_wait_next(struct origin *o)
{
    struct pool_wait *wait = queue_next(&o->queue);
    wait_unqueue(o, wait);
    return wait;
}

/* ---- what requests ask for */

/* Makes WAIT wait for O; it will be told. */
static void wait_begin(struct origin *o, const struct up_where *where, const struct up_how *how,
                       struct pool_wait *wait)
{
    wait->origin = o;
    wait->group = NULL;
    wait->dial = NULL;
    wait->had_dial = false;
    wait->is_apart = wait->was_timed = false;
    wait->since = loop_now();
    wait->queued_us = 0;
    memset(&wait->failed, 0, sizeof(wait->failed));
    wait->where = *where;
    wait->how = *how;
    list_init(&wait->link);
}

/* No slot is free: WAIT queues. */
static void wait_queue(struct origin *o, struct pool_wait *wait)
{
    struct pool *p = o->pool;
    wait->was_timed = o->pace != NULL && origin_pace_is_closed(o->pace, PACE_TURN);
    queue_add(&o->queue, wait);
    origin_count_queued(o, 1);
    pool_wait_set_state(wait, WAIT_QUEUED);
    deadline_init(&wait->deadline, p->loop, on_queue_timeout, wait);
    deadline_set(&wait->deadline, pool_wait_left(wait));
    /* What was given back before we sat down was told to nobody: the plan looks once more. Who
     * waits for its time has no use for a slot yet. */
    if (!wait->was_timed)
        limit_wait(o->limit, &o->seat, &p->member, o->max_requests);
}

/* A second try goes before who waits: it takes back the slot that the first one has just lost. What
 * its client asked for next may hold the others until this one is answered. */
struct ustream *pool_get(struct pool *p, const struct up_where *where, const struct up_how *how,
                         struct pool_wait *wait)
{
    struct origin *o = origins_get(&p->origins, where);
    bool is_retry = how->not_before != 0 || how->is_alone;
    wait->queued_us = 0;
    bool is_behind = !is_retry && (!queue_is_empty(&o->queue) ||
                                   (how->is_ahead && limit_is_waited_for(o->limit)));
    bool has_slot = !is_behind && pool_slot_take(o, how->is_ahead);
    if (has_slot && (is_retry || !origin_is_waited_for(o))) {
        struct ustream *us =
            o->pace == NULL ? pool_conn_find(o, how) : pool_conn_find_in_time(o, how);
        if (us != NULL)
            return us;
    }
    wait_begin(o, where, how, wait);
    if (has_slot)
        pool_wait_undial(wait);
    else
        wait_queue(o, wait);
    loop_post(p->loop, &o->serve);
    return NULL;
}

void pool_pause(struct pool *p, const struct up_where *where, int64_t ms)
{
    struct origin *o = origins_get(&p->origins, where);
    if (o->pace != NULL)
        pace_pause(o->pace->pace, loop_now() + ms * 1000);
    origins_settle(&p->origins, o);
}

bool pool_is_in_line(const struct pool_wait *wait)
{
    return wait->state == WAIT_QUEUED && wait->origin->pace != NULL &&
           wait->origin->max_requests != 1;
}

void pool_want(struct pool_wait *wait, const struct up_how *how)
{
    wait->how.person = how->person;
    wait->how.client = how->client;
    wait->how.number = how->number;
    wait->how.is_ahead = false; /* nobody who asks later goes before it */
    if (wait->state != WAIT_QUEUED)
        return;
    queue_remove(&wait->origin->queue, wait);
    queue_add(&wait->origin->queue, wait);
    loop_post(wait->origin->pool->loop, &wait->origin->serve);
}

uint64_t pool_answers(struct pool *p, const struct up_where *where)
{
    struct origin *o = origins_get(&p->origins, where);
    origins_settle(&p->origins, o);
    return o->answers;
}

/* Somebody else waits for what D will bring. */
static bool is_counted_on(const struct origin *o, const struct pool_dial *d)
{
    return d->offers_h2 && !list_is_empty(&o->undialled);
}

void pool_cancel(struct pool_wait *wait)
{
    struct origin *o = wait->origin;
    if (o == NULL)
        return;
    struct pool_dial *d = wait->dial;
    bool has_slot = wait->state >= WAIT_UNDIALLED;
    wait_end(wait);
    wait->failed.place = o->place;
    if (d != NULL && !is_counted_on(o, d))
        pool_dial_cancel(d);
    if (has_slot)
        pool_slot_unused(o, wait);
    else
        origins_settle(&o->pool->origins, o);
}

void pool_retire(struct pool *p, unsigned generation)
{
    p->generation = generation;
    deadline_clear(&p->expiry); /* what comes may have a shorter upstream.idle_timeout */
    pool_conn_expire(p);
}

void pool_release_slot(void *slot)
{
    if (slot != NULL)
        pool_slot_give(slot);
}

void pool_count(const struct pool *p, unsigned *idle, unsigned *busy)
{
    *idle = p->n_idle;
    *busy = p->n_busy;
}

struct pool *pool_new(struct loop *l, struct dns *dns, const struct forward_id *id,
                      struct budget *budget, struct tally *tally)
{
    struct pool *p = xcalloc(1, sizeof(*p));
    p->loop = l;
    p->dns = dns;
    p->id = id;
    p->budget = budget;
    list_init(&p->idle);
    origins_init(&p->origins, l, pool_serve);
    p->origins.pool = p;
    p->origins.tally = tally;
    p->origins.on_gone = pool_conn_close_gone;
    deadline_init(&p->expiry, l, pool_conn_expire, p);
    limit_join(&p->member, l, pool_on_turn, p);
    pool_room_init(p);
    up_h2_spare_init(&p->h2);
    return p;
}

static void pool_free(void *object)
{
    struct pool *p = object;
    origins_clear(&p->origins);
    up_h2_spare_clear(&p->h2);
    free(p);
}

void pool_close(struct pool *p)
{
    struct list *it;
    struct origin *o;
    struct origin *tmp;
    if (p == NULL)
        return;
    while ((it = list_first(&p->idle)) != NULL) {
        struct pool_conn *c = container_of(it, struct pool_conn, by_age);
        c->ops->close(c);
    }
    HASH_ITER (hh, p->origins.table, o, tmp) {
        loop_unpost(&o->serve);
        peers_close(&o->peers);
        while ((it = list_first(&o->dials)) != NULL)
            pool_dial_cancel(container_of(it, struct pool_dial, link));
    }
    limit_part(&p->member);
    pool_room_close(p);
    deadline_close(&p->expiry);
    loop_reap(p->loop, &p->reap, pool_free, p);
}
