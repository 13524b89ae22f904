/* SPDX-License-Identifier: Apache-2.0 */
/* Connections of the pool: which one a request gets, how long they are kept, and what transports
 * tell of them. One that carries requests and takes no more is in no list: those requests hold it.
 */
#include "net/stream_share.h"
#include "upstream/pool_impl.h"
#include "upstream/pool_room.h"

enum {
    RESTLESS_MAX = 8,    /* that a look passes over before it gives up */
    AMID_MAX = 8,        /* that are kept */
    CLOSED_AT_ONCE = 32, /* in one go: each is told by TLS; so many take about a millisecond */
    REFUSED_MOST = 4     /* requests in a row, after which a connection is not asked any more */
};

/* ---- lists */

static void conn_unlist(struct pool_conn *c)
{
    list_remove(&c->link);
    if (list_is_empty(&c->by_age))
        return;
    list_remove(&c->by_age);
    pool_room_used(c->pool);
    counter_sub(&c->origin->place->idle, 1);
}

/* C has carried what connections of its origin do carry. */
static bool conn_is_spent(const struct pool_conn *c)
{
    struct carry *carry = &c->origin->carry;
    return c->is_shared && carry->most > 0 && c->n_begun >= carry_most(carry, loop_now());
}

/* A spent one gets another request at most when it has nothing under way: what is lost on it then
 * is one request, and what is not says that it carries more. */
static bool conn_has_room(const struct pool_conn *c)
{
    return c->n_requests < c->room && !c->is_going && (c->n_requests == 0 || !conn_is_spent(c));
}

static bool conn_is_old(const struct pool_conn *c, int64_t now)
{
    const struct origin *o = c->origin;
    if ((o->max_age > 0 && now - c->born >= o->max_age) || pool_conn_is_gone(c))
        return true;
    return c->n_requests == 0 && o->idle_timeout > 0 && now - c->idle_since >= o->idle_timeout;
}

static void arm_expiry(struct pool *p)
{
    struct list *it = list_first(&p->idle);
    if (it == NULL || deadline_is_set(&p->expiry))
        return;
    const struct pool_conn *c = container_of(it, struct pool_conn, by_age);
    int64_t us = c->idle_since + c->origin->idle_timeout - loop_now();
    if (c->origin->idle_timeout > 0)
        deadline_set(&p->expiry, us < 1000 ? 1 : us / 1000 + 1);
}

void pool_conn_expire(void *pool)
{
    struct pool *p = pool;
    int64_t now = loop_now();
    for (int i = 0; i < CLOSED_AT_ONCE; i++) {
        struct list *it = list_first(&p->idle);
        if (it == NULL)
            return;
        struct pool_conn *c = container_of(it, struct pool_conn, by_age);
        if (!conn_is_old(c, now) && c->origin->generation >= p->generation) {
            arm_expiry(p);
            return;
        }
        c->ops->close(c);
    }
    deadline_set(&p->expiry, 1); /* the rest when others have had a turn */
}

/* Those that are left when there are many go as others that are too old do. */
void pool_conn_close_gone(void *origin)
{
    struct origin *o = origin;
    struct list *next;
    int left = CLOSED_AT_ONCE;
    for (struct list *it = o->open.next; it != &o->open && left > 0; it = next) {
        struct pool_conn *c = container_of(it, struct pool_conn, link);
        next = it->next;
        if (!pool_conn_is_gone(c) || c->n_requests > 0)
            continue;
        c->ops->close(c);
        left--;
    }
}

/* C carries nothing: it is put where the next request finds it first. */
void pool_conn_keep(struct pool_conn *c)
{
    struct pool *p = c->pool;
    struct origin *o = c->origin;
    c->idle_since = loop_now();
    list_remove(&c->link);
    if (c->room > 0)
        list_push_front(&o->open, &c->link);
    list_push_back(&p->idle, &c->by_age);
    pool_room_idle(p);
    counter_add(&o->place->idle, 1);
    bool is_wanted = origin_is_waited_for(o);
    if (c->is_going || c->room == 0 || pool_conn_is_gone(c) ||
        (!is_wanted && o->generation < p->generation))
        c->ops->close(c);
    else if (is_wanted)
        pool_replan(o);
    else if (pool_is_tight(p))
        (void)pool_give_up_idle(p, 1);
    else
        pool_room_trim(p);
    pool_room_feed(p);
    arm_expiry(p);
}

struct ustream *pool_conn_use(struct pool_conn *c)
{
    if (c->n_requests == 0) {
        conn_unlist(c);
        c->pool->n_busy++;
    } else {
        list_remove(&c->link);
    }
    c->n_requests++;
    c->n_begun++;
    if (conn_has_room(c))
        list_push_front(&c->origin->open, &c->link);
    return c->ops->open(c);
}

/* ---- finding one */

enum fitness {
    FIT,      /* a request may go on it */
    UNFIT,    /* too old, and in use */
    AMID,     /* not before more comes, whenever that is */
    RESTLESS, /* not before what has come was read */
    DEAD      /* too old */
};

/* Of a connection that carries nothing, the kernel is asked each time: bytes that came behind an
 * answer must not become the answer to somebody else, and one that has ended would lose a request.
 * What has come may also be nothing of the kind (a session ticket, PING): it is taken in before
 * anybody knows. Not here, where another stream's bytes, or its own, may be in use.
 *
 * Half a record may be the beginning of such bytes, and its rest may never come: nothing is to be
 * read until then. By HTTP/2 it does not matter: each frame says whose it is. */
static enum fitness conn_fitness(struct pool_conn *c, int64_t now)
{
    bool is_old = conn_is_old(c, now);
    if (c->n_requests > 0)
        return is_old ? UNFIT : FIT;
    if (is_old)
        return DEAD;
    if (c->is_shared && (c->is_reading || stream_pending(c->stream) > 0))
        return FIT;
    if (!stream_is_quiet(c->stream, true))
        return RESTLESS;
    return !c->is_shared && stream_is_amid(c->stream) ? AMID : FIT;
}

/* C is read in its own turn, before the plan is made once more. */
static void calm(struct pool_conn *c)
{
    c->origin->is_restless = true;
    stream_read_soon(c->stream);
}

/* C is none for a second try. Where requests wait for their time, a connection that was dialled for
 * one may wait with it. */
static bool conn_is_used(const struct pool_conn *c)
{
    return !c->is_shared && (c->n_begun > 0 || c->origin->pace == NULL);
}

struct ustream *pool_conn_find(struct origin *o, const struct up_how *how)
{
    bool is_h1_only = how->h1_only || origin_wants_h1(o);
    unsigned n_restless = 0, n_amid = 0;
    if (how->is_alone || list_is_empty(&o->open))
        return NULL;
    int64_t now = loop_now();
    peers_use(&o->peers, now);
    struct list *next;
    for (struct list *it = o->open.next; it != &o->open; it = next) {
        struct pool_conn *c = container_of(it, struct pool_conn, link);
        next = it->next;
        if (n_restless == RESTLESS_MAX || n_amid == AMID_MAX + CLOSED_AT_ONCE)
            break;
        bool is_stale = how->not_before != 0 &&
                        (conn_is_used(c) || c->born < how->not_before || conn_is_spent(c));
        if (is_stale || (c->is_shared && is_h1_only))
            continue;
        if (!conn_has_room(c)) {
            list_remove(it); /* what it carries has since turned out to be less */
            continue;
        }
        enum fitness fitness = conn_fitness(c, now);
        if (fitness == FIT)
            return pool_conn_use(c);
        if (fitness == DEAD)
            c->ops->close(c);
        else if (fitness == UNFIT)
            pool_conn_retire(c);
        else if (fitness == RESTLESS) {
            n_restless++;
            calm(c);
        } else if (fitness == AMID && ++n_amid > AMID_MAX)
            c->ops->close(c); /* else they become more and more, and each is asked by each look */
    }
    return NULL;
}

struct ustream *pool_conn_find_in_time(struct origin *o, const struct up_how *how)
{
    if (list_is_empty(&o->open) || !origin_pace_go(o->pace, PACE_BEGIN))
        return NULL;
    struct ustream *us = pool_conn_find(o, how);
    if (us == NULL)
        origin_pace_back(o->pace, PACE_BEGIN);
    return us;
}

/* ---- what transports tell */

void pool_conn_holds(struct pool_conn *c, size_t more)
{
    stream_count_in(c->stream, c->pool->budget, c->holds + more);
}

void pool_conn_init(struct pool_conn *c, const struct pool_made *made)
{
    c->pool = made->pool;
    c->origin = made->origin;
    c->stream = made->stream;
    c->id = made->id;
    c->facts = made->facts;
    c->facts.seat.number = ++c->pool->n_made;
    c->room = 1;
    c->born = loop_now();
    list_init(&c->link);
    list_init(&c->by_age);
    c->holds = made->holds;
    pool_conn_holds(c, 0);
    pool_room_conns(1);
}

void pool_conn_done(struct pool_conn *c)
{
    struct origin *o = c->origin;
    c->n_requests--;
    if (c->n_requests == 0) {
        c->pool->n_busy--;
        pool_conn_keep(c);
    } else if (conn_has_room(c) && list_is_empty(&c->link)) {
        list_push_front(&o->open, &c->link);
        pool_replan(o);
    }
    pool_slot_give(o);
}

/* C is no connection of the pool's any more. */
static void conn_forget(struct pool_conn *c)
{
    if (c->n_requests > 0)
        c->pool->n_busy--;
    if (c->is_settling)
        c->origin->n_settling--;
    conn_unlist(c);
    pool_room_conns(-1);
    pool_room_feed(c->pool);
    if (c->peer != NULL)
        peers_remove(&c->origin->peers, c->peer);
    c->peer = NULL;
    c->origin->conns--;
    counter_sub(&c->origin->place->conns, 1);
}

void pool_conn_gone(struct pool_conn *c)
{
    struct origin *o = c->origin;
    unsigned n = c->n_requests;
    conn_forget(c);
    c->n_requests = 0;
    pool_replan(o);
    while (n-- > 0)
        pool_slot_give(o);
    origins_settle(&o->pool->origins, o);
}

void pool_conn_room(struct pool_conn *c, unsigned room)
{
    struct origin *o = c->origin;
    if (c->is_settling)
        o->n_settling--;
    c->is_settling = false;
    c->room = c->is_going ? 0 : room;
    list_remove(&c->link);
    if (conn_has_room(c))
        list_push_front(&o->open, &c->link);
    pool_replan(o);
    if (c->room == 0 && c->n_requests == 0)
        c->ops->close(c);
}

void pool_conn_retire(struct pool_conn *c)
{
    c->is_going = true;
    pool_conn_room(c, 0);
}

void pool_conn_carried(struct pool_conn *c, unsigned n, bool is_short)
{
    struct carry *carry = &c->origin->carry;
    if (!c->is_short && (is_short || n == carry->most))
        carry_learn(carry, n, loop_now());
    c->is_short = c->is_short || is_short;
}

void pool_conn_refused(struct pool_conn *c)
{
    c->n_refused++;
    if (c->n_requests > 1 || (c->n_refused < REFUSED_MOST && !conn_is_spent(c)) || c->is_going)
        return;
    pool_conn_carried(c, c->n_answered, true);
    pool_conn_retire(c);
}

void *pool_conn_taken(struct pool_conn *c)
{
    struct origin *o = c->origin;
    conn_forget(c);
    c->n_requests = 0;
    return o;
}
