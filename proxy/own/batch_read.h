/* SPDX-License-Identifier: Apache-2.0 */
/* The body of a batch call, read into the requests that it asks for: a JSON array, element by
 * element, or text with one URL a line. No I/O, and no tree of the whole: what a caller can make us
 * allocate stays a small multiple of what it sends, and what it makes us do at a time is bounded.
 *
 *     batch_read_init(r, body, is_json, max_items, max_head)
 *     while (batch_read_step(r) == BATCH_READ_MORE) ...    some of it at a time
 *     r->v[0 .. r->n - 1]
 *     batch_read_clear(r) */
#ifndef TLSFAN_OWN_BATCH_READ_H
#define TLSFAN_OWN_BATCH_READ_H

#include "base/fault.h"
#include "own/batch_body.h"
#include "own/batch_want.h"

/* What comes next in an array. */
enum batch_place {
    BATCH_AT_START,   /* the bracket */
    BATCH_AT_FIRST,   /* an element: without one the batch is empty */
    BATCH_AT_ELEMENT, /* an element */
    BATCH_INSIDE,     /* more of it */
    BATCH_BEHIND,     /* a comma or the bracket */
    BATCH_AT_END      /* nothing */
};

enum batch_read_result { BATCH_READ_MORE, BATCH_READ_DONE, BATCH_READ_BAD };

struct batch_reader {
    struct str body; /* borrowed */
    size_t at;       /* bytes read */
    bool is_json;
    unsigned max_items;
    size_t max_element;   /* bytes of an element besides a long body */
    size_t left;          /* bytes that this step may still look at */
    struct batch_want *v; /* heap */
    unsigned n, cap;
    enum batch_place place;
    bool is_found; /* the end of the element that is read, the last of V, is known */
    struct batch_scan scan;
    struct batch_body long_body;
    struct fault fault; /* with BAD: FAULT_BAD_REQUEST; FAULT_TOO_LARGE: items, or bytes of one */
};

/* MAX_HEAD: bytes that a request's head may have. An element may be four times as long, and 64 KiB,
 * besides its body. */
void batch_read_init(struct batch_reader *r, struct str body, bool is_json, unsigned max_items,
                     size_t max_head);
/* Reads on for about 64 KiB. */
enum batch_read_result batch_read_step(struct batch_reader *r);
void batch_read_clear(struct batch_reader *r);

#endif
