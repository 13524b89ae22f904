/* SPDX-License-Identifier: Apache-2.0 */
/* Access lines, gathered by each thread in a buffer of its own and given away once a turn. One of
 * those that have given some writes them, those of the others as well; nobody waits for it, unless
 * so much is left that its buffer is full. Lines of one thread stay in order, none is written into
 * another, and none stays behind: who writes looks again when it is done. */
#ifndef TLSFAN_BASE_LOG_BUF_H
#define TLSFAN_BASE_LOG_BUF_H

#include "base/list.h"
#include "base/str.h"

/* Zero-initialised. Its thread's, but for `done` and what is before `given` and not yet `done`. The
 * counts are of bytes since the first line. */
struct log_buf {
    char *p;                /* heap, owned */
    size_t len, cap;        /* of P: lines, of which some may be written already; room */
    uint64_t base;          /* the count before p[0] */
    _Atomic uint64_t given; /* the count before which lines may be written */
    _Atomic uint64_t done;  /* and before which they were */
    struct list link;       /* among those of all threads */
    bool is_known;          /* `link` is there */
};

/* Room for N more bytes at the end of B, to be filled and counted by adding to B->len. */
char *log_buf_room(struct log_buf *b, size_t n);
/* The whole lines that B holds, and those that others have given, are written, or about to be by
 * another thread. True: others have given more in the meantime; to be called again soon, of which
 * the caller is the one to think. */
bool log_buf_flush(struct log_buf *b);
/* Writes what is left, and frees. */
void log_buf_clear(struct log_buf *b);

#endif
