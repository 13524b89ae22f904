/* SPDX-License-Identifier: Apache-2.0 */
/* The addresses that this process listens on, and for what: no request may come back to one of them
 * unasked, and some may be asked for. One set for the process; any thread. */
#ifndef TLSFAN_CONF_BOUND_H
#define TLSFAN_CONF_BOUND_H

#include <stdatomic.h>

#include "conf/listener.h"

struct bound {
    struct addr addr; /* with the port that was picked */
    enum listener_kind kind;
    bool tls; /* its clients speak TLS to it */
};

/* Replaces the set by the N of V (copied). What is unix: is in nobody's way and left out by the
 * caller. A listener on 0.0.0.0 or :: stands for every address of this machine. */
void bound_set(const struct bound *v, unsigned n);

/* False: no listener is on PORT. A quick look, before bound_find(). */
extern _Atomic uint64_t bound_ports[1024];
static inline bool bound_has_port(uint16_t port)
{
    uint64_t word = atomic_load_explicit(&bound_ports[port / 64], memory_order_relaxed);
    return (word >> port % 64 & 1) != 0;
}

/* True when a connection to A, which is one reading of an address (addr_readings()), would come to
 * a listener: it is in B, which may be NULL. 0.0.0.0 and :: as a destination are loopback. */
bool bound_find(const struct addr *a, struct bound *b);

/* Where the service listener is; false: there is none. */
bool bound_service(struct addr *a);

/* "127.0.0.1:3129", in DST of ADDR_TEXT bytes: how a client of this machine writes A, which may be
 * 0.0.0.0 or ::. */
const char *bound_shown(const struct addr *a, char *dst);

/* It has guards of its own and asks no origin that a client names, so that nothing goes round
 * there: a client of this machine may be led to it. */
static inline bool bound_is_open(const struct bound *b)
{
    return b->kind == LISTENER_SERVICE || b->kind == LISTENER_FORWARD;
}

#endif
