/* SPDX-License-Identifier: Apache-2.0 */
/* An HTTP/1.1 connection as a ustream (RFC 9112): one request at a time, the connection object
 * serves the next one too. */
#ifndef TLSFAN_UPSTREAM_UP_H1_H
#define TLSFAN_UPSTREAM_UP_H1_H

#include "upstream/pool.h"

/* What makes a connection. */
struct up_h1_from {
    struct pool *pool;
    struct origin *origin;
    struct stream *stream; /* connected, as struct dial_result gives it; owned from now on */
    const struct forward_id *id;
    struct budget *budget; /* NULL allowed */
};

/* An idle connection that reads: bytes nobody asked for, or the end, close it. The caller fills in
 * facts of making it. */
struct pool_conn *up_h1_new(struct loop *l, const struct up_h1_from *from);

#endif
