/* SPDX-License-Identifier: Apache-2.0 */
/* Where a request goes: its target, Host, who may ask, where it may go, the rule, and what changes
 * in its head. */
#ifndef TLSFAN_EXCHANGE_ROUTE_H
#define TLSFAN_EXCHANGE_ROUTE_H

#include "exchange/exchange.h"

enum route {
    ROUTE_REFUSE,   /* the fault says how to answer */
    ROUTE_AUTH,     /* credentials must be hashed first: auth_start(), then route again */
    ROUTE_NAME,     /* the rule depends on what the name is found as: name_start(), then again */
    ROUTE_UPSTREAM, /* x->performer performs it; what that needs of x->where, x->rq and x->rewrite
                       is set */
    ROUTE_PLAIN,    /* CONNECT host:80 that is read as plain HTTP */
    ROUTE_TLS,      /* CONNECT that is intercepted */
    ROUTE_OPTIONS,  /* tlsfan answers OPTIONS itself (RFC 9110 §9.3.7, §7.6.2) */
    ROUTE_TRACE     /* tlsfan is the final recipient of a TRACE (§9.3.8) */
};

/* Decides. Pure but for X: no I/O. */
enum route route_request(struct exchange *x, struct fault *f);

/* The part of it that fills x->target from the request line, for the log too; for tests. False with
 * F. */
MUST_CHECK bool route_target(struct exchange *x, struct fault *f);

/* F is why X fails. Where the service listener should have been asked, and there is none, it says
 * so, too. */
void route_explain(const struct exchange *x, struct fault *f);

/* What a rule adds or takes out does not come in by the trailers of X. To be called when its rule
 * is known, and when they are. */
void route_trailers(struct exchange *x);

#endif
