/* SPDX-License-Identifier: Apache-2.0 */
/* What the service listener has: a path, who may ask for it, and what it says. */
#ifndef TLSFAN_SERVICE_PAGES_H
#define TLSFAN_SERVICE_PAGES_H

#include <event2/buffer.h>

#include "service/exchanges.h"

struct page {
    struct str path;
    const char *type;       /* Content-Type */
    const char *policy;     /* Content-Security-Policy; NULL: none */
    bool is_open;           /* a health check: client.allow and auth_file do not hold */
    bool is_batch;          /* POST alone; else GET and HEAD */
    bool is_live;           /* shows what is under way: workers are asked first (watch.h) */
    const struct str *text; /* the body where it never changes; else `print` makes it */
    /* As page_print(). Neither this nor `text` with is_batch. */
    unsigned (*print)(struct evbuffer *out, const struct service_view *v,
                      const struct page_query *q);
};

/* Appends the body to OUT and gives the status. */
unsigned page_print(const struct page *p, struct evbuffer *out, const struct service_view *v,
                    const struct page_query *q);

/* NULL when there is nothing of that path (without query). */
const struct page *page_find(struct str path);

#endif
