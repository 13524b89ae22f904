/* SPDX-License-Identifier: Apache-2.0 */
/* Where the body of a request is on its way from the source to an upstream, and whether it is there
 * for another try. Its memory is counted in `buffer` alone. The moves from state to state stand
 * in request_body.c. */
#ifndef TLSFAN_EXCHANGE_REQUEST_BODY_H
#define TLSFAN_EXCHANGE_REQUEST_BODY_H

#include "base/backlog.h"

enum rbody_state {
    RBODY_NONE,    /* nothing has come */
    RBODY_LENT,    /* `bytes` are the source's, until the call in which it gave them returns */
    RBODY_WAITING, /* in `buffer`, for an upstream */
    RBODY_KEPT,    /* in `buffer`, and an upstream has got all of it */
    RBODY_COPIED,  /* whole: `bytes`, in the arena */
    RBODY_LOST     /* some was given away and is nowhere any more */
};

/* Embedded in its exchange. */
struct rbody {
    enum rbody_state state;
    size_t most; /* bytes: client.buffer */
    struct str bytes;
    struct backlog buffer;
};

/* MOST bytes wait before the source is told to stop, twice as many are kept; fewer when B is used
 * up. */
void rbody_init(struct rbody *b, struct budget *budget, size_t most);
/* Gives up all of it; what has come is lost. */
void rbody_drop(struct rbody *b);

/* DATA is the first of it, and lasts until rbody_settle(), which copies it if it must wait. */
void rbody_lend(struct rbody *b, struct str data);
void rbody_settle(struct rbody *b);
/* DATA, more of it, waits for an upstream. False: enough for now. */
bool rbody_add(struct rbody *b, struct str data);

/* How much of it an upstream is to be given, and how. */
struct rbody_try {
    bool keeps;          /* it may say later that it has not begun: shared, or used before */
    bool is_whole;       /* no more comes */
    struct arena *arena; /* for a copy of what is whole and small */
};
/* What a try sends first. The bytes last until rbody_given(). */
struct str rbody_give(struct rbody *b, const struct rbody_try *how);
void rbody_given(struct rbody *b);
/* DATA, more of it, goes to the upstream at once. Where it KEEPS, that is as much as a connection
 * takes before its peer has begun with it, the first part in any case; who gets more has begun. */
void rbody_pass(struct rbody *b, struct str data, bool keeps);
/* The upstream has not carried the request out: what was kept waits for another one. */
void rbody_again(struct rbody *b);

/* The source has given some of it. */
static inline bool rbody_has_begun(const struct rbody *b)
{
    return b->state != RBODY_NONE;
}

/* All that has come is there for another try. */
static inline bool rbody_is_replayable(const struct rbody *b)
{
    return b->state != RBODY_LOST;
}

#endif
