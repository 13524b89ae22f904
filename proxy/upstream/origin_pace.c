/* SPDX-License-Identifier: Apache-2.0 */
/* See origin_pace.h. When somebody before it has left, a seat's time is earlier than it was, and
 * nobody tells it: it looks once a second. */
#include "upstream/origin_pace.h"

#include <stdlib.h>

#include "base/mem.h"

enum { LOOK_MS = 1000 };

static void origin_pace_on_timer(void *arg)
{
    struct origin_pace *p = arg;
    loop_post(p->loop, p->serve);
}

struct origin_pace *origin_pace_new(const struct up_where *where, struct loop *l,
                                    struct post *serve)
{
    const struct rule *rule = where->rule;
    if (rule->rate == 0 && !rule->retry_after)
        return NULL;
    struct origin_pace *p = xcalloc(1, sizeof *p);
    p->pace = pace_get(where->host, where->port);
    if (rule->rate != 0)
        pace_set_rate(p->pace, where->conf->generation, rule->rate);
    for (int i = 0; i < PACE_LINES; i++) {
        pace_seat_init(&p->seats[i], p->pace, (enum pace_line)i);
        p->seats[i].is_spaced = rule->rate != 0;
        p->seats[i].obeys = rule->retry_after;
    }
    p->loop = l;
    p->serve = serve;
    deadline_init(&p->timer, l, origin_pace_on_timer, p);
    return p;
}

void origin_pace_free(struct origin_pace *p)
{
    if (p == NULL)
        return;
    for (int i = 0; i < PACE_LINES; i++)
        pace_leave(&p->seats[i]);
    pace_put(p->pace);
    deadline_close(&p->timer);
    free(p);
}

void origin_pace_wake(struct origin_pace *p, int64_t ms)
{
    ms = ms < 1 ? 1 : ms < LOOK_MS ? ms : LOOK_MS;
    if (!deadline_is_set(&p->timer) || p->timer.at > loop_now() + ms * 1000)
        deadline_set(&p->timer, ms);
}

bool origin_pace_go(struct origin_pace *p, enum pace_line line)
{
    int64_t when;
    int64_t now = loop_now();
    bool goes = pace_go(&p->seats[line], now, &when);
    p->opens[line] = goes ? 0 : when;
    if (!goes)
        origin_pace_wake(p, (when - now + 999) / 1000);
    return goes;
}

void origin_pace_back(struct origin_pace *p, enum pace_line line)
{
    pace_back(&p->seats[line]);
}

void origin_pace_leave(struct origin_pace *p, enum pace_line line)
{
    pace_leave(&p->seats[line]);
    p->opens[line] = 0;
}
