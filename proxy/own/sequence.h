/* SPDX-License-Identifier: Apache-2.0 */
/* Targets that only differ by numbers which rise: is this one the next of that walk, and which ones
 * follow. Numbers are runs of digits, in the path and in the query, that 64 bits hold; those of a
 * percent-encoding ("%20") are none. Pure. */
#ifndef TLSFAN_OWN_SEQUENCE_H
#define TLSFAN_OWN_SEQUENCE_H

#include "base/str.h"

enum {
    SEQUENCE_NUMBERS = 16, /* in one target; with more it is part of no walk */
    SEQUENCE_RISES = 2     /* of them rise together: offset and limit */
};

/* The numbers of one target. A value; it points to nothing. */
struct sequence {
    unsigned n;
    struct sequence_number {
        size_t at, len; /* bytes of the target */
        uint64_t value;
    } v[SEQUENCE_NUMBERS];
};

/* Which of them rise, and by how much. */
struct sequence_step {
    unsigned n;
    struct sequence_rise {
        unsigned which;
        uint64_t by; /* > 0 */
    } v[SEQUENCE_RISES];
};

/* False when TARGET has no numbers, or too many. */
MUST_CHECK bool sequence_read(struct sequence *s, struct str target);

/* What two targets of a walk have in common: TARGET, which S was read from, with a byte 0 for each
 * number. DST holds target.len bytes; gives how many it has become. */
size_t sequence_shape(const struct sequence *s, struct str target, char *dst);

/* From A to B, of the same shape: one number rises, or two, and the others stand there as before.
 * False when it is not so. */
MUST_CHECK bool sequence_step(const struct sequence *a, const struct sequence *b,
                              struct sequence_step *step);
bool sequence_step_is(const struct sequence_step *a, const struct sequence_step *b);

/* A number of S that rises by STEP may be a time near NOW (s since 1970), in seconds or
 * thousandths: who asks by the clock, or puts it there against caches, asks for what is not there
 * yet. */
bool sequence_is_clock(const struct sequence *s, const struct sequence_step *step, uint64_t now);

/* Bytes that hold what sequence_next() writes. */
size_t sequence_room(struct str target);
/* The K-th target behind TARGET, which S was read from: zeros in front stay as wide as they are.
 * Gives the bytes written to DST; 0: a number would not fit in 64 bits. */
size_t sequence_next(const struct sequence *s, struct str target, const struct sequence_step *step,
                     uint64_t k, char *dst);

#endif
