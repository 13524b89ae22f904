/* SPDX-License-Identifier: Apache-2.0 */
/* The memory of an nghttp2 session. It makes frames in a buffer for the largest one there may be,
 * which it has for life; heads of most requests take a part of its first page. On pages of its own
 * the rest costs nothing until a larger frame is made, of a request's body; from the heap, where
 * all has been in use before, it is four pages of each idle connection.
 *
 * A request is some thirty small pieces that come and go, those of a whole turn together. The C
 * library keeps seven of a size at hand, and beyond that splits and joins its memory for each; here
 * they wait for the next ones. */
#ifndef TLSFAN_UPSTREAM_UP_H2_PAGES_H
#define TLSFAN_UPSTREAM_UP_H2_PAGES_H

#include <nghttp2/nghttp2.h>
#include <stdbool.h>

#include "base/mem.h"

enum {
    UP_H2_SIZES = 16,         /* of small pieces */
    UP_H2_PAGES_FIRST = 4086, /* bytes of a frame that are on the first page, behind a gap of 10 */
    UP_H2_PAGES_MORE = 16384  /* what all others cost from then on, as they are not given back */
};

/* Small pieces by their size, for all sessions of a thread; outlives them. Of each size 32 KiB at
 * most are kept. */
struct up_h2_pieces {
    struct slab of[UP_H2_SIZES];
};

void up_h2_pieces_init(struct up_h2_pieces *m);
void up_h2_pieces_clear(struct up_h2_pieces *m);

/* Outlives its session. */
struct up_h2_pages {
    struct up_h2_pieces *pieces; /* borrowed */
    void *pages;     /* the first buffer for frames; NULL: there is none, or it is of the heap */
    size_t len;      /* bytes */
    bool is_touched; /* set by whoever counts: a frame was larger than UP_H2_PAGES_FIRST */
};

/* What nghttp2 is to call, for one session. */
nghttp2_mem up_h2_pages_mem(struct up_h2_pages *m);

#endif
