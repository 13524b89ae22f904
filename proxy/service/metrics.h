/* SPDX-License-Identifier: Apache-2.0 */
/* GET /metrics: the Prometheus text format, version 0.0.4. */
#ifndef TLSFAN_SERVICE_METRICS_H
#define TLSFAN_SERVICE_METRICS_H

#include <event2/buffer.h>

#include "service/service_view.h"

/* Appends all metrics to OUT. The number of series is bounded: origins beyond TALLY_NAMES are one.
 */
void metrics_print(struct evbuffer *out, const struct service_view *v);

#endif
