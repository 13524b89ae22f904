/* SPDX-License-Identifier: Apache-2.0 */
/* The answer to a batch call: parts of multipart/mixed (RFC 2046 §5.1), each with a whole HTTP
 * response (application/http, RFC 9112 §10.2). Bytes only. A line of JSON for each item instead:
 * batch_line.h. */
#ifndef TLSFAN_OWN_BATCH_WRITE_H
#define TLSFAN_OWN_BATCH_WRITE_H

#include <event2/buffer.h>

#include "http/h1_write.h"
#include "own/batch_want.h"

enum { BATCH_BOUNDARY = 33 }; /* bytes of a boundary with its end */

/* 128 random bits, so that no body can hold it. */
void batch_boundary(char *dst);

/* What stands between two parts and before the first: INDEX counts from 0. */
void batch_put_part(struct evbuffer *out, const char *boundary, unsigned index,
                    const struct batch_want *want);
/* Behind the last part. */
void batch_put_close(struct evbuffer *out, const char *boundary);
/* The head of the response in a part. FRAMING, LENGTH and IS_BARE as in source_ops.on_head(); what
 * has no length is chunked, so that a body that broke off can be told from one that ended. */
void batch_put_head(struct evbuffer *out, const struct h1_head *head, const struct h1_out *framing);
void batch_put_chunk(struct evbuffer *out, const char *p, size_t n);
void batch_put_last_chunk(struct evbuffer *out, const struct fields *trailers);

#endif
