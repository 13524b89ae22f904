/* SPDX-License-Identifier: Apache-2.0 */
/* A client of a tls: listener, from its coming to the end of its handshake: for the files of this
 * folder alone. What that needs lives as long as CLIENT_SHAKES lasts. */
#ifndef TLSFAN_CLIENT_SECURE_IMPL_H
#define TLSFAN_CLIENT_SECURE_IMPL_H

#include "base/fault.h"

struct client;
struct clients;
struct stream;

/* C, which has just come by a listener with TLS, whose stream is to be started behind this. TLS is
 * laid over it as soon as C has said something that is TLS, with what its snapshot has for such
 * listeners. Then it is in CLIENT_HEAD; or closed, with a line in the log. Plain HTTP gets a plain
 * answer. Calls nobody back. */
void secure_begin(struct client *c);
/* A drain: C, in CLIENT_SHAKES, gets GRACE_MS to begin its handshake. */
void secure_drain(struct client *c, int64_t grace_ms);
/* Memory is full: closes those who have been at their handshake for more than a second, the longest
 * first, until it is not. True: it is not. Of this worker alone. */
bool secure_make_room(struct clients *cs);
/* C has reached the end of the handshake or its own. Idempotent. */
void secure_end(struct client *c);
/* The last words to a client that may not come or has no place, on S, which is started and given
 * to itself: an alert, for it has not said a word yet and waits for none but TLS. */
void secure_refuse(struct stream *s, const struct fault *f);

#endif
