/* SPDX-License-Identifier: Apache-2.0 */
/* Non-blocking, close-on-exec stream sockets over TCP and unix domain. Every function that makes
 * one gives a descriptor >= 0, owned by the caller, or -1 with errno. */
#ifndef TLSFAN_NET_SOCK_H
#define TLSFAN_NET_SOCK_H

#include "base/addr.h"
#include "base/fault.h"

/* A listening TCP or unix socket. REUSEPORT lets the other workers bind the same TCP address. A
 * stale unix socket file (nobody answers) is replaced, a live one is EADDRINUSE; its mode is
 * 0660. IPV6_V6ONLY is set. */
MUST_CHECK int sock_listen(const struct addr *a, bool reuseport);

/* LISTENER, of any family, takes connections to addresses that are not this machine's, and answers
 * from them (IP_TRANSPARENT): what a rule of TPROXY sends here. False with errno, EPERM without
 * CAP_NET_ADMIN; it listens all the same, for what other rules have turned. */
MUST_CHECK bool sock_set_transparent(int listener, const struct addr *a);

/* The address a socket is bound to (the port that was picked). False with errno. */
MUST_CHECK bool sock_local(int fd, struct addr *a);

/* Where the accepted connection FD was going before the kernel turned it to its listener: what
 * netfilter's REDIRECT or DNAT notes, else the socket's own address, which is it for TPROXY and for
 * a local route; and the address of the listener where nobody turned it. False with errno. */
MUST_CHECK bool sock_original(int fd, struct addr *dst);

/* Accepts one connection; TCP_NODELAY is set (inherited from sock_listen()). -1 with EAGAIN when
 * there is none. PEER is filled in. */
MUST_CHECK int sock_accept(int listener, struct addr *peer);

/* True for an errno of sock_accept() that is about a connection which died while it waited, or
 * about the network: the next one may be well. */
bool sock_is_passing(int cause);

/* Starts connecting; TCP_NODELAY. SOURCE (len 0 or NULL: none) is bound first. The socket is
 * given when the connection is there or under way (EINPROGRESS): wait until it can be written
 * to, then ask sock_connect_result(). EMFILE also for a descriptor that is kept for others
 * (base/fds.h). */
MUST_CHECK int sock_connect(const struct addr *a, const struct addr *source);

/* The outcome of a connect when the socket has become writable: 0 or an errno. */
int sock_connect_result(int fd);

/* True while an idle connection has neither ended nor got bytes nobody asked for (recv
 * MSG_PEEK). */
bool sock_is_quiet(int fd);

/* True when bytes can be read at once. */
bool sock_has_input(int fd);

/* Closing FD sends RST from now on. */
void sock_set_reset(int fd);

/* The fault that a failed connect to A (printed) means: refused, unroutable, timed out, or a
 * limit of this machine. ERR is an errno. */
void sock_fault(struct fault *f, int err, const struct addr *a);

#endif
