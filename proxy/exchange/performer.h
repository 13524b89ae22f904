/* SPDX-License-Identifier: Apache-2.0 */
/* Who performs a request: a value that the route chooses. The pool and the dial of a CONNECT stand
 * in performer.c, the batch call and read-ahead in own/; the engine says whether there are any. */
#ifndef TLSFAN_EXCHANGE_PERFORMER_H
#define TLSFAN_EXCHANGE_PERFORMER_H

#include "exchange/exchange.h"

struct performer {
    /* Begins with X, which is in WAIT. A ustream that is there at once; or NULL, and X is told
     * later, by one of exchange_launch(), exchange_tunnel() and exchange_fail(). */
    struct ustream *(*start)(struct exchange *x);
    /* X waits no more. Harmless when it does not wait; NULL: it never does. */
    void (*cancel)(struct exchange *x);
    /* How many answers whoever is asked has begun so far, for another try; NULL: nobody counts. */
    uint64_t (*answers)(const struct exchange *x);
    /* The final head of X has come, as the origin sent it; told where x->looks_ahead is set. It
     * leaves X alone. */
    void (*on_head)(struct exchange *x, const struct h1_head *head);
};

extern const struct performer performer_pool; /* a connection to x->where */
extern const struct performer performer_dial; /* a new one, for a tunnel */

/* ---- what a performer calls */

/* Sends the request on US, with what there is of its body. */
void exchange_launch(struct exchange *x, struct ustream *us);
/* X becomes a tunnel to UP, which it owns from now on: CONNECT (HEAD NULL), or 101. SLOT as
 * ustream_ops.take(). */
void exchange_tunnel(struct exchange *x, struct h1_head *head, struct stream *up, void *slot);
/* Nothing of an answer was told, and what X was given has come to nothing: it is performed anew, by
 * the same performer. It has no body. */
void exchange_anew(struct exchange *x);
/* For the log: a connection that was made or tried for X. */
void exchange_note(struct exchange *x, const struct up_facts *facts);

#endif
