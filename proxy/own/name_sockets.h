/* SPDX-License-Identifier: Apache-2.0 */
/* The sockets by which a captured COMMAND asks for names. */
#ifndef TLSFAN_OWN_NAME_SOCKETS_H
#define TLSFAN_OWN_NAME_SOCKETS_H

/* A value: descriptors that do not block. UDP ones tell where to a datagram was sent (IP_PKTINFO,
 * IPV6_RECVPKTINFO), TCP ones listen. One of each family that the network has. */
struct name_sockets {
    int udp[2], tcp[2];
    unsigned n_udp, n_tcp;
};

#endif
