/* SPDX-License-Identifier: Apache-2.0 */
/* Streams: their life, their events, and reading into the loop's buffer. One event handler reads
 * at most TURN_READS times, then others have their turn; the event is level-triggered and stays
 * armed, so a request costs no call of epoll_ctl. */
#include "net/stream_impl.h"

#include <stdlib.h>
#include <unistd.h>

#include "net/linger.h"
#include "net/sock.h"

enum {
    TURN_READS = 4,
    SMALL_REST = 8 * 1024, /* rest below it is joined with what comes in the loop's buffer */
    REST_MAX = 1024 * 1024
};

static const char reading[] = "the buffer that streams read into";

/* ---- small parts ---- */

/* Events are switched off only when they fire unwanted: pausing and resuming cost nothing. */
static void arm_read(struct stream *s)
{
    if (s->rev_armed)
        return;
    s->rev_armed = true;
    event_add(&s->rev, NULL);
}

static void disarm_read(struct stream *s)
{
    if (!s->rev_armed)
        return;
    s->rev_armed = false;
    event_del(&s->rev);
}

static bool takes_data(const struct stream *s)
{
    bool is_dead = s->failed || (s->line.fault != NULL && !s->line.is_cut);
    return s->state == STREAM_OPEN && !s->paused && !is_dead && s->user != NULL;
}

static void drop_rest(struct stream *s)
{
    s->rest_len = 0;
    if (s->rest == NULL)
        return;
    free(s->rest);
    s->rest = NULL;
    s->rest_cap = 0;
    stream_recount(s);
}

/* Keeps what the user has left: LEFT, in `rest` itself or in the loop's buffer. */
static void keep_rest(struct stream *s, struct str left)
{
    if (left.len == 0) {
        drop_rest(s);
        return;
    }
    bool inside = s->rest != NULL && left.p >= s->rest && left.p < s->rest + s->rest_cap;
    if (!inside && s->rest_cap < left.len) {
        free(s->rest);
        s->rest = xmalloc(left.len);
        s->rest_cap = left.len;
        stream_recount(s);
    }
    memmove(s->rest, left.p, left.len);
    s->rest_len = left.len;
}

/* ---- faults and ends ---- */

static void tell_fault(struct stream *s)
{
    if (s->user == NULL || s->fault_told)
        return;
    s->fault_told = true;
    s->user->on_fault(s->arg, s->line.fault);
}

/* The connection is dead; s->line.fault says why. Only from event handlers and posts. */
static void fail(struct stream *s)
{
    if (s->state == STREAM_LINGER) {
        stream_close(s);
        return;
    }
    s->failed = true;
    disarm_read(s);
    stream_disarm_write(s);
    stream_drop_out(s);
    tell_fault(s);
}

/* True while a write error can wait for the end of reading. */
static bool may_read_on(struct stream *s)
{
    if (!s->line.is_cut || s->fail_fast || s->state != STREAM_OPEN)
        return false;
    if (s->rest_len > 0 && (s->paused || s->offer))
        return true;
    if (s->eof)
        return false;
    return !s->paused || wire_has_buffered(s->wire) || sock_has_input(s->line.fd);
}

/* Nothing more comes. */
static void end_input(struct stream *s)
{
    s->eof = true;
    disarm_read(s);
    if (s->state == STREAM_LINGER) {
        if (s->ended)
            stream_close(s);
        return;
    }
    if (s->line.fault != NULL) {
        fail(s);
        return;
    }
    if (!takes_data(s) || s->eof_told)
        return;
    s->eof_told = true;
    s->user->on_eof(s->arg, s->line.eof_clean);
}

/* ---- input ---- */

/* Gives the user LEN bytes at P and keeps what it leaves. False when it wants no more now, or
 * the stream is not its any more. */
static bool give(struct stream *s, const char *p, size_t len)
{
    s->offer = false;
    s->rest_len = 0;
    size_t used = s->user->on_data(s->arg, p, len);
    if (s->state != STREAM_OPEN)
        return false;
    if (used > len)
        used = len;
    keep_rest(s, str_make(p + used, len - used));
    if (s->rest_len > s->rest_max && !s->paused) {
        line_set_fault(&s->line, FAULT_INTERNAL, "more input was left than its reader may leave");
        s->line.is_cut = false;
        loop_post(s->loop, &s->later);
        return false;
    }
    /* A transport that broke behind these bytes is not read again, so no event tells of it. */
    bool is_broken = s->line.fault != NULL && !s->line.is_cut;
    if (is_broken || (s->rest_len > 0 && s->offer))
        loop_post(s->loop, &s->later);
    return takes_data(s);
}

/* Where to read to: a run of bytes that begins with `rest`. ROOM is the space behind it. */
static char *begin_read(struct stream *s, size_t *room)
{
    struct loop *l = s->loop;
    if (s->state == STREAM_LINGER || s->rest_len == 0) {
        *room = stream_read_room(s, l->rcap);
        return l->rbuf;
    }
    if (s->rest_len < SMALL_REST) {
        memcpy(l->rbuf, s->rest, s->rest_len);
        *room = stream_read_room(s, l->rcap - s->rest_len);
        return l->rbuf;
    }
    if (s->rest_cap < 2 * s->rest_len) {
        s->rest_cap = 2 * s->rest_len;
        s->rest = xrealloc(s->rest, s->rest_cap);
        stream_recount(s);
    }
    *room = s->rest_cap - s->rest_len;
    return s->rest;
}

/* Reads once and delivers, the buffer being ours. */
static bool read_claimed(struct stream *s, size_t *total)
{
    size_t room;
    char *run = begin_read(s, &room);
    size_t before = s->state == STREAM_LINGER ? 0 : s->rest_len;
    ssize_t n = s->wire->ops->read(s->wire, run + before, room);
    if (n == WIRE_FAIL)
        line_settle(&s->line);
    if (s->line.want_write)
        stream_arm_write(s);
    if (n == WIRE_AGAIN)
        return false;
    bool is_end = n == WIRE_EOF || (n == WIRE_FAIL && s->line.is_cut && !s->fail_fast);
    if (is_end && s->offer && s->rest_len > 0 && s->state == STREAM_OPEN) {
        /* Resumed a moment ago: what was kept is given first, then the end, or reset, is told. */
        s->eof = true;
        disarm_read(s);
        loop_post(s->loop, &s->later);
        return false;
    }
    if (n == WIRE_EOF) {
        end_input(s);
        return false;
    }
    if (n < 0) {
        fail(s);
        return false;
    }
    s->bytes_in += (uint64_t)n;
    *total += (size_t)n;
    if (s->state != STREAM_LINGER && !give(s, run, before + (size_t)n))
        return false;
    return !s->line.drained || wire_has_buffered(s->wire);
}

/* Reads once and delivers. False: no more this turn, for whatever reason. */
static bool read_once(struct stream *s, size_t *total)
{
    claim_take(&s->loop->reading, reading);
    bool more = read_claimed(s, total);
    claim_give(&s->loop->reading, reading);
    return more;
}

/* Gives again what was kept. Not in the loop's buffer, but nobody may read in there, either. */
static void give_rest(struct stream *s)
{
    claim_take(&s->loop->reading, reading);
    give(s, s->rest, s->rest_len);
    claim_give(&s->loop->reading, reading);
}

/* Reads what there is, as far as a turn allows. What a transport has buffered raises no event, so a
 * post sees to it in the next turn; that asks the kernel for nothing, which raises its own, unless
 * that is wanted. */
static void pump_input(struct stream *s)
{
    size_t total = 0;
    for (int i = 0; i < TURN_READS && total < STREAM_TURN_BYTES; i++) {
        if (!read_once(s, &total))
            return;
    }
    if (wire_has_buffered(s->wire))
        loop_post_next(s->loop, &s->later);
}

/* And writes what could not be written until something was read. */
static void pump(struct stream *s)
{
    pump_input(s);
    if (!s->line.want_read || s->state == STREAM_CLOSED || s->failed)
        return;
    s->line.want_read = false;
    stream_flush(s);
}

/* ---- events ---- */

/* Open now: tells the user, and sees to what waited for it. */
static void opened(struct stream *s)
{
    s->ready_told = true;
    if (s->user != NULL && s->user->on_ready != NULL)
        s->user->on_ready(s->arg);
    if (s->state == STREAM_OPEN)
        stream_flush(s);
    if (s->state == STREAM_OPEN)
        stream_end_output(s);
    if (takes_data(s) && wire_has_buffered(s->wire))
        pump(s);
}

/* A step of the handshake. Gives what ops->handshake gave. */
static int shake(struct stream *s)
{
    s->line.want_write = false;
    int r = s->wire->ops->handshake == NULL ? 0 : s->wire->ops->handshake(s->wire);
    if (r == WIRE_FAIL) {
        line_settle(&s->line);
        return r;
    }
    if (r == WIRE_AGAIN && s->line.want_write)
        stream_arm_write(s);
    else
        stream_disarm_write(s);
    if (r == 0)
        s->state = STREAM_OPEN;
    return r;
}

static void shake_on_event(struct stream *s)
{
    int r = shake(s);
    if (r == WIRE_FAIL)
        fail(s);
    else if (r == 0)
        opened(s);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct stream *s = arg;
    (void)fd;
    (void)what;
    s->line.drained = false;
    if (s->state == STREAM_HANDSHAKE) {
        shake_on_event(s);
        return;
    }
    if (s->state != STREAM_LINGER && !takes_data(s)) {
        disarm_read(s);
        return;
    }
    pump(s);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct stream *s = arg;
    (void)fd;
    (void)what;
    if (s->state == STREAM_HANDSHAKE) {
        shake_on_event(s);
        return;
    }
    if (s->line.want_write) {
        s->line.want_write = false;
        if (s->state == STREAM_LINGER || takes_data(s))
            pump(s);
        if (s->state == STREAM_CLOSED || s->failed)
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

/* What came up while the user, or nobody, was on the stack. */
static void on_later(void *arg)
{
    struct stream *s = arg;
    if (s->state == STREAM_OPEN && !s->ready_told)
        opened(s);
    if (s->state == STREAM_CLOSED)
        return;
    if (s->failed) {
        tell_fault(s);
        return;
    }
    if (s->line.fault != NULL && !may_read_on(s)) {
        fail(s);
        return;
    }
    if (s->state == STREAM_OPEN && s->offer && s->rest_len > 0 && takes_data(s))
        give_rest(s);
    if (s->state != STREAM_LINGER && !takes_data(s))
        return;
    if (!s->eof && (s->is_due || wire_has_buffered(s->wire))) {
        s->line.drained = !s->is_due;
        s->is_due = false;
        pump(s);
    }
    bool has_more = s->offer && s->rest_len > 0;
    if (s->eof && !has_more && s->state == STREAM_OPEN && takes_data(s))
        end_input(s);
}

static void on_linger_end(void *arg)
{
    stream_close(arg);
}

/* ---- public ---- */

struct stream *stream_new(struct loop *l, int fd, const struct addr *peer)
{
    struct stream *s = xcalloc(1, sizeof(*s));
    s->loop = l;
    s->line.fd = fd;
    s->plain = (struct wire){.ops = &wire_plain_ops, .line = &s->line};
    s->wire = &s->plain;
    s->state = STREAM_HANDSHAKE;
    s->rest_max = REST_MAX;
    if (peer != NULL)
        s->peer = *peer;
    event_assign(&s->rev, l->base, fd, EV_READ | EV_PERSIST, on_readable, s);
    event_assign(&s->wev, l->base, fd, EV_WRITE | EV_PERSIST, on_writable, s);
    post_init(&s->later, on_later, s);
    deadline_init(&s->linger, l, on_linger_end, s);
    list_init(&s->lingering);
    return s;
}

void stream_push(struct stream *s, struct wire *w)
{
    w->below = s->wire;
    w->line = &s->line;
    s->wire = w;
}

void stream_set_user(struct stream *s, const struct stream_user *user, void *arg)
{
    s->user = user;
    s->arg = arg;
    s->eof_told = false;
    s->fault_told = false;
    s->offer = true;
    if (s->state != STREAM_OPEN || user == NULL)
        return;
    if (takes_data(s) && !s->eof)
        arm_read(s);
    if (s->rest_len > 0 || s->eof || s->line.fault != NULL || wire_has_buffered(s->wire))
        loop_post(s->loop, &s->later);
}

void stream_start(struct stream *s)
{
    /* Nothing of ours has been sent, or nothing has been read: wait for the event. */
    s->line.drained = true;
    int r = shake(s);
    if (r != WIRE_FAIL)
        arm_read(s);
    if (r != WIRE_AGAIN)
        loop_post(s->loop, &s->later);
}

void stream_pause(struct stream *s)
{
    s->paused = true;
}

void stream_resume(struct stream *s)
{
    if (!s->paused)
        return;
    s->paused = false;
    if (s->state != STREAM_OPEN || s->failed)
        return;
    s->offer = true;
    if (!s->eof)
        arm_read(s);
    if (s->rest_len > 0 || s->eof || s->line.fault != NULL || wire_has_buffered(s->wire))
        loop_post(s->loop, &s->later);
}

struct str stream_rest(const struct stream *s)
{
    return str_make(s->rest, s->rest_len);
}

bool stream_is_quiet(const struct stream *s, bool peek)
{
    if (s->state != STREAM_OPEN || s->eof || s->line.fault != NULL || s->ending || s->rest_len > 0)
        return false;
    if (s->is_due || s->out != NULL || wire_has_buffered(s->wire))
        return false;
    return !peek || sock_is_quiet(s->line.fd);
}

void stream_read_soon(struct stream *s)
{
    s->is_due = true;
    loop_post(s->loop, &s->later);
}

/* From the reaper. */
static void stream_free(void *object)
{
    struct stream *s = object;
    wire_free(s->wire);
    free(s->rest);
    free(s->line.fault);
    free(s);
}

void stream_close(struct stream *s)
{
    if (s == NULL || s->state == STREAM_CLOSED)
        return;
    bool is_well = s->state != STREAM_HANDSHAKE && s->line.fault == NULL && !s->failed &&
                   !s->ended && s->out == NULL;
    wire_close(s->wire, is_well);
    s->state = STREAM_CLOSED;
    s->user = NULL;
    disarm_read(s);
    stream_disarm_write(s);
    loop_unpost(&s->later);
    deadline_close(&s->linger);
    linger_part(s);
    stream_drop_out(s);
    share_set(&s->share, 0);
    close(s->line.fd);
    s->line.fd = -1;
    loop_reap(s->loop, &s->reap, stream_free, s);
}

void stream_abort(struct stream *s)
{
    if (s == NULL || s->state == STREAM_CLOSED)
        return;
    sock_set_reset(s->line.fd);
    /* No last words: they would say that this end was meant. */
    s->failed = true;
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
    s->state = STREAM_LINGER;
    s->user = NULL;
    linger_join(s);
    s->ending = true;
    if (!s->eof)
        arm_read(s);
    deadline_set(&s->linger, s->ended ? STREAM_LINGER_MS : STREAM_LINGER_FLUSH_MS);
    stream_end_output(s);
    if (s->state == STREAM_LINGER && s->ended && s->eof)
        stream_close(s);
}
