/* SPDX-License-Identifier: Apache-2.0 */
/* Warnings and no faults: a configuration in the making may have any of them, and a running one
 * serves all the same. */
#include "conf/doubts.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "base/log.h"
#include "conf/files.h"
#include "conf/oauth.h"
#include "conf/parent.h"
#include "conf/rule.h"
#include "conf/rule_index.h"

enum { COVERED_SHOWN = 20 /* rules */ };

/* The index knows a pattern for what it finds with that pattern as a host: "*.b.test" is found by
 * "*.b.test", "*.test" and "*", as each of its hosts is. */
static void doubt_rules(const struct conf *c)
{
    unsigned n = 0;
    for (unsigned i = 1; i < c->n_rules; i++) {
        const struct rule *r = &c->rules[i];
        unsigned at = rule_index_find(c->index, str_from(r->host), r->match_port);
        if (at >= r->index || ++n > COVERED_SHOWN)
            continue;
        log_warning(
            "%s: rule \"%s\" never holds: rule \"%s\" (%s) stands before it and matches all "
            "of its hosts; put the one for fewer hosts first",
            r->where, r->pattern, c->rules[at].pattern, c->rules[at].where);
    }
    if (n > COVERED_SHOWN)
        log_warning("%u more rules never hold for the same reason", n - COVERED_SHOWN);
}

/* ---- what leads back here */

static bool doubt_is_at(const struct listener *l, const struct addr *a)
{
    if (listener_is_captured(l->kind) || addr_family(&l->addr) == AF_UNIX ||
        addr_port(&l->addr) == 0 || addr_port(&l->addr) != addr_port(a))
        return false;
    return addr_same_ip(&l->addr, a) || (addr_is_any(&l->addr) && addr_is_loopback(a)) ||
           (addr_is_any(a) && addr_is_loopback(&l->addr));
}

/* The listener of C at HOST and PORT; NULL when none is seen there: names are not looked up. */
static const struct listener *doubt_own(const struct conf *c, const char *host, uint16_t port)
{
    struct addr a;
    bool is_local = strcmp(host, "localhost") == 0;
    if (!addr_parse_ip(&a, is_local ? STR("127.0.0.1") : str_from(host), port))
        return NULL;
    for (unsigned i = 0; i < c->n_listeners; i++)
        if (doubt_is_at(&c->listeners[i], &a))
            return &c->listeners[i];
    return NULL;
}

static void doubt_loop(const struct conf *c, const char *where, const char *what, const char *host,
                       uint16_t port)
{
    const struct listener *l = doubt_own(c, host, port);
    if (l != NULL)
        log_warning("%s%s%s leads to %s, which is a listener of this tlsfan (%s): what would go "
                    "there is refused",
                    where, where[0] == '\0' ? "" : ": ", what, l->text, l->where);
}

static void doubt_loops(const struct conf *c)
{
    for (unsigned i = 0; i < c->n_connect_to; i++)
        doubt_loop(c, "", "connect_to", c->connect_to[i].to_host, c->connect_to[i].to_port);
    for (unsigned i = 0; i < c->n_rules; i++) {
        const struct rule *r = &c->rules[i];
        const char *key = i == 0 ? "upstream.proxy" : "proxy";
        const struct parent *p = r->parent;
        if (p != NULL && (i == 0 || p != c->rules[0].parent))
            doubt_loop(c, rule_where(c, r, key), key, p->host, p->port);
        if (r->connect_host != NULL && r->connect_host[0] != '\0')
            doubt_loop(c, r->where, "connect_to", r->connect_host, r->connect_port);
    }
}

static void doubt_forwards(const struct conf *c)
{
    for (unsigned i = 0; i < c->n_listeners; i++) {
        const struct listener *l = &c->listeners[i];
        if (l->forward != NULL)
            doubt_loop(c, l->where, "to", l->forward->host, l->forward->port);
    }
}

/* ---- who can read it */

/* The file of the configuration that WHERE, "FILE:LINE", is in; NULL: another source. */
static const char *doubt_file(const struct conf *c, const char *where)
{
    for (const struct conf_file *f = c->files; f != NULL; f = f->hh.next)
        if (f->text != NULL && str_starts(str_from(where), str_from(f->path)) &&
            where[strlen(f->path)] == ':')
            return f->path;
    return NULL;
}

/* WHAT, a secret, stands where WHERE says. */
static void doubt_readers(const struct conf *c, const char *where, const char *what)
{
    struct stat st;
    const char *file = doubt_file(c, where);
    if (where[0] == '-')
        log_warning("%s: every user of this machine can read %s in the list of processes: write "
                    "{file:PATH} or {env:NAME} in its place",
                    where, what);
    else if (file != NULL && stat(file, &st) == 0 && S_ISREG(st.st_mode) &&
             (st.st_mode & S_IROTH) != 0)
        log_warning("%s: every user of this machine can read %s here: chmod o-r %s, or write "
                    "{file:PATH} in its place",
                    where, what, file);
}

static void doubt_secrets(const struct conf *c)
{
    for (unsigned i = 0; i < c->n_rules; i++) {
        const struct rule *r = &c->rules[i];
        const struct parent *p = r->parent;
        if (p != NULL && p->auth != NULL && p->password.n == 0 &&
            (i == 0 || p != c->rules[0].parent))
            doubt_readers(c, rule_where(c, r, i == 0 ? "upstream.proxy" : "proxy"),
                          "the password of the parent proxy");
    }
    for (unsigned i = 0; i < c->n_oauths; i++)
        if (!c->oauths[i].secret.is_secret && c->oauths[i].secret.n > 0)
            doubt_readers(c, c->oauths[i].secret_where, "the client_secret");
}

/* ---- what nothing uses */

static void doubt_oauths(const struct conf *c)
{
    bool *used = xcalloc(c->n_oauths + 1, sizeof(*used));
    for (unsigned i = 0; i < c->n_rules; i++)
        if (c->rules[i].oauth != NULL)
            used[c->rules[i].oauth - c->oauths] = true;
    for (unsigned i = 0; i < c->n_oauths; i++)
        if (!used[i])
            log_warning("%s: oauth \"%s\" is used by no rule: write {oauth:%s} into a "
                        "request_header",
                        c->oauths[i].where, c->oauths[i].name, c->oauths[i].name);
    free(used);
}

static bool doubt_is_set(const char *text)
{
    return text != NULL && text[0] != '\0';
}

/* Who sets them means to keep somebody out, or to be known; with `run`, what they are for is not
 * opened. */
static void doubt_certificates(const struct conf *c, bool is_run)
{
    bool has_tls = is_run;
    for (unsigned i = 0; i < c->n_listeners; i++)
        has_tls = has_tls || c->listeners[i].tls;
    if (!has_tls && doubt_is_set(c->client.client_ca))
        log_warning("client.client_ca = %s asks nobody for a certificate: no listener is tls:",
                    c->client.client_ca);
    if (!has_tls && doubt_is_set(c->client.cert))
        log_warning("client.cert = %s is shown to nobody: no listener is tls:", c->client.cert);
    if (doubt_is_set(c->intercept.ca_cert) && !conf_may_intercept(c))
        log_warning("intercept.ca_cert = %s signs nothing: no rule has intercept = on",
                    c->intercept.ca_cert);
}

static void doubt_clients(const struct conf *c)
{
    bool is_open = false;
    for (unsigned i = 0; i < c->n_listeners; i++)
        is_open = is_open || (!listener_is_captured(c->listeners[i].kind) &&
                              addr_family(&c->listeners[i].addr) != AF_UNIX);
    if (is_open && c->client.allow.n == 0)
        log_warning("client.allow is empty: all clients but those of unix: listeners are refused");
}

/* ---- port 80, where http:// is on its way to port 443 */

static void doubt_plain_rules(const struct conf *c)
{
    for (unsigned i = 1; i < c->n_rules; i++) {
        const struct rule *r = &c->rules[i];
        if (!r->upgrade && r->match_port == 80)
            log_warning("%s: rule \"%s\" has upgrade = off, but http:// without another port is "
                        "matched as port 443: leave \":80\" out",
                        r->where, r->pattern);
    }
}

static bool doubt_has_port(const struct list_of_ports *ports, uint16_t port)
{
    for (unsigned i = 0; i < ports->n; i++)
        if (ports->v[i] == port)
            return true;
    return false;
}

static void doubt_ports(const struct conf *c)
{
    const struct list_of_ports *ports = &c->destination.ports;
    bool uses_80 = false;
    for (unsigned i = 0; i < c->n_rules; i++)
        uses_80 = uses_80 || !c->rules[i].upgrade || c->rules[i].port == 80;
    if (!uses_80 && doubt_has_port(ports, 80) && !doubt_has_port(ports, 443))
        log_warning("destination.ports has 80 and not 443: http:// URLs lead to port 443 here, and "
                    "are refused");
}

void doubts_tell(const struct conf *c, bool is_run)
{
    doubt_clients(c);
    doubt_rules(c);
    doubt_plain_rules(c);
    doubt_ports(c);
    doubt_loops(c);
    doubt_forwards(c);
    doubt_secrets(c);
    doubt_oauths(c);
    doubt_certificates(c, is_run);
}
