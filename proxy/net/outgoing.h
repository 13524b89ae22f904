/* SPDX-License-Identifier: Apache-2.0 */
/* The connections that this process has begun a moment ago, by both their ends: where rules of the
 * kernel turn one of them back to a transparent: listener, that is a loop, which would go round
 * until something is used up. One table for the process, of a fixed size; any thread. */
#ifndef TLSFAN_NET_OUTGOING_H
#define TLSFAN_NET_OUTGOING_H

#include "base/addr.h"

/* Whether connections are noted: there is a transparent: listener. Off at first. */
void outgoing_watch(bool on);

/* FD has begun to connect to TO; called before a byte is written there. Nothing without
 * outgoing_watch(). Forgotten after 10 s. */
void outgoing_note(int fd, const struct addr *to);

/* True when a connection that came from PEER, on its way to ORIGINAL, is one that was noted. It may
 * come before it is noted, the thread that begins it being another one: to be asked when the first
 * bytes are there, or have not come. */
bool outgoing_is_ours(const struct addr *peer, const struct addr *original);

#endif
