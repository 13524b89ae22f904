/* SPDX-License-Identifier: Apache-2.0 */
/* What all exchanges of one worker share. Made by the worker, borrowed by everybody else; one
 * thread. */
#ifndef TLSFAN_EXCHANGE_ENGINE_H
#define TLSFAN_EXCHANGE_ENGINE_H

#include "base/log_buf.h"
#include "base/sweep.h"
#include "conf/conf.h"
#include "http/forward.h"

struct dns;
struct performer;
struct readahead;
struct stats;
struct token_job;

/* A snapshot in use by one worker. Counted without atomics, so that no request writes to memory
 * that workers share. */
struct conf_use {
    struct conf *conf; /* one reference for all users */
    unsigned users;    /* exchanges, and the engine while it is the newest */
};

struct engine {
    struct loop *loop;
    struct conf_use *use; /* the newest snapshot; an exchange keeps the one it began with */
    struct sweep sweep;   /* response and read timeouts */
    struct dns *dns;
    struct pool *pool;
    const struct forward_id *id;         /* Via */
    struct budget *budget;               /* max_memory, of the process */
    struct stats *stats;                 /* what this worker counts */
    struct log_buf log;                  /* access lines of this turn */
    struct slab requests;                /* struct request of client/client.c */
    const struct performer *batch;       /* who performs a batch call; NULL: nobody */
    const struct performer *reads_ahead; /* who performs under a rule with `readahead`; or NULL */
    struct readahead *ahead;             /* and what that one knows; the worker's */
    /* Fetches an access token, and puts it into the store of exchange/token_store.h. */
    void (*fetch_token)(struct engine *e, const struct token_job *job);
    struct list token_fetches; /* under way: of own/token_fetch.c */
    struct list running;       /* struct exchange: begun and not ended, as they began; */
    struct list tunnels;       /* of these, those that are tunnels by now */
    unsigned credit;           /* of how many more the fields are noted for who watches: seen.h */
    uint64_t next_id;          /* request id: the worker in the top 16 bits */
    unsigned open_exchanges;   /* begun and not yet freed */
    bool draining;             /* answers carry Connection: close */
    bool ending;               /* what is still under way is cut */
};

/* Makes C (whose reference the engine takes over) the newest snapshot, or none with NULL. */
void engine_set_conf(struct engine *e, struct conf *c);
struct conf_use *engine_use(struct engine *e);
void engine_unuse(struct conf_use *use);

#endif
