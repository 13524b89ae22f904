/* SPDX-License-Identifier: Apache-2.0 */
/* Access tokens, one set for all threads: which there are, until when, and who waits for one. A
 * place is one oauth section; while its token is being fetched nobody else fetches it, and what
 * was fetched before serves on as long as it lasts, all but those to whom it was refused. A new
 * token is asked for at 80 % of the time of the old one, by the first request that comes then;
 * after a failure only when a while has passed (1 s, doubled each time up to 60 s), in which the
 * failure is remembered. */
#ifndef TLSFAN_EXCHANGE_TOKEN_STORE_H
#define TLSFAN_EXCHANGE_TOKEN_STORE_H

#include "base/fault.h"
#include "base/loop.h"
#include "conf/oauth.h"

struct token_place; /* owner: the store */
struct token_wait;  /* owner: the store; who waits has a token of it */

/* What there is. */
struct token_got {
    struct str token; /* p NULL: there is none, and `fault` says why */
    uint64_t number;  /* of this one; never 0 */
    struct fault fault;
};
/* The token lasts until it returns. */
typedef void (*token_fn)(void *arg, const struct token_got *got);

struct token_ask {
    struct conf *conf;
    const struct oauth_conf *oauth; /* of CONF */
    uint64_t refused;               /* number of the one that it wants another for; 0: any */
    struct arena *arena;            /* for a token that is there */
    struct loop *loop;              /* of who asks */
    token_fn fn;
    void *arg;
};

/* What the caller is to fetch. */
struct token_job {
    struct token_place *place; /* NULL: nothing */
    struct conf *conf;         /* a reference, of who fetches; for: */
    const struct oauth_conf *oauth;
};

/* NULL: GOT says what there is; else FN is called later on the loop. Where JOB has a place, the
 * caller fetches it and says by token_store_put() what has come of that. */
struct token_wait *token_store_get(const struct token_ask *ask, struct token_got *got,
                                   struct token_job *job);
/* FN does not come any more. NULL is harmless. */
void token_store_cancel(struct token_wait *w);

/* The fetch of P is over: TOKEN lasts LIFETIME ms, or (p NULL) F says why there is none. */
void token_store_put(struct token_place *p, struct str token, int64_t lifetime,
                     const struct fault *f);

/* The origin has answered 401 to the token NUMBER of OAUTH. True: there is another one by now, or
 * it is worth asking for one; false where tokens are refused again and again. */
bool token_store_refused(const struct oauth_conf *oauth, uint64_t number);

/* C holds from now on: places of sections that it does not have are given up. Any thread, any
 * number of times. */
void token_store_use(struct conf *c);

/* A thread begins, or has ended: with the last one all goes. */
void token_store_join(void);
void token_store_leave(void);

#endif
