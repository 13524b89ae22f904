/* SPDX-License-Identifier: Apache-2.0 */
/* The table of what the service listener has. */
#include "service/pages.h"

#include "service/metrics.h"
#include "service/page.h"
#include "service/status.h"

static unsigned print_health(struct evbuffer *out, const struct service_view *v,
                             const struct page_query *q)
{
    (void)v;
    (void)q;
    evbuffer_add(out, "ok\n", 3);
    return 200;
}

/* Who balances load sends nothing here any more, while what is under way is finished. */
static unsigned print_ready(struct evbuffer *out, const struct service_view *v,
                            const struct page_query *q)
{
    if (!v->draining)
        return print_health(out, v, q);
    evbuffer_add(out, "draining\n", 9);
    return 503;
}

static unsigned print_metrics(struct evbuffer *out, const struct service_view *v,
                              const struct page_query *q)
{
    (void)q;
    metrics_print(out, v);
    return 200;
}

static unsigned print_status(struct evbuffer *out, const struct service_view *v,
                             const struct page_query *q)
{
    (void)q;
    status_print(out, v);
    return 200;
}

static unsigned print_exchanges_page(struct evbuffer *out, const struct service_view *v,
                                     const struct page_query *q)
{
    exchanges_print(out, v, q);
    return 200;
}

static unsigned print_failures_page(struct evbuffer *out, const struct service_view *v,
                                    const struct page_query *q)
{
    failures_print(out, v, q);
    return 200;
}

/* Nothing but our own files, and nobody may frame them. */
static const char page_policy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static const char javascript[] = "text/javascript; charset=utf-8";

static const struct page pages[] = {
    {.path = STR_INIT("/healthz"), .type = "text/plain", .is_open = true, .print = print_health},
    {.path = STR_INIT("/readyz"), .type = "text/plain", .is_open = true, .print = print_ready},
    {.path = STR_INIT("/metrics"), .type = "text/plain; version=0.0.4", .print = print_metrics},
    {.path = STR_INIT("/status"), .type = "application/json", .print = print_status},
    {.path = STR_INIT("/exchanges"),
     .type = "application/json",
     .is_live = true,
     .print = print_exchanges_page},
    {.path = STR_INIT("/failures"), .type = "application/json", .print = print_failures_page},
    {.path = STR_INIT("/"),
     .type = "text/html; charset=utf-8",
     .policy = page_policy,
     .text = &page_html},
    {.path = STR_INIT("/page.css"), .type = "text/css; charset=utf-8", .text = &page_css},
    {.path = STR_INIT("/page.js"), .type = javascript, .text = &page_js},
    {.path = STR_INIT("/axis.js"), .type = javascript, .text = &axis_js},
    {.path = STR_INIT("/details.js"), .type = javascript, .text = &details_js},
    {.path = STR_INIT("/figures.js"), .type = javascript, .text = &figures_js},
    {.path = STR_INIT("/format.js"), .type = javascript, .text = &format_js},
    {.path = STR_INIT("/grid.js"), .type = javascript, .text = &grid_js},
    {.path = STR_INIT("/har.js"), .type = javascript, .text = &har_js},
    {.path = STR_INIT("/rows.js"), .type = javascript, .text = &rows_js},
    {.path = STR_INIT("/scale.js"), .type = javascript, .text = &scale_js},
    {.path = STR_INIT("/store.js"), .type = javascript, .text = &store_js},
    {.path = STR_INIT("/tables.js"), .type = javascript, .text = &tables_js},
    {.path = STR_INIT("/batch"), .is_batch = true},
};

const struct page *page_find(struct str path)
{
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++)
        if (str_eq(pages[i].path, path))
            return &pages[i];
    return NULL;
}

unsigned page_print(const struct page *p, struct evbuffer *out, const struct service_view *v,
                    const struct page_query *q)
{
    if (p->text == NULL)
        return p->print(out, v, q);
    evbuffer_add_reference(out, p->text->p, p->text->len, NULL, NULL);
    return 200;
}
