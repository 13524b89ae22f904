/* SPDX-License-Identifier: Apache-2.0 */
/* Streams: their life and their events. What they read is in stream_in.c, what they write in
 * stream_out.c. */
#include "net/stream_impl.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/linger.h"
#include "net/sock.h"
#include "net/stream_leave.h"

enum { REST_MAX = 1024 * 1024 };

/* ---- events ---- */

/* Open now: tells the user, and sees to what waited for it. */
static void opened(struct stream *s)
{
    stream_set_input(s, INPUT_READS);
    if (s->user != NULL && s->user->on_ready != NULL)
        s->user->on_ready(s->arg);
    if (s->state == STREAM_OPEN)
        stream_flush(s);
    if (s->state == STREAM_OPEN)
        stream_end_output(s);
    if (stream_takes_data(s) && wire_has_buffered(s->wire))
        stream_pump(s);
}

/* A step of the handshake. Gives what that of its wire gave. */
static int shake(struct stream *s)
{
    s->line.want_write = false;
    int r = s->wire->ops->handshake == NULL ? 0 : s->wire->ops->handshake(s->wire);
    stream_recount(s); /* it may have read what was put back */
    if (r == WIRE_FAIL) {
        line_settle(&s->line);
        return r;
    }
    if (r == WIRE_WAITS)
        stream_disarm_read(s);
    if (r == WIRE_AGAIN && s->line.want_write)
        stream_arm_write(s);
    else
        stream_disarm_write(s);
    if (r == 0)
        stream_set_state(s, STREAM_OPEN);
    return r;
}

static void shake_on_event(struct stream *s)
{
    int r = shake(s);
    if (r == WIRE_FAIL)
        stream_fail(s);
    else if (r == 0)
        opened(s);
}

static void stream_on_readable(void *arg)
{
    struct stream *s = arg;
    s->line.drained = false;
    if (s->state == STREAM_HANDSHAKE)
        shake_on_event(s);
    else if (s->input == INPUT_NEW) /* the event was faster than the post */
        opened(s);
    else if (s->state == STREAM_LINGER || stream_takes_data(s))
        stream_pump(s);
    else
        stream_disarm_read(s);
}

void stream_on_writable(void *arg)
{
    struct stream *s = arg;
    if (s->state == STREAM_HANDSHAKE) {
        shake_on_event(s);
        return;
    }
    if (s->line.want_write) {
        s->line.want_write = false;
        if (s->state == STREAM_LINGER || stream_takes_data(s))
            stream_pump(s);
        if (s->state == STREAM_CLOSED || s->input >= INPUT_DEAD)
            return;
    }
    if (s->out != NULL) {
        stream_flush(s);
        return;
    }
    if (!s->line.want_write)
        stream_disarm_write(s);
    stream_end_output(s);
}

static void on_later(void *arg)
{
    struct stream *s = arg;
    /* Something was put back on its wire since it was started. */
    if (s->state == STREAM_HANDSHAKE && s->reads->is_armed && s->line.fault == NULL) {
        shake_on_event(s);
        return;
    }
    if (s->state == STREAM_OPEN && s->input == INPUT_NEW)
        opened(s);
    if (s->state != STREAM_CLOSED)
        stream_catch_up(s);
}

/* ---- public ---- */

static struct stream *stream_make(struct loop *l, struct fd_event *w, const struct addr *peer)
{
    struct stream *s = xzalloc(sizeof(*s));
    s->loop = l;
    s->line.fd = fd_event_of(w);
    s->reads = w;
    fd_event_give(w, stream_on_readable, s);
    s->plain = (struct wire){.ops = &wire_plain_ops, .line = &s->line};
    s->wire = &s->plain;
    s->rest_max = REST_MAX;
    if (peer != NULL)
        s->peer = *peer;
    post_init(&s->later, on_later, s);
    return s;
}

struct stream *stream_new(struct loop *l, int fd, const struct addr *peer)
{
    return stream_make(l, fd_event_new(l, fd, EV_READ), peer);
}

struct fd_event *stream_leave(struct stream *s)
{
    bool is_still = s->input == INPUT_READS || s->input == INPUT_GIVES;
    bool is_bare = s->wire == &s->plain && !s->paused && list_is_empty(&s->later.link);
    if (!is_still || !is_bare || !stream_is_quiet(s, false))
        return NULL;
    struct fd_event *w = s->reads;
    fd_event_arm(w);
    s->reads = NULL;
    s->line.fd = -1;
    stream_close(s);
    return w;
}

struct stream *stream_return(struct loop *l, struct fd_event *w, const struct addr *peer)
{
    struct stream *s = stream_make(l, w, peer);
    stream_set_state(s, STREAM_OPEN);
    stream_set_input(s, INPUT_READS);
    return s;
}

void stream_wake(struct stream *s)
{
    stream_on_readable(s);
}

void stream_push(struct stream *s, struct wire *w)
{
    struct wire *below = s->wire;
    w->below = below;
    w->line = &s->line;
    s->wire = w;
    if (s->line.fault != NULL) {
        stream_die(s);
        loop_post(s->loop, &s->later);
        return;
    }
    assert(s->state <= STREAM_OPEN && s->out == NULL && s->output == OUTPUT_OPEN);
    stream_hand_rest(s, below);
    stream_disarm_read(s);
    loop_unpost(&s->later);
    if (s->state == STREAM_OPEN)
        stream_set_state(s, STREAM_HANDSHAKE);
    if (s->input != INPUT_NEW)
        stream_set_input(s, INPUT_NEW);
}

void stream_start(struct stream *s)
{
    /* Nothing of ours has been sent, or nothing has been read: wait for the event. */
    s->line.drained = true;
    int r = s->line.fault == NULL ? shake(s) : WIRE_FAIL;
    if (r == 0 || r == WIRE_AGAIN)
        stream_arm_read(s);
    if (r == 0 || r == WIRE_FAIL)
        loop_post(s->loop, &s->later);
}

bool stream_is_quiet(const struct stream *s, bool peek)
{
    bool is_open = s->state == STREAM_OPEN && s->input <= INPUT_GIVES && s->output == OUTPUT_OPEN;
    if (!is_open || s->line.fault != NULL || s->rest_len > 0 || s->out != NULL ||
        wire_has_buffered(s->wire))
        return false;
    return !peek || sock_is_quiet(s->line.fd);
}

bool stream_is_amid(const struct stream *s)
{
    return wire_pile_is_amid(s->wire);
}

/* From the reaper. */
static void stream_free(void *object)
{
    struct stream *s = object;
    wire_free(s->wire);
    fd_event_free(s->reads);
    fd_event_free(s->writes);
    free(s->rest);
    free(s->lingering);
    free(s->line.fault);
    free(s);
}

void stream_close(struct stream *s)
{
    if (s == NULL || s->state == STREAM_CLOSED)
        return;
    bool is_well = s->state != STREAM_HANDSHAKE && s->line.fault == NULL &&
                   s->output < OUTPUT_ENDED && s->out == NULL;
    wire_close(s->wire, is_well);
    stream_set_state(s, STREAM_CLOSED);
    s->user = NULL;
    stream_disarm_read(s);
    stream_disarm_write(s);
    loop_unpost(&s->later);
    linger_part(s);
    stream_drop_out(s);
    share_set(&s->share, 0);
    if (s->line.fd >= 0)
        close(s->line.fd);
    s->line.fd = -1;
    loop_reap(s->loop, &s->reap, stream_free, s);
}

struct stream *stream_strip(struct stream *s)
{
    struct stream *bare = stream_new(s->loop, s->line.fd, &s->peer);
    stream_disarm_read(s);
    stream_disarm_write(s);
    s->line.fd = -1;
    stream_close(s);
    return bare;
}

void stream_abort(struct stream *s)
{
    if (s == NULL || s->state == STREAM_CLOSED)
        return;
    sock_set_reset(s->line.fd);
    /* No last words: they would say that this end was meant. */
    if (s->output != OUTPUT_LOST)
        stream_set_output(s, OUTPUT_LOST);
    stream_close(s);
}

void stream_linger(struct stream *s)
{
    if (s == NULL || s->state > STREAM_OPEN)
        return;
    if (s->state == STREAM_HANDSHAKE || s->line.fault != NULL) {
        stream_close(s);
        return;
    }
    stream_set_state(s, STREAM_LINGER);
    s->user = NULL;
    linger_join(s);
    if (s->output == OUTPUT_OPEN)
        stream_set_output(s, OUTPUT_ENDS);
    if (s->input == INPUT_NEW)
        stream_set_input(s, INPUT_READS);
    bool has_ended = s->input >= INPUT_ENDS_GIVES;
    if (!has_ended)
        stream_arm_read(s);
    deadline_set(&s->lingering->timer,
                 s->output == OUTPUT_ENDED ? STREAM_LINGER_MS : STREAM_LINGER_FLUSH_MS);
    stream_end_output(s);
    if (s->state == STREAM_LINGER && s->output == OUTPUT_ENDED && has_ended)
        stream_close(s);
}
