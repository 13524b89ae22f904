/* SPDX-License-Identifier: Apache-2.0 */
/* Connections that were on their way elsewhere and that the kernel, or the network of `run
 * --capture`, turned here: for the files of this folder alone. */
#ifndef TLSFAN_CLIENT_TURNED_IMPL_H
#define TLSFAN_CLIENT_TURNED_IMPL_H

#include "conf/listener.h"

struct client;
struct client_listener;
struct str;

/* C, new and not started, was accepted on L, which is no proxy, forward or service listener. Where
 * its first bytes decide it is in CLIENT_FIRST until then; it goes on as one that sends requests,
 * or with a CONNECT that was made for it. Calls nobody back. */
void turned_begin(struct client *c, const struct client_listener *l);
/* A drain: C, in CLIENT_FIRST, gets GRACE_MS to send its first byte. */
void turned_drain(struct client *c, int64_t grace_ms);
/* C is closed. What c->from.turned points to stays as long as C. Idempotent. */
void turned_end(struct client *c);
/* The connection of C is closed without a word to it: tells the operator WHY. */
void turned_tell(const struct client *c, struct str why);
/* The connection FD, accepted by a listener of KIND, is HTTP, or nothing says that it is not. */
bool turned_is_http(int fd, enum listener_kind kind);

#endif
