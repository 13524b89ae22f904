/* SPDX-License-Identifier: Apache-2.0 */
/* The route of a request: see route.h; what of it lies in its target and Host alone stands in
 * route_target.c, what is asked on connections that were turned here in route_turned.c. Everything
 * that may be refused is refused here, before a byte goes upstream; the steps stand in
 * route_request() in the order in which they are taken. */
#include "exchange/route.h"

#include "conf/policy.h"
#include "conf/rule.h"
#include "exchange/name.h"
#include "exchange/performer.h"
#include "exchange/route_impl.h"
#include "exchange/trust.h"
#include "exchange/welcome.h"
#include "upstream/way.h"

/* The first value; p NULL: there is none. */
static struct str route_field(const struct exchange *x, enum field_id id)
{
    const struct field *f = fields_find(&x->head.fields, id, NULL);
    return f == NULL ? str_make(NULL, 0) : f->value;
}

static enum policy_auth route_auth(struct exchange *x)
{
    if (x->conf->htpasswd == NULL || !source_rules[x->from->kind].asks_credentials)
        return POLICY_AUTH_OK;
    struct str value = route_field(x, FIELD_PROXY_AUTHORIZATION);
    enum policy_auth auth = x->is_trusted ? POLICY_AUTH_OK : policy_auth(x->conf, value);
    if (auth == POLICY_AUTH_OK)
        x->credentials = value;
    return auth;
}

static bool route_in(const struct strings *list, struct str s)
{
    for (unsigned i = 0; i < list->n; i++) {
        if (str_ieq(str_from(list->v[i]), s))
            return true;
    }
    return false;
}

/* A page that reaches for a forward listener by a name of its own (DNS rebinding) is refused. */
static bool route_forward_host(struct exchange *x, const struct uri_host *host, struct fault *f)
{
    const struct forward *fwd = x->from->forward;
    if (host->name.p == NULL || host->is_ip || uri_is_loopback_name(host->name) ||
        str_eq(host->name, str_from(fwd->host)) || route_in(&fwd->hosts, host->name))
        return true;
    char name[256];
    fault_set(f, FAULT_MISDIRECTED,
              "this listener does not answer for the host %s; name it in `hosts` of forward \"%s\" "
              "if it should",
              str_escape(name, sizeof name, host->name), fwd->listener);
    f->phrase = "Listener does not answer for %s";
    return false;
}

bool route_is_own_page(const struct exchange *x, struct str self)
{
    const struct forward *fwd = x->from->forward;
    return policy_page(route_field(x, FIELD_ORIGIN), route_field(x, FIELD_SEC_FETCH_SITE), self,
                       fwd != NULL && fwd->client_tls);
}

/* Requests that a web page of another site makes are refused. */
static bool route_forward_origin(struct exchange *x, struct str self, struct fault *f)
{
    const struct forward *fwd = x->from->forward;
    const struct field *origin = fields_find(&x->head.fields, FIELD_ORIGIN, NULL);
    if (origin != NULL && route_in(&fwd->origins, origin->value))
        return true;
    if (route_is_own_page(x, self))
        return true;
    fault_set(f, FAULT_DENIED,
              "a web page of another origin may not use this listener; name it in `origins` of "
              "forward \"%s\" if it may",
              fwd->listener);
    f->phrase = "Web page of another origin may not use this listener";
    return false;
}

/* ---- the forms of a target, each filling where.host, where.port, where.tls and rq.target */

const struct rule *route_rule(const struct exchange *x, const struct uri_host *host, uint16_t port)
{
    return x->full.len == 0 ? rule_find(x->conf, host->name, port)
                            : rule_find_full(x->conf, host->name, x->full, port);
}

void route_want(struct exchange *x, const struct uri_host *host, uint16_t port, bool tls)
{
    x->where.conf = x->conf;
    x->where.host = host->name;
    x->where.is_rooted = host->is_rooted;
    x->where.port = port;
    x->where.tls = tls;
    x->where.is_local = x->from->is_local;
    x->where.is_tunnel = x->where.is_direct = x->where.is_bound = false;
    x->how.is_patient = source_rules[x->from->kind].is_patient;
    x->how.client = x->from->id;
    x->how.number = x->id;
    x->how.person =
        x->credentials.p == NULL ? x->from->person : trust_person(&x->from->peer, trust_user(x));
}

void route_url(struct exchange *x, const struct uri_host *host, bool is_https)
{
    uint16_t port = host->port;
    uint16_t asked = port != 0 ? port : is_https ? 443 : 80;
    if (bound_has_port(asked) && route_url_here(x, host, asked, is_https))
        return;
    uint16_t tls_port = port == 0 || (port == 80 && !is_https) ? 443 : port;
    x->rule = route_rule(x, host, tls_port);
    bool tls = is_https || x->rule->upgrade;
    if (tls)
        port = tls_port;
    else if (port == 0)
        port = 80;
    x->rewrite.is_upgraded = tls && !is_https;
    if (x->rule->port != 0)
        port = x->rule->port;
    route_want(x, host, port, tls);
    x->where.rule_port = tls_port;
    uint16_t written = host->port == (is_https ? 443 : 80) ? 0 : host->port;
    x->rq.host = uri_authority(&x->arena, host->name, written, 0);
}

/* OPTIONS with an absolute target without a path asks for "*" (RFC 9112 §3.2.4). */
struct str route_path(const struct exchange *x)
{
    if (x->head.method.id != METHOD_OPTIONS || x->target.form != TARGET_ABSOLUTE)
        return x->target.path;
    struct str rest = str_from_byte(x->head.target, x->target.scheme_name.len + 3);
    rest.len = str_find(rest, '#');
    return str_find(rest, '/') == rest.len && str_find(rest, '?') == rest.len ? STR("*")
                                                                              : x->target.path;
}

static bool route_is_spoken(const struct target *t, struct fault *f)
{
    if (t->form != TARGET_ABSOLUTE || t->scheme != SCHEME_OTHER)
        return true;
    char scheme[64];
    fault_set(f, FAULT_NOT_IMPLEMENTED, "%s:// is not spoken here; use http:// or https:// URLs",
              str_escape(scheme, sizeof scheme, t->scheme_name));
    f->phrase = "URL scheme not spoken, use http:// or https://";
    return false;
}

bool route_absolute(struct exchange *x, const struct uri_host *host_field, struct fault *f)
{
    (void)host_field;
    if (x->target.form != TARGET_ABSOLUTE)
        return welcome_refuse(x, f);
    if (!route_is_spoken(&x->target, f))
        return false;
    route_url(x, &x->target.host, x->target.scheme == SCHEME_HTTPS);
    x->rq.target = route_path(x);
    return true;
}

/* ASKED, as a request inside CONNECT wrote it, is HOST. Who writes no port means none: there are
 * clients that leave it out of Host whatever it is. */
static bool route_is_same(const struct uri_host *asked, const struct uri_host *host)
{
    return asked->name.p == NULL ||
           (str_eq(asked->name, host->name) && (asked->port == 0 || asked->port == host->port));
}

/* Inside TLS that was asked for by one name nothing is for another (RFC 9110 §7.4). */
static bool route_intercepted(struct exchange *x, const struct uri_host *host_field,
                              struct fault *f)
{
    const struct uri_host *host = &x->from->fixed;
    bool is_absolute = x->target.form == TARGET_ABSOLUTE;
    if (x->target.form == TARGET_AUTHORITY)
        return route_refuse(f, FAULT_BAD_REQUEST, "CONNECT inside CONNECT is not spoken here");
    route_url(x, host, true);
    x->rq.target = route_path(x);
    if (is_absolute && x->target.scheme != SCHEME_HTTPS)
        return route_refuse(
            f, FAULT_MISDIRECTED,
            "inside an intercepted CONNECT all URLs are https://, and the request names "
            "another scheme");
    if (route_is_same(host_field, host) && (!is_absolute || route_is_same(&x->target.host, host)))
        return true;
    fault_set(f, FAULT_MISDIRECTED,
              "the request names another host than the CONNECT that it is in, which was for %.*s: "
              "nothing inside goes elsewhere",
              STR_ARG(uri_authority(&x->arena, host->name, host->port, 0)));
    f->phrase = "Host is not that of the CONNECT around it";
    return false;
}

/* Inside CONNECT. An absolute target may only name its host. */
static bool route_inside(struct exchange *x, const struct uri_host *host_field, struct fault *f)
{
    const struct uri_host *host = &x->from->fixed;
    (void)host_field;
    if (x->target.form == TARGET_AUTHORITY)
        return route_refuse(f, FAULT_BAD_REQUEST, "CONNECT inside CONNECT is not spoken here");
    if (x->target.form == TARGET_ABSOLUTE && !str_eq(x->target.host.name, host->name))
        return route_refuse(f, FAULT_MISDIRECTED,
                            "the request names another host than the CONNECT that it is in");
    route_url(x, host, false);
    x->rq.target = route_path(x);
    return true;
}

static bool route_forward(struct exchange *x, const struct uri_host *host_field, struct fault *f)
{
    const struct forward *fwd = x->from->forward;
    if (x->head.method.id == METHOD_CONNECT)
        return route_refuse(f, FAULT_METHOD,
                            "this listener speaks for one origin and takes no CONNECT");
    if (!route_is_spoken(&x->target, f))
        return false;
    const struct uri_host *asked = x->target.form == TARGET_ABSOLUTE ? &x->target.host : host_field;
    struct str self = str_from(x->from->self);
    struct str written = self;
    if (asked->name.p != NULL)
        written = uri_authority(&x->arena, asked->name, asked->port, fwd->client_tls ? 443 : 80);
    if (!route_forward_host(x, asked, f) || !route_forward_origin(x, written, f))
        return false;
    /* Who names the target would be sent past this listener by URLs that name it too. */
    if (!str_eq(asked->name, str_from(fwd->host)))
        self = written;
    if (fwd->path[0] != '\0' && uri_path_leaves_root(x->target.path))
        return route_refuse(f, FAULT_BAD_REQUEST,
                            "the path climbs out of the one this listener speaks for");
    const struct uri_host *to = &x->from->fixed;
    x->rule = route_rule(x, to, fwd->port);
    route_want(x, to, x->rule->port != 0 ? x->rule->port : fwd->port, fwd->tls);
    x->where.rule_port = fwd->port;
    x->rewrite.forward = fwd;
    x->rewrite.self = self;
    x->rewrite.is_upgraded = fwd->tls && !fwd->client_tls;
    x->rq.host = fwd->host_is_client
                     ? written
                     : uri_authority(&x->arena, to->name, fwd->port, fwd->tls ? 443 : 80);
    x->rq.target = x->target.path;
    if (fwd->path[0] != '\0' && x->target.form != TARGET_ASTERISK)
        x->rq.target = arena_printf(&x->arena, "%s%.*s", fwd->path, STR_ARG(x->target.path));
    return true;
}

/* CONNECT host:443 is a blind tunnel, or TLS that we answer; host:80 is read as plain HTTP where
 * that would be upgraded. */
static enum route route_connect(struct exchange *x, struct fault *f)
{
    const struct uri_host *host = &x->target.host;
    enum route route;
    if (uri_is_internal_name(host->name) && (host->port != 80 || x->from->turned != NULL)) {
        route_refuse_internal(f);
        return ROUTE_REFUSE;
    }
    if (x->from->turned != NULL)
        return route_turned_connect(x, f);
    /* Two readers could disagree on whether it is a body or the first bytes of the tunnel. */
    if (x->body.framing == H1_FRAMING_CHUNKED || x->body.length > 0) {
        route_refuse(f, FAULT_BAD_REQUEST,
                     "a CONNECT request has no body (RFC 9110 section 9.3.6)");
        return ROUTE_REFUSE;
    }
    if (route_connect_here(x, &route, f))
        return route;
    bool is_self = host->port == 80 && uri_is_own_name(host->name);
    bool is_plain = is_self || (host->port == 80 && route_rule(x, host, 443)->upgrade);
    if (!is_self && !policy_host(x->conf, host->name, is_plain ? 443 : host->port, !is_plain, f))
        return ROUTE_REFUSE;
    if (is_plain)
        return ROUTE_PLAIN;
    x->rule = route_rule(x, host, host->port);
    if (host->port != 80 && conf_intercepts(x->conf, x->rule, host->name))
        return ROUTE_TLS;
    route_want(x, host, host->port, false);
    x->where.rule_port = host->port;
    x->where.is_tunnel = true;
    x->performer = &performer_dial;
    return ROUTE_UPSTREAM;
}

/* A parent that reads the request would stop the upgrade (RFC 6455 §4.1), or write its own Host. */
static bool route_needs_tunnel(const struct exchange *x, const struct forward_info *info)
{
    const struct forward *fwd = x->rewrite.forward;
    return info->is_websocket || (fwd != NULL && fwd->host_is_client);
}

/* What goes up is what was understood: hop-by-hop fields gone, rewritten, edited by the rule. */
static void route_head(struct exchange *x)
{
    struct forward_info info;
    /* A forward of ours would take its own name in Via for a loop; it adds one itself. */
    forward_request(&x->head, x->engine->id, x->conf->via && !x->where.is_bound, &info);
    if (x->rewrite.is_upgraded || x->rewrite.forward != NULL)
        rewrite_request(&x->head.fields, &x->rewrite);
    if (x->rule->n_edits > 0)
        route_edits(x);
    if (x->where.is_bound)
        route_here_head(x);
    route_request_head(x);
    x->rq.te_trailers = info.te_trailers;
    x->rq.is_upgrade = info.is_websocket;
    x->how.h1_only = info.is_websocket;
    x->where.is_tunnel = route_needs_tunnel(x, &info) && way_asked(&x->where) != NULL;
}

/* To where the operator wrote, with a secret. The rule may be that of a name which an answer of the
 * DNS has chosen, and which no check of the configuration could know. */
static bool route_own(struct exchange *x, const struct uri_host *host_field, struct fault *f)
{
    if (!route_absolute(x, host_field, f))
        return false;
    if (x->where.tls && x->rule->tls.verify)
        return true;
    fault_set(f, FAULT_TOKEN,
              "a secret goes nowhere without verification: verify is off in rule \"%.100s\", which "
              "holds for it",
              x->rule->pattern);
    return false;
}

const struct source_rules source_rules[SOURCE_KINDS] = {
    [SOURCE_PROXY] = {.destination = route_absolute,
                      .is_proxy = true,
                      .asks_credentials = true,
                      .comes_here = true},
    [SOURCE_FORWARD] = {.destination = route_forward, .is_exempt = true},
    /* Credentials came with its CONNECT. */
    [SOURCE_INSIDE] = {.destination = route_inside, .comes_here = true},
    /* the same; its client speaks of https:// */
    [SOURCE_INTERCEPTED] = {.destination = route_intercepted, .is_https = true},
    [SOURCE_BATCH] = {.destination = route_absolute,
                      .is_proxy = true,
                      .is_patient = true}, /* with the call */
    [SOURCE_TRANSPARENT] = {.destination = route_transparent},
    /* Its one request is a CONNECT. */
    [SOURCE_TURNED] = {.destination = route_absolute, .is_proxy = true, .is_silent = true},
    [SOURCE_HOST] = {.destination = route_absolute,
                     .is_proxy = true,
                     .is_exempt = true,
                     .is_silent = true},
    [SOURCE_OWN] = {.destination = route_own, .is_exempt = true, .is_https = true},
};

/* Under a rule with `readahead`. A batch asks for all at once,
 * but what it changes counts. */
static const struct performer *route_ahead(const struct exchange *x)
{
    bool is_batch = x->from->kind == SOURCE_BATCH;
    return (is_batch && x->head.method.is_safe) || x->engine->reads_ahead == NULL
               ? &performer_pool
               : x->engine->reads_ahead;
}

/* Form and destination, for all but CONNECT on a proxy listener. */
static bool route_destination(struct exchange *x, const struct uri_host *host_field,
                              struct fault *f)
{
    const struct source_rules *rules = &source_rules[x->from->kind];
    if (!rules->destination(x, host_field, f))
        return false;
    x->where.rule = x->rule;
    x->where.exempt = rules->is_exempt;
    return rules->is_exempt || policy_host(x->conf, x->where.host, x->where.port, false, f);
}

/* The list may be long, so a connection is looked up once in each. */
static bool route_may_come(struct exchange *x, struct fault *f)
{
    struct source_side *from = x->from;
    if (from->admitted == x->conf->generation)
        return true;
    if (from->turned != NULL ? !route_turned_may_come(x, f)
                             : !policy_client(x->conf, &from->peer, f))
        return false;
    from->admitted = x->conf->generation;
    return true;
}

enum route route_request(struct exchange *x, struct fault *f)
{
    struct uri_host host;
    x->rule = NULL;
    x->rewrite.conf = x->conf;
    if (!route_may_come(x, f) || !route_target(x, f) || !route_host_field(x, &host, f))
        return ROUTE_REFUSE;
    if (x->from->turned != NULL && !route_turned_target(x, &host, f))
        return ROUTE_REFUSE;
    route_hide_userinfo(x);
    enum policy_auth auth = route_auth(x);
    if (auth == POLICY_AUTH_SLOW)
        return ROUTE_AUTH;
    if (auth == POLICY_AUTH_BAD) {
        fault_set(f, FAULT_CREDENTIALS,
                  "this proxy asks for credentials: send Proxy-Authorization: Basic");
        return ROUTE_REFUSE;
    }
    if (forward_is_loop(&x->head.fields, x->engine->id)) {
        route_refuse(f, FAULT_LOOP,
                     "the request has come through this proxy before: it would go round in a loop");
        return ROUTE_REFUSE;
    }
    if (!x->is_named && x->conf->n_rules > 1 && name_matters(x))
        return ROUTE_NAME;
    bool is_proxy = source_rules[x->from->kind].is_proxy;
    if (is_proxy && x->head.method.id == METHOD_CONNECT) {
        enum route route = route_connect(x, f);
        x->where.rule = x->rule;
        return route;
    }
    if (is_proxy && x->target.form == TARGET_ASTERISK)
        return ROUTE_OPTIONS;
    if (route_is_self(x))
        return route_self(x, f);
    bool here = false;
    const char *why = NULL;
    if (!forward_max_forwards(&x->head.fields, x->head.method.id, &here, &why)) {
        route_refuse(f, FAULT_BAD_REQUEST, why);
        return ROUTE_REFUSE;
    }
    if (here)
        return x->head.method.id == METHOD_TRACE ? ROUTE_TRACE : ROUTE_OPTIONS;
    if (!route_destination(x, &host, f)) {
        x->rule = NULL;
        return ROUTE_REFUSE;
    }
    route_head(x);
    bool is_plain = x->rule->readahead == 0 || x->where.is_bound;
    x->performer = is_plain ? &performer_pool : route_ahead(x);
    return ROUTE_UPSTREAM;
}
