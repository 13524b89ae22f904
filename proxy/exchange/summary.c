/* SPDX-License-Identifier: Apache-2.0 */
/* What has been asked in all: see summary.h. */
#include "exchange/summary.h"

#include <pthread.h>
#include <stdio.h>

bool summary_is_open;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards all below */
static struct summary sum;
static int64_t since;   /* when what is under way has begun */
static int64_t until;   /* the last end: workers do not tell of theirs in order */
static int64_t counted; /* to where `busy` has it */

void summary_open(void)
{
    sum = (struct summary){0};
    since = until = counted = 0;
    summary_is_open = true;
}

struct summary summary_get(void)
{
    pthread_mutex_lock(&lock);
    struct summary s = sum;
    pthread_mutex_unlock(&lock);
    return s;
}

/* ---- time */

/* What an own listener answers is counted there, if it is one. */
static bool summary_is_request(const struct exchange *x)
{
    bool is_batch_call = x->performer != NULL && x->performer == x->engine->batch;
    return x->head.method.id != METHOD_CONNECT && x->from->kind != SOURCE_OWN && !is_batch_call &&
           !x->where.is_bound;
}

void summary_begin(struct exchange *x)
{
    if (x->is_summed || !summary_is_request(x))
        return;
    x->is_summed = true;
    pthread_mutex_lock(&lock);
    int64_t from = x->t.begin > counted ? x->t.begin : counted;
    if (sum.under_way == 0 || from < since)
        since = from;
    if (++sum.under_way > sum.most)
        sum.most = sum.under_way;
    pthread_mutex_unlock(&lock);
}

void summary_end(struct exchange *x)
{
    if (!x->is_summed)
        return;
    x->is_summed = false;
    int64_t now = x->t.end != 0 ? x->t.end : loop_now();
    pthread_mutex_lock(&lock);
    sum.waiting += now - x->t.begin;
    if (now > until)
        until = now;
    if (--sum.under_way == 0 && until > since) {
        sum.busy += until - since;
        counted = until;
    }
    pthread_mutex_unlock(&lock);
}

/* ---- numbers */

static void summary_note_where(const struct exchange *x)
{
    char text[sizeof(sum.where)];
    char host[sizeof(sum.where) - 8];
    str_escape(host, sizeof(host), x->target.host.name);
    snprintf(text, sizeof(text), x->target.host.is_ip6 ? "[%s]:%u" : "%s:%u", host,
             (unsigned)x->target.host.port);
    if (sum.where[0] == '\0')
        memcpy(sum.where, text, sizeof(text));
    else if (strcmp(sum.where, text) != 0)
        sum.has_more = true;
}

/* CONNECT host:80 is not answered as one by a rule, but read. */
static void summary_count_connect(const struct exchange *x)
{
    bool is_read = x->fault == FAULT_NONE && x->performer == NULL;
    if (is_read && x->rule == NULL)
        return;
    summary_note_where(x);
    if (is_read)
        sum.intercepted++;
    else
        sum.tunnels++;
    if (!is_read && x->status != 200)
        sum.unopened++;
}

static void summary_count_request(const struct exchange *x)
{
    sum.requests++;
    if (x->is_ahead)
        sum.ahead++;
    if (x->fault == FAULT_CLIENT_GONE)
        sum.given_up++;
    else if (x->fault != FAULT_NONE)
        sum.failed++;
}

void summary_count(struct exchange *x)
{
    summary_end(x);
    pthread_mutex_lock(&lock);
    if (x->from->kind == SOURCE_HOST || x->where.is_bound)
        sum.to_host++;
    else if (x->head.method.id == METHOD_CONNECT)
        summary_count_connect(x);
    else if (summary_is_request(x))
        summary_count_request(x);
    pthread_mutex_unlock(&lock);
}
