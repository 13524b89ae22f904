/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of exchanges: see exchanges.h. */
#include "service/exchanges.h"

#include <stdlib.h>

#include "base/loop.h"
#include "service/exchange_json.h"
#include "service/feed.h"
#include "service/json_out.h"
#include "service/watch.h"

static void set_cursor(json_t *root, const struct feed *f)
{
    char *cursor = feed_cursor(f);
    set_word(root, "cursor", cursor);
    free(cursor);
}

/* When our own time began. It moves with a clock that is set, and so do all times that are told
 * from then on. */
static void set_clock(json_t *root, const struct exchange_shown *how)
{
    set_ms(root, "clock", how->wall);
}

/* ---- under way */

static int compare_running(const void *a, const void *b)
{
    const struct running *one = *(const struct running *const *)a;
    const struct running *other = *(const struct running *const *)b;
    if (one->is_tunnel != other->is_tunnel)
        return one->is_tunnel - other->is_tunnel;
    return (one->r.t.begin > other->r.t.begin) - (one->r.t.begin < other->r.t.begin);
}

/* All that the workers have written down, in that order. *N: how many; *ALL: and how many there
 * are. Heap. */
static const struct running **gather(const struct service_view *v, unsigned *n, uint64_t *all)
{
    const struct running **found = xcalloc((size_t)v->n * RUNNING_MOST + 1, sizeof *found);
    *n = 0;
    *all = 0;
    for (unsigned i = 0; v->watched != NULL && i < v->n; i++) {
        const struct running_list *list = v->watched[i].list;
        if (list == NULL)
            continue;
        *all += list->all;
        for (unsigned j = 0; j < list->n; j++)
            found[(*n)++] = &list->v[j];
    }
    qsort(found, *n, sizeof *found, compare_running);
    return found;
}

static void set_running(json_t *root, const struct service_view *v, int64_t wall)
{
    unsigned n;
    uint64_t all;
    const struct running **found = gather(v, &n, &all);
    json_t *list = json_array();
    for (unsigned i = 0; i < n && i < EXCHANGES_RUNNING; i++)
        json_array_append_new(list, exchange_json_running(found[i], wall));
    status_set_number(root, "running_more", all - json_array_size(list));
    json_object_set_new(root, "running", list);
    free(found);
}

/* Workers that hang, and since when. Who has just been asked for another reader does not. */
static void set_silent(json_t *root, const struct service_view *v)
{
    json_t *list = json_array();
    for (unsigned i = 0; v->watched != NULL && i < v->n; i++) {
        int64_t asked = v->watched[i].asked, us = loop_now() - asked;
        if (asked == 0 || us < WATCH_MS * 1000)
            continue;
        json_t *one = json_object();
        status_set_number(one, "worker", i + 1);
        set_ms(one, "ms", us);
        json_array_append_new(list, one);
    }
    json_object_set_new(root, "silent", list);
}

/* ---- ended */

/* What a worker had ended when it wrote down what was under way: an exchange is in one of both. */
static struct feed *feed_of_records(const struct service_view *v)
{
    struct feed *f = feed_new(v->since, v->n);
    for (unsigned i = 0; i < v->n; i++) {
        const struct running_list *list = v->watched == NULL ? NULL : v->watched[i].list;
        f->v[i].ring = v->stats[i]->records;
        f->v[i].end = list == NULL ? ring_end(f->v[i].ring) : list->end;
    }
    return f;
}

/* Once for an answer, so that all of its times are by one clock. */
static struct exchange_shown shown_now(const struct service_view *v)
{
    return (struct exchange_shown){loop_wall() - loop_now(), v->conf->log.fields};
}

static json_t *show_records(const struct service_view *v, const struct feed_pick *picks, unsigned n,
                            const struct exchange_shown *how)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < n; i++) {
        const struct stats *s = v->stats[picks[i].ring];
        struct record r;
        if (ring_get(s->records, picks[i].number, &r, sizeof r))
            json_array_append_new(list, exchange_json(&r, s, how));
    }
    return list;
}

/* Those that are lost between two looks are gone as well. */
static void set_ended(json_t *root, const struct service_view *v, struct feed *f, int64_t limit,
                      const struct exchange_shown *how)
{
    struct feed_pick picks[EXCHANGES_MOST];
    uint64_t gone = f->goes_on ? feed_gone(f) : 0, all = feed_left(f);
    bool takes = limit >= 0;
    unsigned n = !takes      ? feed_sample(f, picks, EXCHANGES_SAMPLED)
                 : limit > 0 ? feed_take(f, picks, (unsigned)limit)
                             : 0;
    json_t *list = show_records(v, picks, n, how);
    uint64_t left = takes ? feed_left(f) : 0;
    uint64_t unseen = all - left - json_array_size(list);
    if (takes)
        gone += unseen;
    status_set_number(root, "skipped", takes ? gone : f->goes_on ? gone + unseen : 0);
    status_set_number(root, "gone", gone);
    status_set_number(root, "waiting", left);
    json_object_set_new(root, "exchanges", list);
}

void exchanges_print(struct evbuffer *out, const struct service_view *v, const struct page_query *q)
{
    struct feed *f = feed_of_records(v);
    json_t *root = json_object();
    int64_t limit = q->limit > EXCHANGES_MOST ? EXCHANGES_MOST : q->limit;
    struct exchange_shown how = shown_now(v);
    feed_begin(f, q->after);
    set_ended(root, v, f, limit, &how);
    if (limit == 0 && f->goes_on)
        json_object_set_new(root, "cursor", json_stringn(q->after.p, q->after.len));
    else
        set_cursor(root, f);
    set_clock(root, &how);
    set_running(root, v, how.wall);
    set_silent(root, v);
    free(f);
    put_json(out, root);
}

/* ---- failed */

/* Both kinds of each worker, one behind the other. */
static struct feed *feed_of_failures(const struct service_view *v)
{
    struct feed *f = feed_new(v->since, 2 * v->n);
    for (unsigned i = 0; i < f->n; i++) {
        const struct stats *s = v->stats[i / 2];
        f->v[i].ring = i % 2 == 0 ? s->failures : s->refusals;
        f->v[i].end = ring_end(f->v[i].ring);
    }
    return f;
}

static json_t *show_failures(const struct feed *f, const struct feed_pick *picks, unsigned n,
                             const struct exchange_shown *how)
{
    unsigned of_kind[2] = {0}, skip[2];
    json_t *list = json_array();
    for (unsigned i = 0; i < n; i++)
        of_kind[picks[i].ring % 2]++;
    for (unsigned kind = 0; kind < 2; kind++)
        skip[kind] = of_kind[kind] > STATS_FAILURES ? of_kind[kind] - STATS_FAILURES : 0;
    for (unsigned i = 0; i < n; i++) {
        struct failure failure;
        unsigned kind = picks[i].ring % 2;
        if (skip[kind] > 0)
            skip[kind]--;
        else if (ring_get(f->v[picks[i].ring].ring, picks[i].number, &failure, sizeof failure))
            json_array_append_new(list, exchange_json_failure(&failure, how));
    }
    return list;
}

void failures_print(struct evbuffer *out, const struct service_view *v, const struct page_query *q)
{
    struct feed *f = feed_of_failures(v);
    feed_begin(f, q->after);
    uint64_t gone = feed_gone(f), all = feed_left(f);
    struct feed_pick *picks = xcalloc(all + 1, sizeof *picks);
    unsigned n = feed_sample(f, picks, (unsigned)all);
    struct exchange_shown how = shown_now(v);
    json_t *list = show_failures(f, picks, n, &how);
    json_t *root = json_object();
    set_cursor(root, f);
    set_clock(root, &how);
    status_set_number(root, "gone", f->goes_on ? gone + all - json_array_size(list) : 0);
    json_object_set_new(root, "failures", list);
    free(picks);
    free(f);
    put_json(out, root);
}
