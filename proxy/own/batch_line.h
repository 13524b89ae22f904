/* SPDX-License-Identifier: Apache-2.0 */
/* The answer to a batch call as NDJSON: an item is a line of JSON. A body may be long, so the line
 * is written in parts, the body in as many as one likes. Bytes only. */
#ifndef TLSFAN_OWN_BATCH_LINE_H
#define TLSFAN_OWN_BATCH_LINE_H

#include <event2/buffer.h>

#include "http/fields.h"
#include "own/batch_want.h"

enum { BATCH_LINE_PIECE = 3072 }; /* bytes of a body at a time: no remainder in base64 */

/* All up to the body. FIELDS (NULL: none) become an object: a name that comes more than once, in
 * any case, has an array and keeps its first spelling; what is not UTF-8 is taken for Latin-1. */
void batch_line_begin(struct evbuffer *out, unsigned index, const struct batch_want *want,
                      unsigned status, const struct fields *fields);
/* The name of the body, and its quote: IS_TEXT when all of it is UTF-8. Else it is base64. */
void batch_line_begin_body(struct evbuffer *out, bool is_text);
/* A piece of it: BATCH_LINE_PIECE bytes, or fewer at the end. */
void batch_line_body(struct evbuffer *out, bool is_text, struct str piece);
/* What follows the body. ERROR is a word of the table of faults, NULL: none; US from begin to end.
 */
void batch_line_end(struct evbuffer *out, const char *error, int64_t us);

#endif
