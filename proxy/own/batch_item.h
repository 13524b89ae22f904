/* SPDX-License-Identifier: Apache-2.0 */
/* One request of a batch: an exchange whose source is the batch. What comes back is held here until
 * it is its turn; for batch.c alone. */
#ifndef TLSFAN_OWN_BATCH_ITEM_H
#define TLSFAN_OWN_BATCH_ITEM_H

#include "base/backlog.h"
#include "exchange/exchange.h"
#include "own/batch_line.h"
#include "own/batch_write.h"
#include "own/json_text.h"

/* What items of one batch share. Embedded in it. */
struct batch_kind {
    struct engine *engine;
    const struct conf *conf;
    bool is_ndjson;
    char boundary[BATCH_BOUNDARY];
    unsigned under_way;           /* items begun and not done */
    void (*on_change)(void *arg); /* an item has more, or has ended; may be called at any time */
    void *arg;
    struct source_side from;
};

/* Owner: struct batch. Heap; closed by item_close(). */
struct batch_item {
    struct exchange x;
    struct list link;              /* in batch->items */
    struct batch_kind *kind;       /* borrowed from the batch */
    const struct batch_want *want; /* borrowed */
    unsigned index;
    bool is_first;            /* its answer is being given */
    bool is_done;             /* nothing more comes */
    bool is_chunked;          /* multipart: what is inside the part */
    struct backlog held;      /* answer that waits, NDJSON: its body */
    struct backlog line;      /* NDJSON: what stands before the body */
    struct utf8 utf8;         /* NDJSON: of the body so far */
    bool is_text;             /* NDJSON: it is UTF-8 */
    bool is_ended;            /* NDJSON: the end of the line has been given */
    struct deadline deadline; /* timeout_ms */
};

/* Begins request INDEX. on_change() may come before this returns. */
struct batch_item *item_begin(struct batch_kind *kind, const struct batch_want *want,
                              unsigned index);
/* It is first in line now: what it holds will be taken. */
void item_promote(struct batch_item *it);
/* Moves about N bytes of what waits to OUT, and no more than a body of N becomes in JSON; gives
 * whether any waits still. */
bool item_take(struct batch_item *it, struct evbuffer *out, size_t n);
/* Cancels what is under way. */
void item_close(struct batch_item *it, enum fault_code fault);

#endif
