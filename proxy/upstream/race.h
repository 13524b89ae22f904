/* SPDX-License-Identifier: Apache-2.0 */
/* The addresses of one host to one connected socket (RFC 8305 section 5). Families take turns,
 * beginning with IPv6; a new attempt begins every 250 ms or as soon as one fails. The first that
 * connects wins, and the others are closed. Where all have refused they are all tried again in a
 * moment (upstream/outage.h). */
#ifndef TLSFAN_UPSTREAM_RACE_H
#define TLSFAN_UPSTREAM_RACE_H

#include "base/loop.h"
#include "conf/policy.h"

/* Addresses of one family. */
struct race_family {
    struct addr *addrs; /* heap, owned */
    unsigned n, next;
};

/* Embedded in its owner, zero-initialised, whose reaper outlives it. */
struct race {
    /* Set by the owner before race_init(); all are borrowed. */
    struct loop *loop;
    const struct conf *conf; /* upstream: connect_timeout and addresses to connect from */
    struct policy_who who;   /* policy_address() is asked of every address before it is tried */
    uint16_t port;           /* of all addresses */
    /* Whose outage it is when all have failed, for upstream/outage.h. May be changed between two
     * attempts. */
    const char *name;
    uint16_t name_port;
    /* FD, connected to `peer`, is the callee's; -1: no address is left, and `fault` says why. R may
     * be closed in it. */
    void (*on_end)(void *arg, int fd);
    void *arg;

    /* May be read. */
    struct addr peer;     /* connected to, or tried last; len 0: none */
    struct fault fault;   /* the most telling one that was noted */
    struct list attempts; /* struct attempt, the oldest first */
    unsigned n_attempts;

    bool has_more; /* the owner's: more addresses may come, so that it is not over without any */
    struct race_family families[2]; /* IPv6 is [0]: it goes first */
    unsigned turn;                  /* the family whose address is next */
    bool is_again;                  /* `peer` is next, whosever turn it is */
    bool has_passing;               /* something failed in a way that may pass by itself */
    bool is_resting;                /* all have failed, and are tried again after `step` */
    bool was_cut;         /* and that was for a handshake that was cut off: not a second time */
    int64_t refused;      /* µs: when all had failed for the first time; 0: not yet */
    struct deadline step; /* next attempt, or the end of the rest */
};

void race_init(struct race *r);
/* No on_end() comes any more. Any number of times. */
void race_close(struct race *r);

/* N addresses (copied; all of one family; `port` is set) join in. */
void race_add(struct race *r, const struct addr *addrs, unsigned n);
/* Begins; or goes on with what was added, or after what it had won was of no use: race_note() has
 * said why. Calls on_end() when nothing is left. */
void race_go(struct race *r);
/* What it had won is tried once more, before the others. */
void race_again(struct race *r);

/* F is a reason why there is no connection: `fault` is F now, unless that says more. */
void race_note(struct race *r, const struct fault *f);
/* How much a fault says about why an origin cannot be reached; 0: nothing. */
unsigned race_weight(enum fault_code code);

#endif
