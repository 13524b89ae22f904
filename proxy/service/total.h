/* SPDX-License-Identifier: Apache-2.0 */
/* What all workers have counted, summed for one answer. */
#ifndef TLSFAN_SERVICE_TOTAL_H
#define TLSFAN_SERVICE_TOTAL_H

#include "exchange/stats.h"
#include "service/service_view.h"

struct total {
    struct stats_sum sum;
    unsigned n_names;                       /* of origins: origins[0] to before it */
    struct tally_sum origins[TALLY_PLACES]; /* the last one: all other origins */
};

/* Sums. Heap: free(). */
struct total *total_new(const struct service_view *v);

/* The origins that are shown, in order: those with a name, then TALLY_OTHER if it has anything. The
 * first is found from -1; gives -1 at the end. */
int total_next_origin(const struct total *t, int at);
/* "host:port" or "other". */
const char *total_origin_name(int at);

/* Errors of CODE's word, among which others may be: *N of all. The word, or NULL when an earlier
 * code has told it. */
const char *total_error(const struct total *t, enum fault_code code, uint64_t *n);

#endif
