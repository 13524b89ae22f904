/* SPDX-License-Identifier: Apache-2.0 */
/* The rule that was written first, of those that match. */
#include "conf/rule.h"

#include <stdlib.h>

#include "conf/rule_index.h"

const struct rule *rule_find(const struct conf *c, struct str host, uint16_t port)
{
    unsigned first = c->n_rules <= 1 ? RULE_NONE : rule_index_find(c->index, host, port);
    return &c->rules[first == RULE_NONE ? 0 : first];
}

static bool is_same_text(const char *a, const char *b)
{
    return str_eq(str_from(a), str_from(b));
}

/* FULL lets through what WRITTEN does not, or gives away what only FULL has. A context is all
 * settings of TLS but `verify`. */
static bool is_weaker(const struct rule *full, const struct rule *written)
{
    if (written->upgrade && !full->upgrade)
        return true;
    return written->tls.verify &&
           (!full->tls.verify || full->tls.ctx != written->tls.ctx ||
            !is_same_text(full->sni, written->sni) || (full->upgrade && full->n_edits > 0));
}

const struct rule *rule_find_full(const struct conf *c, struct str host, struct str full,
                                  uint16_t port)
{
    const struct rule *written = rule_find(c, host, port);
    if (full.len == 0)
        return written;
    const struct rule *found = rule_find(c, full, port);
    bool is_first = found->index != 0 && (written->index == 0 || found->index < written->index);
    /* Who writes a word alone leaves it to the list what that is. */
    bool is_word = str_find(host, '.') == host.len && !str_eq(host, str_from(written->host));
    return is_first && (is_word || !is_weaker(found, written)) ? found : written;
}

/* A is B, or below it. */
static bool is_within(struct str a, struct str b)
{
    if (a.len <= b.len)
        return str_eq(a, b);
    struct str end = str_from_byte(a, a.len - b.len);
    return str_eq(end, b) && a.p[a.len - b.len - 1] == '.';
}

bool rule_knows_domain(const struct conf *c, struct str domain)
{
    for (unsigned i = 1; i < c->n_rules; i++) {
        struct str name = str_from(c->rules[i].host);
        if (str_starts(name, STR("*.")))
            name = str_from_byte(name, 2);
        if (domain.len > 0 && name.len > 0 && !str_eq(name, STR("*")) &&
            (is_within(name, domain) || is_within(domain, name)))
            return true;
    }
    return false;
}

static const char *find_written(const struct rule *r, const char *key)
{
    for (unsigned i = 0; i < r->n_written; i++)
        if (strcmp(r->written[i].key, key) == 0)
            return r->written[i].where;
    return NULL;
}

const char *rule_where(const struct conf *c, const struct rule *r, const char *key)
{
    const char *own = find_written(r, key);
    if (own != NULL)
        return own;
    char *dotted = xasprintf("tls.%s", key);
    const char *inherited = find_written(&c->rules[0], dotted);
    free(dotted);
    return inherited != NULL ? inherited : r->where;
}
