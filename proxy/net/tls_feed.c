/* SPDX-License-Identifier: Apache-2.0 */
/* Records for OpenSSL, one by one: see tls_feed.h. Where one ends is counted in all that passes,
 * the handshake too. Were the count wrong, as behind bytes that are no TLS, OpenSSL would be given
 * other pieces of the same bytes, which it takes as well. */
#include "net/tls_feed.h"

static size_t feed_least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* How many of the N bytes at P, which come next, are of the record that they begin with. */
static size_t feed_record(struct tls_feed *f, const char *p, size_t n)
{
    size_t i = 0;
    while (f->n_header < FEED_HEADER && i < n)
        f->header[f->n_header++] = (unsigned char)p[i++];
    if (f->n_header < FEED_HEADER)
        return i;
    if (i > 0)
        f->left = (size_t)f->header[3] << 8 | f->header[4];
    size_t body = feed_least(f->left, n - i);
    f->left -= body;
    if (f->left == 0)
        f->n_header = 0;
    return i + body;
}

/* What is read when all that waits has been asked for comes behind the gap, too. */
size_t feed_gap(struct tls_feed *f, char *p, size_t n)
{
    size_t gap = n < 2 * FEED_RECORD ? n : FEED_RECORD;
    if (f->n_waits > 0)
        gap = feed_least((size_t)(f->waits - p), n);
    f->room = !f->has_many || n - gap < FEED_RECORD ? NULL : p + gap;
    f->n_room = n - gap;
    return gap;
}

/* To OpenSSL itself. */
static ssize_t feed_read_through(struct tls_feed *f, struct wire *below, char *p, size_t n)
{
    ssize_t got = wire_read(below, p, n);
    if (got <= 0)
        return got;
    size_t at = feed_record(f, p, (size_t)got);
    f->has_many = at < (size_t)got;
    while (at < (size_t)got)
        at += feed_record(f, p + at, (size_t)got - at);
    return got;
}

ssize_t feed_read(struct tls_feed *f, struct wire *below, char *p, size_t n)
{
    bool is_new = f->n_waits == 0;
    if (is_new && f->room == NULL)
        return feed_read_through(f, below, p, n);
    if (is_new) {
        ssize_t got = wire_read(below, f->room, f->n_room);
        if (got <= 0)
            return got;
        f->waits = f->room;
        f->n_waits = (size_t)got;
    }
    n = feed_record(f, f->waits, feed_least(n, f->n_waits));
    memcpy(p, f->waits, n);
    f->waits += n;
    f->n_waits -= n;
    if (is_new)
        f->has_many = f->n_waits > 0;
    return (ssize_t)n;
}

void feed_end(struct tls_feed *f, struct wire *below)
{
    if (f->n_waits > 0)
        wire_unread(below, f->waits, f->n_waits);
    f->n_waits = 0;
    f->room = NULL;
}
