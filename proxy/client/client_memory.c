/* SPDX-License-Identifier: Apache-2.0 */
/* Clients and max_memory: as it fills, fewer requests of one connection are read and begun, until
 * it is one at a time. A connection that has answers to come waits for those, which go on in any
 * case; one that has none waits here, but not for long and not with many others. So whoever comes
 * is served or refused, whatever holds the memory. */
#include "client/client_impl.h"
#include "client/secure_impl.h"

#include "exchange/hold.h"

enum {
    GATHER_FREE = 1024,    /* bytes of a head that are always kept: most are whole by then */
    WAITING_MAX = 256,     /* clients of one worker */
    WAITING_LONG = 64,     /* and those that have sent more than GATHER_FREE */
    WAIT_US = 1000000,     /* how long each of them waits */
    LOOK_MS = 5,           /* between two looks at what has been freed */
    LOOK_SOON_MS = 1,      /* the same where somebody could go on */
    WAKE_FOR = 128 * 1024, /* bytes of room for each that goes on behind the first: about what an
                              exchange takes */
};

static struct client *client_waiting_at(struct list *it)
{
    return container_of(it, struct client, waiting);
}

static bool client_has_waited(const struct client *c)
{
    return c->waits_since != 0 && loop_now() - c->waits_since >= WAIT_US;
}

void client_wait_end(struct client *c)
{
    if (list_is_empty(&c->waiting))
        return;
    list_remove(&c->waiting);
    c->cs->n_waiting--;
}

/* C is read again. Where others were faster it will wait on, in front of the rest. */
static void client_go_on(struct client *c)
{
    client_wait_end(c);
    client_run(c);
}

static void clients_on_wait(void *arg)
{
    struct clients *cs = arg;
    const struct budget *b = cs->engine->budget;
    struct list *it;
    size_t n = 0;
    (void)secure_make_room(cs);
    for (; !budget_lacks(b, n * WAKE_FOR) && !list_is_empty(&cs->waiting); n++)
        client_go_on(client_waiting_at(list_first(&cs->waiting)));
    while ((it = list_first(&cs->waiting)) != NULL && client_has_waited(client_waiting_at(it)))
        client_go_on(client_waiting_at(it));
    if (!list_is_empty(&cs->waiting))
        deadline_set(&cs->wait, n > 0 ? LOOK_SOON_MS : LOOK_MS);
}

void room_init(struct clients *cs)
{
    list_init(&cs->waiting);
    list_init(&cs->shaking);
    deadline_init(&cs->wait, cs->engine->loop, clients_on_wait, cs);
}

void room_clear(struct clients *cs)
{
    deadline_close(&cs->wait);
}

/* False: too many wait already. */
static bool client_wait_begin(struct client *c)
{
    struct clients *cs = c->cs;
    if (cs->n_waiting >= (c->in.len > GATHER_FREE ? WAITING_LONG : WAITING_MAX))
        return false;
    if (c->waits_since == 0) {
        c->waits_since = loop_now();
        list_push_back(&cs->waiting, &c->waiting);
    } else {
        list_push_front(&cs->waiting, &c->waiting);
    }
    cs->n_waiting++;
    c->scanned = 0; /* its head is looked at again */
    if (!deadline_is_set(&cs->wait))
        deadline_set(&cs->wait, LOOK_MS);
    return true;
}

enum room client_room(struct client *c, size_t head, struct fault *f)
{
    bool is_waiter = head > 0 && c->order.n == 0;
    if ((head > 0 && !is_waiter) || (head == 0 && c->in.len <= GATHER_FREE))
        return ROOM_ENOUGH;
    /* Those who wait go before whoever has just come: else the room that an answer leaves is always
     * taken by who got it. */
    bool is_late = is_waiter && c->waits_since == 0 && !list_is_empty(&c->cs->waiting);
    if (is_late && client_wait_begin(c))
        return ROOM_LATER;
    if (engine_has_room(c->cs->engine, f) || secure_make_room(c->cs) ||
        (is_waiter && client_has_waited(c)))
        return ROOM_ENOUGH;
    return is_waiter && client_wait_begin(c) ? ROOM_LATER : ROOM_NONE;
}

bool client_may_gather(struct client *c, size_t n, struct fault *f)
{
    return n <= GATHER_FREE || engine_has_room(c->cs->engine, f);
}

/* True when the next request of C may be read. Each answer that ends is a reason to ask again. */
static bool client_may_read(const struct client *c)
{
    const struct engine *e = c->cs->engine;
    if (c->order.n == 0)
        return list_is_empty(&c->waiting);
    return c->order.n < budget_bound(e->budget, e->use->conf->client.max_pipeline);
}

/* True while nothing may be read: what would come has no place yet. */
static bool client_is_blocked(const struct client *c)
{
    if (c->state == CLIENT_BODY)
        return !c->reading->item.started || (c->body_full && !c->reading->item.done);
    if (c->state == CLIENT_HEAD)
        return c->switching != NULL || c->heads >= CLIENT_HEADS_A_TURN || !client_may_read(c) ||
               client_is_full(c);
    return c->intercept != NULL; /* else not, to see the client go */
}

void client_set_flow(struct client *c)
{
    bool blocked = client_is_blocked(c);
    if (blocked == c->blocked || c->stream == NULL)
        return;
    c->blocked = blocked;
    if (blocked) {
        stream_pause(c->stream);
        return;
    }
    if (c->turned != NULL)
        c->reads_since = loop_now();
    stream_resume(c->stream);
}

struct request *client_next(struct client *c)
{
    const struct request *first = client_first(c);
    if (first != NULL && first->item.started && budget_is_tight(c->cs->engine->budget))
        return NULL;
    struct order_item *next = order_next(&c->order);
    return next == NULL ? NULL : container_of(next, struct request, item);
}
