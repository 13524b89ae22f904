/* SPDX-License-Identifier: Apache-2.0 */
/* Counting and summing: see stats.h. stats_count() is on every request's path. */
#include "exchange/stats.h"

#include <stdlib.h>

#include "exchange/exchange.h"
#include "exchange/performer.h"
#include "exchange/record.h"

enum { RECORDS = 512, SENTENCES = 64, HEADS = 128 };

const int64_t stats_bounds[STATS_BOUNDS] = {1000,    2500,    5000,     10000,    25000,
                                            50000,   100000,  250000,   500000,   1000000,
                                            2500000, 5000000, 10000000, 30000000, 60000000};

static const char *const phase_names[PHASE_COUNT] = {"queue", "dns",  "connect",
                                                     "tls",   "wait", "total"};

struct stats *stats_new(void)
{
    struct stats *s = xcalloc(1, sizeof *s);
    s->records = ring_new(RECORDS, sizeof(struct record));
    s->sentences = ring_new(SENTENCES, sizeof(struct sentence));
    s->heads = ring_new(HEADS, sizeof(struct seen_heads));
    s->failures = ring_new(STATS_FAILURES, sizeof(struct failure));
    s->refusals = ring_new(STATS_FAILURES, sizeof(struct failure));
    tally_join(&s->tally);
    return s;
}

void stats_free(struct stats *s)
{
    tally_leave(&s->tally);
    ring_free(s->records);
    ring_free(s->sentences);
    ring_free(s->heads);
    ring_free(s->failures);
    ring_free(s->refusals);
    free(s);
}

static void observe(struct stats *s, enum phase phase, int64_t us)
{
    struct histogram *h = &s->phases[phase];
    unsigned i = 0;
    if (us < 0)
        us = 0;
    while (i < STATS_BOUNDS && us > stats_bounds[i])
        i++;
    counter_add(&h->in[i], 1);
    counter_add(&h->sum, (uint64_t)us);
}

/* Where a connection was made or tried for X. A name that is known already takes no time. */
static void observe_dial(struct stats *s, const struct exchange_times *t)
{
    observe(s, PHASE_DNS, t->dns);
    if (t->connect > 0)
        observe(s, PHASE_CONNECT, t->connect);
    if (t->tls > 0)
        observe(s, PHASE_TLS, t->tls);
}

static void count_upstream(struct stats *s, const struct exchange *x)
{
    if (x->facts.is_reused)
        counter_add(&x->facts.place->reused, 1);
    if (x->facts.protocol != NULL)
        counter_add(x->facts.is_shared ? &s->h2 : &s->h1, 1);
    if (!x->where.tls)
        counter_add(&s->plain, x->where.is_bound ? 0 : 1); /* what asks ourselves leaves nowhere */
    else if (!x->rule->tls.verify)
        counter_add(&s->unverified, 1);
    observe(s, PHASE_QUEUE, x->t.queued);
    if (x->t.sent != 0 && x->t.head >= x->t.sent)
        observe(s, PHASE_WAIT, x->t.head - x->t.sent);
}

/* A CONNECT: the tunnel is over, if there was one. */
static void count_blind(const struct exchange *x)
{
    if (x->status != 200)
        return;
    counter_sub(&x->facts.place->in_flight, 1);
    counter_sub(&x->facts.place->conns, 1);
}

/* At its origin. A client that leaves within an answer has seen enough of it: of a stream of
 * events, say, that has no end. */
static bool stats_is_failure(const struct exchange *x)
{
    return x->fault != FAULT_NONE && (x->fault != FAULT_CLIENT_GONE || x->t.head == 0);
}

/* Only what was sent upstream, or waited for it, has a place. */
static void count_at_place(struct stats *s, const struct exchange *x)
{
    struct tally_place *place = x->facts.place;
    counter_add(&place->requests, 1);
    if (stats_is_failure(x))
        counter_add(&place->failed, 1);
    if (x->performer == &performer_dial)
        count_blind(x);
    else
        count_upstream(s, x);
}

void stats_count(const struct exchange *x)
{
    struct stats *s = x->engine->stats;
    const struct exchange_times *t = &x->t;
    counter_add(&s->classes[x->status < 600 ? x->status / 100 : 0], 1);
    counter_add(&s->bytes_in, x->bytes_in);
    counter_add(&s->bytes_out, x->bytes_out);
    observe(s, PHASE_TOTAL, t->end - t->begin);
    if (x->fault != FAULT_NONE)
        counter_add(&s->faults[x->fault], 1);
    if (x->retry.tries > 0)
        counter_add(&s->retries, x->retry.tries);
    if (x->facts.place != NULL)
        count_at_place(s, x);
    if ((t->dns | t->connect | t->tls) != 0)
        observe_dial(s, t);
}

/* The buckets are what is counted, so that their sum is the count whenever they are read. */
static void add_histogram(struct phase_sum *sum, const struct histogram *h)
{
    for (unsigned i = 0; i <= STATS_BOUNDS; i++) {
        uint64_t n = counter_get(&h->in[i]);
        sum->in[i] += n;
        sum->count += n;
    }
    sum->sum += counter_get(&h->sum);
}

static void add_shaken(struct shaken_sum *sum, const struct tls_shaken *s)
{
    sum->whole += counter_get(&s->whole);
    sum->resumed += counter_get(&s->resumed);
}

/* Of connections, whatever goes over them. */
static void add_connections(struct stats_sum *sum, const struct stats *s)
{
    sum->upstream.whole += counter_get(&s->tally.shaken);
    sum->upstream.resumed += counter_get(&s->tally.resumed);
    add_shaken(&sum->inside, &s->inside);
    add_shaken(&sum->listening, &s->listening);
    sum->tunnels += counter_get(&s->tunnels);
    sum->tunnels_open += counter_get(&s->tunnels_open);
    sum->tunnel_in += counter_get(&s->tunnel_in);
    sum->tunnel_out += counter_get(&s->tunnel_out);
    sum->turned_away += counter_get(&s->turned_away);
    sum->over_limit += counter_get(&s->over_limit);
}

void stats_add(struct stats_sum *sum, const struct stats *s)
{
    uint64_t ended = 0;
    for (unsigned i = 0; i < STATS_CLASSES; i++) {
        uint64_t n = counter_get(&s->classes[i]);
        sum->classes[i] += n;
        ended += n;
    }
    for (unsigned i = FAULT_NONE + 1; i < FAULT_COUNT; i++) {
        uint64_t n = counter_get(&s->faults[i]);
        sum->faults[i] += n;
        sum->failed += n;
    }
    uint64_t begun = counter_get(&s->begun);
    sum->exchanges += ended;
    sum->in_flight += begun > ended ? begun - ended : 0;
    sum->bytes_in += counter_get(&s->bytes_in);
    sum->bytes_out += counter_get(&s->bytes_out);
    sum->retries += counter_get(&s->retries);
    sum->unverified += counter_get(&s->unverified);
    sum->plain += counter_get(&s->plain);
    sum->h1 += counter_get(&s->h1);
    sum->h2 += counter_get(&s->h2);
    sum->dns_stale += counter_get(&s->dns_stale);
    sum->paced += counter_get(&s->paced);
    sum->put_off += counter_get(&s->put_off);
    sum->tokens += counter_get(&s->tokens);
    sum->tokens_lost += counter_get(&s->tokens_lost);
    /* Of the clients whose CONNECT was intercepted. */
    sum->intercepted += counter_get(&s->intercepted);
    for (unsigned i = 0; i < TLS_FAILURES; i++) {
        sum->unshaken[i] += counter_get(&s->unshaken[i]);
        sum->insecure[i] += counter_get(&s->insecure[i]);
    }
    /* Those that nobody has asked for yet are in neither of the other two. */
    sum->ahead_issued += counter_get(&s->ahead_issued);
    sum->ahead_used += counter_get(&s->ahead_used);
    sum->ahead_wasted += counter_get(&s->ahead_wasted);
    add_connections(sum, s);
    for (unsigned i = 0; i < PHASE_COUNT; i++)
        add_histogram(&sum->phases[i], &s->phases[i]);
}

const char *stats_phase_name(enum phase phase)
{
    return phase_names[phase];
}
