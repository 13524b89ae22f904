/* SPDX-License-Identifier: Apache-2.0 */
/* The next page: see next_page.h. Who asks for an http:// URL of another host will be routed as
 * exchange/route.c says; a page that is found elsewhere than there is just not used. */
#include "own/next_page.h"

#include "conf/policy.h"
#include "conf/rule.h"
#include "own/ahead_key.h"
#include "own/link.h"

/* Fields that say nothing of who asks. */
static bool field_is_common(const struct field *f)
{
    static const struct str names[] = {STR_INIT("Accept"), STR_INIT("Accept-Encoding"),
                                       STR_INIT("Accept-Language"), STR_INIT("User-Agent"),
                                       STR_INIT("Via")};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (f->name.p != NULL && str_ieq(f->name, names[i]))
            return true;
    }
    return false;
}

static void next_page_fields(struct exchange *x, struct fetch_like *like)
{
    struct fields *fields = arena_alloc(&x->arena, sizeof *fields);
    fields_init(fields, &x->arena, NULL, 0);
    for (unsigned i = 0; i < x->head.fields.n; i++) {
        if (field_is_common(&x->head.fields.v[i]))
            fields_add(fields, x->head.fields.v[i]);
    }
    like->rq.fields = fields;
}

/* A name that could only be meant for the client's own machine or network is not asked. */
static bool next_page_is_public(const struct uri_host *host)
{
    return !host->is_ip && !uri_is_loopback_name(host->name) &&
           str_find(host->name, '.') < host->name.len;
}

static bool next_page_elsewhere(struct exchange *x, const struct uri_ref *ref,
                                const struct rule *rule, struct fetch_like *like)
{
    struct fault f;
    bool is_https = ref->scheme == SCHEME_HTTPS;
    uint16_t written = ref->host.port == (is_https ? 443 : 80) ? 0 : ref->host.port;
    if (source_rules[x->from->kind].is_exempt || rule->readahead == 0 || rule->n_edits > 0 ||
        x->rule->n_edits > 0 || !next_page_is_public(&ref->host) ||
        !policy_host(x->conf, ref->host.name, like->where.port, false, &f))
        return false;
    like->where.rule = rule;
    like->where.is_local = false;
    like->rq.host = uri_authority(&x->arena, ref->host.name, written, 0);
    next_page_fields(x, like);
    return true;
}

/* An absolute URL. */
static bool next_page_of_url(struct exchange *x, struct str url, struct fetch_like *like,
                             struct str *target)
{
    struct uri_ref ref;
    if (!uri_parse_ref(&ref, &x->arena, url))
        return false;
    struct str rest = ref.rest;
    if (rest.len == 0 || rest.p[0] != '/')
        rest = arena_printf(&x->arena, "/%.*s", STR_ARG(rest));
    if (!link_resolve(&x->arena, STR("/"), rest, target))
        return false;
    bool is_https = ref.scheme == SCHEME_HTTPS;
    uint16_t port = ref.host.port;
    uint16_t tls_port = port == 0 || (port == 80 && !is_https) ? 443 : port;
    const struct rule *rule = rule_find(x->conf, ref.host.name, tls_port);
    bool tls = is_https || rule->upgrade;
    const struct up_where *here = &x->where;
    if (str_eq(ref.host.name, here->host) && tls == here->tls &&
        (tls         ? tls_port
         : port == 0 ? 80
                     : port) == here->rule_port)
        return true;
    like->where.host = ref.host.name;
    /* A captured client asks for names as the DNS has them. */
    like->where.is_rooted =
        ref.host.is_rooted || (x->from->turned != NULL && x->from->turned->is_captured);
    like->where.tls = tls;
    like->where.rule_port = tls_port;
    like->where.port = rule->port != 0 ? rule->port : tls ? tls_port : port == 0 ? 80 : port;
    return next_page_elsewhere(x, &ref, rule, like);
}

bool next_page(struct exchange *x, const struct h1_head *head, struct fetch_like *like,
               struct str *target)
{
    const struct field *field = NULL;
    struct str uri = str_make(NULL, 0);
    bool has_next = false;
    if (head->status < 200 || head->status > 299)
        return false;
    while (!has_next && (field = fields_find(&head->fields, FIELD_LINK, field)) != NULL)
        has_next = link_next(field->value, &uri);
    if (!has_next)
        return false;
    *like = ahead_like(x);
    if (link_resolve(&x->arena, x->rq.target, uri, target))
        return true;
    if (str_starts(uri, STR("//")))
        uri = arena_printf(&x->arena, "%s:%.*s", x->where.tls ? "https" : "http", STR_ARG(uri));
    return next_page_of_url(x, uri, like, target);
}
