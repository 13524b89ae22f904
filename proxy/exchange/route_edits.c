/* SPDX-License-Identifier: Apache-2.0 */
/* What a rule adds to a request, and takes out of it: see route_impl.h. */
#include "base/log_limit.h"
#include "conf/rule_index.h"
#include "exchange/route_impl.h"

enum { HTTPS_PORT = 443 };

/* Why what is secret in the rule of X is not for where it goes; NULL when it is. A rule that was
 * found by a domain of the search list, which an answer of the DNS has chosen, does not name it. */
static const char *route_why_kept(const struct exchange *x)
{
    const struct rule *r = x->rule;
    if (!x->where.tls || !r->tls.verify)
        return "the connection is not verified TLS";
    if (x->where.rule_port != (r->match_port == 0 ? HTTPS_PORT : r->match_port))
        return "a secret goes to port 443, or to the one that the pattern names";
    if (!rule_pattern_matches(str_from(r->host), x->where.host))
        return "the host was found by another name than it was asked for";
    return NULL;
}

static enum rewrite_trust route_trust(const struct exchange *x)
{
    if (x->head.method.id == METHOD_TRACE)
        return REWRITE_NONE;
    return route_why_kept(x) == NULL ? REWRITE_ALL : REWRITE_PLAIN;
}

/* What is for a token is asked for with its own credentials, and without any token. */
static bool route_spares(const struct exchange *x, const struct header_edit *e)
{
    enum field_id id = field_lookup(str_from(e->name));
    return x->from->kind == SOURCE_OWN &&
           (e->text.is_token || id == FIELD_AUTHORIZATION || id == FIELD_CONTENT_TYPE);
}

static void route_tell_kept(const struct exchange *x, const struct header_edit *e)
{
    log_limited(LOG_LEVEL_WARNING, "rule \"%s\": %s is not sent to port %u: %s", x->rule->pattern,
                e->name, x->where.rule_port, route_why_kept(x));
}

void route_trailers(struct exchange *x)
{
    const struct rule *r = x->rule;
    for (unsigned i = 0; r != NULL && x->trailers != NULL && i < r->n_edits; i++)
        fields_remove_name(x->trailers, str_from(r->edits[i].name));
}

void route_edits(struct exchange *x)
{
    const struct rule *r = x->rule;
    enum rewrite_trust trust = route_trust(x);
    for (unsigned i = 0; i < r->n_edits; i++) {
        if (route_spares(x, &r->edits[i]))
            continue;
        rewrite_edits(&x->head.fields, &r->edits[i], 1, trust);
        if (trust == REWRITE_PLAIN && r->edits[i].text.is_secret)
            route_tell_kept(x, &r->edits[i]);
    }
    route_trailers(x);
    x->wants_token = r->oauth != NULL && trust == REWRITE_ALL && x->from->kind != SOURCE_OWN;
}
