/* SPDX-License-Identifier: Apache-2.0 */
/* The route of what is for tlsfan itself: see route_impl.h. A program sends the URLs of loopback to
 * its proxy, too, so a client of this machine is led on to the listener that it means. That is done
 * as for an origin, with two things left out: the upgrade, and the rule against own listeners. All
 * guards of that listener hold, and of ours the rules on destinations.
 *
 * Who was on its way elsewhere (transparent:, run --capture) is not led there: loopback is its own
 * network's, and what the kernel turned here would have come to the listener anyway. */
#include "exchange/route_impl.h"

#include <stdio.h>

#include "conf/policy.h"
#include "exchange/performer.h"

enum { HTTP_PORT = 80, HTTPS_PORT = 443, SERVICE_PORT = 3129 /* unless -s says otherwise */ };

/* ---- http://tlsfan.internal/ and http://tlsfan.localhost/ */

static bool here_is_http(const struct exchange *x, const struct uri_host *host)
{
    bool is_https = x->target.form == TARGET_ABSOLUTE && x->target.scheme == SCHEME_HTTPS;
    return !is_https && (host->port == 0 || host->port == HTTP_PORT);
}

/* Whom X speaks to by name; NULL: no name is told. */
static const struct uri_host *here_named(const struct exchange *x)
{
    if (x->from->fixed.name.p != NULL)
        return &x->from->fixed;
    return x->target.form == TARGET_ABSOLUTE ? &x->target.host : NULL;
}

bool route_is_self(const struct exchange *x)
{
    const struct source_rules *rules = &source_rules[x->from->kind];
    const struct uri_host *host = here_named(x);
    if (host == NULL || rules->is_exempt || rules->is_https || !uri_is_own_name(host->name))
        return false;
    return uri_is_internal_name(host->name) || here_is_http(x, host);
}

enum route route_self(struct exchange *x, struct fault *f)
{
    struct str path = str_make(x->target.path.p, str_find(x->target.path, '?'));
    const struct uri_host *host = here_named(x);
    if (!here_is_http(x, host))
        route_refuse_internal(f);
    else if (!str_eq(path, STR("/batch")) || x->engine->batch == NULL)
        route_refuse(f, FAULT_NOT_FOUND,
                     uri_is_internal_name(host->name)
                         ? "there is nothing but /batch at http://tlsfan.internal/"
                         : "there is nothing but /batch at http://tlsfan.localhost/");
    else if (x->head.method.id != METHOD_POST)
        route_refuse(f, FAULT_NOT_POST, "a batch call is a POST");
    else if (!route_is_own_page(x, host->name))
        /* A browser that uses this proxy must not be led here by a page. */
        route_refuse(f, FAULT_DENIED, "a web page of another origin may not make a batch call");
    else {
        x->performer = x->engine->batch;
        route_request_head(x);
        return ROUTE_UPSTREAM;
    }
    return ROUTE_REFUSE;
}

bool route_refuse_internal(struct fault *f)
{
    return route_refuse(f, FAULT_NOT_FOUND,
                        "tlsfan.internal is this proxy: post to http://tlsfan.internal/batch, with "
                        "http:// and without a port");
}

/* ---- own listeners */

static bool here_has(struct str ip, uint16_t port, struct bound *b)
{
    struct addr a;
    return addr_parse_ip(&a, ip, port) && bound_find(&a, b) && bound_is_open(b);
}

/* HOST is the service listener or a forward, at PORT, for the client of X: in B. */
static bool here_find(const struct exchange *x, const struct uri_host *host, uint16_t port,
                      struct bound *b)
{
    const struct source_side *from = x->from;
    if (!source_rules[from->kind].comes_here || from->turned != NULL || !from->is_local)
        return false;
    if (host->is_ip)
        return here_has(host->name, port, b);
    return uri_is_loopback_name(host->name) &&
           (here_has(STR("127.0.0.1"), port, b) || here_has(STR("::1"), port, b));
}

/* With TLS or without, and through nothing that a rule or connect_to names. */
static void here_want(struct exchange *x, const struct uri_host *host, uint16_t port, bool tls)
{
    x->rule = route_rule(x, host, port);
    route_want(x, host, port, tls);
    x->where.rule_port = port;
    x->where.is_bound = x->where.is_direct = true;
}

bool route_url_here(struct exchange *x, const struct uri_host *host, uint16_t port, bool is_https)
{
    struct bound b;
    if (!here_find(x, host, port, &b) || (is_https && !b.tls))
        return false;
    here_want(x, host, port, b.tls);
    x->rewrite.is_upgraded = b.tls && !is_https;
    x->rq.host = uri_authority(&x->arena, host->name, port, is_https ? HTTPS_PORT : HTTP_PORT);
    return true;
}

bool route_connect_here(struct exchange *x, enum route *route, struct fault *f)
{
    const struct uri_host *host = &x->target.host;
    struct bound b;
    if (!bound_has_port(host->port) || !here_find(x, host, host->port, &b))
        return false;
    *route = ROUTE_REFUSE;
    if (!policy_host(x->conf, host->name, host->port, false, f))
        return true;
    *route = ROUTE_PLAIN;
    if (!b.tls)
        return true;
    here_want(x, host, host->port, false);
    x->where.is_tunnel = true;
    x->performer = &performer_dial;
    *route = ROUTE_UPSTREAM;
    return true;
}

void route_here_head(struct exchange *x)
{
    if (x->conf->htpasswd != NULL && x->engine->id->pass[0] != '\0')
        fields_put(&x->head.fields, STR("Proxy-Authorization"), str_from(x->engine->id->pass));
}

static bool here_is_loopback(const struct uri_host *host)
{
    struct addr a;
    return host->is_ip ? addr_parse_ip(&a, host->name, 0) && addr_is_loopback(&a)
                       : uri_is_loopback_name(host->name);
}

/* What X may have meant that is at another address: the listener of PORT, or the service listener
 * where that is its usual one. */
static bool here_is_elsewhere(const struct exchange *x, uint16_t port, struct bound *b)
{
    const struct uri_host loopback = {.name = STR("localhost")};
    if (here_find(x, &loopback, port, b))
        return true;
    b->kind = LISTENER_SERVICE;
    return port == SERVICE_PORT && x->from->is_local && bound_service(&b->addr);
}

/* `tlsfan run` opens no service listener, and a program may have been written for a tlsfan that has
 * one. */
void route_explain(const struct exchange *x, struct fault *f)
{
    const struct uri_host *host = here_named(x);
    struct bound b;
    char text[ADDR_TEXT];
    if (f->code != FAULT_REFUSED || host == NULL || !source_rules[x->from->kind].comes_here ||
        !here_is_loopback(host))
        return;
    size_t len = strlen(f->text), room = sizeof f->text - len;
    if (here_is_elsewhere(x, host->port, &b))
        snprintf(f->text + len, room, "; the %s of this tlsfan is at %s",
                 b.kind == LISTENER_SERVICE ? "service listener" : "forward",
                 bound_shown(&b.addr, text));
    else if (host->port == SERVICE_PORT && !bound_service(&b.addr))
        snprintf(f->text + len, room,
                 "; this tlsfan has no service listener: -s 127.0.0.1:%d opens one (with `run`, "
                 "too), and http://tlsfan.internal/batch needs none",
                 SERVICE_PORT);
}
