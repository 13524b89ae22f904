/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of an exchange's record share: record.c and record_short.c. */
#ifndef TLSFAN_EXCHANGE_RECORD_IMPL_H
#define TLSFAN_EXCHANGE_RECORD_IMPL_H

#include <time.h>

#include "exchange/exchange.h"
#include "exchange/pen.h"

enum record_clock {
    CLOCK_ISO,    /* 2026-01-31T12:00:00, UTC */
    CLOCK_COMMON, /* 31/Jan/2026:12:00:00 +0000 */
    CLOCK_LOCAL,  /* 12:00:00, where the terminal is */
    RECORD_CLOCKS
};

/* SEC since 1970; made once a second, and lives as long. */
const char *record_time(time_t sec, enum record_clock clock);
/* The URL, escaped unless W is raw; without credentials. */
void record_url(struct pen *w, const struct exchange *x);
/* The sentence of X; empty when all went well. */
struct str record_details(const struct exchange *x);

/* ---- record_short.c */

/* The line for people: time, status, duration, bytes, method, URL, and who it was where that is not
 * plain. At a terminal (TRAITS, enum log_trait) the sentence of what failed is a second one. */
void record_short(struct pen *w, const struct exchange *x, struct str user, unsigned traits);

#endif
