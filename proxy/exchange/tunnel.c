/* SPDX-License-Identifier: Apache-2.0 */
/* Two streams joined: see tunnel.h. Each direction is a `struct lane`; a lane ends when its reader
 * has seen the end and the writer has been told, and the tunnel ends with its second lane. */
#include "exchange/tunnel.h"

#include <stdlib.h>

#include "exchange/stats.h"
#include "net/stream_share.h"
#include "net/tls_wire.h"
#include "upstream/pool.h"

/* Bytes from `in` to the other lane's `in`. */
struct lane {
    struct tunnel *tunnel;
    struct stream *in;
    struct lane *other;
    uint64_t *bytes;        /* the exchange's */
    struct counter *counts; /* the worker's: the same, of all tunnels */
    bool ended;
};

/* Owner: its exchange. Closed by tunnel_close(), or by itself at the end. */
struct tunnel {
    struct engine *engine;
    struct lane up;   /* client to origin */
    struct lane down; /* origin to client */
    void *slot;
    int64_t timeout_ms;
    size_t buffer;
    struct deadline idle;
    tunnel_fn fn;
    void *arg;
    bool closed;
    struct reap reap;
};

/* What waits is lost: then this must not look like a proper end. */
static void lane_close(struct lane *lane)
{
    if (lane->in == NULL)
        return;
    if (lane->in->state <= STREAM_OPEN && stream_pending(lane->in) > 0)
        stream_abort(lane->in);
    else
        stream_close(lane->in);
}

static bool lane_is_flushed(const struct lane *lane)
{
    return stream_pending(lane->in) == 0;
}

void tunnel_close(struct tunnel *t)
{
    if (t == NULL || t->closed)
        return;
    t->closed = true;
    counter_sub(&t->engine->stats->tunnels_open, 1);
    lane_close(&t->up);
    lane_close(&t->down);
    deadline_close(&t->idle);
    pool_release_slot(t->slot);
    loop_reap(t->engine->loop, &t->reap, free, t);
}

/* Closes and tells. */
static void tunnel_finish(struct tunnel *t)
{
    tunnel_fn fn = t->fn;
    void *arg = t->arg;
    tunnel_close(t);
    fn(arg);
}

/* As much as may wait on one side: bytes are passed on unseen, and large reads are few. */
static size_t lane_read_most(const struct tunnel *t)
{
    const struct loop *l = t->engine->loop;
    size_t most = t->buffer < l->rmost ? t->buffer : l->rmost;
    return most < l->rcap ? l->rcap : most;
}

static size_t on_data(void *arg, const char *p, size_t n)
{
    struct lane *lane = arg;
    struct tunnel *t = lane->tunnel;
    struct stream *out = lane->other->in;
    *lane->bytes += n;
    counter_add(lane->counts, n);
    deadline_set(&t->idle, t->timeout_ms);
    stream_put(out, p, n);
    if (stream_pending(out) > budget_bound(t->engine->budget, t->buffer))
        stream_pause(lane->in);
    return n;
}

static void tunnel_on_drain(void *arg)
{
    struct lane *lane = arg;
    if (!lane->other->ended)
        stream_resume(lane->other->in);
    else if (lane->ended && lane_is_flushed(lane->other))
        tunnel_finish(lane->tunnel);
}

/* One side has ended: the other is told when all before it has been written, and of TLS without
 * close_notify it is not told that this was proper. */
static void on_eof(void *arg, bool clean)
{
    struct lane *lane = arg;
    struct stream *out = lane->other->in;
    lane->ended = true;
    if (!clean)
        tls_wire_mute(out);
    stream_end(out);
    if (lane->other->ended && lane_is_flushed(lane) && lane_is_flushed(lane->other))
        tunnel_finish(lane->tunnel);
}

/* The far side must see that this was no proper end; unless the one that has failed had ended
 * properly before, and only refuses what came back: then all that it said is still written. */
static void tunnel_on_fault(void *arg, const struct fault *f)
{
    struct lane *lane = arg;
    struct stream *out = lane->other->in;
    (void)f;
    if (lane->ended) {
        lane->other->in = NULL;
        stream_linger(out);
    } else {
        stream_abort(out);
    }
    tunnel_finish(lane->tunnel);
}

static void on_idle(void *arg)
{
    tunnel_finish(arg);
}

static const struct stream_user lane_user = {
    .on_data = on_data,
    .on_eof = on_eof,
    .on_drain = tunnel_on_drain,
    .on_fault = tunnel_on_fault,
};

struct tunnel *tunnel_open(struct engine *e, const struct tunnel_ends *ends, tunnel_fn fn,
                           void *arg)
{
    struct tunnel *t = xcalloc(1, sizeof *t);
    t->engine = e;
    t->up = (struct lane){t, ends->client, &t->down, ends->bytes_up, &e->stats->tunnel_in, false};
    t->down = (struct lane){t, ends->up, &t->up, ends->bytes_down, &e->stats->tunnel_out, false};
    counter_add(&e->stats->tunnels_open, 1);
    t->slot = ends->slot;
    t->timeout_ms = ends->timeout_ms;
    t->buffer = ends->buffer;
    t->fn = fn;
    t->arg = arg;
    deadline_init(&t->idle, e->loop, on_idle, t);
    deadline_set(&t->idle, t->timeout_ms);
    if (ends->up->share.budget == NULL)
        stream_count_in(ends->up, e->budget, sizeof *t + stream_size(ends->up));
    t->up.in->read_most = t->down.in->read_most = lane_read_most(t);
    stream_set_user(t->up.in, &lane_user, &t->up);
    stream_set_user(t->down.in, &lane_user, &t->down);
    if (t->down.in->state == STREAM_HANDSHAKE) /* fresh from a dial, not after 101 */
        stream_start(t->down.in);
    stream_resume(t->down.in);
    stream_resume(t->up.in);
    return t;
}
