/* SPDX-License-Identifier: Apache-2.0 */
/* nghttp2's memory: see up_h2_pages.h. All but one buffer is in pieces, the large ones of which are
 * the heap's. */
#include "upstream/up_h2_pages.h"

#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>

enum {
    PAGES_FROM = 16384, /* bytes, of a buffer for frames at least */
    PIECE_STEP = 64,    /* bytes from one size of small pieces to the next */
    PIECES_KEPT = 32 * 1024
};

/* What stands before the bytes of a piece: to give it back, nghttp2 says no size. */
struct up_h2_piece {
    _Alignas(max_align_t) unsigned size; /* index of up_h2_pieces.of; UP_H2_SIZES: of the heap */
};

void up_h2_pieces_init(struct up_h2_pieces *m)
{
    for (unsigned i = 0; i < UP_H2_SIZES; i++) {
        size_t size = (i + 1) * PIECE_STEP;
        slab_init(&m->of[i], size, (unsigned)(PIECES_KEPT / size));
    }
}

void up_h2_pieces_clear(struct up_h2_pieces *m)
{
    for (unsigned i = 0; i < UP_H2_SIZES; i++)
        slab_clear(&m->of[i]);
}

static void *up_h2_piece_make(struct up_h2_pieces *m, size_t n)
{
    size_t total = n + sizeof(struct up_h2_piece);
    size_t size = (total - 1) / PIECE_STEP;
    size = size < UP_H2_SIZES ? size : UP_H2_SIZES;
    struct up_h2_piece *piece = size < UP_H2_SIZES ? slab_get(&m->of[size]) : xmalloc(total);
    piece->size = (unsigned)size;
    return piece + 1;
}

static void *up_h2_pages_malloc(size_t n, void *arg)
{
    struct up_h2_pages *m = arg;
    if (n < PAGES_FROM || m->pages != NULL)
        return up_h2_piece_make(m->pieces, n);
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return up_h2_piece_make(m->pieces, n);
    m->pages = p;
    m->len = n;
    return p;
}

/* Taking a part out of what the kernel has joined can be one mapping too many: then at least the
 * memory goes back. */
static void up_h2_pages_unmap(struct up_h2_pages *m)
{
    if (munmap(m->pages, m->len) != 0)
        (void)madvise(m->pages, m->len, MADV_DONTNEED);
    m->pages = NULL;
}

static void up_h2_pages_free(void *p, void *arg)
{
    struct up_h2_pages *m = arg;
    if (p == NULL)
        return;
    if (p == m->pages) {
        up_h2_pages_unmap(m);
        return;
    }
    struct up_h2_piece *piece = (struct up_h2_piece *)p - 1;
    if (piece->size < UP_H2_SIZES)
        slab_put(&m->pieces->of[piece->size], piece);
    else
        free(piece);
}

static void *up_h2_pages_calloc(size_t n, size_t size, void *arg)
{
    struct up_h2_pages *m = arg;
    return memset(up_h2_piece_make(m->pieces, n * size), 0, n * size);
}

/* Bytes from P to N, with those at P as far as they are OLD or fit. */
static void *up_h2_pages_move(struct up_h2_pages *m, void *p, size_t old, size_t n)
{
    void *moved = up_h2_piece_make(m->pieces, n);
    memcpy(moved, p, n < old ? n : old);
    up_h2_pages_free(p, m);
    return moved;
}

static void *up_h2_pages_realloc(void *p, size_t n, void *arg)
{
    struct up_h2_pages *m = arg;
    if (p == NULL) /* how nghttp2 makes its buffers */
        return up_h2_pages_malloc(n, arg);
    if (p == m->pages)
        return up_h2_pages_move(m, p, m->len, n);
    struct up_h2_piece *piece = (struct up_h2_piece *)p - 1;
    if (piece->size == UP_H2_SIZES)
        return (struct up_h2_piece *)xrealloc(piece, sizeof(*piece) + n) + 1;
    size_t old = (piece->size + 1) * PIECE_STEP - sizeof(*piece);
    return n <= old ? p : up_h2_pages_move(m, p, old, n);
}

nghttp2_mem up_h2_pages_mem(struct up_h2_pages *m)
{
    return (nghttp2_mem){m, up_h2_pages_malloc, up_h2_pages_free, up_h2_pages_calloc,
                         up_h2_pages_realloc};
}
