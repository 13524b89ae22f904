/* SPDX-License-Identifier: Apache-2.0 */
/* What is under way: see running.h. Nothing is kept for it on the path of a request but the list of
 * exchanges: which phase one is in follows from its state when somebody asks. */
#include "exchange/running.h"

#include <stdlib.h>

#include "exchange/stats.h"
#include "upstream/dial.h"

/* What an exchange does in a state in which it is known at once. */
static const struct {
    enum running_phase phase;
    const char *doing;
} by_state[EXCHANGE_CLOSED + 1] = {
    [EXCHANGE_NEW] = {RUNNING_QUEUE, "waits for the requests before it"},
    [EXCHANGE_AUTH] = {RUNNING_QUEUE, "its credentials are checked"},
    [EXCHANGE_NAME] = {RUNNING_DNS, "looks the name up"},
    [EXCHANGE_TOKEN] = {RUNNING_QUEUE, "waits for an access token"},
    [EXCHANGE_WAIT] = {RUNNING_QUEUE, "waits for a connection"},
    [EXCHANGE_ACTIVE] = {RUNNING_WAIT, "waits for the answer"},
    [EXCHANGE_LATER] = {RUNNING_QUEUE, "waits before it asks again"},
    [EXCHANGE_TUNNEL] = {RUNNING_TRANSFER, "is a tunnel"},
    [EXCHANGE_DONE] = {RUNNING_DELIVER, "is answered; the client has not taken it all yet"},
    [EXCHANGE_CLOSED] = {RUNNING_DELIVER, "is over"},
};

static void running_set(struct running *r, enum running_phase phase, const char *doing)
{
    r->phase = phase;
    r->doing = doing;
}

/* X has no ustream, but waits for one. */
static void running_waits(struct running *r, const struct exchange *x)
{
    struct up_progress p = {0};
    if (x->wait.state != WAIT_NONE)
        pool_progress(&x->wait, &p);
    else if (x->dial != NULL)
        dial_progress(x->dial, &p);
    else
        return;
    running_set(r, RUNNING_QUEUE + (p.step - UP_STEP_QUEUE), p.doing);
    r->r.t.queued += p.queued_us;
    r->r.t.dns += p.dns_us;
    r->r.t.connect += p.connect_us;
    if (p.peer.len > 0 && p.peer.len <= sizeof r->r.peer) {
        memcpy(&r->r.peer, &p.peer.in6, sizeof r->r.peer);
        r->r.peer_len = (uint8_t)p.peer.len;
    }
}

static void running_is_active(struct running *r, const struct exchange *x)
{
    r->r.seat.stream = x->us == NULL ? 0 : x->us->facts.seat.stream;
    if (x->res == HALF_BODY && x->paused)
        running_set(r, RUNNING_TRANSFER, "waits for the client to take what has come");
    else if (x->res == HALF_BODY)
        running_set(r, RUNNING_TRANSFER, "gets the body of the answer");
    else if (x->req != HALF_DONE && x->body_waits)
        running_set(r, RUNNING_SEND, "waits for the origin to take the body of the request");
    else if (x->req != HALF_DONE)
        running_set(r, RUNNING_SEND, "waits for the client to send the body of the request");
}

/* What no phase before has taken is of the one that it is in. The last three follow from `sent`,
 * `head` and `end`. */
static void running_time(struct exchange_times *t, enum running_phase phase)
{
    int64_t *const of_phase[] = {&t->queued, &t->dns, &t->connect, &t->tls};
    if (phase >= RUNNING_SEND)
        return;
    int64_t known = t->queued + t->dns + t->connect + t->tls;
    int64_t left = t->end - t->begin - known;
    if (left > 0)
        *of_phase[phase] += left;
}

static void running_make(struct running *r, const struct exchange *x, int64_t now)
{
    struct exchange_times *t = &r->r.t;
    (void)record_make(&r->r, x);
    r->is_tunnel = x->state == EXCHANGE_TUNNEL;
    running_set(r, by_state[x->state].phase, by_state[x->state].doing);
    if (t->end == 0)
        t->end = now;
    if (x->state == EXCHANGE_WAIT)
        running_waits(r, x);
    else if (x->state == EXCHANGE_ACTIVE)
        running_is_active(r, x);
    /* What is tried again begins again, and an answer that is put off is none. */
    if (r->phase <= RUNNING_SEND)
        t->sent = 0;
    if (r->phase <= RUNNING_WAIT)
        t->head = 0;
    running_time(t, r->phase);
}

static void running_add(struct running_list *list, const struct list *from, size_t most)
{
    list_foreach (it, from) {
        if (list->n == most)
            return;
        const struct exchange *x = container_of(it, struct exchange, seen.link);
        running_make(&list->v[list->n++], x, list->at);
    }
}

struct running_list *running_collect(const struct engine *e)
{
    struct stats_sum sum = {0};
    stats_add(&sum, e->stats);
    size_t most = sum.in_flight < RUNNING_MOST ? (size_t)sum.in_flight : RUNNING_MOST;
    struct running_list *list = xmalloc(sizeof *list + most * sizeof list->v[0]);
    list->at = loop_now();
    list->end = ring_end(e->stats->records);
    list->all = sum.in_flight;
    list->n = 0;
    running_add(list, &e->running, most);
    running_add(list, &e->tunnels, most);
    return list;
}

const char *running_phase_name(enum running_phase phase)
{
    static const char *const names[] = {"queue", "dns",  "connect",  "tls",
                                        "send",  "wait", "transfer", "deliver"};
    return names[phase];
}
