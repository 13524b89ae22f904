/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of requests by HTTP/2, which come and go: that of some is kept for the next ones, for all
 * connections of a thread. At most 64 of each, some 170 KiB a thread, and half a MiB of nghttp2's
 * pieces. They are not counted in max_memory: no peer can make them more, and what is in use is
 * counted by who uses it. */
#ifndef TLSFAN_UPSTREAM_UP_H2_SPARE_H
#define TLSFAN_UPSTREAM_UP_H2_SPARE_H

#include "upstream/up_h2_pages.h"

/* Embedded in its pool, which outlives every session and every stream, also one in TAIL, which has
 * no connection any more: a worker ends all exchanges before it closes its pool, and what was
 * closed first is freed first. So all that was taken is back when it is cleared. */
struct up_h2_spare {
    struct slab streams; /* struct up_h2_stream */
    struct slab blocks;  /* struct up_h2_block */
    struct up_h2_pieces pieces;
};

void up_h2_spare_init(struct up_h2_spare *m);
void up_h2_spare_clear(struct up_h2_spare *m);

#endif
