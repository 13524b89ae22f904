/* SPDX-License-Identifier: Apache-2.0 */
/* libevent's loop and the clocks: see fake.h. Events become active in the order in which their
 * descriptors were touched, then timers in the order of their times, all of one turn before the
 * first is called, as epoll has it. */
#include "fake_impl.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"

enum { TURNS_MAX = 200 * 1000, BASES = 4 }; /* turns without a pause: it runs in a circle */

struct event_base {
    struct event **added; /* heap */
    unsigned n;
    struct event **active; /* heap, of this turn; NULL: deleted meanwhile */
    unsigned n_active, cap;
    unsigned turns; /* since it had nothing to do */
};

int64_t fake_now = INT64_C(1000000) * 1000;
void (*fake_idle)(void);
const char *fake_fault;
bool fake_is_stirred;

static struct event_base *bases[BASES];

WRAP(struct event_config *, event_config_new, (void))
{
    return xcalloc(1, 1);
}

WRAP(void, event_config_free, (struct event_config * c))
{
    free(c);
}

WRAP(int, event_config_set_flag, (struct event_config * c, int flag))
{
    (void)c;
    (void)flag;
    return 0;
}

WRAP(struct event_base *, event_base_new_with_config, (const struct event_config *c))
{
    (void)c;
    for (unsigned i = 0; i < BASES; i++) {
        if (bases[i] == NULL)
            return bases[i] = xcalloc(1, sizeof(struct event_base));
    }
    abort();
}

WRAP(void, event_base_free, (struct event_base * b))
{
    for (unsigned i = 0; i < BASES; i++) {
        if (bases[i] == b)
            bases[i] = NULL;
    }
    if (b->n > 0)
        fake_fault = "a loop is freed and has events";
    free(b->added);
    free(b->active);
    free(b);
}

WRAP(void, event_set_log_callback, (event_log_cb fn))
{
    (void)fn;
}

/* ---- events. Those fields of struct event are used that have libevent's names for this. */

WRAP(int, event_assign,
     (struct event * ev, struct event_base *b, evutil_socket_t fd, short what, event_callback_fn fn,
      void *arg))
{
    memset(ev, 0, sizeof(*ev));
    ev->ev_base = b;
    ev->ev_fd = fd;
    ev->ev_events = what;
    ev->ev_evcallback.evcb_cb_union.evcb_callback = fn;
    ev->ev_evcallback.evcb_arg = arg;
    ev->ev_evcallback.evcb_flags = EVLIST_INIT;
    return 0;
}

static int64_t time_of(const struct event *ev)
{
    return (int64_t)ev->ev_timeout.tv_sec * 1000000 + ev->ev_timeout.tv_usec;
}

static bool is_added(const struct event *ev)
{
    return (ev->ev_evcallback.evcb_flags & EVLIST_INSERTED) != 0;
}

WRAP(int, event_add, (struct event * ev, const struct timeval *tv))
{
    struct event_base *b = ev->ev_base;
    if (tv != NULL) {
        int64_t at = fake_now + (int64_t)tv->tv_sec * 1000000 + tv->tv_usec;
        ev->ev_timeout = (struct timeval){at / 1000000, at % 1000000};
        ev->ev_evcallback.evcb_flags |= EVLIST_TIMEOUT;
    }
    if (is_added(ev))
        return 0;
    ev->ev_evcallback.evcb_flags |= EVLIST_INSERTED;
    b->added = fake_grow(b->added, b->n, sizeof(*b->added));
    b->added[b->n++] = ev;
    return 0;
}

static void take_out(struct event *ev)
{
    struct event_base *b = ev->ev_base;
    unsigned i = 0;
    if (!is_added(ev))
        return;
    ev->ev_evcallback.evcb_flags &= ~(EVLIST_INSERTED | EVLIST_TIMEOUT);
    while (b->added[i] != ev)
        i++;
    memmove(b->added + i, b->added + i + 1, (--b->n - i) * sizeof(*b->added));
}

WRAP(int, event_del, (struct event * ev))
{
    take_out(ev);
    if ((ev->ev_evcallback.evcb_flags & EVLIST_ACTIVE) == 0)
        return 0;
    ev->ev_evcallback.evcb_flags &= ~EVLIST_ACTIVE;
    for (unsigned i = 0; i < ev->ev_base->n_active; i++) {
        if (ev->ev_base->active[i] == ev)
            ev->ev_base->active[i] = NULL;
    }
    return 0;
}

/* ---- turns */

/* Before or behind: by time for timers, else by what was touched first. */
static int compare(const void *a, const void *b)
{
    const struct event *x = *(struct event *const *)a, *y = *(struct event *const *)b;
    bool x_timer = (x->ev_res & EV_TIMEOUT) != 0, y_timer = (y->ev_res & EV_TIMEOUT) != 0;
    if (x_timer != y_timer)
        return x_timer - y_timer;
    int64_t m = x_timer ? time_of(x) : (int64_t)fake_touched(x->ev_fd);
    int64_t n = x_timer ? time_of(y) : (int64_t)fake_touched(y->ev_fd);
    return m != n ? (m > n) - (m < n) : (x->ev_res > y->ev_res) - (x->ev_res < y->ev_res);
}

static short ready(const struct event *ev)
{
    if ((ev->ev_evcallback.evcb_flags & EVLIST_TIMEOUT) != 0)
        return time_of(ev) <= fake_now ? EV_TIMEOUT : 0;
    return fake_ready(ev->ev_fd, ev->ev_events);
}

static void collect(struct event_base *b)
{
    if (b->cap < b->n) {
        b->cap = 2 * b->n;
        b->active = xrealloc(b->active, b->cap * sizeof(*b->active));
    }
    b->n_active = 0;
    for (unsigned i = 0; i < b->n; i++) {
        struct event *ev = b->added[i];
        ev->ev_res = ready(ev);
        if (ev->ev_res == 0)
            continue;
        ev->ev_evcallback.evcb_flags |= EVLIST_ACTIVE;
        b->active[b->n_active++] = ev;
    }
    if (b->n_active > 1)
        qsort(b->active, b->n_active, sizeof(*b->active), compare);
}

static void call_active(struct event_base *b)
{
    unsigned n = b->n_active;
    for (unsigned i = 0; i < n; i++) {
        struct event *ev = b->active[i];
        if (ev == NULL)
            continue;
        b->active[i] = NULL;
        ev->ev_evcallback.evcb_flags &= ~EVLIST_ACTIVE;
        if ((ev->ev_events & EV_PERSIST) == 0)
            take_out(ev);
        ev->ev_evcallback.evcb_cb_union.evcb_callback(ev->ev_fd, ev->ev_res,
                                                      ev->ev_evcallback.evcb_arg);
    }
    b->n_active = 0;
}

WRAP(int, event_base_loop, (struct event_base * b, int flags))
{
    collect(b);
    while (b->n_active == 0 && (flags & EVLOOP_NONBLOCK) == 0 && !fake_is_stirred) {
        b->turns = 0;
        fake_idle();
        collect(b);
    }
    fake_is_stirred = false;
    if (++b->turns > TURNS_MAX) {
        fake_fault = "the loop turns and turns, and nothing comes of it";
        b->turns = 0;
        fake_idle();
    }
    call_active(b);
    return 0;
}

int64_t fake_next_timer(void)
{
    int64_t next = -1;
    for (unsigned k = 0; k < BASES; k++) {
        for (unsigned i = 0; bases[k] != NULL && i < bases[k]->n; i++) {
            const struct event *ev = bases[k]->added[i];
            bool is_timer = (ev->ev_evcallback.evcb_flags & EVLIST_TIMEOUT) != 0;
            if (is_timer && (next < 0 || time_of(ev) < next))
                next = time_of(ev);
        }
    }
    return next;
}

/* ---- clocks, chance and threads */

WRAP(int, clock_gettime, (clockid_t id, struct timespec *t))
{
    int64_t us = fake_now;
    if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)
        us += INT64_C(20000) * 86400 * 1000000;
    *t = (struct timespec){us / 1000000, us % 1000000 * 1000};
    return 0;
}

/* The same in each run, so that hash tables are. */
WRAP(ssize_t, getrandom, (void *p, size_t n, unsigned flags))
{
    (void)flags;
    memset(p, 0x5a, n);
    return (ssize_t)n;
}

static void *(*thread_fn)(void *);
static void *thread_arg;

WRAP(int, pthread_create, (pthread_t * t, const pthread_attr_t *a, void *(*fn)(void *), void *arg))
{
    (void)a;
    *t = pthread_self();
    thread_fn = fn;
    thread_arg = arg;
    return 0;
}

WRAP(int, pthread_join, (pthread_t t, void **result))
{
    (void)t;
    (void)result;
    return 0;
}

WRAP(int, pthread_setname_np, (pthread_t t, const char *name))
{
    (void)t;
    (void)name;
    return 0;
}

void fake_run_thread(void)
{
    thread_fn(thread_arg);
}
