/* SPDX-License-Identifier: Apache-2.0 */
/* Answers out: the one whose turn it is goes straight to the client, later ones wait in bounded
 * buffers and slow their upstream down. Small writes of a turn are gathered, so that a head, its
 * body, and the answers behind it leave in one system call. */
#include "client/client_impl.h"

#include <stdlib.h>

static const char joining[] = "the buffer that joins small writes";

/* The first answer always has room for something, so that it can go on when the budget is spent. */
static size_t client_bound(const struct client *c, bool is_first)
{
    size_t bound = budget_bound(c->cs->engine->budget, client_conf(c)->buffer);
    return is_first && bound < CLIENT_GATHER_MAX ? CLIENT_GATHER_MAX : bound;
}

bool client_is_full(const struct client *c)
{
    size_t waiting = c->stream == NULL ? 0 : stream_pending(c->stream);
    return waiting > 0 && waiting > client_bound(c, true);
}

/* Slows the first answer down, or lets it go on, as output waits. */
static void client_mind_output(struct client *c)
{
    size_t waiting = c->stream == NULL ? 0 : stream_pending(c->stream);
    if (waiting == 0)
        timeout_clear(&c->write_timer);
    else if (!timeout_is_set(&c->write_timer)) {
        c->write_mark = c->stream->bytes_out;
        sweep_set(&c->cs->timers, &c->write_timer, client_conf(c)->write_timeout);
    }
    struct request *first = client_first(c);
    if (first != NULL && client_is_full(c))
        exchange_pause(&first->x, true);
}

void clients_flush(struct clients *cs)
{
    struct client *c = cs->gathering;
    size_t n = cs->gathered;
    cs->gathering = NULL;
    cs->gathered = 0;
    if (c == NULL || n == 0 || c->stream == NULL)
        return;
    claim_take(&cs->joining, joining);
    stream_put(c->stream, cs->gather, n);
    claim_give(&cs->joining, joining);
    client_mind_output(c);
}

/* Gathered until the end of the turn. */
static void client_write(struct client *c, const struct iovec *iov, int n)
{
    struct clients *cs = c->cs;
    struct iovec all[6];
    size_t total = 0;
    if (cs->gathering != c) {
        clients_flush(cs);
        cs->gathering = c;
    }
    for (int i = 0; i < n; i++) {
        all[i + 1] = iov[i];
        total += iov[i].iov_len;
    }
    claim_take(&cs->joining, joining);
    bool is_full = cs->gathered + total > CLIENT_GATHER_MAX;
    if (is_full) {
        all[0] = (struct iovec){cs->gather, cs->gathered};
        cs->gathered = 0;
        stream_write(c->stream, all, n + 1);
    }
    for (int i = 0; i < n && !is_full; i++) {
        memcpy(cs->gather + cs->gathered, iov[i].iov_base, iov[i].iov_len);
        cs->gathered += iov[i].iov_len;
    }
    claim_give(&cs->joining, joining);
    if (is_full)
        client_mind_output(c);
}

void request_write(struct request *r, const struct iovec *iov, int n)
{
    size_t total = 0;
    for (int i = 0; i < n; i++)
        total += iov[i].iov_len;
    r->x.bytes_out += total;
    if (request_is_first(r) && !r->is_told) {
        client_write(r->c, iov, n);
        return;
    }
    for (int i = 0; i < n; i++)
        backlog_add(&r->held, str_make(iov[i].iov_base, iov[i].iov_len));
    if (backlog_len(&r->held) > client_bound(r->c, false))
        exchange_pause(&r->x, true);
}

void request_promote(struct request *r)
{
    if (backlog_len(&r->held) == 0)
        return;
    struct client *c = r->c;
    clients_flush(c->cs);
    stream_write_buffer(c->stream, r->held.bytes);
    backlog_clear(&r->held);
    client_mind_output(c);
    if (stream_pending(c->stream) == 0)
        exchange_pause(&r->x, false);
}

/* Before, one read of the client's could take the 100 and it both, and there are clients that lose
 * the second then, and wait for it for ever (Java's HttpURLConnection). */
void request_release(struct request *r)
{
    if (!r->is_told)
        return;
    r->is_told = false;
    if (request_is_first(r))
        request_promote(r);
}
