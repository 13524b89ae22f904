/* SPDX-License-Identifier: Apache-2.0 */
/* A request that is made ahead of the one that will ask for it, and what has come of it so far. Who
 * asks is given it as an upstream: what came before is given first, the rest as it comes. What came
 * is as the origin sent it, so that the exchange rewrites it as it would any answer. For
 * readahead.c alone. */
#ifndef TLSFAN_OWN_FETCH_H
#define TLSFAN_OWN_FETCH_H

#include "base/backlog.h"
#include "base/hash.h"
#include "exchange/exchange.h"

struct fetch;

enum fetch_state {
    FETCH_NEW,   /* not begun, or without a connection yet */
    FETCH_HEAD,  /* sent */
    FETCH_BODY,  /* its head has come, and is good */
    FETCH_WHOLE, /* all has come */
    FETCH_CLOSED /* waits for the reaper */
};

/* What its owner is told; it may close it, and any other. From GONE on F is not its own. */
enum fetch_news {
    FETCH_IS_LAST, /* what comes behind it may be another for the client: it sets a cookie */
    FETCH_IS_FREE, /* its slot is */
    FETCH_IS_BAD,  /* an answer that is not to be handed out, or nothing for who waits */
    FETCH_IS_OLD,  /* an answer that nobody has asked for in time */
    FETCH_IS_LOST  /* no answer */
};

/* What all requests of a walk have in common. Borrowed; copied by fetch_new(). */
struct fetch_like {
    struct conf_use *use;
    struct up_where where;
    struct up_request rq;    /* all but the target */
    uint64_t person, client; /* whose turn in a pool's queue */
};

/* Owner: struct readahead; from fetch_take() on the exchange. Closed by fetch_close(). */
struct fetch {
    UT_hash_handle hh; /* in readahead->fetches, by `key` */
    struct list link;  /* in walk->fetches, or readahead->loose */
    uint64_t walk;     /* its number; 0: none, it was named by a link */
    uint64_t at;       /* its place in the walk */
    uint64_t asked;    /* the last place that was asked for when it was made */
    struct str key;    /* in the arena: who may have it, and for which request */
    enum fetch_state state;
    struct engine *engine;
    struct conf_use *use;
    struct exchange *x; /* borrowed: who has taken it */
    struct ustream us;  /* what X gets */
    struct ustream *up; /* what it is fetched by */
    struct pool_wait wait;
    struct up_where where;
    struct up_how how;
    struct up_request rq;
    struct fields fields; /* of the request */
    struct h1_head head;  /* of the answer, while nobody has it */
    struct h1_body body;  /* its framing and length */
    struct fields trailers;
    struct backlog held;
    bool is_tail; /* its walk has ended */
    bool has_trailers;
    bool is_sent;           /* counted */
    bool is_given;          /* X has its head */
    bool is_paused;         /* X takes no more */
    bool is_slowed;         /* and the origin was told */
    struct timeout timeout; /* until somebody takes it */
    struct post give;
    struct share share; /* in max_memory: F and its arena */
    struct share ahead; /* in readahead_memory: that, and what is held */
    void (*tell)(void *arg, struct fetch *f, enum fetch_news news);
    void *arg;
    struct arena arena;
    struct reap reap;
};

/* For TARGET, as LIKE says, under KEY; both copied. Not begun. NULL: there is no memory for it. */
struct fetch *fetch_new(struct engine *e, const struct fetch_like *like, struct str target,
                        struct str key);
/* An answer that may be handed out: nothing conditional or partial was asked for, and 101 by
 * nobody. */
bool fetch_is_good(const struct h1_head *head);
/* False: all slots of its origin are in use or waited for. It may be sent before this returns, and
 * told to be gone. */
MUST_CHECK bool fetch_start(struct fetch *f);
/* F, which its owner has cut from its lists, answers X from now on. */
struct ustream *fetch_take(struct fetch *f, struct exchange *x);
/* Cancels what is under way; any number of times. */
void fetch_close(struct fetch *f);

#endif
