/* SPDX-License-Identifier: Apache-2.0 */
/* Timeouts without timers: see sweep.h. */
#include "base/sweep.h"

enum {
    SWEEP_GRAIN_US = 20000, /* between two looks at all */
    SWEEP_EACH_US = 10,     /* and so much for each of them, if that is more */
    SWEEP_MOST_US = 200000, /* but no more than this: the shortest timeouts are about as long */
    DUE_AT_ONCE = 64        /* calls in one go; the others a millisecond later */
};

/* Aims the deadline at AT, unless it comes before: whatever is set anew, again and again, all are
 * looked through then. */
static void sweep_aim(struct sweep *s, int64_t at, int64_t now)
{
    int64_t wait = at - now;
    if (wait < s->grain)
        wait = s->grain;
    if (s->next_at != 0 && s->next_at <= now + wait)
        return;
    s->next_at = now + wait;
    deadline_set(&s->next, (wait + 999) / 1000);
}

/* More is due: soon, for others are to have a turn first. */
static void sweep_again(struct sweep *s, int64_t now)
{
    s->next_at = now;
    deadline_set(&s->next, 1);
}

/* Those that are due, taken out of the list. One that is set anew by a call in front of its own
 * goes back. */
static void sweep_call(struct sweep *s, struct list *due, int64_t now)
{
    struct list *item;
    while ((item = list_pop(due)) != NULL) {
        struct timeout *t = container_of(item, struct timeout, link);
        if (t->at > now)
            list_push_back(&s->set, item);
        else
            t->fn(t->arg);
    }
}

/* How long to wait from one look at N of them to the next. */
static int64_t sweep_grain(int64_t n)
{
    int64_t us = n * SWEEP_EACH_US;
    return us < SWEEP_GRAIN_US ? SWEEP_GRAIN_US : us < SWEEP_MOST_US ? us : SWEEP_MOST_US;
}

/* Takes what is due out of the list first: the callbacks may set and clear any timeout. */
static void on_sweep(void *arg)
{
    struct sweep *s = arg;
    int64_t now = loop_now();
    int64_t next = 0, looked = 0;
    unsigned n = 0;
    struct list due;
    list_init(&due);
    struct list *it = s->set.next;
    while (it != &s->set && n < DUE_AT_ONCE) {
        struct timeout *t = container_of(it, struct timeout, link);
        it = it->next;
        looked++;
        if (t->at <= now) {
            list_remove(&t->link);
            list_push_back(&due, &t->link);
            n++;
        } else if (next == 0 || t->at < next) {
            next = t->at;
        }
    }
    s->next_at = 0;
    s->grain = sweep_grain(looked);
    if (n == DUE_AT_ONCE)
        sweep_again(s, now);
    else if (next != 0)
        sweep_aim(s, next, now);
    sweep_call(s, &due, now);
}

void sweep_init(struct sweep *s, struct loop *l)
{
    list_init(&s->set);
    s->next_at = 0;
    s->grain = SWEEP_GRAIN_US;
    deadline_init(&s->next, l, on_sweep, s);
}

void sweep_close(struct sweep *s)
{
    deadline_close(&s->next);
}

void timeout_init(struct timeout *t, void (*fn)(void *arg), void *arg)
{
    list_init(&t->link);
    t->at = 0;
    t->fn = fn;
    t->arg = arg;
}

void sweep_set(struct sweep *s, struct timeout *t, int64_t ms)
{
    sweep_set_from(s, t, ms, loop_now());
}

void sweep_set_from(struct sweep *s, struct timeout *t, int64_t ms, int64_t now)
{
    if (ms <= 0) {
        timeout_clear(t);
        return;
    }
    t->at = now + ms * 1000;
    if (list_is_empty(&t->link))
        list_push_back(&s->set, &t->link);
    if (s->next_at == 0 || t->at < s->next_at)
        sweep_aim(s, t->at, now);
}

void timeout_clear(struct timeout *t)
{
    list_remove(&t->link);
}

void timeout_pass(struct timeout *from, struct timeout *to)
{
    if (!timeout_is_set(from))
        return;
    timeout_clear(to);
    to->at = from->at;
    list_push_back(&from->link, &to->link);
    timeout_clear(from);
}
