/* SPDX-License-Identifier: Apache-2.0 */
/* An HTTP/1.1 connection as a ustream (RFC 9112): one request at a time, the connection object
 * serves the next one too. */
#ifndef TLSFAN_UPSTREAM_UP_H1_H
#define TLSFAN_UPSTREAM_UP_H1_H

#include "upstream/pool_conn.h"

/* An idle connection that reads: bytes nobody asked for, or the end, close it. */
struct pool_conn *up_h1_new(const struct pool_made *made);

#endif
