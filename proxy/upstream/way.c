/* SPDX-License-Identifier: Apache-2.0 */
/* The way follows from the key of an origin alone (upstream/want.h), so that what is pooled under
 * one key has gone one way. What the operator wrote is taken as it stands; what a client wrote is
 * judged before a parent hears of it. */
#include "upstream/way.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "conf/rule.h"
#include "conf/rule_index.h"
#include "http/uri.h"

/* What connect_to makes of WHERE. */
struct mapped {
    struct str target; /* where->host: it is not mapped */
    uint16_t port;
};

static struct mapped way_map(const struct up_where *where)
{
    struct mapped m = {where->host, where->port};
    const struct rule *rule = where->rule;
    if (where->is_public || where->is_bound)
        return m;
    if (rule->connect_host[0] != '\0') {
        m.target = str_from(rule->connect_host);
        m.port = rule->connect_port != 0 ? rule->connect_port : where->port;
        return m;
    }
    const struct connect_to *to = conf_connect_to(where->conf, where->host, where->port);
    if (to == NULL)
        return m;
    m.port = to->to_port != 0 ? to->to_port : where->port;
    if (to->to_host[0] != '\0')
        m.target = str_from(to->to_host);
    return m;
}

static bool way_is_mapped(const struct up_where *where, const struct mapped *m)
{
    return m->target.p != where->host.p;
}

/* ---- which parent */

/* Without the dot that says how a name is looked up here. */
static struct str way_undotted(struct str name)
{
    if (name.len > 0 && name.p[name.len - 1] == '.')
        name.len--;
    return name;
}

/* Only what is written as an address is in a network. */
static bool bypass_has(const struct bypass *b, struct str host)
{
    struct addr a;
    if (b->nets.n == 0 && b->hosts.n == 0)
        return false;
    host = way_undotted(host);
    if (addr_parse_ip(&a, host, 0) && netset_has(&b->nets, &a))
        return true;
    return b->hosts.n > 0 && rule_index_has(b->index, host);
}

const struct parent *way_parent(const struct up_where *where)
{
    const struct parent *p = where->rule->parent;
    if (p == NULL || where->is_direct)
        return NULL;
    if (p != where->conf->rules[0].parent)
        return p;
    const struct bypass *b = &where->conf->upstream.no_proxy;
    struct mapped m = way_map(where);
    return bypass_has(b, where->host) || bypass_has(b, m.target) ? NULL : p;
}

const struct parent *way_asked(const struct up_where *where)
{
    if (where->tls || where->is_tunnel || where->rule->parent == NULL)
        return NULL;
    struct mapped m = way_map(where);
    return way_is_mapped(where, &m) || m.port != where->port ? NULL : way_parent(where);
}

bool way_is_direct(const struct up_where *where)
{
    struct mapped m = way_map(where);
    return !way_is_mapped(where, &m) && m.port == where->port && way_parent(where) == NULL;
}

/* ---- the way */

void way_init(struct way *w, const struct up_where *where)
{
    struct mapped m = way_map(where);
    w->conf = where->conf;
    w->rule = where->rule;
    w->rule_port = where->rule_port;
    w->is_mapped = way_is_mapped(where, &m);
    w->port = m.port;
    w->host = xstrndup(where->host.p, where->host.len);
    w->connect =
        xasprintf("%.*s%s", STR_ARG(m.target), where->is_rooted && !w->is_mapped ? "." : "");
    w->parent = way_parent(where);
    w->is_asked = way_asked(where) != NULL;
    w->who.is_local = where->is_local;
    w->who.is_public = where->is_public;
    w->who.is_bound = where->is_bound;
    w->who.exempt = where->exempt || w->is_mapped;
}

void way_clear(struct way *w)
{
    free(w->host);
    free(w->connect);
    w->host = w->connect = NULL;
}

/* Parts of letters, digits and what else stands in names of hosts. What a URL may have there
 * besides is for a parent to make something of: ".test" or "%74est" could be another name to it
 * than the one that was judged. */
static bool way_is_name(struct str name)
{
    char before = '.';
    for (size_t i = 0; i < name.len; before = name.p[i++])
        if (!isalnum((unsigned char)name.p[i]) && strchr("-_", name.p[i]) == NULL &&
            (name.p[i] != '.' || before == '.'))
            return false;
    return true;
}

bool way_may(const struct way *w, struct fault *f)
{
    struct addr a;
    struct str name = way_undotted(str_from(w->connect));
    if (w->parent == NULL)
        return true;
    if (uri_is_loopback_name(name))
        name = STR("127.0.0.1");
    if (addr_parse_ip(&a, name, w->port))
        return policy_address(w->conf, &a, w->who, f);
    if (way_is_name(name))
        return true;
    fault_set(f, FAULT_DENIED,
              "%s is no name of a host: a parent proxy could read another one in it", w->connect);
    return false;
}

bool way_may_be(const struct way *w, struct str full, struct fault *f)
{
    struct str host = str_from(w->host);
    if (full.len == 0 || w->is_mapped || w->parent != NULL)
        return true;
    if (!w->who.exempt && !policy_full_host(w->conf, host, full, f))
        return false;
    const struct rule *rule = rule_find_full(w->conf, host, full, w->rule_port);
    if (rule == w->rule)
        return true;
    char shown[256];
    fault_set(
        f, FAULT_DENIED,
        "%s has become %.200s by the search list, for which rule \"%s\" (%s) holds: try again, "
        "or write the whole name",
        w->host, str_escape(shown, sizeof(shown), full), rule->pattern, rule->where);
    return false;
}

const char *way_first_host(const struct way *w)
{
    return w->parent != NULL ? w->parent->host : w->connect;
}

uint16_t way_first_port(const struct way *w)
{
    return w->parent != NULL ? w->parent->port : w->port;
}

static size_t way_put(char *dst, struct str name, uint16_t port)
{
    bool is_v6 = str_find(name, ':') < name.len;
    int n = snprintf(dst, WAY_TEXT, is_v6 ? "[%.*s]:%u" : "%.*s:%u", STR_ARG(name), (unsigned)port);
    return n < 0 ? 0 : n < WAY_TEXT ? (size_t)n : WAY_TEXT - 1;
}

const char *way_print(const struct way *w, char dst[WAY_TEXT])
{
    size_t n = way_put(dst, str_from(w->is_mapped ? w->connect : w->host), w->port);
    if (w->is_mapped)
        n += (size_t)snprintf(dst + n, WAY_TEXT - n, " (connect_to for %s)", w->host);
    if (w->parent != NULL && n < WAY_TEXT)
        snprintf(dst + n, WAY_TEXT - n, " (through the parent proxy %s)", w->parent->shown);
    return dst;
}

const char *way_authority(const struct way *w, char dst[WAY_TEXT])
{
    way_put(dst, way_undotted(str_from(w->connect)), w->port);
    return dst;
}

static void way_append(struct fault *f, const char *what, const char *name)
{
    size_t len = strlen(f->text);
    snprintf(f->text + len, sizeof(f->text) - len, " (%s %s)", what, name);
}

/* Whether the sentence is about an address, whoever has it. */
static bool way_names_address(enum fault_code code)
{
    return code == FAULT_REFUSED || code == FAULT_UNROUTABLE || code == FAULT_CONNECT_TIMEOUT;
}

void way_fail_first(const struct way *w, struct fault *f)
{
    struct addr a;
    struct str host = way_undotted(str_from(w->host));
    if (w->parent != NULL) {
        way_append(f, "the parent proxy", w->parent->shown);
        f->phrase = "Parent proxy cannot be reached";
    } else if (w->is_mapped) {
        way_append(f, "connect_to for", w->host);
    } else if (way_names_address(f->code) && !addr_parse_ip(&a, host, 0)) {
        way_append(f, "an address of", w->host);
    }
}

void way_fail_tls(const struct way *w, struct fault *f)
{
    if (w->parent != NULL && f->code == FAULT_TLS_CERTIFICATE)
        way_append(f, "through the parent proxy", w->parent->shown);
}
