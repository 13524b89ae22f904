/* SPDX-License-Identifier: Apache-2.0 */
/* Access lines of all threads: see log_buf.h. A lock over write(2) would be waited for by each
 * thread that ends a turn while another one writes; here it leaves its lines with that one. */
#include "base/log_buf.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/log_impl.h"
#include "base/mem.h"

enum { ROOM = 128 * 1024 }; /* bytes of a buffer, unless one turn or line needs more */

/* Between log_access_hold() and log_access_release(): the buffers of all threads. */
static struct list bufs = {&bufs, &bufs};
/* Lines were given since somebody began to write. It is exchanged, never just stored: whoever takes
 * it back has read it from everyone who set it, and so sees what they have `given`. Who only wrote
 * over it need not, and the lines would lie there with nobody to write them. */
static atomic_bool is_more;
/* Somebody writes. Who gives lines sets `is_more` first and looks here then, and who writes is done
 * here first and looks there then: one of the two sees the other. */
static atomic_bool is_writing;

/* What B has given, in its order. */
static void buf_write(struct log_buf *b, struct log_outcome *o)
{
    uint64_t given = atomic_load_explicit(&b->given, memory_order_acquire);
    uint64_t done = atomic_load_explicit(&b->done, memory_order_relaxed);
    if (given == done)
        return;
    log_access_put(b->p + (done - b->base), (size_t)(given - done), o);
    atomic_store_explicit(&b->done, given, memory_order_release);
}

static void buf_write_all(void)
{
    struct log_outcome o = {0};
    log_access_hold();
    for (struct list *it = bufs.next; it != &bufs; it = it->next)
        buf_write(container_of(it, struct log_buf, link), &o);
    log_access_release(&o);
}

static void buf_write_own(struct log_buf *b)
{
    struct log_outcome o = {0};
    log_access_hold();
    buf_write(b, &o);
    log_access_release(&o);
}

/* All that was given has been written: nobody else reads what is in B. */
static bool buf_is_own(struct log_buf *b)
{
    return atomic_load_explicit(&b->done, memory_order_acquire) ==
           atomic_load_explicit(&b->given, memory_order_relaxed);
}

/* Of a buffer that is its thread's own: what was written makes room. */
static void buf_shift(struct log_buf *b)
{
    size_t written = (size_t)(atomic_load_explicit(&b->given, memory_order_relaxed) - b->base);
    if (written < b->len)
        memmove(b->p, b->p + written, b->len - written);
    b->base += written;
    b->len -= written;
}

/* Where that moves nothing. */
static void buf_reset(struct log_buf *b)
{
    if (b->base + b->len != atomic_load_explicit(&b->given, memory_order_relaxed) || !buf_is_own(b))
        return;
    buf_shift(b);
    if (b->cap > ROOM) {
        free(b->p);
        b->p = NULL;
        b->cap = 0;
    }
}

static void buf_join(struct log_buf *b)
{
    log_access_hold();
    list_push_back(&bufs, &b->link);
    b->is_known = true;
    log_access_release(&(struct log_outcome){0});
}

/* Makes room for N more. What another thread has not written yet is written first. */
static void buf_grow(struct log_buf *b, size_t n)
{
    if (!b->is_known)
        buf_join(b);
    if (!buf_is_own(b))
        buf_write_own(b);
    buf_shift(b);
    if (b->cap - b->len >= n)
        return;
    size_t cap = b->cap == 0 ? (size_t)ROOM : b->cap * 2;
    b->cap = cap - b->len < n ? b->len + n : cap;
    b->p = xrealloc(b->p, b->cap);
}

char *log_buf_room(struct log_buf *b, size_t n)
{
    if (b->len > 0)
        buf_reset(b);
    if (b->cap - b->len < n)
        buf_grow(b, n);
    return b->p + b->len;
}

bool log_buf_flush(struct log_buf *b)
{
    uint64_t end = b->base + b->len;
    if (end != atomic_load_explicit(&b->given, memory_order_relaxed)) {
        atomic_store_explicit(&b->given, end, memory_order_release);
        (void)atomic_exchange(&is_more, true);
    }
    if (!atomic_load(&is_more) || atomic_exchange(&is_writing, true))
        return false;
    (void)atomic_exchange(&is_more, false);
    buf_write_all();
    atomic_store(&is_writing, false);
    buf_reset(b);
    return atomic_load(&is_more);
}

void log_buf_clear(struct log_buf *b)
{
    struct log_outcome o = {0};
    if (!b->is_known)
        return;
    atomic_store_explicit(&b->given, b->base + b->len, memory_order_release);
    log_access_hold();
    buf_write(b, &o);
    list_remove(&b->link);
    log_access_release(&o);
    free(b->p);
    memset(b, 0, sizeof(*b));
}
