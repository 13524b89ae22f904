/* SPDX-License-Identifier: Apache-2.0 */
/* Sums over workers: see total.h. */
#include "service/total.h"

#include <stdlib.h>

struct total *total_new(const struct watch *w)
{
    struct total *t = xcalloc(1, sizeof *t);
    t->n_names = tally_names();
    for (unsigned i = 0; i < w->n; i++) {
        stats_add(&t->sum, w->stats[i]);
        for (unsigned place = 0; place < t->n_names; place++)
            tally_add(&t->places[place], &w->stats[i]->tally, place);
        tally_add(&t->places[TALLY_OTHER], &w->stats[i]->tally, TALLY_OTHER);
    }
    return t;
}

int total_next_place(const struct total *t, int place)
{
    const struct tally_sum *other = &t->places[TALLY_OTHER];
    if (place + 1 < (int)t->n_names)
        return place + 1;
    bool has_other = other->requests != 0 || other->opened != 0 || other->in_flight != 0;
    return has_other && place < TALLY_OTHER ? TALLY_OTHER : -1;
}

const char *total_place_name(int place)
{
    return place == TALLY_OTHER ? "other" : tally_name((unsigned)place);
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
