/* SPDX-License-Identifier: Apache-2.0 */
/* What a stream holds, counted in max_memory until it is closed: what waits in it either way, and a
 * fixed estimate of all else that its connection costs. */
#ifndef TLSFAN_NET_STREAM_SHARE_H
#define TLSFAN_NET_STREAM_SHARE_H

#include "net/stream.h"

/* From now on S is counted in B (NULL: nowhere), with FIXED bytes besides what waits in it. May be
 * called again. */
void stream_count_in(struct stream *s, struct budget *b, size_t fixed);

/* What S itself takes: a part of FIXED for whoever counts by the size of all that there is. */
static inline size_t stream_size(const struct stream *s)
{
    return sizeof *s + sizeof *s->reads;
}

/* For stream*.c: what waits has changed. */
static inline void stream_recount(struct stream *s)
{
    if (s->share.budget == NULL || s->state == STREAM_CLOSED)
        return;
    size_t waits = s->out == NULL ? 0 : evbuffer_get_length(s->out);
    share_set(&s->share, s->fixed + s->rest_cap + s->line.unread + waits);
}

/* How much S may read at once: less as memory fills, for what is read may have to be kept. */
size_t stream_read_room(const struct stream *s, size_t full);

#endif
