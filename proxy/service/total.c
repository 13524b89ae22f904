/* SPDX-License-Identifier: Apache-2.0 */
/* Sums over workers: see total.h. */
#include "service/total.h"

#include <stdlib.h>

struct total *total_new(const struct service_view *v)
{
    struct total *t = xcalloc(1, sizeof *t);
    t->n_names = tally_names();
    for (unsigned i = 0; i < v->n; i++) {
        stats_add(&t->sum, v->stats[i]);
        for (unsigned j = 0; j < t->n_names; j++)
            tally_add(&t->origins[j], &v->stats[i]->tally, j);
        tally_add(&t->origins[TALLY_OTHER], &v->stats[i]->tally, TALLY_OTHER);
    }
    return t;
}

int total_next_origin(const struct total *t, int at)
{
    const struct tally_sum *other = &t->origins[TALLY_OTHER];
    if (at + 1 < (int)t->n_names)
        return at + 1;
    bool has_other = other->requests != 0 || other->opened != 0 || other->in_flight != 0;
    return has_other && at < TALLY_OTHER ? TALLY_OTHER : -1;
}

const char *total_origin_name(int at)
{
    return at == TALLY_OTHER ? "other" : tally_name((unsigned)at);
}

const char *total_error(const struct total *t, enum fault_code code, uint64_t *n)
{
    const char *word = fault_info(code)->type;
    *n = 0;
    for (unsigned i = FAULT_NONE + 1; i < FAULT_COUNT; i++) {
        if (strcmp(fault_info(i)->type, word) != 0)
            continue;
        if (i < (unsigned)code)
            return NULL;
        *n += t->sum.faults[i];
    }
    return word;
}
