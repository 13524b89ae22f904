/* SPDX-License-Identifier: Apache-2.0 */
/* The route of what comes on a connection that was on its way elsewhere: see route_impl.h. A
 * request there is made what a client of a proxy would have sent, so that all that holds for one
 * holds for it; a tunnel is a CONNECT that the client knows nothing of. */
#include "exchange/route_impl.h"

#include "conf/policy.h"
#include "exchange/performer.h"

bool route_turned_may_come(const struct exchange *x, struct fault *f)
{
    const struct source_side *from = x->from;
    if (from->turned->is_captured)
        return true;
    return from->is_local ? policy_client_here(x->conf, &from->peer, f)
                          : policy_client(x->conf, &from->peer, f);
}

/* ---- connections that lead nowhere */

static bool turned_to_loopback(const struct exchange *x, struct fault *f)
{
    unsigned port = x->from->turned->to.port;
    fault_set(f, FAULT_REFUSED,
              "under run --capture port %u is tlsfan's on loopback, too: take it out of %s where a "
              "program of the command itself listens there, or move it to capture.host_loopback to "
              "reach this host's",
              port, source_rules[x->from->kind].is_silent ? "capture.tunnel" : "capture.http");
    f->phrase = "Loopback port is taken by run --capture";
    return false;
}

static bool turned_to_unknown(const struct exchange *x, struct fault *f)
{
    fault_set(f, FAULT_DNS,
              "%.*s stands for no name, or for none any more: the name must be asked for again",
              STR_ARG(x->from->turned->to.name));
    return false;
}

/* False with F where the connection leads nowhere. */
static bool turned_leads_on(const struct exchange *x, struct fault *f)
{
    switch (x->from->turned->where) {
    case TURNED_HERE:
        return route_refuse(
            f, FAULT_BAD_REQUEST,
            "this connection was made to the transparent: listener itself, which is for those "
            "that nftables or iptables turn to it; where a program is told of its proxy, that is "
            "a listener without transparent:");
    case TURNED_LOOP:
        return route_refuse(
            f, FAULT_LOOP,
            "this connection is one of tlsfan's own that was turned back to it: the rule that "
            "turns connections must leave out those of tlsfan's user (meta skuid)");
    case TURNED_LOOPBACK:
        return turned_to_loopback(x, f);
    case TURNED_UNKNOWN:
        return turned_to_unknown(x, f);
    default:
        return true;
    }
}

/* ---- requests */

/* "name", with the dot that it was written with. */
static struct str turned_name(struct exchange *x, const struct uri_host *host)
{
    return host->is_rooted ? arena_printf(&x->arena, "%.*s.", STR_ARG(host->name)) : host->name;
}

/* HOST is the address that was connected to: in the form of the other family, too, as of a program
 * that knows IPv6 alone. */
static bool turned_is_address(const struct source_turned *t, const struct uri_host *host)
{
    struct addr a;
    char text[ADDR_TEXT];
    if (!host->is_ip || !addr_parse_ip(&a, host->name, 0))
        return false;
    a = addr_plain(&a);
    addr_print_ip(&a, text);
    return str_eq(str_from(text), t->to.is_ip ? t->to.name : t->address);
}

/* Who is asked by HOST: a program that looks a name up and forgets it writes the address that it
 * was given, which is nobody's out there. One that writes the name has looked up just that. */
static const struct uri_host *turned_asked(const struct source_turned *t,
                                           const struct uri_host *host)
{
    bool is_to = host->name.p == NULL || turned_is_address(t, host) ||
                 (t->to.is_rooted && str_eq(host->name, t->to.name));
    return is_to ? &t->to : host;
}

/* http://tlsfan.localhost/ is tlsfan, and leads there where a program resolves it as localhost. */
static bool turned_is_for_us(const struct source_turned *t, const struct uri_host *host)
{
    return t->where == TURNED_LOOPBACK && t->to.port == 80 && uri_is_own_name(host->name);
}

/* The Host's own port is the client's word, and who writes another one than it connects to would be
 * led elsewhere. */
static bool turned_make_url(struct exchange *x, const struct uri_host *host, struct fault *f)
{
    const struct uri_host *to = &x->from->turned->to;
    if (x->target.form != TARGET_ORIGIN && x->target.form != TARGET_ASTERISK)
        return true;
    struct str name = turned_name(x, turned_asked(x->from->turned, host));
    struct str path = x->target.form == TARGET_ASTERISK ? STR("") : x->head.target;
    x->head.target =
        arena_printf(&x->arena, "http://%.*s%.*s",
                     STR_ARG(uri_authority(&x->arena, name, to->port, 80)), STR_ARG(path));
    const char *why = NULL;
    return uri_parse_target(&x->target, &x->arena, x->head.target, false, &why) ||
           route_refuse(f, FAULT_BAD_REQUEST, "the Host and the target make no URL");
}

bool route_turned_target(struct exchange *x, const struct uri_host *host, struct fault *f)
{
    return x->from->kind != SOURCE_TRANSPARENT ||
           (turned_make_url(x, host, f) &&
            (turned_is_for_us(x->from->turned, host) || turned_leads_on(x, f)));
}

bool route_transparent(struct exchange *x, const struct uri_host *host, struct fault *f)
{
    (void)host;
    if (x->target.form == TARGET_AUTHORITY)
        return route_refuse(f, FAULT_BAD_REQUEST,
                            "CONNECT is for proxies, and this connection was on its way to an "
                            "origin: give the program the address of a listener without "
                            "transparent:");
    return route_absolute(x, host, f);
}

/* ---- tunnels */

enum route route_turned_connect(struct exchange *x, struct fault *f)
{
    const struct source_turned *t = x->from->turned;
    const struct uri_host *host = &x->target.host;
    bool is_exempt = source_rules[x->from->kind].is_exempt;
    if (!turned_leads_on(x, f))
        return ROUTE_REFUSE;
    if (!is_exempt && !(t->is_captured ? policy_any_port(x->conf, host->name, f)
                                       : policy_host(x->conf, host->name, host->port, true, f)))
        return ROUTE_REFUSE;
    x->rule = route_rule(x, host, host->port);
    if (!is_exempt && !t->is_blind && conf_intercepts(x->conf, x->rule, host->name))
        return ROUTE_TLS;
    route_want(x, host, host->port, false);
    x->where.exempt = x->where.is_direct = is_exempt;
    x->where.is_tunnel = true;
    x->where.rule_port = host->port;
    x->performer = &performer_dial;
    return ROUTE_UPSTREAM;
}
