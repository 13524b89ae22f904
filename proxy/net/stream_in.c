/* SPDX-License-Identifier: Apache-2.0 */
/* The input of a stream: reading into the loop's buffer, what its user leaves, ends and faults. One
 * event handler reads at most TURN_READS times, then others have their turn; the event is
 * level-triggered and stays armed, so a request costs no call of epoll_ctl. */
#include "net/stream_impl.h"

#include <stdlib.h>

#include "net/sock.h"

enum {
    TURN_READS = 4,
    SMALL_REST = 8 * 1024 /* rest below it is joined with what comes in the loop's buffer */
};

static const char reading[] = "the buffer that streams read into";

/* Events are switched off only when they fire unwanted: pausing and resuming cost nothing. */
void stream_arm_read(struct stream *s)
{
    if (s->reads->is_armed)
        return;
    fd_event_arm(s->reads);
}

void stream_disarm_read(struct stream *s)
{
    fd_event_disarm(s->reads);
}

/* True while `rest` is to be given although nothing came. */
static bool owes_rest(const struct stream *s)
{
    return s->rest_len > 0 &&
           (s->input == INPUT_GIVES || s->input == INPUT_LOOKS || s->input == INPUT_ENDS_GIVES);
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

void stream_hand_rest(struct stream *s, struct wire *to)
{
    if (s->rest_len == 0)
        return; /* or else on_data() is on the stack, with what lies in `rest` */
    wire_put_back(to, s->rest, s->rest_len);
    s->rest = NULL;
    s->rest_len = 0;
    s->rest_cap = 0;
    stream_recount(s);
}

/* ---- faults and ends ---- */

void stream_die(struct stream *s)
{
    if (s->input < INPUT_DEAD)
        stream_set_input(s, INPUT_DEAD);
    if (s->output != OUTPUT_LOST)
        stream_set_output(s, OUTPUT_LOST);
    stream_disarm_read(s);
    stream_disarm_write(s);
    stream_drop_out(s);
}

void stream_fail(struct stream *s)
{
    if (s->state == STREAM_LINGER) {
        stream_close(s);
        return;
    }
    stream_die(s);
    if (s->user == NULL || s->input == INPUT_TOLD)
        return;
    stream_set_input(s, INPUT_TOLD);
    s->user->on_fault(s->arg, s->line.fault);
}

/* True while a write error can wait for the end of reading. */
static bool may_read_on(struct stream *s)
{
    if (!s->line.is_cut || s->fail_fast || s->state != STREAM_OPEN)
        return false;
    if (s->rest_len > 0 && (s->paused || owes_rest(s)))
        return true;
    if (s->input >= INPUT_ENDS_GIVES)
        return false;
    return !s->paused || wire_has_buffered(s->wire) || sock_has_input(s->line.fd);
}

/* Nothing more comes, and nothing that was kept is in front of that. */
static void end_input(struct stream *s)
{
    stream_disarm_read(s);
    if (s->line.fault != NULL) {
        stream_fail(s);
        return;
    }
    if (s->input != INPUT_ENDS)
        stream_set_input(s, INPUT_ENDS);
    if (s->state == STREAM_LINGER && s->output == OUTPUT_ENDED)
        stream_close(s);
    if (!stream_takes_data(s))
        return;
    stream_set_input(s, INPUT_ENDED);
    s->user->on_eof(s->arg, s->line.eof_clean);
}

/* ---- giving ---- */

/* Gives the user LEN bytes at P and keeps what it leaves. False when it wants no more now, or
 * the stream is not its any more. */
static bool stream_in_give(struct stream *s, const char *p, size_t len)
{
    if (s->input == INPUT_GIVES)
        stream_set_input(s, INPUT_READS);
    else if (s->input == INPUT_ENDS_GIVES)
        stream_set_input(s, INPUT_ENDS);
    struct wire *from = s->wire;
    s->rest_len = 0;
    size_t used = s->user->on_data(s->arg, p, len);
    if (s->state == STREAM_CLOSED || s->state == STREAM_LINGER)
        return false;
    if (used > len)
        used = len;
    keep_rest(s, str_make(p + used, len - used));
    if (s->wire != from) { /* another wire was laid over it: what is left is that one's */
        stream_hand_rest(s, from);
        loop_post(s->loop, &s->later);
        return false;
    }
    if (s->rest_len > s->rest_max && !s->paused) {
        line_set_fault(&s->line, FAULT_INTERNAL, "more input was left than its reader may leave");
        s->line.is_cut = false;
    }
    /* A wire that broke behind these bytes is not read again, so no event tells of it. */
    bool is_broken = s->line.fault != NULL && !s->line.is_cut;
    if (is_broken)
        stream_die(s);
    if (is_broken || owes_rest(s))
        loop_post(s->loop, &s->later);
    return stream_takes_data(s);
}

/* Gives again what was kept. Not in the loop's buffer, but nobody may read in there, either. */
static void give_rest(struct stream *s)
{
    claim_take(&s->loop->reading, reading);
    stream_in_give(s, s->rest, s->rest_len);
    claim_give(&s->loop->reading, reading);
}

/* ---- reading ---- */

/* Where to read to: a run of bytes that begins with `rest`. ROOM is the space behind it. */
static char *begin_read(struct stream *s, size_t *room)
{
    struct loop *l = s->loop;
    size_t cap = s->read_most > 0 ? s->read_most : l->rcap;
    if (s->state == STREAM_LINGER || s->rest_len == 0) {
        *room = stream_read_room(s, cap);
        return l->rbuf;
    }
    if (s->rest_len < SMALL_REST) {
        memcpy(l->rbuf, s->rest, s->rest_len);
        *room = stream_read_room(s, cap - s->rest_len);
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

/* The wire gave END, which is EOF or FAIL. */
static void read_ended(struct stream *s, ssize_t end)
{
    if (end == WIRE_FAIL)
        line_settle(&s->line);
    bool is_end = end == WIRE_EOF || (s->line.is_cut && !s->fail_fast);
    if (is_end && owes_rest(s) && s->state == STREAM_OPEN) {
        /* Resumed a moment ago: what was kept is given first, then the end, or reset, is told. */
        stream_set_input(s, INPUT_ENDS_GIVES);
        stream_disarm_read(s);
        loop_post(s->loop, &s->later);
    } else if (end == WIRE_EOF) {
        end_input(s);
    } else {
        stream_fail(s);
    }
}

/* Reads once and delivers, the buffer being ours. */
static bool read_claimed(struct stream *s, size_t *total)
{
    size_t room;
    char *run = begin_read(s, &room);
    size_t before = s->state == STREAM_LINGER ? 0 : s->rest_len;
    size_t unread = s->line.unread;
    ssize_t n = s->wire->ops->read(s->wire, run + before, room);
    if (s->line.unread != unread)
        stream_recount(s);
    if (s->line.want_write)
        stream_arm_write(s);
    if (n == WIRE_AGAIN) {
        /* It has taken enough of what is nothing for us (tickets), and left some on its wires. */
        if (!s->line.want_write && wire_has_buffered(s->wire))
            loop_post_next(s->loop, &s->later);
        return false;
    }
    if (n < 0) {
        read_ended(s, n);
        return false;
    }
    s->bytes_in += (uint64_t)n;
    *total += (size_t)n;
    if (s->state != STREAM_LINGER && !stream_in_give(s, run, before + (size_t)n))
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

/* What a wire has buffered raises no event, so a post sees to it in the next turn; that asks the
 * kernel for nothing, which raises its own, unless that is wanted. */
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

void stream_pump(struct stream *s)
{
    pump_input(s);
    if (!s->line.want_read || s->state == STREAM_CLOSED || s->input >= INPUT_DEAD)
        return;
    s->line.want_read = false;
    stream_flush(s);
}

void stream_catch_up(struct stream *s)
{
    bool is_dead = s->input >= INPUT_DEAD || (s->line.fault != NULL && !may_read_on(s));
    if (is_dead) {
        stream_fail(s);
        return;
    }
    if (s->state != STREAM_LINGER && !stream_takes_data(s))
        return;
    bool looks = s->input == INPUT_LOOKS;
    if (looks)
        stream_set_input(s, INPUT_GIVES);
    if (owes_rest(s) && s->state == STREAM_OPEN)
        give_rest(s);
    if (s->state != STREAM_LINGER && !stream_takes_data(s))
        return;
    if (s->input < INPUT_ENDS_GIVES && (looks || wire_has_buffered(s->wire))) {
        s->line.drained = !looks;
        stream_pump(s);
    }
    bool has_ended = s->input == INPUT_ENDS || s->input == INPUT_ENDS_GIVES;
    if (has_ended && !owes_rest(s) && stream_takes_data(s))
        end_input(s);
}

/* ---- public ---- */

/* What is there already is given later in this turn. */
static void want_input(struct stream *s)
{
    bool has_ended = s->input >= INPUT_ENDS_GIVES;
    if (stream_takes_data(s) && !has_ended)
        stream_arm_read(s);
    if (s->rest_len > 0 || has_ended || s->line.fault != NULL || wire_has_buffered(s->wire))
        loop_post(s->loop, &s->later);
}

void stream_set_user(struct stream *s, const struct stream_user *user, void *arg)
{
    s->user = user;
    s->arg = arg;
    stream_tell_again(s, true);
    if (s->state == STREAM_OPEN && user != NULL)
        want_input(s);
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
    if (s->state != STREAM_OPEN || s->input >= INPUT_DEAD)
        return;
    stream_tell_again(s, false);
    want_input(s);
}

void stream_unread(struct stream *s, const char *p, size_t n)
{
    size_t all = n + s->rest_len;
    char *rest = xmalloc(all);
    memcpy(rest, p, n);
    if (s->rest_len > 0)
        memcpy(rest + n, s->rest, s->rest_len);
    free(s->rest);
    s->rest = rest;
    s->rest_len = s->rest_cap = all;
    stream_recount(s);
}

struct str stream_rest(const struct stream *s)
{
    return str_make(s->rest, s->rest_len);
}

void stream_read_soon(struct stream *s)
{
    if (s->input == INPUT_READS || s->input == INPUT_GIVES)
        stream_set_input(s, INPUT_LOOKS);
    loop_post(s->loop, &s->later);
}
