/* SPDX-License-Identifier: Apache-2.0 */
/* GET /exchanges and GET /failures: exchanges one by one, as JSON. All times are in ms. */
#ifndef TLSFAN_SERVICE_EXCHANGES_H
#define TLSFAN_SERVICE_EXCHANGES_H

#include <event2/buffer.h>

#include "service/service_view.h"

enum {
    EXCHANGES_SAMPLED = 200, /* that have ended, in an answer */
    EXCHANGES_MOST = 1000,   /* the same, where the reader says how many */
    EXCHANGES_RUNNING = 500  /* that are under way */
};

/* What a reader asks for. */
struct page_query {
    struct str after; /* the cursor of an earlier answer; empty or another process's: from now on */
    int64_t limit;    /* how many; -1: not said */
};

/* Appends {"cursor","clock","skipped","gone","waiting","exchanges":[...],"running":[...],...} to
 * OUT.
 *
 * Without a limit: what has ended since q->after, at most EXCHANGES_SAMPLED of it, spread over all
 * that there is, or the newest where there is no cursor. With one: so many of those that are kept,
 * the oldest first and none left out; "waiting" says how many more there are behind the new cursor.
 * "gone" are those since then that are not kept any more.
 *
 * "running" are those under way, as v->watched has them. "clock" moves by as much as the clock is
 * set by, with all times in the answer. */
void exchanges_print(struct evbuffer *out, const struct service_view *v,
                     const struct page_query *q);

/* Appends {"cursor","clock","gone","failures":[...]} to OUT: of what failed since q->after, the
 * last STATS_FAILURES that tlsfan ended and the last ones that others did. */
void failures_print(struct evbuffer *out, const struct service_view *v, const struct page_query *q);

#endif
