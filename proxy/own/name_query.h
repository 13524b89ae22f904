/* SPDX-License-Identifier: Apache-2.0 */
/* Questions about names (own/name_rule.h) that wait for the servers outside: all of one worker. One
 * thread. */
#ifndef TLSFAN_OWN_NAME_QUERY_H
#define TLSFAN_OWN_NAME_QUERY_H

#include "base/list.h"
#include "exchange/engine.h"
#include "net/datagram.h"
#include "net/dns_message.h"

enum { NAME_QUERIES_MAX = 1024 }; /* that wait at once; further ones are told SERVFAIL */

/* Embedded in its service. */
struct name_queries {
    struct engine *engine; /* borrowed */
    struct list all;       /* struct name_query */
    unsigned n;
};

/* Who is told an answer that comes later: N bytes at P, valid until it returns. A value. */
struct name_asker {
    void (*fn)(const struct name_asker *a, const uint8_t *p, size_t n);
    void *arg;            /* whom name_queries_drop() knows it by */
    struct datagram from; /* of UDP */
};

void name_queries_init(struct name_queries *all, struct engine *e);

enum name_when {
    NAME_NEVER, /* it was none that is answered */
    NAME_NOW,   /* the answer is in OUT, *LEN bytes */
    NAME_LATER  /* A is told */
};

/* Reads QUERY, a message; A is copied. */
enum name_when name_queries_ask(struct name_queries *all, struct str query,
                                const struct name_asker *a, uint8_t out[DNS_ANSWER_SIZE],
                                size_t *len);

/* No asker whose arg is ARG is told any more; all of them with NULL. */
void name_queries_drop(struct name_queries *all, const void *arg);

#endif
