/* SPDX-License-Identifier: Apache-2.0 */
/* Limits of log lines. A call site is in the list exactly while it holds something back; the timer
 * runs exactly while the list is not empty. */
#include "base/log_limit.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#include "base/log_loss.h"
#include "base/loop.h"

enum { LOOK_MS = 1000 }; /* between two looks at what is held back */

/* What a call site has held back, ready to be told. */
struct held {
    enum log_level level;
    unsigned n;
    char first[LOG_LIMIT_TEXT];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards all below, and every site */
static struct log_limit *holding;
static struct loop *teller;
static struct deadline look; /* the teller's thread alone */

static void start_looking(void *arg)
{
    (void)arg;
    deadline_set(&look, LOOK_MS);
}

static void PRINTF_LIKE(3, 0)
    hold(struct log_limit *l, enum log_level level, const char *fmt, va_list args)
{
    if (l->held++ > 0)
        return;
    l->level = level;
    vsnprintf(l->first, sizeof(l->first), fmt, args);
    if (holding == NULL && teller != NULL)
        loop_send(teller, start_looking, NULL);
    l->next = holding;
    holding = l;
}

/* Takes the site at *LINK out of the list. */
static struct held log_limit_take(struct log_limit **link)
{
    struct log_limit *l = *link;
    struct held h = {.level = l->level, .n = l->held};
    memcpy(h.first, l->first, sizeof(h.first));
    l->held = 0;
    *link = l->next;
    return h;
}

static struct log_limit **log_limit_link(const struct log_limit *l)
{
    struct log_limit **link = &holding;
    while (*link != l)
        link = &(*link)->next;
    return link;
}

static void tell(const struct held *h)
{
    if (h->n > 0)
        log_write(h->level, "%u more like it held back, the first of them: %s", h->n, h->first);
}

static bool log_limit_is_over(const struct log_limit *l, int64_t now)
{
    return now - l->since >= LOG_LIMIT_MS * INT64_C(1000);
}

void log_limit_write(struct log_limit *l, enum log_level level, const char *fmt, ...)
{
    struct held before = {.n = 0};
    int cause = errno;
    int64_t now = loop_now();
    va_list args;
    va_start(args, fmt);
    pthread_mutex_lock(&lock);
    if (l->since == 0 || log_limit_is_over(l, now)) {
        if (l->held > 0)
            before = log_limit_take(log_limit_link(l));
        l->since = now;
        l->written = 0;
    }
    bool is_held = l->written >= LOG_LIMIT_BURST;
    errno = cause; /* for %m */
    if (is_held)
        hold(l, level, fmt, args);
    else
        l->written++;
    pthread_mutex_unlock(&lock);
    tell(&before);
    errno = cause;
    if (!is_held)
        log_vwrite(level, fmt, args);
    va_end(args);
    errno = cause;
}

/* Tells of all sites whose time is over, or of ALL. */
static void tell_due(bool all)
{
    int64_t now = loop_now();
    struct held h;
    do {
        h.n = 0;
        pthread_mutex_lock(&lock);
        struct log_limit **link = &holding;
        while (*link != NULL && !all && !log_limit_is_over(*link, now))
            link = &(*link)->next;
        if (*link != NULL)
            h = log_limit_take(link);
        pthread_mutex_unlock(&lock);
        tell(&h);
    } while (h.n > 0);
}

static void log_limit_on_look(void *arg)
{
    (void)arg;
    tell_due(false);
    pthread_mutex_lock(&lock);
    bool is_more = holding != NULL;
    pthread_mutex_unlock(&lock);
    if (is_more)
        deadline_set(&look, LOOK_MS);
}

void log_limit_set_loop(struct loop *loop)
{
    pthread_mutex_lock(&lock);
    struct loop *before = teller;
    teller = loop;
    pthread_mutex_unlock(&lock);
    if (before != NULL)
        deadline_close(&look);
    if (loop != NULL)
        deadline_init(&look, loop, log_limit_on_look, NULL);
    log_loss_set_loop(loop);
    tell_due(true);
}
