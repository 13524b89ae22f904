/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of struct stream share with each other, and with nobody else: stream.c (life,
 * input, events) and stream_out.c (output). */
#ifndef TLSFAN_NET_STREAM_IMPL_H
#define TLSFAN_NET_STREAM_IMPL_H

#include "net/stream_share.h"

enum {
    STREAM_TURN_BYTES = 256 * 1024, /* read or written for one stream before others have a turn */
    STREAM_LINGER_FLUSH_MS =
        60 * 1000,              /* a lingering stream: the peer takes no byte of what waits */
    STREAM_LINGER_MS = 2 * 1000 /* and then: it does not end its side */
};

/* The event to write; arming it twice is arming it once. */
void stream_arm_write(struct stream *s);
void stream_disarm_write(struct stream *s);

/* Forgets what waits to be written. */
void stream_drop_out(struct stream *s);

/* Writes what waits; then ends our side if asked to, and tells the user. May close S. */
void stream_flush(struct stream *s);

/* Ends our side when that was asked for and nothing waits. Closes a lingering stream that is
 * done. */
void stream_end_output(struct stream *s);

#endif
