/* SPDX-License-Identifier: Apache-2.0 */
/* Windows that follow bandwidth times delay, the reader and the memory.
 *
 * A window smaller than what is under way in one round trip is what limits an origin that is far
 * away. So it is doubled whenever half of it has gone straight to the reader within a round trip:
 * four times as much in each, faster than TCP begins, until it is two to four times of what is
 * under way, which leaves room for what is sent again and for a way that becomes longer.
 *
 * How long a round trip takes is known without a frame more. The handshake took one at least, and
 * so did the acknowledgement of our settings, and the first answers; but these are times of a
 * program as well. So the kernel's own figure counts, unless it is connected to a mere relay
 * on the way: then the others are far above it. An origin that delays all of them wins what the
 * bounds below leave it.
 *
 * What had to wait for its reader says nothing about the way: such bytes make no window larger,
 * and where a reader stood still for long, the window is taken back with them. All of a window is
 * counted in max_memory when it is granted. A large one takes a part of what is left only, so
 * that few streams cannot hold all of it; when memory is short, it shrinks with what is read. */
#include "upstream/up_h2_window.h"

#include "net/round_trip.h"
#include "upstream/up_h2_stream_impl.h"

enum {
    FIRST_LEAST = 16384, /* bytes of UP_H2_WINDOW when a connection is made with little memory */
    PART_OF_SPARE = 8,   /* of what is left, for one that is larger than client.buffer */
    FAR = 2000,          /* µs: frames are cheaper than waiting for them */
    PART_FAR = 8,        /* of a window that is worth a frame */
    PART_NEAR = 2,
    PROGRAM = 10000,    /* µs that an origin may take for what it does beside sending */
    STOOD_LONG = 200000 /* µs that a reader may stand still, or a round trip if that is longer */
};

static int32_t at_most(uint64_t n, int32_t most)
{
    return n < (uint64_t)most ? (int32_t)n : most;
}

void up_h2_path_init(struct up_h2_path *p, const struct budget *b, size_t buffer, int64_t tls_us)
{
    size_t first = b == NULL ? UP_H2_WINDOW : budget_bound(b, UP_H2_WINDOW);
    p->first = first < FIRST_LEAST ? FIRST_LEAST : (int32_t)first;
    p->near = at_most(buffer, UP_H2_WINDOW_MOST);
    p->trip = tls_us;
    p->begun = loop_now();
}

void up_h2_path_acked(struct up_h2_path *p, int64_t now)
{
    if (p->begun != 0 && now - p->begun < p->trip)
        p->trip = now - p->begun;
    p->begun = 0;
}

/* Where it is near, there is nothing to be learned. */
void up_h2_window_asked(struct up_h2_stream *s)
{
    const struct up_h2_path *p = &s->c->path;
    if (!p->is_sure && p->trip > PROGRAM)
        s->window.asked_at = loop_now();
}

void up_h2_window_answered(struct up_h2_stream *s)
{
    struct up_h2_path *p = &s->c->path;
    if (s->window.asked_at != 0 && !p->is_sure && s->c->now - s->window.asked_at < p->trip)
        p->trip = s->c->now - s->window.asked_at;
    s->window.asked_at = 0;
}

static void up_h2_window_ask_kernel(struct up_h2 *c)
{
    struct up_h2_path *p = &c->path;
    int64_t trip = round_trip_of(c->conn.stream->line.fd);
    p->is_sure = true;
    if (trip >= 0 && p->trip - trip < PROGRAM)
        p->trip = trip;
}

/* No memory stands against SIZE bytes instead of what S has. */
static bool up_h2_window_has_room(const struct up_h2_stream *s, int32_t size)
{
    const struct budget *b = s->share.budget;
    if (b == NULL)
        return true;
    size_t spare = budget_spare(b);
    return (size_t)(size - s->window.size) <=
           (size > s->c->path.near ? spare / PART_OF_SPARE : spare);
}

/* True when all of the body that has not come may come already, and a byte more: at a window that
 * is used up many servers cannot say that it was all. `left` counts what has come and was not told
 * yet, and `unread` what waits behind it. */
static bool up_h2_window_is_enough(const struct up_h2_stream *s, int32_t open)
{
    uint64_t waits = backlog_len(&s->in);
    return s->left != UINT64_MAX && s->left + waits < (uint64_t)open + (uint64_t)s->window.unread;
}

static bool up_h2_window_is_open(const struct up_h2_stream *s)
{
    return nghttp2_session_get_stream_local_window_size(s->c->session, s->id) > 0;
}

/* The origin may send what S has room for, if that is worth a frame and more is to come than it may
 * send anyway. What nghttp2 has given back, for padding, is in `open`. */
static void up_h2_window_update(struct up_h2_stream *s, bool at_once)
{
    struct up_h2_window *w = &s->window;
    int part = s->c->path.trip > FAR ? PART_FAR : PART_NEAR;
    int32_t open = nghttp2_session_get_stream_local_window_size(s->c->session, s->id);
    int32_t more = w->size - w->unread - open;
    if (open < 0 || more <= 0 || (!at_once && more < w->size / part))
        return;
    if (!w->is_padded && up_h2_window_is_enough(s, open))
        return;
    nghttp2_submit_window_update(s->c->session, NGHTTP2_FLAG_NONE, s->id, more);
    up_h2_want_flush(s->c);
}

static void up_h2_window_grow(struct up_h2_stream *s, int32_t size)
{
    struct up_h2_path *p = &s->c->path;
    if (size <= s->window.size || !up_h2_window_has_room(s, size))
        return;
    s->window.size = size;
    backlog_promise(&s->in, (size_t)size);
    p->reached = size > p->reached ? size : p->reached;
    up_h2_window_update(s, true);
}

void up_h2_window_begin(struct up_h2_stream *s, uint64_t length)
{
    int32_t size = at_most(length < UINT64_MAX ? length + 1 : length, s->c->path.reached / 2);
    if (size > s->c->path.near)
        up_h2_window_grow(s, size);
}

/* What S may have if that is less than it has; its size else. */
static int32_t up_h2_window_bound(const struct up_h2_stream *s)
{
    const struct budget *b = s->share.budget;
    const struct up_h2_path *p = &s->c->path;
    int32_t size = s->window.size;
    int32_t most = b == NULL ? size : (int32_t)budget_bound(b, (size_t)size);
    most = most > p->first ? most : p->first;
    if (s->window.is_slow && most > p->near)
        most = p->near;
    return most < size ? most : size;
}

/* N more bytes went straight through. Up to client.buffer it is the reader alone that counts. */
static void up_h2_window_pass(struct up_h2_stream *s, size_t n)
{
    struct up_h2_window *w = &s->window;
    struct up_h2_path *p = &s->c->path;
    bool is_large = w->size >= p->near;
    if (is_large && s->c->now - w->since > p->trip) {
        w->since = s->c->now;
        w->passed = 0;
    }
    w->passed += n;
    if (w->passed < (uint64_t)w->size / 2 || s->left <= (uint64_t)w->size / 2)
        return;
    if (!is_large) {
        up_h2_window_grow(s, p->near);
        return;
    }
    if (!p->is_sure)
        up_h2_window_ask_kernel(s->c);
    if (s->c->now - w->since <= p->trip)
        up_h2_window_grow(s, at_most(2 * (uint64_t)w->size, UP_H2_WINDOW_MOST));
}

void up_h2_window_give(struct up_h2_stream *s, size_t n, bool has_waited)
{
    struct up_h2_window *w = &s->window;
    w->unread -= (int32_t)n;
    if (s->left == 0 && !w->is_padded && up_h2_window_is_open(s))
        return;
    /* What is taken back is what was just read: of that, the origin knows nothing yet. */
    int32_t back = at_most(n, w->size - up_h2_window_bound(s));
    w->size -= back;
    if (back > 0)
        backlog_promise(&s->in, (size_t)w->size);
    if (!has_waited) {
        w->is_slow = false;
        up_h2_window_pass(s, n);
    }
    up_h2_window_update(s, false);
}

void up_h2_window_pause(struct up_h2_stream *s, bool paused)
{
    struct up_h2_window *w = &s->window;
    if (s->c == NULL || w->size <= s->c->path.near || paused == (w->stood_at != 0))
        return;
    int64_t now = loop_now(), long_us = s->c->path.trip;
    long_us = long_us > STOOD_LONG ? long_us : STOOD_LONG;
    if (!paused)
        w->is_slow = w->is_slow || now - w->stood_at > long_us;
    w->stood_at = paused ? now : 0;
}
