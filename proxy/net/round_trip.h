/* SPDX-License-Identifier: Apache-2.0 */
/* How far away the peer of a TCP connection is. */
#ifndef TLSFAN_NET_ROUND_TRIP_H
#define TLSFAN_NET_ROUND_TRIP_H

#include <stdint.h>

/* µs that the kernel has seen a segment of FD and its acknowledgement take at least, in the last
 * minutes; -1: it does not know. */
int64_t round_trip_of(int fd);

#endif
