/* SPDX-License-Identifier: Apache-2.0 */
/* See round_trip.h. A file of its own: the kernel's header and the C library's do not go together,
 * and the latter does not know of tcpi_min_rtt everywhere. */
#include "net/round_trip.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/socket.h>

int64_t round_trip_of(int fd)
{
    struct tcp_info info;
    socklen_t len = sizeof(info);
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0 ||
        len < offsetof(struct tcp_info, tcpi_min_rtt) + sizeof(info.tcpi_min_rtt) ||
        info.tcpi_min_rtt == UINT32_MAX)
        return -1;
    return info.tcpi_min_rtt;
}
