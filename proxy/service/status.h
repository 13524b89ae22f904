/* SPDX-License-Identifier: Apache-2.0 */
/* GET /status and GET /exchanges: what the live page shows, as JSON. All times are in ms. */
#ifndef TLSFAN_SERVICE_STATUS_H
#define TLSFAN_SERVICE_STATUS_H

#include <event2/buffer.h>

#include "service/service_view.h"

/* Appends an object to OUT: counters, phases, at most TALLY_NAMES origins and the rest as one. */
void status_print(struct evbuffer *out, const struct service_view *v);

/* Appends {"cursor","skipped","exchanges":[...]} to OUT: what has ended since AFTER, the cursor of
 * an earlier answer; the newest ones where AFTER is empty or of another process. At most
 * STATUS_EXCHANGES are shown, oldest first, spread over all that there are; "skipped" tells how
 * many are not. */
enum { STATUS_EXCHANGES = 200 };
void exchanges_print(struct evbuffer *out, const struct service_view *v, struct str after);

#endif
