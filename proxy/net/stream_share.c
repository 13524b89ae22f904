/* SPDX-License-Identifier: Apache-2.0 */
/* Streams in max_memory: see stream_share.h. */
#include "net/stream_share.h"

enum { READ_LEAST = 16384 }; /* bytes: one TLS record */

void stream_count_in(struct stream *s, struct budget *b, size_t fixed)
{
    if (s->share.budget != b)
        share_set(&s->share, 0);
    s->share.budget = b;
    s->fixed = fixed;
    stream_recount(s);
}

size_t stream_read_room(const struct stream *s, size_t full)
{
    if (s->share.budget == NULL || full <= READ_LEAST)
        return full;
    size_t bound = budget_bound(s->share.budget, full);
    return bound < READ_LEAST ? READ_LEAST : bound;
}
