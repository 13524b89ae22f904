/* SPDX-License-Identifier: Apache-2.0 */
/* Names before the route: see name.h. */
#include "exchange/name.h"

#include "conf/policy.h"
#include "conf/rule.h"
#include "net/dns.h"
#include "net/dns_search.h"
#include "upstream/way.h"

/* The host whose rule is to be found; false when there is none. */
static bool find_host(const struct exchange *x, struct uri_host *host)
{
    bool has_host = x->target.form == TARGET_AUTHORITY ||
                    (x->target.form == TARGET_ABSOLUTE && x->target.scheme != SCHEME_OTHER);
    if (x->from->fixed.name.p != NULL)
        *host = x->from->fixed;
    else if (has_host)
        *host = x->target.host;
    else
        return false;
    return true;
}

/* The operator wrote where HOST is, or a parent looks it up. */
static bool is_mapped(const struct exchange *x, struct str host, uint16_t port)
{
    const struct connect_to *to = conf_connect_to(x->conf, host, port);
    const struct rule *rule = rule_find(x->conf, host, port);
    struct up_where where = {.conf = x->conf, .rule = rule, .host = host, .port = port};
    return rule->connect_host[0] != '\0' || (to != NULL && to->to_host[0] != '\0') ||
           way_parent(&where) != NULL;
}

/* HOST with DOMAIN has another rule than alone, at PORT. */
static bool is_other(const struct exchange *x, struct str host, const char *domain, uint16_t port)
{
    char full[DNS_NAME_MAX + 1];
    size_t len = strlen(domain);
    if (len == 0 || host.len + 1 + len > DNS_NAME_MAX)
        return false;
    memcpy(full, host.p, host.len);
    full[host.len] = '.';
    memcpy(full + host.len + 1, domain, len);
    struct str name = str_make(full, host.len + 1 + len);
    return rule_find_full(x->conf, host, name, port) != rule_find(x->conf, host, port);
}

bool name_matters(const struct exchange *x)
{
    struct uri_host host;
    struct addr literal;
    if (!find_host(x, &host) || host.is_ip || host.is_rooted || uri_is_loopback_name(host.name) ||
        uri_is_internal_name(host.name))
        return false;
    const struct dns_search *s = dns_ruled_search(x->engine->dns);
    if (s == NULL || addr_parse_ip(&literal, host.name, 0) ||
        (!source_rules[x->from->kind].is_exempt && !policy_name(x->conf, host.name)))
        return false;
    uint16_t port = host.port == 0 ? 443 : host.port;
    for (unsigned i = 0; i < s->n; i++) {
        /* "http://h:80" is asked at 443. */
        if (is_other(x, host.name, s->domains[i], port) && !is_mapped(x, host.name, port))
            return true;
        if (port == 80 && is_other(x, host.name, s->domains[i], 443) &&
            !is_mapped(x, host.name, 443))
            return true;
    }
    return false;
}

static void on_name(void *arg, const struct dns_answer *a)
{
    struct exchange *x = arg;
    x->naming = NULL;
    x->is_named = true;
    if (a->full.len > 0)
        x->full = arena_dup(&x->arena, a->full);
    exchange_resume(x);
}

void name_start(struct exchange *x)
{
    int family = x->conf->dns.family == AF_INET6 ? AF_INET6 : AF_INET;
    struct uri_host host = {.port = 0};
    (void)find_host(x, &host);
    x->naming = dns_lookup(x->engine->dns, host.name, family, on_name, x);
}

void name_cancel(struct exchange *x)
{
    if (x->naming != NULL)
        dns_cancel(x->naming);
    x->naming = NULL;
}
