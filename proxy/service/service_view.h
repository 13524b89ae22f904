/* SPDX-License-Identifier: Apache-2.0 */
/* What the pages of the service listener show. */
#ifndef TLSFAN_SERVICE_SERVICE_VIEW_H
#define TLSFAN_SERVICE_SERVICE_VIEW_H

#include "conf/conf.h"

struct stats;
struct watch_worker;

struct service_view {
    struct stats *const *stats; /* one a worker, the service's own too */
    unsigned n;
    unsigned workers;         /* that serve proxy clients */
    unsigned max_connections; /* of proxy clients, at most */
    const struct service_reloads *reloads;
    const struct conf *conf;
    struct budget *budget;
    int64_t since;      /* loop_now() at start */
    int64_t since_wall; /* loop_wall() then */
    bool draining;
    char proxy[ADDR_TEXT]; /* the first proxy listener, as it is bound; "": none over TCP */
    unsigned connections;  /* of proxy clients */
    const struct watch_worker *watched; /* what they have under way, one for each of `stats`; NULL:
                                           nobody has asked */
};

/* Written by the main thread. */
struct service_reloads {
    _Atomic bool failed; /* the last time that the configuration was read again */
    _Atomic int64_t at;  /* loop_wall() when it was read and taken last, at start or again */
};

#endif
