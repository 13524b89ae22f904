/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker has under way, written down for another thread to show. */
#ifndef TLSFAN_EXCHANGE_RUNNING_H
#define TLSFAN_EXCHANGE_RUNNING_H

#include "exchange/record.h"

enum {
    RUNNING_MOST = 500 /* exchanges that are written down; further ones are counted */
};

enum running_phase {
    RUNNING_QUEUE,
    RUNNING_DNS,
    RUNNING_CONNECT,
    RUNNING_TLS,
    RUNNING_SEND,
    RUNNING_WAIT,
    RUNNING_TRANSFER,
    RUNNING_DELIVER /* it is over upstream */
};

/* One exchange. Its times are those until `at`, which is their end. */
struct running {
    enum running_phase phase;
    const char *doing; /* in a few words; static */
    bool is_tunnel;
    struct record r;
};

struct running_list {
    int64_t at;   /* µs */
    uint64_t end; /* of the ring of records: what is in no list has ended before this one */
    uint64_t all; /* that are under way */
    unsigned n;
    struct running v[]; /* as they began, but tunnels behind all others */
};

/* On the worker's thread. Heap: free(). */
struct running_list *running_collect(const struct engine *e);

/* "queue", "dns"... */
const char *running_phase_name(enum running_phase phase);

#endif
