/* SPDX-License-Identifier: Apache-2.0 */
/* The last records of one thread, for others to read. The writer never waits: a new record takes
 * the place of the oldest, and a reader who was reading that one notices and gets nothing.
 *
 * A slot is a sequence number and words. While record K is written the number is odd, behind it
 * 2 K + 2. Words are stored with release and loaded with acquire: who has seen a word of a newer
 * record also sees that the number has changed. */
#ifndef TLSFAN_EXCHANGE_RING_H
#define TLSFAN_EXCHANGE_RING_H

#include "base/mem.h"

struct ring {
    _Atomic uint64_t end; /* number of the next record */
    size_t slots;
    size_t words; /* of a slot, the sequence number among them */
    _Atomic uint64_t data[];
};

/* Room for SLOTS records of at most SIZE bytes. Heap; ring_free() when nobody reads any more. */
struct ring *ring_new(size_t slots, size_t size);
void ring_free(struct ring *r);

/* Puts a record of N bytes, SIZE at most; gives its number, from 0. Whole words are copied, so
 * RECORD has up to 7 bytes more than N. One thread. */
uint64_t ring_put(struct ring *r, const void *record, size_t n);

/* From any thread. The records are those from ring_begin() to before ring_end(), as far as they
 * have not been written over by the time they are read. */
uint64_t ring_end(const struct ring *r);
uint64_t ring_begin(const struct ring *r, uint64_t end);

/* Copies the first N bytes (whole words, SIZE at most) of record NUMBER to DST. What lies behind
 * the record's own length is of older ones. False when it is gone: DST is spoilt then. */
MUST_CHECK bool ring_get(const struct ring *r, uint64_t number, void *dst, size_t n);

#endif
