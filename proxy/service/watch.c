/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to workers and their answers: see watch.h. A question goes round as one call: made
 * here, filled in on the worker's thread, taken apart here again, also when nobody watches any
 * more. */
#include "service/watch.h"

#include <stdlib.h>

#include "exchange/stats.h"

struct watch {
    struct loop *loop;
    unsigned n;
    unsigned n_asked; /* whose answers are on their way */
    bool is_closed;
    struct list waits; /* struct watch_wait */
    struct deadline patience;
    struct post done;
    const struct service_view *view; /* borrowed */
    struct watch_worker workers[];
};

/* Owner: who has it, one loop after the other. */
struct question {
    struct watch *watch;
    unsigned worker;
    struct engine *engine; /* that worker's */
    struct running_list *list;
};

static void watch_tell(void *arg)
{
    struct watch *w = arg;
    struct list *it;
    deadline_clear(&w->patience);
    while ((it = list_pop(&w->waits)) != NULL) {
        struct watch_wait *wait = container_of(it, struct watch_wait, link);
        wait->fn(wait->arg);
    }
}

static void watch_free(struct watch *w)
{
    for (unsigned i = 0; i < w->n; i++)
        free(w->workers[i].list);
    free(w);
}

/* On our loop again. */
static void watch_on_answer(void *arg)
{
    struct question *q = arg;
    struct watch *w = q->watch;
    struct watch_worker *of = &w->workers[q->worker];
    free(of->list);
    of->list = q->list;
    of->asked = 0;
    free(q);
    w->n_asked--;
    if (w->is_closed && w->n_asked == 0)
        watch_free(w);
    else if (w->n_asked == 0)
        watch_tell(w);
}

/* On the worker's. */
static void watch_on_question(void *arg)
{
    struct question *q = arg;
    q->list = running_collect(q->engine);
    q->engine->credit = SEEN_CREDIT;
    loop_send(q->watch->loop, watch_on_answer, q);
}

struct watch *watch_new(struct loop *l, const struct service_view *v)
{
    struct watch *w = xcalloc(1, sizeof *w + v->n * sizeof w->workers[0]);
    w->loop = l;
    w->n = v->n;
    w->view = v;
    list_init(&w->waits);
    deadline_init(&w->patience, l, watch_tell, w);
    post_init(&w->done, watch_tell, w);
    return w;
}

void watch_close(struct watch *w)
{
    w->is_closed = true;
    while (list_pop(&w->waits) != NULL)
        continue;
    deadline_close(&w->patience);
    loop_unpost(&w->done);
    if (w->n_asked == 0)
        watch_free(w);
}

/* It is not asked while its last answer is on its way. */
static void watch_ask_one(struct watch *w, unsigned worker)
{
    struct engine *e = w->view->stats[worker]->engine;
    if (w->workers[worker].asked != 0 || e == NULL)
        return;
    struct question *q = xcalloc(1, sizeof *q);
    *q = (struct question){.watch = w, .worker = worker, .engine = e};
    w->workers[worker].asked = loop_now();
    w->n_asked++;
    loop_send(e->loop, watch_on_question, q);
}

void watch_ask(struct watch *w, struct watch_wait *wait, void (*fn)(void *arg), void *arg)
{
    wait->fn = fn;
    wait->arg = arg;
    list_push_back(&w->waits, &wait->link);
    for (unsigned i = 0; i < w->n; i++)
        watch_ask_one(w, i);
    if (w->n_asked == 0)
        loop_post(w->loop, &w->done);
    else if (!deadline_is_set(&w->patience))
        deadline_set(&w->patience, WATCH_MS);
}

void watch_leave(struct watch_wait *wait)
{
    if (wait->link.next != NULL)
        list_remove(&wait->link);
}

const struct watch_worker *watch_workers(const struct watch *w)
{
    return w->workers;
}
