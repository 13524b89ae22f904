/* SPDX-License-Identifier: Apache-2.0 */
/* Streams that belong to nobody: see linger.h. A loop has its thread, so the list needs no lock. */
#include "net/linger.h"

#include "base/fds.h"

static _Thread_local struct list lingering; /* struct stream, oldest first */
static _Thread_local unsigned n_lingering;

static struct stream *linger_at(struct list *it)
{
    return container_of(it, struct lingering, link)->s;
}

static void linger_on_timer(void *arg)
{
    stream_close(arg);
}

void linger_with(struct stream *s, const char *p, size_t n)
{
    /* Half of them are left to those who were served. */
    if (n_lingering >= fds_budget()->lingering / 2) {
        stream_abort(s);
        return;
    }
    stream_put(s, p, n);
    stream_linger(s);
}

/* Who has not got all of an answer must not take what it has for all of it. */
static void linger_make_room(void)
{
    struct list *least = list_first(&lingering);
    list_foreach (it, &lingering) {
        if (stream_pending(linger_at(it)) > 0)
            continue;
        least = it;
        break;
    }
    struct stream *s = linger_at(least);
    if (stream_pending(s) > 0)
        stream_abort(s);
    else
        stream_close(s);
}

void linger_join(struct stream *s)
{
    if (lingering.next == NULL)
        list_init(&lingering);
    if (n_lingering > 0 && n_lingering >= fds_budget()->lingering)
        linger_make_room();
    struct lingering *l = xmalloc(sizeof *l);
    s->lingering = l;
    l->s = s;
    deadline_init(&l->timer, s->loop, linger_on_timer, s);
    list_init(&l->link);
    list_push_back(&lingering, &l->link);
    n_lingering++;
}

void linger_part(struct stream *s)
{
    if (s->lingering == NULL)
        return;
    deadline_close(&s->lingering->timer);
    if (list_is_empty(&s->lingering->link))
        return; /* all of them are being closed */
    list_remove(&s->lingering->link);
    n_lingering--;
}

void linger_close_all(struct loop *l)
{
    struct list mine;
    struct list *it;
    if (lingering.next == NULL)
        return;
    list_init(&mine);
    list_move(&mine, &lingering);
    n_lingering = 0;
    while ((it = list_pop(&mine)) != NULL) {
        struct stream *s = linger_at(it);
        if (s->loop == l) {
            stream_close(s);
            continue;
        }
        list_push_back(&lingering, it);
        n_lingering++;
    }
}

bool linger_has_any(const struct loop *l)
{
    for (struct list *it = lingering.next; it != NULL && it != &lingering; it = it->next) {
        if (linger_at(it)->loop == l)
            return true;
    }
    return false;
}
