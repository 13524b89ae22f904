/* SPDX-License-Identifier: Apache-2.0 */
/* Checks that need more than one key. The first of them keeps tlsfan from becoming an open proxy by
 * a typing error: who listens beyond loopback says who may come. */
#include "conf/build.h"

#include <stdlib.h>

static void check_open(const struct conf *c, const struct listener *l, struct conf_faults *faults)
{
    if (addr_is_loopback(&l->addr) || c->client.allow_is_set)
        return;
    if (l->forward != NULL)
        conf_fault(faults, l->where,
                   "forward %s is open to other machines and asks for no credentials: set "
                   "client.allow, for example to {\"private\"}",
                   l->text);
    else if (c->client.auth_file[0] == '\0')
        conf_fault(faults, l->where,
                   "listener %s is open to other machines: set client.allow, for example to "
                   "{\"private\"}, or client.auth_file",
                   l->text);
}

static void check_double(const struct conf *c, unsigned at, struct conf_faults *faults)
{
    const struct listener *l = &c->listeners[at];
    if (addr_family(&l->addr) != AF_UNIX && addr_port(&l->addr) == 0)
        return;
    for (unsigned i = 0; i < at; i++) {
        if (!addr_equal(&c->listeners[i].addr, &l->addr))
            continue;
        conf_fault(faults, l->where, "listener %s is written twice", l->text);
        return;
    }
}

static bool has_same(const struct rule *a, const struct rule *b)
{
    return a->match_port == b->match_port && strcmp(a->host, b->host) == 0;
}

/* A later rule with the same pattern would never match. Sorted, so that 10,000 rules are checked at
 * once. */
static int compare_rules(const void *pa, const void *pb)
{
    const struct rule *a = *(const struct rule *const *)pa;
    const struct rule *b = *(const struct rule *const *)pb;
    int d = strcmp(a->host, b->host);
    if (d == 0)
        d = (int)a->match_port - (int)b->match_port;
    return d != 0 ? d : (a->index < b->index ? -1 : 1);
}

static void check_rules(const struct conf *c, struct conf_faults *faults)
{
    unsigned n = c->n_rules - 1;
    const struct rule **sorted = xcalloc(n + 1, sizeof(*sorted));
    for (unsigned i = 0; i < n; i++)
        sorted[i] = &c->rules[i + 1];
    qsort(sorted, n, sizeof(*sorted), compare_rules);
    for (unsigned i = 1; i < n; i++)
        if (has_same(sorted[i], sorted[i - 1]) && sorted[i]->host[0] != '\0')
            conf_fault(faults, sorted[i]->where, "rule \"%s\": %s has the same pattern",
                       sorted[i]->pattern, sorted[i - 1]->where);
    free(sorted);
}

void check_conf(const struct conf *c, struct conf_faults *faults)
{
    for (unsigned i = 0; i < c->n_listeners; i++) {
        check_open(c, &c->listeners[i], faults);
        check_double(c, i, faults);
    }
    if (c->n_listeners == 0 && faults->n == 0)
        conf_fault(faults, "listen", "there is no listener");
    if (c->log.access[0] == '\0')
        conf_fault(faults, "log.access", "is empty: write off, stderr, stdout, syslog or a file");
    check_rules(c, faults);
}
