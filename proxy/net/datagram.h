/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams on a socket that is bound to all addresses: the answer leaves from the one that was
 * asked, or who asked does not take it for an answer. Nothing here waits. */
#ifndef TLSFAN_NET_DATAGRAM_H
#define TLSFAN_NET_DATAGRAM_H

#include <sys/types.h>

#include "base/addr.h"

/* Where a datagram came from, and so where its answer goes. A value. */
struct datagram {
    struct addr peer;
    struct addr local;  /* it was sent to this address of ours (port 0); len 0: that is unknown */
    unsigned interface; /* by which it came; 0: unknown */
};

/* Makes FD, a bound UDP socket of either family, tell and choose that address: also one that is
 * local by nothing but a route. False with errno. */
MUST_CHECK bool datagram_set_up(int fd);

/* Takes one: how many bytes it has, which may be more than the N that P has room for. -1 with
 * errno. */
MUST_CHECK ssize_t datagram_receive(int fd, void *p, size_t n, struct datagram *d);

/* Sends N bytes back to where D came from. False with errno: they are lost, as datagrams may be. */
bool datagram_send(int fd, const void *p, size_t n, const struct datagram *d);

#endif
