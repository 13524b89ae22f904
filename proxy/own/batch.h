/* SPDX-License-Identifier: Apache-2.0 */
/* The batch call: one request whose body asks for many, and whose answer has all of theirs, in
 * order. It is an upstream of the program's own: it takes a request and gives a response through
 * the table of ustream.h. So it knows neither client connections nor libevhtp; exchanges of proxy
 * listeners and the service listener use it alike. */
#ifndef TLSFAN_OWN_BATCH_H
#define TLSFAN_OWN_BATCH_H

#include "exchange/performer.h"

/* A batch whose requests are those of FROM (copied): its address decides where they may go. The
 * caller attaches its events, then start(), body() and end(); no event comes inside these. Faults:
 * FAULT_MEDIA_TYPE, FAULT_TOO_LARGE, FAULT_BAD_REQUEST, all before on_head(). */
struct ustream *batch_open(struct engine *e, const struct source_side *from);

/* The same for exchanges. */
extern const struct performer performer_batch;

#endif
