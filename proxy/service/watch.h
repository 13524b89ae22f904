/* SPDX-License-Identifier: Apache-2.0 */
/* What the service listener tells of. */
#ifndef TLSFAN_SERVICE_WATCH_H
#define TLSFAN_SERVICE_WATCH_H

#include "conf/conf.h"

struct stats;

struct watch {
    struct stats *const *stats; /* one a worker, the service's own too */
    unsigned n;
    unsigned workers; /* that serve proxy clients */
    const struct conf *conf;
    struct budget *budget;
    int64_t since;      /* loop_now() at start */
    int64_t since_wall; /* loop_wall() then */
    bool draining;
    unsigned connections; /* of proxy clients */
};

#endif
