/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a snapshot, and what is asked of it alone. */
#include "conf/conf.h"

#include <stdlib.h>

#include "conf/files.h"
#include "conf/htpasswd.h"
#include "conf/rule_index.h"

char *conf_dump(const struct conf *c)
{
    return xstrdup(c->text);
}

static void conf_free(struct conf *c)
{
    if (c->on_free != NULL)
        c->on_free(c);
    rule_index_free(c->index);
    rule_index_free(c->destination.allow_index);
    rule_index_free(c->destination.deny_index);
    rule_index_free(c->intercept.only_index);
    netset_clear(&c->client.allow);
    netset_clear(&c->destination.deny);
    netset_clear(&c->destination.allow);
    netset_clear(&c->upstream.no_proxy.nets);
    rule_index_free(c->upstream.no_proxy.index);
    htpasswd_free(c->htpasswd);
    conf_files_clear(&c->files);
    secret_store_clear(&c->secrets);
    free(c->text);
    arena_clear(&c->arena);
    free(c);
}

struct conf *conf_ref(struct conf *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void conf_unref(struct conf **c)
{
    struct conf *gone = *c;
    *c = NULL;
    if (gone != NULL && atomic_fetch_sub_explicit(&gone->refs, 1, memory_order_acq_rel) == 1)
        conf_free(gone);
}

bool conf_intercepts(const struct conf *c, const struct rule *r, struct str host)
{
    const struct intercept_conf *i = &c->intercept;
    return r->intercept && (i->only_index == NULL || rule_index_has(i->only_index, host));
}

bool conf_may_intercept(const struct conf *c)
{
    bool may = false;
    for (unsigned i = 0; i < c->n_rules; i++)
        may |= c->rules[i].intercept;
    return may;
}

bool conf_may_read_ahead(const struct conf *c)
{
    bool may = false;
    for (unsigned i = 0; i < c->n_rules; i++)
        may |= c->rules[i].readahead > 0;
    return may;
}

const struct connect_to *conf_connect_to(const struct conf *c, struct str host, uint16_t port)
{
    for (unsigned i = 0; i < c->n_connect_to; i++) {
        const struct connect_to *to = &c->connect_to[i];
        bool has_host = to->host[0] == '\0' || str_eq(str_from(to->host), host);
        if (has_host && (to->port == 0 || to->port == port))
            return to;
    }
    return NULL;
}
