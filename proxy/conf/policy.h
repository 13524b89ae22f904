/* SPDX-License-Identifier: Apache-2.0 */
/* Who may come and where they may go. All judgements are values: true, or false with a fault filled
 * in. */
#ifndef TLSFAN_CONF_POLICY_H
#define TLSFAN_CONF_POLICY_H

#include "base/fault.h"
#include "conf/bound.h"
#include "conf/conf.h"
#include "conf/htpasswd.h"

/* False with FAULT_DENIED (naming client.allow) when PEER is in none of client.allow. unix: may
 * always come. */
MUST_CHECK bool policy_client(const struct conf *c, const struct addr *peer, struct fault *f);

/* The same for a PEER that is on this machine by any of its addresses: it may come where loopback
 * may, too. */
MUST_CHECK bool policy_client_here(const struct conf *c, const struct addr *peer, struct fault *f);

/* What a browser says of a request, in Origin and Sec-Fetch-Site (p NULL: not there). False when a
 * page of another origin than http://OWN, by TLS https://OWN, makes it; OWN is "host" or
 * "host:port". */
MUST_CHECK bool policy_page(struct str origin, struct str site, struct str own, bool by_tls);

/* A check of credentials. Hashing takes 50 ms, so what was verified once is remembered (keyed
 * digests, bounded, over reloads as long as the user's line stays), and only a new pair must go to
 * policy_auth_slow(), which any thread may call. */
enum policy_auth { POLICY_AUTH_OK, POLICY_AUTH_BAD, POLICY_AUTH_SLOW };

/* VALUE is the field value of Proxy-Authorization ("Basic ..."), empty when there is none. Loop
 * thread, quick. */
enum policy_auth policy_auth(const struct conf *c, struct str value);
/* The user whom VALUE names, at most CAP bytes of it, in DST. */
struct str policy_user(struct str value, char *dst, size_t cap);
/* Does the hashing and remembers a good pair. Blocks for 50 ms and more; thread safe. */
MUST_CHECK bool policy_auth_slow(const struct conf *c, struct str value);
/* Of what policy_auth() found to be POLICY_AUTH_SLOW: equal when policy_auth_slow() must say the
 * same, for the user and the password are, and the line of the file. Keyed: it means nothing
 * outside this process. Any thread, quick. */
struct auth_digest policy_auth_digest(const struct conf *c, struct str value);

/* Destination by name alone: allow_hosts and deny_hosts. */
bool policy_name(const struct conf *c, struct str host);

/* Destination by name and port: allow_hosts, deny_hosts, ports or connect_ports. HOST is lower
 * case. False with FAULT_DENIED. */
MUST_CHECK bool policy_host(const struct conf *c, struct str host, uint16_t port, bool is_connect,
                            struct fault *f);

/* The same without the port. */
MUST_CHECK bool policy_any_port(const struct conf *c, struct str host, struct fault *f);
/* CONNECT to PORT is allowed. */
bool policy_connect_port(const struct conf *c, uint16_t port);

/* The same as policy_host() for a name that was allowed as it was written, and found as FULL with a
 * domain of the search list: deny_hosts. */
MUST_CHECK bool policy_full_host(const struct conf *c, struct str host, struct str full,
                                 struct fault *f);

/* Destination by resolved address: deny, allow, loopback for clients that are not local, own
 * listeners (conf/bound.h). EXEMPT: the operator wrote this address (connect_to, to): deny does not
 * hold, own listeners still do. False with FAULT_ADDRESS_DENIED. */
struct policy_who {
    bool is_local; /* the client is on loopback or unix: */
    bool exempt;
    bool is_public; /* a stranger has chosen it: public addresses alone, and those of allow */
    bool is_bound;  /* it is for an own listener that is open (bound_is_open()), and none else */
};
MUST_CHECK bool policy_address(const struct conf *c, const struct addr *a, struct policy_who who,
                               struct fault *f);

#endif
