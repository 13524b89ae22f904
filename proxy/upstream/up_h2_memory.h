/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of requests by HTTP/2, which come and go: some is kept, for all connections of a thread.
 */
#ifndef TLSFAN_UPSTREAM_UP_H2_MEMORY_H
#define TLSFAN_UPSTREAM_UP_H2_MEMORY_H

#include "base/mem.h"

/* Embedded in its pool; what has been taken from it may come back until it is cleared. */
struct up_h2_memory {
    struct slab streams; /* struct up_h2_stream */
    struct slab blocks;  /* struct up_h2_block */
};

void up_h2_memory_init(struct up_h2_memory *m);
void up_h2_memory_clear(struct up_h2_memory *m);

#endif
