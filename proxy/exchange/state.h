/* SPDX-License-Identifier: Apache-2.0 */
/* The states of an exchange; which may follow which stands in state.c.
 *
 *     NEW -> [AUTH <-> NAME] -> [TOKEN] -> WAIT -> ACTIVE -> DONE -> CLOSED
 *                                 |         ^ back to TOKEN after a 401 to one
 *                                 |  <-   |                       a request is tried again,
 *                                 |  <- LATER                     at once or after a moment
 *                                 `-> TUNNEL <-'  -> DONE         CONNECT, and 101
 *     from any up to ACTIVE -> DONE, an answer of tlsfan's own; and from any -> CLOSED */
#ifndef TLSFAN_EXCHANGE_STATE_H
#define TLSFAN_EXCHANGE_STATE_H

struct exchange;

enum exchange_state {
    EXCHANGE_NEW,    /* the source fills it in */
    EXCHANGE_AUTH,   /* waits for auth_job: credentials are being hashed */
    EXCHANGE_NAME,   /* waits for `naming`: what the host is found as decides the rule */
    EXCHANGE_TOKEN,  /* waits for token_wait: an access token is being fetched */
    EXCHANGE_WAIT,   /* waits for its performer: pool_wait or dial */
    EXCHANGE_ACTIVE, /* has a ustream */
    EXCHANGE_LATER,  /* waits for the time of its next try */
    EXCHANGE_TUNNEL, /* has a tunnel, which owns the connections of both sides */
    EXCHANGE_DONE,   /* the source has been told the end; nothing upstream any more */
    EXCHANGE_CLOSED  /* waits for the reaper */
};

/* The one place where x->state changes. */
void exchange_set_state(struct exchange *x, enum exchange_state to);

#endif
