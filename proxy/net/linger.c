/* SPDX-License-Identifier: Apache-2.0 */
/* Streams that belong to nobody: see linger.h. A loop has its thread, so the list needs no lock. */
#include "net/linger.h"

#include "base/fds.h"

static _Thread_local struct list lingering; /* struct stream, oldest first */
static _Thread_local unsigned n_lingering;

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
        if (stream_pending(container_of(it, struct stream, lingering)) > 0)
            continue;
        least = it;
        break;
    }
    struct stream *s = container_of(least, struct stream, lingering);
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
    list_push_back(&lingering, &s->lingering);
    n_lingering++;
}

void linger_part(struct stream *s)
{
    if (list_is_empty(&s->lingering))
        return;
    list_remove(&s->lingering);
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
        struct stream *s = container_of(it, struct stream, lingering);
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
        if (container_of(it, struct stream, lingering)->loop == l)
            return true;
    }
    return false;
}
