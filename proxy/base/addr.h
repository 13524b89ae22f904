/* SPDX-License-Identifier: Apache-2.0 */
/* Socket addresses and networks: parse, print, compare. No names are resolved here. */
#ifndef TLSFAN_BASE_ADDR_H
#define TLSFAN_BASE_ADDR_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/str.h"

enum {
    ADDR_TEXT = 128,    /* bytes that hold any printed address */
    ADDR_READINGS = 5,  /* addresses that one may be taken for */
    ADDR_HOST_KEY = 16, /* bytes of addr_host_key() */
};

/* A value: copied by assignment. */
struct addr {
    union {
        struct sockaddr sa;
        struct sockaddr_in in4;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    };
    socklen_t len;
};

/* An IP literal, IPv6 without brackets; false when it is none. PORT in host order. */
MUST_CHECK bool addr_parse_ip(struct addr *a, struct str ip, uint16_t port);
/* "1.2.3.4:80", "[::1]:80" or "unix:/path". */
MUST_CHECK bool addr_parse(struct addr *a, struct str text);
/* From what getpeername(2), accept(2) or a resolver gave. */
void addr_from_sockaddr(struct addr *a, const struct sockaddr *sa, socklen_t len);

/* "1.2.3.4:80", "[::1]:80", "unix:/path"; "1.2.3.4" or "::1". DST holds ADDR_TEXT bytes and is
 * what comes back. */
const char *addr_print(const struct addr *a, char *dst);
const char *addr_print_ip(const struct addr *a, char *dst);

int addr_family(const struct addr *a);
uint16_t addr_port(const struct addr *a); /* 0 for unix: */
void addr_set_port(struct addr *a, uint16_t port);
bool addr_equal(const struct addr *a, const struct addr *b);   /* port too */
bool addr_same_ip(const struct addr *a, const struct addr *b); /* as written: map both before */
bool addr_is_loopback(const struct addr *a); /* 127/8, ::1, and 127/8 in ::ffff:; unix: too */
bool addr_is_any(const struct addr *a);      /* 0.0.0.0, ::, and 0.0.0.0 in ::ffff: */

/* Who A is: the IPv4 address inside ::ffff:0:0/96, with A's port; else A itself. For what allows:
 * no other IPv4 inside IPv6 says that somebody is, or is reached, at that IPv4 address. */
struct addr addr_plain(const struct addr *a);
/* What A may lead to, for what refuses: A itself, and each IPv4 address that the kernel or a
 * translator may take out of it (::ffff:0:0/96, ::ffff:0:0:0/96, ::/96 but :: and ::1,
 * 64:ff9b::/96, 2002::/16, and 64:ff9b:1::/48 in four ways, RFC 6052 §2.2). With A's port; gives
 * how many. */
unsigned addr_readings(const struct addr *a, struct addr out[ADDR_READINGS]);

/* Who A counts as where hosts take turns: IPv4, in ::ffff: too, by its address, IPv6 by its /64,
 * for one host has all that is behind that, and all of unix: as one. */
void addr_host_key(const struct addr *a, uint8_t key[ADDR_HOST_KEY]);

/* Bits of `ip` behind the prefix do not matter. */
struct net {
    int family;     /* AF_INET or AF_INET6 */
    unsigned bits;  /* prefix length */
    uint8_t ip[16]; /* network order; 4 bytes of it for IPv4 */
};

/* Networks in the order they were added. Zero-initialised. */
struct netset {
    struct net *nets; /* heap, owned */
    unsigned n;
};

/* Adds "10.0.0.0/8", "::1", or a name: loopback, private, linklocal, any. "::ffff:10.0.0.0/104" is
 * 10.0.0.0/8. False when TEXT is none of these. */
MUST_CHECK bool netset_add(struct netset *s, struct str text);
/* To allow: true when a network of S holds A as addr_plain() has it. unix: is in no network. */
bool netset_has(const struct netset *s, const struct addr *a);
/* To refuse: true when a network of S holds any reading of A. */
bool netset_touches(const struct netset *s, const struct addr *a);
void netset_clear(struct netset *s);

#endif
