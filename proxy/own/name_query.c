/* SPDX-License-Identifier: Apache-2.0 */
/* A name is looked up for both families, whatever type was asked for: it exists when it has an
 * address of one of them. Equal questions in flight are one for the resolver (net/dns.h). */
#include "own/name_query.h"

#include <stdlib.h>

#include "base/log_limit.h"
#include "net/dns.h"
#include "own/name_rule.h"

enum { SIDES = 2 };

static const int side_families[SIDES] = {AF_INET, AF_INET6};

struct name_query;

/* One family of it. */
struct name_side {
    struct name_query *query;
    struct dns_query *lookup; /* NULL: not asked, or answered */
};

/* Owner: struct name_queries, until its asker is told. */
struct name_query {
    struct list link;
    struct name_queries *all;
    struct name_asker asker;
    struct dns_asked asked;
    struct name_side sides[SIDES];
    bool has_nodata; /* a family said: the name is there, with no address of mine */
    bool has_failed; /* a family could not be asked */
};

void name_queries_init(struct name_queries *all, struct engine *e)
{
    *all = (struct name_queries){.engine = e};
    list_init(&all->all);
}

static void query_close(struct name_query *q)
{
    for (int i = 0; i < SIDES; i++)
        if (q->sides[i].lookup != NULL)
            dns_cancel(q->sides[i].lookup);
    list_remove(&q->link);
    q->all->n--;
    free(q);
}

/* Q is gone when its asker is told. */
static void query_finish(struct name_query *q, const struct name_reply *r)
{
    uint8_t out[DNS_ANSWER_SIZE];
    struct name_asker asker = q->asker;
    size_t n = dns_message_write(out, &q->asked, &r->reply);
    query_close(q);
    asker.fn(&asker, out, n);
}

static bool is_waiting(const struct name_query *q)
{
    return q->sides[0].lookup != NULL || q->sides[1].lookup != NULL;
}

/* Neither family has an address. */
static enum dns_code code_of(const struct name_query *q)
{
    if (q->has_failed)
        return DNS_CODE_SERVFAIL;
    return q->has_nodata ? DNS_CODE_NOERROR : DNS_CODE_NXDOMAIN;
}

static void on_side(void *arg, const struct dns_answer *a)
{
    struct name_side *side = arg;
    struct name_query *q = side->query;
    struct name_reply r;
    side->lookup = NULL;
    q->has_nodata = q->has_nodata || a->is_nodata;
    q->has_failed = q->has_failed || (a->n == 0 && !a->is_nodata && !a->is_absent);
    if (a->n == 0 && is_waiting(q))
        return;
    if (a->n > 0)
        name_rule_exists(&q->asked, &r);
    else
        name_rule_nothing(&r, code_of(q));
    query_finish(q, &r);
}

/* With a dot at its end: whoever asks has added what domains it wanted. */
static void query_look_up(struct name_query *q)
{
    char rooted[DNS_WIRE_NAME + 1];
    int family = q->all->engine->use->conf->dns.family;
    struct str name = dns_asked_name(&q->asked);
    memcpy(rooted, name.p, name.len);
    rooted[name.len] = '.';
    for (int i = 0; i < SIDES; i++) {
        q->sides[i].query = q;
        if (family == AF_UNSPEC || family == side_families[i])
            q->sides[i].lookup = dns_lookup(q->all->engine->dns, str_make(rooted, name.len + 1),
                                            side_families[i], on_side, &q->sides[i]);
    }
}

static void query_new(struct name_queries *all, const struct dns_asked *asked,
                      const struct name_asker *a)
{
    struct name_query *q = xcalloc(1, sizeof(*q));
    q->all = all;
    q->asker = *a;
    q->asked = *asked;
    list_push_back(&all->all, &q->link);
    all->n++;
    query_look_up(q);
}

/* True when somebody outside must be asked; else R has the answer. */
static bool must_wait(const struct name_queries *all, const struct dns_asked *q,
                      struct name_reply *r)
{
    enum name_verdict v = name_rule_judge(all->engine->use->conf, q, r);
    if (v == NAME_EXISTS)
        name_rule_exists(q, r);
    if (v != NAME_IS_ASKED)
        return false;
    if (all->n < NAME_QUERIES_MAX)
        return true;
    log_limited(LOG_LEVEL_WARNING, "a name is not looked up for COMMAND: %u wait already", all->n);
    name_rule_nothing(r, DNS_CODE_SERVFAIL);
    return false;
}

enum name_when name_queries_ask(struct name_queries *all, struct str query,
                                const struct name_asker *a, uint8_t out[DNS_ANSWER_SIZE],
                                size_t *len)
{
    struct dns_asked asked;
    struct name_reply r;
    enum dns_code code = dns_message_parse(&asked, (const uint8_t *)query.p, query.len);
    if (code == DNS_CODE_SILENT)
        return NAME_NEVER;
    if (code != DNS_CODE_NOERROR) {
        name_rule_nothing(&r, code);
    } else if (must_wait(all, &asked, &r)) {
        query_new(all, &asked, a);
        return NAME_LATER;
    }
    *len = dns_message_write(out, &asked, &r.reply);
    return NAME_NOW;
}

void name_queries_drop(struct name_queries *all, const void *arg)
{
    struct list keep;
    struct list *it;
    list_init(&keep);
    while ((it = list_first(&all->all)) != NULL) {
        struct name_query *q = container_of(it, struct name_query, link);
        if (arg == NULL || q->asker.arg == arg) {
            query_close(q);
            continue;
        }
        list_remove(it);
        list_push_back(&keep, it);
    }
    list_move(&all->all, &keep);
}
