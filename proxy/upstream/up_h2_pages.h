/* SPDX-License-Identifier: Apache-2.0 */
/* The memory of an nghttp2 session. It makes frames in a buffer for the largest one there may be,
 * which it has for life; heads of requests take a small part of that. On pages of its own the rest
 * is never touched and costs nothing; from the heap, where all has been in use before, it is four
 * pages of each idle connection. */
#ifndef TLSFAN_UPSTREAM_UP_H2_PAGES_H
#define TLSFAN_UPSTREAM_UP_H2_PAGES_H

#include <nghttp2/nghttp2.h>

/* Zero-initialised; outlives its session. */
struct up_h2_pages {
    void *pages; /* the first buffer for frames; NULL: there is none, or it is of the heap */
    size_t len;  /* bytes */
};

/* What nghttp2 is to call, for one session. */
nghttp2_mem up_h2_pages_mem(struct up_h2_pages *m);

#endif
