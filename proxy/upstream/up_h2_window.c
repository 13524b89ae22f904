/* SPDX-License-Identifier: Apache-2.0 */
/* Windows that follow bandwidth times delay, the reader and the memory.
 *
 * A window that is smaller than what is under way in one round trip is what limits an origin that is
 * far away. So it is doubled whenever half of it has gone straight to the reader within a round
 * trip: four times as much in each, faster than TCP begins, until it is two to four times of what is
 * under way, which leaves room for what is sent again and for a way that becomes longer. How long a
 * round trip takes is known without a frame more: the handshake took one at least, and so did the
 * acknowledgement of our settings. An origin that delays both only makes the bounds below count.
 *
 * What had to wait for its reader says nothing about the way: such bytes never make a window larger,
 * and where a reader stood still for long, the window is taken back with them. All of a window is
 * counted in max_memory when it is granted. A large one takes a part of what is left only, so that
 * few streams cannot hold all of it; when memory is short, the window shrinks with what is read. */
#include "upstream/up_h2_window.h"

#include "upstream/up_h2_impl.h"

enum {
    FIRST_LEAST = 16384, /* bytes of UP_H2_WINDOW when a connection is made with little memory */
    PART_OF_SPARE = 8,   /* of what is left, for one that is larger than client.buffer */
    STOOD_LONG = 200000  /* µs that a reader may stand still, or a round trip if that is longer */
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

/* No memory stands against SIZE bytes instead of what S has. */
static bool has_room(const struct up_h2_stream *s, int32_t size)
{
    const struct budget *b = s->share.budget;
    if (b == NULL)
        return true;
    size_t spare = budget_spare(b);
    return (size_t)(size - s->window.size) <=
           (size > s->c->path.near ? spare / PART_OF_SPARE : spare);
}

static void resize(struct up_h2_stream *s, int32_t size)
{
    s->window.size = size;
    up_h2_stream_recount(s);
    nghttp2_session_set_local_window_size(s->c->session, NGHTTP2_FLAG_NONE, s->id, size);
}

static void grow(struct up_h2_stream *s, int32_t size)
{
    struct up_h2_path *p = &s->c->path;
    if (size <= s->window.size || !has_room(s, size))
        return;
    resize(s, size);
    p->reached = size > p->reached ? size : p->reached;
}

void up_h2_window_begin(struct up_h2_stream *s, uint64_t length)
{
    int32_t size = at_most(length, s->c->path.reached / 2);
    if (size > s->c->path.near)
        grow(s, size);
}

/* What S may have if that is less than it has; its size else. */
static int32_t bound(const struct up_h2_stream *s)
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

/* N more bytes went straight through. */
static void pass(struct up_h2_stream *s, size_t n)
{
    struct up_h2_window *w = &s->window;
    const struct up_h2_path *p = &s->c->path;
    /* Up to client.buffer it is the reader alone that counts. */
    if (w->size >= p->near && s->c->now - w->since > p->trip) {
        w->since = s->c->now;
        w->passed = 0;
    }
    w->passed += n;
    if (w->passed < (uint64_t)w->size / 2 || s->left <= (uint64_t)w->size / 2)
        return;
    if (w->size < p->near)
        grow(s, p->near);
    else
        grow(s, at_most(2 * (uint64_t)w->size, UP_H2_WINDOW_MOST));
}

/* What is taken back is what was just read: of that, the origin knows nothing yet. */
static void give_less(struct up_h2_stream *s, size_t n)
{
    int32_t least = bound(s);
    if (least < s->window.size)
        resize(s, n < (size_t)(s->window.size - least) ? s->window.size - (int32_t)n : least);
}

void up_h2_window_give(struct up_h2_stream *s, size_t n, bool has_waited)
{
    nghttp2_session *session = s->c->session;
    give_less(s, n);
    nghttp2_session_consume_stream(session, s->id, n);
    if (!has_waited) {
        s->window.is_slow = false;
        pass(s, n);
    }
    if (nghttp2_session_want_write(session))
        up_h2_want_flush(s->c);
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
