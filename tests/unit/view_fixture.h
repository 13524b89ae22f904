/* SPDX-License-Identifier: Apache-2.0 */
/* What the service listener tells of, over a rig's one worker and perhaps a second one's stats. */
#ifndef TLSFAN_TESTS_VIEW_FIXTURE_H
#define TLSFAN_TESTS_VIEW_FIXTURE_H

#include "exchange_fixture.h"

#include "service/service_view.h"

static struct rig rig;
static struct probe p;
static struct stats *all_stats[2];
static struct service_view view;
static struct service_reloads reloads;

static inline void view_open(const char *const *options)
{
    rig_open(&rig, options);
    all_stats[0] = rig.engine.stats;
    all_stats[1] = stats_new();
    view = (struct service_view){.stats = all_stats,
                                 .n = 2,
                                 .workers = 2,
                                 .conf = rig.conf,
                                 .budget = &rig.budget,
                                 .since = loop_now(),
                                 .since_wall = loop_wall(),
                                 .connections = 3,
                                 .max_connections = 10,
                                 .reloads = &reloads};
}

static inline void view_close(void)
{
    stats_free(all_stats[1]);
    rig_close(&rig);
}

static inline int set_up(void **state)
{
    (void)state;
    view_open(NULL);
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    view_close();
    return 0;
}

/* The exchange ends as it should. */
static inline void view_end(void)
{
    int64_t limit = loop_now() + 10000000;
    while (!p.over && loop_now() < limit)
        loop_turn(&rig.f.loop, false);
    assert_true(p.over);
    exchange_close(&p.x, FAULT_NONE);
    probe_close(&p, &rig);
}

/* A whole exchange: GET URL, ANSWER from the origin on FD (-1: on a new connection). Gives the
 * connection. */
static inline int view_exchange(int fd, const char *head, const char *answer)
{
    probe_open(&p, &rig, head);
    exchange_start(&p.x, STR(""), true);
    if (fd < 0)
        fd = rig_accept(&rig, "\r\n\r\n");
    else
        (void)rig_read(&rig, fd, "\r\n\r\n", NULL);
    fixture_write(fd, answer);
    view_end();
    return fd;
}

/* What is in OUT, terminated, in a static buffer; frees OUT. */
static inline const char *view_text(struct evbuffer *out)
{
    static char text[1024 * 1024];
    size_t n = evbuffer_get_length(out);
    assert_true(n < sizeof(text));
    evbuffer_remove(out, text, n);
    evbuffer_free(out);
    text[n] = '\0';
    return text;
}

#endif
