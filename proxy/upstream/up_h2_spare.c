/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept is for the requests of one turn, not for as many as there can be: see
 * up_h2_spare.h. */
#include "upstream/up_h2_spare.h"

#include "upstream/up_h2_stream_impl.h"

enum { SPARE = 64 };

void up_h2_spare_init(struct up_h2_spare *m)
{
    slab_init(&m->streams, sizeof(struct up_h2_stream), SPARE);
    slab_init(&m->blocks, sizeof(struct up_h2_block), SPARE);
    up_h2_pieces_init(&m->pieces);
}

void up_h2_spare_clear(struct up_h2_spare *m)
{
    slab_clear(&m->streams);
    slab_clear(&m->blocks);
    up_h2_pieces_clear(&m->pieces);
}
