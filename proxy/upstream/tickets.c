/* SPDX-License-Identifier: Apache-2.0 */
/* Who waits for a session: see tickets.h. */
#include "upstream/tickets.h"

#include "net/round_trip.h"

enum {
    NEAR = 2000,        /* µs of a round trip, at most */
    PATIENCE = 20,      /* ms, for a handshake, and once more for what comes of it */
    BARREN = 600000000, /* µs without another try, where that was not enough */
    GONE_AT_ONCE = 16   /* in one turn: about two milliseconds, for what a hello takes */
};

static void tickets_tell(void *arg)
{
    struct tickets *t = arg;
    struct list *it;
    t->leader = NULL;
    deadline_clear(&t->end);
    for (int i = 0; i < GONE_AT_ONCE && (it = list_pop(&t->waiting)) != NULL; i++) {
        struct ticket_wait *w = container_of(it, struct ticket_wait, link);
        w->fn(w->arg);
    }
    if (!list_is_empty(&t->waiting))
        loop_post_next(t->loop, &t->news);
}

static void tickets_on_end(void *arg)
{
    struct tickets *t = arg;
    if (!tls_sessions_has(&t->sessions)) /* else it has come in this turn */
        t->barren_until = loop_now() + BARREN;
    tickets_tell(t);
}

void tickets_init(struct tickets *t, struct loop *l, bool has_parent)
{
    *t = (struct tickets){.loop = l, .sessions = {.loop = l, .news = &t->news}};
    t->sessions.once_until = has_parent ? INT64_MAX : 0;
    list_init(&t->waiting);
    deadline_init(&t->end, l, tickets_on_end, t);
    post_init(&t->news, tickets_tell, t);
}

void tickets_clear(struct tickets *t)
{
    tls_sessions_clear(&t->sessions);
    deadline_close(&t->end);
    loop_unpost(&t->news);
}

void ticket_wait_init(struct ticket_wait *w, void (*fn)(void *arg), void *arg)
{
    *w = (struct ticket_wait){.fn = fn, .arg = arg};
    list_init(&w->link);
}

static bool tickets_is_near(int fd)
{
    int64_t trip = round_trip_of(fd);
    return trip >= 0 && trip <= NEAR;
}

bool tickets_go(struct tickets *t, struct ticket_wait *w, int fd)
{
    if (t->leader == w || loop_now() < t->barren_until || tls_sessions_once(&t->sessions) ||
        tls_sessions_has(&t->sessions))
        return true;
    if (deadline_is_set(&t->end)) {
        list_push_back(&t->waiting, &w->link);
        return false;
    }
    if (tickets_is_near(fd)) {
        t->leader = w;
        deadline_set(&t->end, PATIENCE);
    }
    return true;
}

void tickets_done(struct tickets *t, struct ticket_wait *w)
{
    if (t->leader != w)
        return;
    t->leader = NULL;
    deadline_set(&t->end, PATIENCE);
}

void tickets_leave(struct tickets *t, struct ticket_wait *w)
{
    list_remove(&w->link);
    if (t->leader != w)
        return;
    t->leader = NULL;
    loop_post(t->loop, &t->news);
}
