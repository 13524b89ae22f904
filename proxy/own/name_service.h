/* SPDX-License-Identifier: Apache-2.0 */
/* The DNS server of a command whose network leads here (`run --capture`), whatever server it asks:
 * UDP and TCP. A worker's, and on its thread. */
#ifndef TLSFAN_OWN_NAME_SERVICE_H
#define TLSFAN_OWN_NAME_SERVICE_H

#include "exchange/engine.h"

enum { NAME_SOCKETS = 2 }; /* of a kind: one a family */

/* Descriptors of sockets that are bound and, of TCP, listen. */
struct name_sockets {
    int udp[NAME_SOCKETS], tcp[NAME_SOCKETS];
    unsigned n_udp, n_tcp;
};

struct name_service;

/* Serves S, whose descriptors it owns from now on, by the newest snapshot and the resolver of E.
 * Never NULL: a socket that cannot be served is logged. */
struct name_service *name_service_new(struct engine *e, const struct name_sockets *s);
/* Before E's resolver is closed. NULL is harmless. */
void name_service_close(struct name_service *s);

#endif
