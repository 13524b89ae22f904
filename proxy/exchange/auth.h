/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials that must be hashed, which takes 50 ms and more: one thread for the process does it,
 * off the loops, and those who wait take turns by client address (IPv6: by /64; all of unix: are
 * one), and within an address by connection. Who asks the same at the same time waits for one
 * check, and what nobody waits for any more is not checked. */
#ifndef TLSFAN_EXCHANGE_AUTH_H
#define TLSFAN_EXCHANGE_AUTH_H

#include "exchange/exchange.h"

/* Checks that may wait: in all, and of one address. */
enum { AUTH_CHECKS_MAX = 1024, AUTH_PLACE_MAX = 256 };

enum auth_result {
    AUTH_OK,
    AUTH_BAD,
    AUTH_BUSY /* gave way to one who has less waiting: to be tried again */
};
/* What AUTH_BUSY, and a NULL of auth_start(), mean to whoever asked: a sentence. */
extern const char auth_busy[];
typedef void (*auth_fn)(void *arg, enum auth_result result);

struct auth_job; /* a token */

/* Who asks, and for what: POLICY_AUTH_SLOW came of it. Only read during auth_start(). */
struct auth_ask {
    const struct conf *conf;
    const struct source_side *from; /* its peer, and its connection's id */
    struct str value;               /* as for policy_auth() */
};

/* Has A checked, then calls FN(ARG, result) on LOOP, whose thread calls this. NULL when too many
 * wait already (or, which is logged, there can be no thread). */
struct auth_job *auth_start(struct loop *loop, const struct auth_ask *a, auth_fn fn, void *arg);
/* FN will not come. NULL is harmless. */
void auth_cancel(struct auth_job *job);
/* Ends the thread; every job must have been cancelled. */
void auth_stop(void);

#endif
