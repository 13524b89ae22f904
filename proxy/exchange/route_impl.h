/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of a route share with each other, and with nobody else. */
#ifndef TLSFAN_EXCHANGE_ROUTE_IMPL_H
#define TLSFAN_EXCHANGE_ROUTE_IMPL_H

#include "conf/bound.h"
#include "exchange/route.h"

/* Sets F to TEXT; false, always. */
bool route_refuse(struct fault *f, enum fault_code code, const char *text);

/* HOST is that of the Host field, empty where HTTP/1.0 has none. RFC 9112 §3.2: exactly one
 * well-formed Host in HTTP/1.1, whatever form the target has. False with F. */
MUST_CHECK bool route_host_field(struct exchange *x, struct uri_host *host, struct fault *f);

/* Credentials in the URL of the page that led here are for nobody to see (RFC 9110 §10.1.3), and a
 * Destination is held against the URL that is left of the target. */
void route_hide_userinfo(struct exchange *x);

/* route.c: the rule for HOST, and for what it was found as. */
const struct rule *route_rule(const struct exchange *x, const struct uri_host *host, uint16_t port);
/* x->where and x->how, but for the rule. */
void route_want(struct exchange *x, const struct uri_host *host, uint16_t port, bool tls);
/* The same and the rule for an URL: http:// becomes TLS unless a rule says no; https:// always is.
 * And what Host goes up. */
void route_url(struct exchange *x, const struct uri_host *host, bool is_https);
/* The target that goes up. */
struct str route_path(const struct exchange *x);
/* source_rules.destination of what names its host by its target. */
MUST_CHECK bool route_absolute(struct exchange *x, const struct uri_host *host, struct fault *f);

/* No web page makes the request, or one of http://SELF (of a listener with TLS, https://). */
bool route_is_own_page(const struct exchange *x, struct str self);
/* x->rq, but for target and Host. */
static inline void route_request_head(struct exchange *x)
{
    x->rq.method = x->head.method;
    x->rq.fields = &x->head.fields;
    x->rq.framing = x->body.framing;
    x->rq.length = x->body.length;
}

/* ---- route_here.c: what is for tlsfan itself */
/* By the names that tlsfan answers itself, whoever listens where; route_self() says how. */
bool route_is_self(const struct exchange *x);
enum route route_self(struct exchange *x, struct fault *f);
/* F: tlsfan.internal was asked for by something else than http://; false, always. No DNS is asked
 * for that name. */
bool route_refuse_internal(struct fault *f);
/* As route_url(), where HOST and PORT, which has a listener (bound_has_port()), are the service
 * listener or a forward of this process, as the client of X may write it. False: they are not. */
bool route_url_here(struct exchange *x, const struct uri_host *host, uint16_t port, bool is_https);
/* The same of a CONNECT; to a listener that speaks plain HTTP it is read as such, as to host:80.
 * *ROUTE is as of route_request(). */
bool route_connect_here(struct exchange *x, enum route *route, struct fault *f);
/* That the client of X, who has shown its credentials here, need not show others there. */
void route_here_head(struct exchange *x);

/* ---- route_edits.c */
/* The rule's request_header. What is secret in it goes over verified TLS alone, to the host and the
 * port that the pattern names. Sets x->wants_token. */
void route_edits(struct exchange *x);

/* ---- route_turned.c: connections that the kernel has turned here */
/* The client of X may come. False with F. */
MUST_CHECK bool route_turned_may_come(const struct exchange *x, struct fault *f);
/* What a client that knows of no proxy asks becomes what a proxy is asked: HOST (that of the Host
 * field), or else the address, and the port that its connection was going to, make of the target an
 * URL. False with F, where that connection may not go on, too. */
MUST_CHECK bool route_turned_target(struct exchange *x, const struct uri_host *host,
                                    struct fault *f);
/* Where that leads: as source_rules.destination. */
MUST_CHECK bool route_transparent(struct exchange *x, const struct uri_host *host, struct fault *f);
/* Where a CONNECT of such a connection leads, as route_request(). */
enum route route_turned_connect(struct exchange *x, struct fault *f);

#endif
