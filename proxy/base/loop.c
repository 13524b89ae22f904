/* SPDX-License-Identifier: Apache-2.0 */
/* One thread's event loop. libevent runs one turn at a time (EVLOOP_ONCE), so that between two
 * turns there is a place with no callback on the stack: there, and only there, closed objects are
 * freed. */
#include "base/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/log_limit.h"
#include "base/mem.h"

enum {
    READ_USUAL = 64 * 1024, /* bytes of a read: enough for all that is worth a look at once */
    READ_MOST = 256 * 1024, /* of a read that is only passed on: fewer system calls */
    POST_ROUNDS = 100       /* posts that post again wait for the next turn beyond it */
};

static const int64_t longest_ms = INT64_MAX / 4000; /* no overflow as µs added to a time */

/* A call on its way from another thread. */
struct sent {
    struct list link;
    void (*fn)(void *arg);
    void *arg;
};

static void on_libevent_log(int severity, const char *text)
{
    if (severity >= EVENT_LOG_WARN)
        log_limited(LOG_LEVEL_WARNING, "libevent: %s", text);
}

/* The other threads' calls, in their order. */
static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    struct loop *l = arg;
    struct list calls;
    struct list *it;
    uint64_t count;
    (void)what;
    ssize_t ignored = read(fd, &count, sizeof(count));
    (void)ignored;
    list_init(&calls);
    pthread_mutex_lock(&l->lock);
    list_move(&calls, &l->sent);
    pthread_mutex_unlock(&l->lock);
    while ((it = list_pop(&calls)) != NULL) {
        struct sent call = *container_of(it, struct sent, link);
        free(container_of(it, struct sent, link));
        call.fn(call.arg);
    }
}

static struct event_base *new_base(void)
{
    struct event_config *config = event_config_new();
    if (config == NULL)
        return NULL;
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV);
    struct event_base *base = event_base_new_with_config(config);
    event_config_free(config);
    return base;
}

bool loop_init(struct loop *l)
{
    memset(l, 0, sizeof(*l));
    list_init(&l->posts);
    list_init(&l->next);
    list_init(&l->turns);
    list_init(&l->reaps);
    list_init(&l->sent);
    event_set_log_callback(on_libevent_log);
    l->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (l->wake_fd < 0)
        return false;
    errno = 0;
    l->base = new_base();
    if (l->base == NULL) {
        int cause = errno == 0 ? ENOMEM : errno;
        close(l->wake_fd);
        errno = cause;
        return false;
    }
    pthread_mutex_init(&l->lock, NULL);
    event_assign(&l->wake, l->base, l->wake_fd, EV_READ | EV_PERSIST, on_wake, l);
    event_add(&l->wake, NULL);
    l->rcap = READ_USUAL;
    l->rmost = READ_MOST;
    l->rbuf = xmalloc(l->rmost);
    return true;
}

static void run_reaper(struct loop *l)
{
    struct list *it;
    while ((it = list_pop(&l->reaps)) != NULL) {
        struct reap *r = container_of(it, struct reap, link);
        r->free(r->object);
    }
}

void loop_clear(struct loop *l)
{
    struct list *it;
    run_reaper(l);
    while ((it = list_pop(&l->sent)) != NULL)
        free(container_of(it, struct sent, link));
    event_del(&l->wake);
    event_base_free(l->base);
    close(l->wake_fd);
    pthread_mutex_destroy(&l->lock);
    free(l->rbuf);
    l->base = NULL;
    l->rbuf = NULL;
}

static void run_posts(struct loop *l)
{
    struct list now;
    struct list *it;
    list_init(&now);
    for (int round = 0; round < POST_ROUNDS && !list_is_empty(&l->posts); round++) {
        list_move(&now, &l->posts);
        while ((it = list_pop(&now)) != NULL) {
            struct post *p = container_of(it, struct post, link);
            p->fn(p->arg);
        }
    }
}

/* A hook is back in its list before it is called, so that it can be removed by whatever it does. */
static void run_turns(struct loop *l)
{
    struct list now;
    struct list *it;
    list_init(&now);
    list_move(&now, &l->turns);
    while ((it = list_pop(&now)) != NULL) {
        struct turn *t = container_of(it, struct turn, link);
        list_push_back(&l->turns, it);
        t->fn(t->arg);
    }
}

void loop_turn(struct loop *l, bool wait)
{
    bool nothing_posted = list_is_empty(&l->posts) && list_is_empty(&l->next);
    struct list due;
    list_init(&due);
    list_move(&due, &l->next);
    int flags = wait && nothing_posted ? EVLOOP_ONCE : EVLOOP_ONCE | EVLOOP_NONBLOCK;
    l->turn++;
    if (event_base_loop(l->base, flags) < 0) {
        log_error("the event loop failed: %s", strerror(errno));
        abort();
    }
    list_move(&l->posts, &due);
    run_posts(l);
    run_turns(l);
    run_reaper(l);
}

void loop_run(struct loop *l)
{
    while (!l->stopping)
        loop_turn(l, true);
    l->stopping = false;
}

static void stop_now(void *arg)
{
    struct loop *l = arg;
    l->stopping = true;
}

void loop_stop(struct loop *l)
{
    loop_send(l, stop_now, l);
}

static int64_t clock_us(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t loop_now(void)
{
    return clock_us(CLOCK_MONOTONIC);
}

int64_t loop_wall(void)
{
    return clock_us(CLOCK_REALTIME);
}

void post_init(struct post *p, void (*fn)(void *), void *arg)
{
    list_init(&p->link);
    p->fn = fn;
    p->arg = arg;
}

void loop_post(struct loop *l, struct post *p)
{
    if (list_is_empty(&p->link))
        list_push_back(&l->posts, &p->link);
}

void loop_post_next(struct loop *l, struct post *p)
{
    if (list_is_empty(&p->link))
        list_push_back(&l->next, &p->link);
}

void loop_unpost(struct post *p)
{
    list_remove(&p->link);
}

void loop_add_turn(struct loop *l, struct turn *t, void (*fn)(void *), void *arg)
{
    t->fn = fn;
    t->arg = arg;
    list_push_back(&l->turns, &t->link);
}

void loop_remove_turn(struct turn *t)
{
    list_remove(&t->link);
}

void loop_reap(struct loop *l, struct reap *r, void (*free_fn)(void *), void *object)
{
    if (r->link.next != NULL && !list_is_empty(&r->link)) {
        log_error("a defect of tlsfan: an object is to be freed twice; ending");
        abort();
    }
    r->free = free_fn;
    r->object = object;
    list_push_back(&l->reaps, &r->link);
}

void loop_send(struct loop *l, void (*fn)(void *), void *arg)
{
    struct sent *call = xmalloc(sizeof(*call));
    call->fn = fn;
    call->arg = arg;
    pthread_mutex_lock(&l->lock);
    list_push_back(&l->sent, &call->link);
    /* Under the lock: afterwards the loop may be gone, when the call was the one that stops it. */
    uint64_t one = 1;
    ssize_t ignored = write(l->wake_fd, &one, sizeof(one));
    (void)ignored;
    pthread_mutex_unlock(&l->lock);
}

static void arm(struct deadline *d, int64_t now)
{
    int64_t us = d->at - now;
    struct timeval tv = {.tv_sec = us / 1000000, .tv_usec = us % 1000000};
    d->armed = d->at;
    event_add(&d->timer, &tv);
}

/* libevent counts from the time at which its turn began, and with a coarse clock, so a timer may
 * come early. */
static void loop_on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct deadline *d = arg;
    (void)fd;
    (void)what;
    d->armed = 0;
    if (d->at == 0)
        return;
    int64_t now = loop_now();
    if (now < d->at) {
        arm(d, now);
        return;
    }
    d->at = 0;
    d->fn(d->arg);
}

void deadline_init(struct deadline *d, struct loop *l, void (*fn)(void *), void *arg)
{
    d->loop = l;
    d->at = 0;
    d->armed = 0;
    d->fn = fn;
    d->arg = arg;
    evtimer_assign(&d->timer, l->base, loop_on_timer, d);
}

void deadline_set(struct deadline *d, int64_t ms)
{
    if (ms <= 0) {
        d->at = 0;
        return;
    }
    int64_t now = loop_now();
    d->at = now + (ms < longest_ms ? ms : longest_ms) * 1000;
    if (d->armed == 0 || d->armed > d->at)
        arm(d, now);
}

void deadline_clear(struct deadline *d)
{
    d->at = 0;
}

void deadline_close(struct deadline *d)
{
    d->at = 0;
    if (d->armed == 0)
        return;
    d->armed = 0;
    event_del(&d->timer);
}
