/* SPDX-License-Identifier: Apache-2.0 */
/* One exchange as a JSON object; what is in it stands in exchanges.h. */
#ifndef TLSFAN_SERVICE_EXCHANGE_JSON_H
#define TLSFAN_SERVICE_EXCHANGE_JSON_H

#include <jansson.h>

#include "exchange/running.h"
#include "exchange/stats.h"

/* WALL: what the wall clock is ahead of loop_now(), µs. */

/* One that has ended; S says what its rings have of it besides. */
json_t *exchange_json(const struct record *r, const struct stats *s, int64_t wall);
/* One that failed and was kept apart. */
json_t *exchange_json_failure(const struct failure *f, int64_t wall);
/* One that is under way. */
json_t *exchange_json_running(const struct running *r, int64_t wall);

#endif
