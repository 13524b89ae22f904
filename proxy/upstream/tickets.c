/* SPDX-License-Identifier: Apache-2.0 */
/* Who waits for a session: see tickets.h. */
#include "upstream/tickets.h"

#include "net/round_trip.h"

enum {
    NEAR = 2000,      /* µs of a round trip, at most */
    PATIENCE = 20,    /* ms, for a handshake, and once more for what comes of it */
    GONE_AT_ONCE = 16 /* in one turn: about two milliseconds, for what a hello takes */
};

static void tickets_tell(void *arg)
{
    struct tickets *t = arg;
    struct list *it;
    if (tls_sessions_has(&t->sessions))
        t->is_barren = false;
    t->is_led = false;
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
    t->is_barren = true;
    tickets_tell(t);
}

void tickets_init(struct tickets *t, struct loop *l)
{
    *t = (struct tickets){.loop = l, .sessions = {.loop = l, .news = &t->news}};
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
    if (w->leads || t->is_barren || tls_sessions_has(&t->sessions))
        return true;
    if (t->is_led) {
        list_push_back(&t->waiting, &w->link);
        return false;
    }
    w->leads = t->is_led = tickets_is_near(fd);
    if (w->leads)
        deadline_set(&t->end, PATIENCE);
    return true;
}

void tickets_done(struct tickets *t, struct ticket_wait *w)
{
    if (w->leads && t->is_led)
        deadline_set(&t->end, PATIENCE);
    w->leads = false;
}

void tickets_leave(struct tickets *t, struct ticket_wait *w)
{
    list_remove(&w->link);
    if (w->leads)
        loop_post(t->loop, &t->news);
    w->leads = false;
}
