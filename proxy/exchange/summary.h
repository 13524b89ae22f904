/* SPDX-License-Identifier: Apache-2.0 */
/* What has been asked in all, for the line at the end of `tlsfan run` (run_end.h). Counted from
 * summary_open() on, by all workers in one place under a lock: nobody else calls it, and for them
 * an exchange looks at a flag. µs.
 *
 *     requests    exchanges that were one: a batch call is what it asks for, and CONNECT is what
 *                 is inside. Those that were refused before anybody was asked are among them, and
 *                 take no time
 *     waiting     from the head of each request to the end of its answer (of a WebSocket, to the
 *                 101), added up
 *     busy        the time during which at least one of them was under way: the union */
#ifndef TLSFAN_EXCHANGE_SUMMARY_H
#define TLSFAN_EXCHANGE_SUMMARY_H

#include "exchange/exchange.h"

struct summary {
    uint64_t requests;
    uint64_t failed;      /* of these: got no answer of an origin, or not all of it */
    uint64_t given_up;    /* of these: who had asked went away before the end */
    uint64_t ahead;       /* of these: their answer had been fetched ahead */
    unsigned under_way;   /* now */
    unsigned most;        /* under way at once */
    int64_t waiting;      /* see above */
    int64_t busy;         /* the same */
    uint64_t tunnels;     /* blind ones: CONNECT, or TLS that was on its way elsewhere */
    uint64_t unopened;    /* of these: they led nowhere */
    uint64_t intercepted; /* CONNECTs, and such TLS, that were to be read */
    uint64_t to_host;     /* asked of this host's loopback, as the operator wrote, and of listeners
                           * of ours */
    char where[128];      /* "host:443": of the first tunnel; escaped */
    bool has_more;        /* others led elsewhere */
};

/* Whether it was opened: looked at before each call of the three below. */
extern bool summary_is_open;

/* Before there are workers. */
void summary_open(void);
/* X begins to be performed, as it has from its head on. Harmless for what is no request, or has
 * begun. */
void summary_begin(struct exchange *x);
/* X is not under way any more; nor was it, perhaps. */
void summary_end(struct exchange *x);
/* X has ended, with all that is known of it. Once for each. */
void summary_count(struct exchange *x);

/* From any thread. */
struct summary summary_get(void);

#endif
