/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes that wait for someone, in order. What waits is counted in a budget whoever adds to it or
 * takes from it, and memory in which nothing waits is given back. */
#ifndef TLSFAN_BASE_BACKLOG_H
#define TLSFAN_BASE_BACKLOG_H

#include <event2/buffer.h>

#include "base/mem.h"

/* Embedded in its owner, who calls backlog_clear(). */
struct backlog {
    struct evbuffer *bytes; /* owned; NULL: nothing waits */
    size_t promised;        /* bytes that are counted at least: they wait, or may come */
    struct share share;     /* kept by this module */
};

/* BUDGET is borrowed; NULL: nothing is counted. */
void backlog_init(struct backlog *b, struct budget *budget);
/* Gives up what waits, its memory, and what was promised. Any number of times. */
void backlog_clear(struct backlog *b);

static inline size_t backlog_len(const struct backlog *b)
{
    return b->bytes == NULL ? 0 : evbuffer_get_length(b->bytes);
}

/* The buffer itself, made when there is none: to be printed to, or moved from and to. It stays
 * counted, and lasts until something is taken or cleared here. */
struct evbuffer *backlog_buffer(struct backlog *b);

/* DATA waits behind the rest. */
void backlog_add(struct backlog *b, struct str data);
/* What waits first, as much of it as is in one piece; all of it, made one piece. Both last until
 * the next call on B. */
struct str backlog_first(const struct backlog *b);
struct str backlog_all(struct backlog *b);
/* The first N bytes have been seen to; N is at most what waits. */
void backlog_drain(struct backlog *b, size_t n);
/* Moves the first bytes, N at most, to DST; behind those of OUT. Gives how many. */
size_t backlog_take(struct backlog *b, void *dst, size_t n);
size_t backlog_move(struct backlog *b, struct evbuffer *out, size_t n);

/* N bytes are counted even before they come: those that wait are among them. */
void backlog_promise(struct backlog *b, size_t n);

#endif
