/* SPDX-License-Identifier: Apache-2.0 */
/* A name to an open, verified stream: addresses (two queries), RFC 8305 attempts, CONNECT where a
 * parent is on the way (upstream/way.h), TLS; one deadline, one fault. Also used as it is for
 * CONNECT tunnels (tls false). */
#ifndef TLSFAN_UPSTREAM_DIAL_H
#define TLSFAN_UPSTREAM_DIAL_H

#include "net/dns.h"
#include "net/tls_client.h"
#include "upstream/tickets.h"
#include "upstream/want.h"

struct dial; /* a token */

/* What came of it. STREAM is the callee's (not started for plain ones but through a parent,
 * handshake done for TLS ones, user not set, paused: the callee sets its user before it returns);
 * NULL: FAULT says why: FAULT_DNS, DNS_TIMEOUT, REFUSED, UNROUTABLE, CONNECT_TIMEOUT,
 * ADDRESS_DENIED, DENIED, PARENT, UP_PROTOCOL (of a parent), UP_CLOSED, TLS_*. */
struct dial_result {
    struct stream *stream;
    const struct fault *fault;
    const char *name; /* that was looked up for it, until the callee returns; NULL: an address */
    struct x509_st *lacking; /* whose issuer is missing and may be fetched; borrowed, or NULL */
    struct addr peer;        /* connected to, or tried last; len 0: none */
    int64_t dns_us, connect_us, tls_us; /* the last with what it waited for a session, tickets.h */
};
typedef void (*dial_fn)(void *arg, const struct dial_result *r);

/* The far end of R has taken the connection, through the parent if there is one, though TLS may
 * have failed then. */
static inline bool dial_reached(const struct dial_result *r)
{
    return r->stream != NULL || r->fault->code == FAULT_TLS_CERTIFICATE ||
           r->fault->code == FAULT_TLS_PROTOCOL || r->fault->code == FAULT_TLS_ALERT;
}
/* We have not given up before it was asked, nor the parent on the way to it. */
static inline bool dial_asked(const struct dial_result *r)
{
    return r->stream != NULL ||
           (r->fault->code != FAULT_DENIED && r->fault->code != FAULT_ADDRESS_DENIED &&
            r->fault->code != FAULT_DESCRIPTORS);
}
/* It has not taken it, but there was an address to try, or one that may not be tried. */
static inline bool dial_found(const struct dial_result *r)
{
    return r->peer.len > 0 || (r->name != NULL && r->fault->code == FAULT_ADDRESS_DENIED);
}

/* What it says of itself on the way, and how long it may take. */
struct dial_offer {
    int64_t ms;              /* of connect_timeout that are left; 0: all */
    const char *via;         /* to a parent: value of Via; outlives the dial; NULL: none */
    bool http2;              /* by its TLS handshake */
    struct tickets *tickets; /* outlive the dial and the stream; NULL: no sessions */
};

/* Connects for WHERE, on the loop of DNS: connect_to (the rule's, then the first that matches)
 * decides to what, policy_address() is asked of every address before it is tried. OFFER may be
 * NULL: nothing. Never calls FN before it returns; the token is gone when FN is called. What WHERE
 * and OFFER hold is copied, slices too. */
struct dial *dial_start(struct dns *dns, const struct up_where *where,
                        const struct dial_offer *offer, dial_fn fn, void *arg);
void dial_cancel(struct dial *d);
/* How far it has come: P but `queued_us`. */
void dial_progress(const struct dial *d, struct up_progress *p);

#endif
