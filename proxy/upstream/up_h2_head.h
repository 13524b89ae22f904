/* SPDX-License-Identifier: Apache-2.0 */
/* Fields between HTTP/1 and HTTP/2, both ways (RFC 9113 section 8). No I/O. */
#ifndef TLSFAN_UPSTREAM_UP_H2_HEAD_H
#define TLSFAN_UPSTREAM_UP_H2_HEAD_H

#include <nghttp2/nghttp2.h>

#include "http/h1_parse.h"
#include "upstream/ustream.h"

/* One header section that is coming, or has come. */
struct up_h2_block {
    struct slab *slab; /* borrowed: where it goes back to */
    struct arena arena;
    struct fields fields;
    unsigned status; /* 0: none, or not a number of three digits */
    size_t size;     /* bytes, as SETTINGS_MAX_HEADER_LIST_SIZE counts them */
    bool is_end;     /* END_STREAM */
    bool has_pseudo; /* a pseudo field has come */
    bool has_field;  /* one of the others has */
    bool is_of_h1;   /* WHY is a field that HTTP/2 forbids and HTTP/1.1 does not */
    const char *why; /* what is wrong with it, in `arena` or static; NULL: nothing */
    struct field first_fields[24];
    uint64_t first_bytes[128];
};

/* A request's fields as nghttp2 takes them, which sees to lower case; memory comes from ARENA. */
nghttp2_nv *up_h2_head_request(struct arena *arena, const struct up_request *rq, size_t *n);
/* Trailers, in one piece of heap. */
nghttp2_nv *up_h2_head_trailers(const struct fields *trailers, size_t *n);

/* From SLAB, to which up_h2_block_free() gives it back. */
struct up_h2_block *up_h2_block_new(struct slab *slab);
void up_h2_block_free(struct up_h2_block *b);
/* One field as it came; kept while the block is sound and not larger than MAX. */
void up_h2_block_add(struct up_h2_block *b, struct str name, struct str value, size_t max);

#endif
