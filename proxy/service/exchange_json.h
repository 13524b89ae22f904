/* SPDX-License-Identifier: Apache-2.0 */
/* One exchange as a JSON object; what is in it stands in exchanges.h. */
#ifndef TLSFAN_SERVICE_EXCHANGE_JSON_H
#define TLSFAN_SERVICE_EXCHANGE_JSON_H

#include <jansson.h>

#include "exchange/running.h"
#include "exchange/stats.h"

/* How they are shown. */
struct exchange_shown {
    int64_t wall; /* what the wall clock is ahead of loop_now(), µs */
    bool values;  /* log.fields is on: it may have been when a field was noted, and be off now */
};

/* One that has ended; S says what its rings have of it besides. */
json_t *exchange_json(const struct record *r, const struct stats *s,
                      const struct exchange_shown *how);
/* One that failed and was kept apart. */
json_t *exchange_json_failure(const struct failure *f, const struct exchange_shown *how);
/* One that is under way; WALL as above. */
json_t *exchange_json_running(const struct running *r, int64_t wall);

#endif
