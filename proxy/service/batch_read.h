/* SPDX-License-Identifier: Apache-2.0 */
/* The body of a batch call, read into the requests that it asks for: a JSON array, element by
 * element, or text with one URL a line. No I/O, and no tree of the whole: what a caller can make us
 * allocate stays a small multiple of what it sends.
 *
 *     batch_read_init(r, body, is_json, max_items)
 *     while (batch_read_step(r) == BATCH_READ_MORE) ...    some of it at a time
 *     r->v[0 .. r->n - 1]
 *     batch_read_clear(r) */
#ifndef TLSFAN_SERVICE_BATCH_READ_H
#define TLSFAN_SERVICE_BATCH_READ_H

#include "base/fault.h"

/* One request. What is wrong with one of them is its own error, not the call's. */
struct batch_want {
    char *head; /* heap: a request head as a client would send it; NULL with `wrong` */
    size_t head_len;
    char *body; /* heap; NULL: none */
    size_t body_len;
    char *id;           /* heap: the id as JSON; NULL: none was given */
    char *name;         /* heap: the id as a Content-ID may hold it; NULL: none was given */
    char *wrong;        /* heap: a sentence; NULL: nothing is wrong */
    int64_t timeout_ms; /* 0: none */
};

enum batch_read_result { BATCH_READ_MORE, BATCH_READ_DONE, BATCH_READ_BAD };

struct batch_reader {
    struct str body; /* borrowed */
    size_t at;       /* bytes read */
    bool is_json, is_over;
    unsigned max_items;
    struct batch_want *v; /* heap */
    unsigned n, cap;
    struct fault fault; /* with BAD: FAULT_BAD_REQUEST, or FAULT_TOO_LARGE for too many items */
};

void batch_read_init(struct batch_reader *r, struct str body, bool is_json, unsigned max_items);
/* Reads on for about 256 KiB, or one element if that is longer. */
enum batch_read_result batch_read_step(struct batch_reader *r);
void batch_read_clear(struct batch_reader *r);

/* Frees what W holds; it is then as if nothing had been asked for. */
void batch_want_clear(struct batch_want *w);

#endif
