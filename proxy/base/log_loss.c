/* SPDX-License-Identifier: Apache-2.0 */
/* Lost lines: see log_loss.h. The timer runs exactly while lines are being lost. */
#include "base/log_loss.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"

/* From the first line that was lost to the end. */
struct loss {
    char *name; /* heap; NULL: there is none */
    unsigned long long lines;
    int64_t begin, last; /* µs: when a line was lost */
    bool has_taken;      /* lines, since then */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the two below */
static struct loss now_lost;
static struct loop *loss_teller;
static struct deadline loss_look; /* the teller's thread alone */
static _Atomic bool is_losing;    /* there is one: lest each flush takes the lock */

static void loss_start_looking(void *arg)
{
    (void)arg;
    deadline_set(&loss_look, LOG_LOSS_MS);
}

/* Takes the loss away where it is over, or ANYWAY; its name is the caller's. */
static struct loss loss_take(bool anyway)
{
    struct loss l = {.name = NULL};
    bool is_over = now_lost.has_taken && loop_now() - now_lost.last >= LOG_LOSS_MS * INT64_C(1000);
    if (now_lost.name == NULL || !(is_over || anyway))
        return l;
    l = now_lost;
    now_lost = (struct loss){.name = NULL};
    atomic_store(&is_losing, false);
    return l;
}

/* Frees its name. */
static void loss_tell(struct loss *l)
{
    if (l->name == NULL)
        return;
    long long s = (l->last - l->begin + 999999) / 1000000;
    log_warning("the access log %s%s: %llu line%s dropped within %lld s", l->name,
                l->has_taken ? " takes lines again" : " took no more", l->lines,
                l->lines == 1 ? " was" : "s were", s > 0 ? s : 1);
    free(l->name);
}

/* True when it begins. */
static bool loss_add(const char *name, unsigned lost)
{
    int64_t now = loop_now();
    bool is_new = now_lost.name == NULL;
    if (is_new) {
        now_lost = (struct loss){.name = xstrdup(name), .begin = now};
        atomic_store(&is_losing, true);
        if (loss_teller != NULL)
            loop_send(loss_teller, loss_start_looking, NULL);
    }
    now_lost.lines += lost;
    now_lost.last = now;
    now_lost.has_taken = false;
    return is_new;
}

void log_loss_note(const char *name, unsigned lost, int why)
{
    struct loss over = {.name = NULL};
    bool is_new = false;
    if (lost == 0 && !atomic_load_explicit(&is_losing, memory_order_relaxed))
        return;
    pthread_mutex_lock(&lock);
    if (lost > 0) {
        is_new = loss_add(name, lost);
    } else {
        now_lost.has_taken = true;
        over = loss_take(false);
    }
    pthread_mutex_unlock(&lock);
    loss_tell(&over);
    if (is_new)
        log_warning("the access log %s takes no lines, which are dropped until it does: %s", name,
                    why == 0 ? "its reader does not keep up" : strerror(why));
}

void log_loss_end(void)
{
    pthread_mutex_lock(&lock);
    struct loss over = loss_take(true);
    pthread_mutex_unlock(&lock);
    loss_tell(&over);
}

static void loss_on_look(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&lock);
    struct loss over = loss_take(false);
    bool is_more = now_lost.name != NULL;
    pthread_mutex_unlock(&lock);
    loss_tell(&over);
    if (is_more)
        deadline_set(&loss_look, LOG_LOSS_MS);
}

void log_loss_set_loop(struct loop *loop)
{
    pthread_mutex_lock(&lock);
    struct loop *before = loss_teller;
    loss_teller = loop;
    bool is_more = now_lost.name != NULL;
    pthread_mutex_unlock(&lock);
    if (before != NULL)
        deadline_close(&loss_look);
    if (loop == NULL)
        return;
    deadline_init(&loss_look, loop, loss_on_look, NULL);
    if (is_more)
        deadline_set(&loss_look, LOG_LOSS_MS);
}
