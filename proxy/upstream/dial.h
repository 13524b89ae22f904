/* SPDX-License-Identifier: Apache-2.0 */
/* A name to an open, verified stream: addresses (two queries), RFC 8305 attempts, TLS; one
 * deadline, one fault. Also used as it is for CONNECT tunnels (tls false). */
#ifndef TLSFAN_UPSTREAM_DIAL_H
#define TLSFAN_UPSTREAM_DIAL_H

#include "net/dns.h"
#include "net/tls_stream.h"
#include "upstream/upstream.h"

struct dial; /* a token */

/* What came of it. STREAM is the callee's (not started for plain ones, handshake done for TLS ones,
 * user not set, paused: the callee sets its user before it returns); NULL: FAULT says why:
 * FAULT_DNS, DNS_TIMEOUT, REFUSED, UNROUTABLE, CONNECT_TIMEOUT, ADDRESS_DENIED, DENIED, TLS_*. */
struct dial_result {
    struct stream *stream;
    const struct fault *fault;
    struct addr peer; /* connected to, or tried last; len 0: none */
    int64_t dns_us, connect_us, tls_us;
};
typedef void (*dial_fn)(void *arg, const struct dial_result *r);

/* Connects for WANT, on the loop of DNS: connect_to (the rule's, then the first that matches)
 * decides where, policy_address() is asked of every address before it is tried. SESSIONS (NULL
 * allowed) outlives the dial and the stream. Never calls FN before it returns; the token is gone
 * when FN is called. WANT's slices are copied. */
struct dial *dial_start(struct dns *dns, const struct up_want *want, struct tls_sessions *sessions,
                        dial_fn fn, void *arg);
void dial_cancel(struct dial *d);

#endif
