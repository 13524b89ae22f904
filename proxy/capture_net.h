/* SPDX-License-Identifier: Apache-2.0 */
/* A network namespace in which every address is local: network_namespaces(7), user_namespaces(7),
 * and rtnetlink(7) for what `ip link` and `ip route` would do. For a process of one thread. */
#ifndef TLSFAN_CAPTURE_NET_H
#define TLSFAN_CAPTURE_NET_H

#include <stdbool.h>

/* What was under way when it failed. */
enum capture_step {
    CAPTURE_DONE,
    CAPTURE_START, /* the process that does it */
    CAPTURE_USER,  /* the user namespace */
    CAPTURE_MAP,   /* the users and groups of that */
    CAPTURE_NET,   /* the network namespace */
    CAPTURE_ROUTE  /* its loopback interface and what leads there */
};

/* The namespaces as this process has them after it. */
struct capture_net {
    bool has_user; /* one of its own: without, capabilities and users are what they were */
    bool has_ip6;  /* the kernel speaks it */
};

/* Moves this process into new ones; a user namespace is made only where the right to the network
 * alone is lacking, and in it the effective user and group are themselves, with all capabilities.
 * Other than CAPTURE_DONE with errno. */
enum capture_step capture_net_make(struct capture_net *n);

#endif
