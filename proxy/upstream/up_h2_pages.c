/* SPDX-License-Identifier: Apache-2.0 */
/* nghttp2's memory: see up_h2_pages.h. All but one buffer is the heap's. */
#include "upstream/up_h2_pages.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "base/mem.h"

enum { PAGES_FROM = 16384 }; /* bytes, of a buffer for frames at least */

static void *up_h2_pages_malloc(size_t n, void *arg)
{
    struct up_h2_pages *m = arg;
    if (n < PAGES_FROM || m->pages != NULL)
        return xmalloc(n);
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return xmalloc(n);
    m->pages = p;
    m->len = n;
    return p;
}

static void up_h2_pages_free(void *p, void *arg)
{
    struct up_h2_pages *m = arg;
    if (p == NULL || p != m->pages) {
        free(p);
        return;
    }
    /* Taking a part out of what the kernel has joined can be one mapping too many: then at least
     * the memory goes back. */
    if (munmap(m->pages, m->len) != 0)
        (void)madvise(m->pages, m->len, MADV_DONTNEED);
    m->pages = NULL;
}

static void *up_h2_pages_calloc(size_t n, size_t size, void *arg)
{
    (void)arg;
    return xcalloc(n, size);
}

static void *up_h2_pages_realloc(void *p, size_t n, void *arg)
{
    struct up_h2_pages *m = arg;
    if (p == NULL) /* how nghttp2 makes its buffers */
        return up_h2_pages_malloc(n, arg);
    if (p != m->pages)
        return xrealloc(p, n);
    void *moved = xmalloc(n);
    memcpy(moved, p, n < m->len ? n : m->len);
    up_h2_pages_free(p, m);
    return moved;
}

nghttp2_mem up_h2_pages_mem(struct up_h2_pages *m)
{
    return (nghttp2_mem){m, up_h2_pages_malloc, up_h2_pages_free, up_h2_pages_calloc,
                         up_h2_pages_realloc};
}
