/* SPDX-License-Identifier: Apache-2.0 */
/* What a client may do as memory fills (max_memory): fewer requests of one connection are read and
 * begun, until it is one at a time; that one goes on, or gets 503. For the files of this folder. */
#ifndef TLSFAN_CLIENT_ROOM_H
#define TLSFAN_CLIENT_ROOM_H

#include "client/ask.h"

/* True when the next request of C may be read. Each answer that ends is a reason to ask again. */
bool client_may_read(const struct client *c);
/* The next request that may begin, as order_next(). */
struct order_item *client_next(struct client *c);
/* False with F when N bytes of a head, or of trailers, are more than may be kept until all has
 * come. */
MUST_CHECK bool client_may_gather(struct client *c, size_t n, struct fault *f);

#endif
