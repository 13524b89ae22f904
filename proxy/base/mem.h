/* SPDX-License-Identifier: Apache-2.0 */
/* Memory: allocation that does not fail (it aborts; what a peer may make us allocate is bounded
 * before it gets here), arenas for what lives as long as one exchange, slabs for objects that come
 * and go, and the budget. */
#ifndef TLSFAN_BASE_MEM_H
#define TLSFAN_BASE_MEM_H

#include <stdatomic.h>
#include <stdarg.h>

#include "base/str.h"

/* Like the C library's, but never NULL. Free with free(). */
void *xmalloc(size_t n);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *p, size_t n);
/* xcalloc() of one object of which others were freed shortly before: several times faster then. */
void *xzalloc(size_t n);
/* free(), for an object that others had pointers to. Debug builds fill its memory first, so that
 * whoever still uses it is found soon, even where no sanitizer watches. */
void xfree(void *p);
/* V with room for one element of SIZE bytes behind its N: of an array that grows by nothing else.
 * It is made twice as long at each power of two, so that N elements cost time linear in N. */
void *xgrow(void *v, size_t n, size_t size);
char *xstrdup(const char *z);
char *xstrndup(const char *p, size_t n); /* terminated */
char *xasprintf(const char *fmt, ...) PRINTF_LIKE(1, 2);

struct arena_block;

/* Bytes that are all freed at once. The first ones may live in memory of the owner's (no heap). */
struct arena {
    char *pos; /* next free byte */
    char *end;
    struct arena_block *blocks; /* from the heap, newest first */
    char *first;
    size_t first_len;
    size_t total; /* bytes taken from the heap */
};

/* FIRST stays the caller's and may be NULL with FIRST_LEN 0. */
void arena_init(struct arena *a, void *first, size_t first_len);

/* Memory aligned to 8 bytes, valid until arena_clear(). */
void *arena_alloc(struct arena *a, size_t n);

/* Copies of bytes; the result is terminated behind its length too. */
struct str arena_dup(struct arena *a, struct str s);
struct str arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* xgrow() in an arena, which keeps the shorter arrays too. */
void *arena_grow(struct arena *a, void *v, size_t n, size_t size);

/* Frees all of it; the arena is as after arena_init(). */
void arena_clear(struct arena *a);

/* Objects of one size, kept for reuse: at most KEEP spare ones. One thread. */
struct slab {
    size_t size;
    unsigned spare, keep;
    void *free_list;
};

void slab_init(struct slab *s, size_t size, unsigned keep);
void *slab_get(struct slab *s);              /* not cleared */
void slab_put(struct slab *s, void *object); /* filled as by xfree() */
void slab_clear(struct slab *s);

/* max_memory: bytes that peers make the process hold, over all workers: what waits in buffers, and
 * what has been promised to come. Relaxed atomics, as an estimate is enough. */
struct budget {
    _Atomic int64_t used;
    _Atomic int64_t max; /* bytes, > 0 */
};

/* DELTA bytes more (or fewer) are held. */
static inline void budget_add(struct budget *b, int64_t delta)
{
    atomic_fetch_add_explicit(&b->used, delta, memory_order_relaxed);
}

static inline int64_t budget_used(const struct budget *b)
{
    return atomic_load_explicit(&b->used, memory_order_relaxed);
}

static inline int64_t budget_max(const struct budget *b)
{
    return atomic_load_explicit(&b->max, memory_order_relaxed);
}

/* budget_bound() when half is used. */
size_t budget_narrow(const struct budget *b, size_t full);
/* How much a buffer whose configured bound is FULL may hold now: FULL while less than half of the
 * budget is used, then ever less, and 0 when it is spent. */
static inline size_t budget_bound(const struct budget *b, size_t full)
{
    return budget_used(b) < budget_max(b) / 2 ? full : budget_narrow(b, full);
}

/* True when a new exchange must be answered with 503 rather than begun (95 % used). */
bool budget_is_spent(const struct budget *b);
/* True when N bytes more would make it so. */
bool budget_lacks(const struct budget *b, size_t n);
/* True when nothing is begun or kept that can wait (75 % used): what is left is for the answers
 * whose turn it is. */
static inline bool budget_is_tight(const struct budget *b)
{
    int64_t max = budget_max(b);
    return budget_used(b) >= max - max / 4;
}
/* Bytes until half of it is used, up to where nobody is held back. */
size_t budget_spare(const struct budget *b);

/* What one object holds, as it is counted in a budget. Zero-initialised. */
struct share {
    struct budget *budget; /* borrowed; NULL: it is not counted */
    size_t counted;
};

/* It holds BYTES now. Writes to the budget only when that is news. */
static inline void share_set(struct share *s, size_t bytes)
{
    if (s->budget == NULL || s->counted == bytes)
        return;
    budget_add(s->budget, (int64_t)bytes - (int64_t)s->counted);
    s->counted = bytes;
}

#endif
