/* SPDX-License-Identifier: Apache-2.0 */
/* What is counted per origin. Names ("host:port") are kept process-wide, the first TALLY_NAMES of
 * those that took a connection or that the operator wrote, and of those whose name leads somewhere
 * where nobody has answered yet, so that typing errors use none up; all others share the place
 * TALLY_OTHER. A client chooses which of the latter there are: they have at most TALLY_FOUND of the
 * places, and those of one domain TALLY_ZONE, until they answer. Where there is no room, the name
 * that has rested longest makes some, if nothing of it was counted for TALLY_REST: the place begins
 * at 0 then, and has no certificate. Each worker counts in a struct
 * tally of its own, at the same places. */
#ifndef TLSFAN_UPSTREAM_TALLY_H
#define TLSFAN_UPSTREAM_TALLY_H

#include "base/counter.h"
#include "base/list.h"
#include "base/str.h"

enum {
    TALLY_NAMES = 500,
    TALLY_OTHER = TALLY_NAMES,
    TALLY_PLACES,
    TALLY_FOUND = 100, /* of the names: that were found, and have not answered */
    TALLY_ZONE = 20    /* of these: below one name of two labels; all addresses are one, too */
};
#define TALLY_REST INT64_C(21600000000) /* µs */

/* One origin, as one worker counts it. The last four go up and down. */
struct tally_place {
    struct counter requests; /* that have ended, whether answered or not */
    struct counter failed;   /* of these, with a fault */
    struct counter reused;   /* of these, on a connection that had carried another before */
    struct counter opened;   /* connections */
    struct counter in_flight;
    struct counter waiting; /* requests, for their turn */
    struct counter conns;   /* open ones, idle and busy */
    struct counter idle;
};

/* Zero-initialised. */
struct tally {
    struct list link; /* in those that joined */
    struct tally_place places[TALLY_PLACES];
    struct counter shaken, resumed; /* TLS handshakes with origins: whole ones, and the others */
};

/* Sums of several workers. */
struct tally_sum {
    uint64_t requests, failed, reused, opened, in_flight, waiting, idle, busy;
};

/* The place of HOST (lower case; IPv6 without brackets) and PORT, or TALLY_OTHER when it has none.
 * tally_register() gives it one while there are any: it has answered, or the operator wrote it.
 * tally_register_found() does while there are some for what was found alone. All take a lock. */
unsigned tally_find(struct str host, uint16_t port);
unsigned tally_register(struct str host, uint16_t port);
unsigned tally_register_found(struct str host, uint16_t port);

/* A worker begins to count in T, and has ended: T is looked at before a name is let go. */
void tally_join(struct tally *t);
void tally_leave(struct tally *t);

/* How many places have names, from any thread; the name of place I below that, which lasts for
 * TALLY_REST at least; and when it got it (loop_now()). */
unsigned tally_names(void);
const char *tally_name(unsigned i);
int64_t tally_named(unsigned i);

/* When the certificate that place I has shown last expires: seconds since 1970, 0 when none was
 * seen. From any thread. */
void tally_set_expiry(unsigned i, int64_t t);
int64_t tally_expiry(unsigned i);

/* A connection was asked of the parent proxy at P, which counts as a request to it: IS_GOOD, or it
 * could not be reached, or has refused. */
void tally_count_parent(struct tally_place *p, bool is_good);

/* Adds what T has at place I. */
void tally_add(struct tally_sum *sum, const struct tally *t, unsigned i);

#endif
