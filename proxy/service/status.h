/* SPDX-License-Identifier: Apache-2.0 */
/* GET /status: what tlsfan counts, as JSON. All times are in ms. */
#ifndef TLSFAN_SERVICE_STATUS_H
#define TLSFAN_SERVICE_STATUS_H

#include <event2/buffer.h>

#include "service/service_view.h"

/* Appends an object to OUT: counters, phases, at most TALLY_NAMES origins and the rest as one. */
void status_print(struct evbuffer *out, const struct service_view *v);

#endif
