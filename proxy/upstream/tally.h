/* SPDX-License-Identifier: Apache-2.0 */
/* What is counted per origin. Names ("host:port") are kept process-wide, the first TALLY_NAMES of
 * those that took a connection, so that typing errors use none up; all others share the place
 * TALLY_OTHER. Each worker counts in a struct tally of its own, at the same places. */
#ifndef TLSFAN_UPSTREAM_TALLY_H
#define TLSFAN_UPSTREAM_TALLY_H

#include "base/counter.h"
#include "base/str.h"

enum { TALLY_NAMES = 500, TALLY_OTHER = TALLY_NAMES, TALLY_PLACES };

/* One origin, as one worker counts it. The last three go up and down. */
struct tally_place {
    struct counter requests; /* that have ended, whether answered or not */
    struct counter failed;   /* of these, with a fault */
    struct counter reused;   /* of these, on a connection that had carried another before */
    struct counter opened;   /* connections */
    struct counter in_flight;
    struct counter conns; /* open ones, idle and busy */
    struct counter idle;
};

/* Zero-initialised. */
struct tally {
    struct tally_place places[TALLY_PLACES];
};

/* Sums of several workers. */
struct tally_sum {
    uint64_t requests, failed, reused, opened, in_flight, idle, busy;
};

/* The place of HOST (lower case; IPv6 without brackets) and PORT, or TALLY_OTHER when it has none.
 * tally_register() gives it one while there are any. Both take a lock. */
unsigned tally_find(struct str host, uint16_t port);
unsigned tally_register(struct str host, uint16_t port);

/* How many places have names, from any thread; and the name of place I below that, which lasts as
 * long as the process. */
unsigned tally_names(void);
const char *tally_name(unsigned i);

/* When the certificate that place I has shown last expires: seconds since 1970, 0 when none was
 * seen. From any thread. */
void tally_set_expiry(unsigned i, int64_t t);
int64_t tally_expiry(unsigned i);

/* Adds what T has at place I. */
void tally_add(struct tally_sum *sum, const struct tally *t, unsigned i);

#endif
