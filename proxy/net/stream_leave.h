/* SPDX-License-Identifier: Apache-2.0 */
/* A connection that goes on without its stream for a while, and what that costs. */
#ifndef TLSFAN_NET_STREAM_LEAVE_H
#define TLSFAN_NET_STREAM_LEAVE_H

#include "net/stream.h"

/* Closes S, a plain stream that is open, but for its descriptor, and gives what watches that, armed
 * and for nobody: fd_event_give() is to follow. NULL, and S is as it was: something waits in it, or
 * to be told. Not inside a callback of S. */
struct fd_event *stream_leave(struct stream *s);
/* The same connection once more, open: a plain stream over the descriptor of W, which it owns. */
struct stream *stream_return(struct loop *l, struct fd_event *w, const struct addr *peer);
/* W has called, S has a user by now: what has come is read in this turn. */
void stream_wake(struct stream *s);

#endif
