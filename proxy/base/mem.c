/* SPDX-License-Identifier: Apache-2.0 */
/* Memory. The one file that calls the C library's allocator: running out of memory ends the process
 * here, because no caller could do anything better, and whatever a peer decides about was bounded
 * before. */
#include "base/mem.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    ARENA_BLOCK = 4096 - 64, /* bytes of a usual block: with the allocator's own, one page */
    ARENA_ALIGN = 8,
    POISON = 0xdb /* no address, no text, no small number */
};

/* Spare objects would hide a use after free from the address sanitizer. */
#ifdef __has_feature
#define CLANG_HAS(feature) __has_feature(feature)
#else
#define CLANG_HAS(feature) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || CLANG_HAS(address_sanitizer)
enum { SLAB_KEEPS = 0 };
#else
enum { SLAB_KEEPS = 1 };
#endif

#ifdef NDEBUG
enum { POISONS = 0 };
#else
enum { POISONS = 1 };
#endif

struct arena_block {
    struct arena_block *next;
    char bytes[];
};

static void out_of_memory(void)
{
    static const char text[] = "tlsfan: out of memory\n";
    ssize_t ignored = write(STDERR_FILENO, text, sizeof(text) - 1);
    (void)ignored;
    abort();
}

void *xmalloc(size_t n)
{
    void *p = malloc(n == 0 ? 1 : n);
    if (p == NULL)
        out_of_memory();
    return p;
}

void *xcalloc(size_t count, size_t size)
{
    bool empty = count == 0 || size == 0;
    void *p = empty ? calloc(1, 1) : calloc(count, size);
    if (p == NULL)
        out_of_memory();
    return p;
}

/* glibc's calloc() takes nothing that the thread has freed before (until 2.41); and compilers make
 * calloc() of the two. */
void *xzalloc(size_t n)
{
    void *p = xmalloc(n);
    __asm__ volatile("" : "+r"(p));
    return memset(p, 0, n);
}

void *xrealloc(void *p, size_t n)
{
    void *moved = realloc(p, n == 0 ? 1 : n);
    if (moved == NULL)
        out_of_memory();
    return moved;
}

/* The compiler may not leave it out, although nobody should read it. */
static void poison(void *p, size_t n)
{
    if (!POISONS)
        return;
    memset(p, POISON, n);
    __asm__ volatile("" : : "r"(p) : "memory");
}

void xfree(void *p)
{
    if (POISONS && p != NULL)
        poison(p, malloc_usable_size(p));
    free(p);
}

void *xgrow(void *v, size_t n, size_t size)
{
    if ((n & (n - 1)) != 0)
        return v;
    return xrealloc(v, (n == 0 ? 1 : 2 * n) * size);
}

char *xstrdup(const char *z)
{
    return xstrndup(z, strlen(z));
}

char *xstrndup(const char *p, size_t n)
{
    char *copy = xmalloc(n + 1);
    if (n > 0)
        memcpy(copy, p, n);
    copy[n] = '\0';
    return copy;
}

char *xasprintf(const char *fmt, ...)
{
    va_list args;
    char *text;
    va_start(args, fmt);
    int n = vasprintf(&text, fmt, args);
    va_end(args);
    if (n < 0)
        out_of_memory();
    return text;
}

void arena_init(struct arena *a, void *first, size_t first_len)
{
    a->first = first;
    a->first_len = first_len;
    a->pos = first;
    a->end = first == NULL ? NULL : a->first + first_len;
    a->blocks = NULL;
    a->total = 0;
}

static struct arena_block *new_block(struct arena *a, size_t n)
{
    struct arena_block *b = xmalloc(sizeof(*b) + n);
    a->total += sizeof(*b) + n;
    return b;
}

/* N bytes from the heap: what is large gets a block of its own and leaves the current one in use.
 */
static char *take_from_heap(struct arena *a, size_t n)
{
    struct arena_block *b;
    if (n > ARENA_BLOCK / 4 && a->blocks != NULL) {
        b = new_block(a, n);
        b->next = a->blocks->next;
        a->blocks->next = b;
        return b->bytes;
    }
    size_t size = n > ARENA_BLOCK ? n : (size_t)ARENA_BLOCK;
    b = new_block(a, size);
    b->next = a->blocks;
    a->blocks = b;
    a->pos = b->bytes + n;
    a->end = b->bytes + size;
    return b->bytes;
}

/* N bytes at a multiple of ALIGN, a power of two. */
static char *mem_take(struct arena *a, size_t n, size_t align)
{
    size_t pad = -(uintptr_t)a->pos & (align - 1);
    size_t left = (size_t)(a->end - a->pos);
    if (left < pad || left - pad < n)
        return take_from_heap(a, n);
    char *p = a->pos + pad;
    a->pos = p + n;
    return p;
}

void *arena_alloc(struct arena *a, size_t n)
{
    return mem_take(a, n == 0 ? 1 : n, ARENA_ALIGN);
}

struct str arena_dup(struct arena *a, struct str s)
{
    char *copy = mem_take(a, s.len + 1, 1);
    if (s.len > 0)
        memcpy(copy, s.p, s.len);
    copy[s.len] = '\0';
    return str_make(copy, s.len);
}

struct str arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list args;
    va_list again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n < 0)
        out_of_memory();
    char *text = mem_take(a, (size_t)n + 1, 1);
    vsnprintf(text, (size_t)n + 1, fmt, again);
    va_end(again);
    return str_make(text, (size_t)n);
}

void *arena_grow(struct arena *a, void *v, size_t n, size_t size)
{
    if ((n & (n - 1)) != 0)
        return v;
    void *longer = arena_alloc(a, (n == 0 ? 1 : 2 * n) * size);
    if (n > 0)
        memcpy(longer, v, n * size);
    return longer;
}

void arena_clear(struct arena *a)
{
    struct arena_block *b = a->blocks;
    while (b != NULL) {
        struct arena_block *next = b->next;
        free(b);
        b = next;
    }
    arena_init(a, a->first, a->first_len);
}

void slab_init(struct slab *s, size_t size, unsigned keep)
{
    s->size = size < sizeof(void *) ? sizeof(void *) : size;
    s->spare = 0;
    s->keep = keep * SLAB_KEEPS;
    s->free_list = NULL;
}

void *slab_get(struct slab *s)
{
    void *object = s->free_list;
    if (object == NULL)
        return xmalloc(s->size);
    memcpy(&s->free_list, object, sizeof(void *));
    s->spare--;
    return object;
}

void slab_put(struct slab *s, void *object)
{
    if (s->spare >= s->keep) {
        xfree(object);
        return;
    }
    poison(object, s->size);
    memcpy(object, &s->free_list, sizeof(void *));
    s->free_list = object;
    s->spare++;
}

void slab_clear(struct slab *s)
{
    while (s->free_list != NULL)
        free(slab_get(s));
}

size_t budget_narrow(const struct budget *b, size_t full)
{
    int64_t max = budget_max(b);
    int64_t left = max - budget_used(b);
    if (left <= 0)
        return 0;
    if (left > max / 2)
        return full;
    return (size_t)((double)full * (double)left / ((double)max / 2));
}

/* The last 5 % are for exchanges that have begun. */
bool budget_is_spent(const struct budget *b)
{
    return budget_lacks(b, 0);
}

bool budget_lacks(const struct budget *b, size_t n)
{
    int64_t max = budget_max(b);
    int64_t left = max - max / 20 - budget_used(b);
    return left <= 0 || (uint64_t)left < n;
}

size_t budget_spare(const struct budget *b)
{
    int64_t left = budget_max(b) / 2 - budget_used(b);
    return left > 0 ? (size_t)left : 0;
}
