/* SPDX-License-Identifier: Apache-2.0 */
/* What a client may do, and as memory fills (max_memory) that is less: fewer requests of one
 * connection are read and begun, until it is one at a time. Where not even that one has room, it
 * waits for a moment, unread, and gets 503 then. For the files of this folder. */
#ifndef TLSFAN_CLIENT_ROOM_H
#define TLSFAN_CLIENT_ROOM_H

#include "client/client_impl.h"

enum room {
    ROOM_ENOUGH, /* go on; there or later it may be 503 */
    ROOM_LATER,  /* the client waits, and is blocked until client_run() is called for it */
    ROOM_NONE    /* to be refused */
};

void room_init(struct clients *cs);
void room_clear(struct clients *cs);

/* Room for a head of HEAD bytes that is whole in c->in; 0: for the part of one that is all of it.
 * With NONE, F says why. */
enum room client_room(struct client *c, size_t head, struct fault *f);
/* C waits no more: it is closed. */
void client_wait_end(struct client *c);
/* False with F when N bytes of trailers are more than may be kept until all has come. */
MUST_CHECK bool client_may_gather(struct client *c, size_t n, struct fault *f);

/* Reads on, or stops reading: what would come has no place yet. */
void client_set_flow(struct client *c);
/* The next request that may begin, as order_next(). */
struct order_item *client_next(struct client *c);

#endif
