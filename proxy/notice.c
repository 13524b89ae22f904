/* SPDX-License-Identifier: Apache-2.0 */
/* Sentences for the log: see notice.h. */
#include "notice.h"

#include "base/fds.h"
#include "conf/bound.h"
#include "conf/keys.h"
#include "conf/parent.h"
#include "conf/rule.h"
#include "net/tls_strength.h"

/* Of each parent once. */
static void notice_parent(const struct conf *c, const struct rule *r)
{
    const struct parent *p = r->parent;
    if (p == NULL || (r->index > 0 && p == c->rules[0].parent))
        return;
    log_info("%s: %s reached through the parent proxy %s",
             rule_where(c, r, r->index == 0 ? "upstream.proxy" : "proxy"),
             r->index == 0 ? "origins are" : "these hosts are", p->shown);
}

/* What makes a handshake weaker than it is by default. */
static void notice_strength(const struct rule *r)
{
    if (tls_strength_is_lowered(&r->tls))
        log_warning(
            "%s: rule \"%s\" has security_level = %d: keys and signatures of these hosts may "
            "be weak",
            r->where, r->pattern, r->tls.security_level - 1);
    if (r->tls.legacy_renegotiation)
        log_info(
            "%s: rule \"%s\" has legacy_renegotiation = on: servers without RFC 5746 are taken "
            "there",
            r->where, r->pattern);
}

void notice_rules(const struct conf *c)
{
    const char *keylog = c->rules[0].tls.keylog;
    if (keylog[0] != '\0')
        log_warning("tls.keylog = %s: the secrets of all connections are written there, and who "
                    "reads it can read what they carry",
                    keylog);
    for (unsigned i = 0; i < c->n_rules; i++) {
        const struct rule *r = &c->rules[i];
        notice_parent(c, r);
        notice_strength(r);
        if (r->upgrade && !r->tls.verify)
            log_warning(
                "%s: rule \"%s\" has verify = off: these hosts' certificates are not checked",
                r->where, r->pattern);
        if (!r->upgrade)
            log_info("%s: rule \"%s\" has upgrade = off: http:// stays plain HTTP there", r->where,
                     r->pattern);
    }
}

/* What is new in PLACES, and what has gone from OLD. */
void notice_places(const struct listen_set *places, const struct listen_set *old,
                   const struct conf *c)
{
    char text[ADDR_TEXT];
    for (unsigned i = 0; i < places->n; i++) {
        const struct place *p = &places->v[i];
        const struct forward *f = c->listeners[i].forward;
        if (p->fds != NULL && p->kind == LISTENER_SERVICE)
            log_info("live page: http://%s/ (the service listener%s)", bound_shown(&p->addr, text),
                     addr_is_any(&p->addr) ? ", at all addresses" : "");
        else if (p->fds != NULL && p->kind == LISTENER_TRANSPARENT)
            log_info("listening on %s for connections that are turned here%s",
                     addr_print(&p->addr, text),
                     p->has_tproxy ? "" : " by REDIRECT (for TPROXY, CAP_NET_ADMIN is lacking)");
        else if (p->fds != NULL && p->kind == LISTENER_PROXY)
            log_info("listening on %s%s", p->tls ? "tls:" : "", addr_print(&p->addr, text));
        else if (p->fds != NULL && p->kind == LISTENER_FORWARD)
            log_info("listening on %s%s for %s://%s:%u%s", p->tls ? "tls:" : "",
                     addr_print(&p->addr, text), f->tls ? "https" : "http", f->host, f->port,
                     f->path);
    }
    for (unsigned i = 0; i < old->n; i++) {
        if (!listen_has(places, old->v[i].id))
            log_info("no longer listening on %s", addr_print(&old->v[i].addr, text));
    }
}

void notice_descriptors(const struct conf *c)
{
    const struct fds *fds = fds_budget();
    unsigned wanted = c->client.max_connections;
    if (wanted <= fds->clients)
        return;
    log_warning("this process may have %u descriptors, which allow %u client connections with "
                "theirs to origins, and client.max_connections = %u: for these it takes %u; %s, or "
                "lower the key",
                fds->limit, fds->clients, wanted, fds_need(wanted, c->workers, c->n_listeners),
                FDS_ADVICE);
}

void notice_at_start(struct conf *c, const struct conf *running)
{
    unsigned n;
    const struct key *keys = keys_of(KEY_GLOBAL, &n);
    for (unsigned i = 0; i < n; i++) {
        if (!keys[i].at_start)
            continue;
        unsigned *wanted = (unsigned *)((char *)c + keys[i].offset);
        unsigned holds = *(const unsigned *)((const char *)running + keys[i].offset);
        if (*wanted != holds)
            log_warning("%s is taken at start only: %u, not %u", keys[i].name, holds, *wanted);
        *wanted = holds;
    }
}
