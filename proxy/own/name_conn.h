/* SPDX-License-Identifier: Apache-2.0 */
/* Connections that bring questions about names: DNS over TCP (RFC 7766), each message behind its
 * length. Answers go out as they come to be known, in any order. One thread. */
#ifndef TLSFAN_OWN_NAME_CONN_H
#define TLSFAN_OWN_NAME_CONN_H

#include "own/name_query.h"

enum {
    NAME_CONNS_MAX = 64,      /* beside so many, the one used longest ago goes */
    NAME_CONN_QUERIES = 64,   /* of one connection that wait at once; then reading stops */
    NAME_QUERY_MAX = 4096,    /* bytes of a query; one that is longer ends its connection */
    NAME_CONN_IDLE_MS = 15000 /* without a whole query, or an answer that is taken */
};

/* Embedded in its service. */
struct name_conns {
    struct name_queries *queries; /* borrowed */
    struct list all;              /* struct name_conn, the one used longest ago first */
    unsigned n;
};

void name_conns_init(struct name_conns *cs, struct name_queries *queries);
/* Serves FD, which it owns from now on. */
void name_conns_add(struct name_conns *cs, int fd, const struct addr *peer);
void name_conns_close(struct name_conns *cs);

#endif
