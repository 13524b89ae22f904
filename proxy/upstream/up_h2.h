/* SPDX-License-Identifier: Apache-2.0 */
/* An HTTP/2 connection (RFC 9113): many ustreams on one stream, by nghttp2. */
#ifndef TLSFAN_UPSTREAM_UP_H2_H
#define TLSFAN_UPSTREAM_UP_H2_H

#include "upstream/pool_conn.h"

/* A connection that carries nothing yet; the preface and our settings leave in this turn. Until the
 * origin's have come its room is what origin->streams says. */
struct pool_conn *up_h2_new(const struct pool_made *made);

#endif
