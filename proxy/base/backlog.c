/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes that wait: see backlog.h. An evbuffer says itself when its length has changed, so that
 * nobody who writes to it can forget to count. */
#include "base/backlog.h"

#include <stdlib.h>

void backlog_promise(struct backlog *b, size_t n)
{
    size_t len = backlog_len(b);
    b->promised = n;
    share_set(&b->share, len > n ? len : n);
}

static void backlog_on_change(struct evbuffer *bytes, const struct evbuffer_cb_info *info,
                              void *arg)
{
    struct backlog *b = arg;
    (void)bytes;
    (void)info;
    backlog_promise(b, b->promised);
}

void backlog_init(struct backlog *b, struct budget *budget)
{
    *b = (struct backlog){.share.budget = budget};
}

/* Nothing waits any more. */
static void backlog_free(struct backlog *b)
{
    if (b->bytes != NULL)
        evbuffer_free(b->bytes);
    b->bytes = NULL;
}

void backlog_clear(struct backlog *b)
{
    backlog_free(b);
    backlog_promise(b, 0);
}

struct evbuffer *backlog_buffer(struct backlog *b)
{
    if (b->bytes != NULL)
        return b->bytes;
    b->bytes = evbuffer_new();
    if (b->bytes == NULL || evbuffer_add_cb(b->bytes, backlog_on_change, b) == NULL)
        abort();
    return b->bytes;
}

void backlog_add(struct backlog *b, struct str data)
{
    if (data.len > 0 && evbuffer_add(backlog_buffer(b), data.p, data.len) < 0)
        abort();
}

struct str backlog_first(const struct backlog *b)
{
    struct evbuffer_iovec v;
    if (b->bytes == NULL || evbuffer_peek(b->bytes, -1, NULL, &v, 1) < 1)
        return str_make(NULL, 0);
    return str_make(v.iov_base, v.iov_len);
}

struct str backlog_all(struct backlog *b)
{
    size_t n = backlog_len(b);
    return str_make(n == 0 ? NULL : (const char *)evbuffer_pullup(b->bytes, -1), n);
}

/* N bytes have left: the last ones leave no memory. */
static size_t backlog_left(struct backlog *b, int n)
{
    if (b->bytes != NULL && evbuffer_get_length(b->bytes) == 0)
        backlog_free(b);
    return n > 0 ? (size_t)n : 0;
}

void backlog_drain(struct backlog *b, size_t n)
{
    if (b->bytes != NULL)
        evbuffer_drain(b->bytes, n);
    backlog_left(b, 0);
}

size_t backlog_take(struct backlog *b, void *dst, size_t n)
{
    return backlog_left(b, b->bytes == NULL ? 0 : evbuffer_remove(b->bytes, dst, n));
}

size_t backlog_move(struct backlog *b, struct evbuffer *out, size_t n)
{
    return backlog_left(b, b->bytes == NULL ? 0 : evbuffer_remove_buffer(b->bytes, out, n));
}
