/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of struct stream share with each other, and with nobody else: stream.c (life and
 * events), stream_in.c (input), stream_out.c (output) and stream_state.c (their states). */
#ifndef TLSFAN_NET_STREAM_IMPL_H
#define TLSFAN_NET_STREAM_IMPL_H

#include "net/stream_share.h"

enum {
    STREAM_TURN_BYTES = 256 * 1024, /* read or written for one stream before others have a turn */
    STREAM_LINGER_FLUSH_MS =
        60 * 1000,              /* a lingering stream: the peer takes no byte of what waits */
    STREAM_LINGER_MS = 2 * 1000 /* and then: it does not end its side */
};

/* The one place where each changes. */
void stream_set_state(struct stream *s, enum stream_state to);
void stream_set_input(struct stream *s, enum stream_input to);
void stream_set_output(struct stream *s, enum stream_output to);
/* What is kept is given again: the user has resumed, or IS_NEW_USER, who is told the end or the
 * fault as well. */
void stream_tell_again(struct stream *s, bool is_new_user);

/* The events; arming one twice is arming it once. What is called when more can be written. */
void stream_on_writable(void *arg);
void stream_arm_read(struct stream *s);
void stream_disarm_read(struct stream *s);
void stream_arm_write(struct stream *s);
void stream_disarm_write(struct stream *s);

/* What is kept is read again from the wire TO. */
void stream_hand_rest(struct stream *s, struct wire *to);
/* True while on_data() may be called. */
static inline bool stream_takes_data(const struct stream *s)
{
    return s->state == STREAM_OPEN && !s->paused && s->input < INPUT_DEAD && s->user != NULL;
}

/* Reads what there is, as far as a turn allows, delivers it, and writes what could not be written
 * until something was read. May close S. */
void stream_pump(struct stream *s);
/* What came up while the user, or nobody, was on the stack: `rest`, ends, faults, what the wire has
 * buffered. May close S. */
void stream_catch_up(struct stream *s);
/* Tells the fault that is known; a lingering stream is closed. Only from event handlers and
 * posts. */
void stream_fail(struct stream *s);
/* Nothing is read or written any more; that is yet to be told. */
void stream_die(struct stream *s);

/* Forgets what waits to be written. */
void stream_drop_out(struct stream *s);
/* Writes what waits; then ends our side if asked to, and tells the user. May close S. */
void stream_flush(struct stream *s);
/* Ends our side when that was asked for and nothing waits. Closes a lingering stream that is
 * done. */
void stream_end_output(struct stream *s);

#endif
