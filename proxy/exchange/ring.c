/* SPDX-License-Identifier: Apache-2.0 */
/* Words in and out of slots: see ring.h. No fences: each order is that of one variable, which
 * ThreadSanitizer understands, too. */
#include "exchange/ring.h"

#include <assert.h>
#include <stdlib.h>

enum { WORD = sizeof(uint64_t) };

struct ring *ring_new(size_t slots, size_t size)
{
    size_t words = 1 + (size + WORD - 1) / WORD;
    struct ring *r = xcalloc(1, sizeof *r + slots * words * WORD);
    r->slots = slots;
    r->words = words;
    return r;
}

void ring_free(struct ring *r)
{
    free(r);
}

static inline void ring_store(_Atomic uint64_t *to, const char *from)
{
    uint64_t word;
    memcpy(&word, from, WORD);
    atomic_store_explicit(to, word, memory_order_release);
}

/* Four at a time: two of three instructions of a loop over single words are the loop's. */
static void ring_copy(_Atomic uint64_t *to, const char *from, size_t words)
{
    for (; words >= 4; words -= 4, to += 4, from += 4 * WORD) {
        ring_store(&to[0], from);
        ring_store(&to[1], from + WORD);
        ring_store(&to[2], from + 2 * WORD);
        ring_store(&to[3], from + 3 * WORD);
    }
    for (; words > 0; words--, to++, from += WORD)
        ring_store(to, from);
}

uint64_t ring_put(struct ring *r, const void *record, size_t n)
{
    uint64_t number = atomic_load_explicit(&r->end, memory_order_relaxed);
    _Atomic uint64_t *slot = r->data + number % r->slots * r->words;
    size_t words = (n + WORD - 1) / WORD;
    assert(words < r->words);
    atomic_store_explicit(&slot[0], 2 * number + 1, memory_order_relaxed);
    ring_copy(&slot[1], record, words);
    atomic_store_explicit(&slot[0], 2 * number + 2, memory_order_release);
    atomic_store_explicit(&r->end, number + 1, memory_order_release);
    return number;
}

uint64_t ring_end(const struct ring *r)
{
    return atomic_load_explicit(&r->end, memory_order_acquire);
}

uint64_t ring_begin(const struct ring *r, uint64_t end)
{
    return end > r->slots ? end - r->slots : 0;
}

bool ring_get(const struct ring *r, uint64_t number, void *dst, size_t n)
{
    char *to = dst;
    const _Atomic uint64_t *slot = r->data + number % r->slots * r->words;
    if (atomic_load_explicit(&slot[0], memory_order_acquire) != 2 * number + 2)
        return false;
    for (size_t i = 0; i < n / WORD; i++) {
        uint64_t word = atomic_load_explicit(&slot[i + 1], memory_order_acquire);
        memcpy(to + i * WORD, &word, WORD);
    }
    return atomic_load_explicit(&slot[0], memory_order_relaxed) == 2 * number + 2;
}
