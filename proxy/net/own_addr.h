/* SPDX-License-Identifier: Apache-2.0 */
/* The addresses of this machine's interfaces (of this network namespace). Asked of the system, and
 * not tried with bind(), to which every address is one's own where net.ipv4.ip_nonlocal_bind or a
 * local route says so. */
#ifndef TLSFAN_NET_OWN_ADDR_H
#define TLSFAN_NET_OWN_ADDR_H

#include "base/addr.h"

/* True when A (::ffff: forms as the IPv4 address that they are, the port does not matter) is on
 * loopback or an interface of this machine; false for unix:. Any thread. The interfaces are looked
 * at again when the last look is 10 s old, or 1 s where A was not among them: an address that came
 * or went counts from then on, and strangers cost one look a second, however many they are. */
bool own_addr_has(const struct addr *a);

#endif
