/* SPDX-License-Identifier: Apache-2.0 */
/* A dial, for dial.c and dial_progress.c alone. */
#ifndef TLSFAN_UPSTREAM_DIAL_IMPL_H
#define TLSFAN_UPSTREAM_DIAL_IMPL_H

#include "base/magic.h"
#include "upstream/ask.h"
#include "upstream/dial.h"
#include "upstream/race.h"
#include "upstream/way.h"

/* All but the last are steps, in this order; a step ends in dial_step_done() or dial_finish(). */
enum dial_state {
    DIAL_RESOLVE, /* no address is known, or IPv4 ones wait for the others */
    DIAL_RACE,    /* to a socket that is connected */
    DIAL_ASK,     /* waits for the parent's answer to CONNECT */
    DIAL_TICKET,  /* may wait for a session that another one's handshake brings */
    DIAL_TLS,     /* waits for the handshake */
    DIAL_OVER     /* waits for the reaper */
};

/* One of the two queries. */
struct dial_query {
    struct dial *dial;
    struct dns_query *token; /* NULL when answered or not asked */
};

/* Owner: whoever holds the token. Closed by dial_cancel() or when it is over. */
struct dial {
    struct loop *loop;
    struct dns *dns;
    enum dial_state state;
    struct conf *conf; /* a reference */
    struct dial_offer offer;
    dial_fn fn;
    void *arg;
    struct way way;
    bool tls;
    bool is_literal;              /* an address is connected to: no name was looked up */
    bool fresh;                   /* a session was offered in vain: none is any more */
    bool is_refused;              /* the parent may not be asked for this */
    struct dial_query queries[2]; /* IPv6 is [0] */
    struct race race;
    int fd;                /* that the race has given, until `stream` has it; -1 */
    struct stream *stream; /* owned; asked of the parent, or in its handshake */
    struct ask ask;
    char target[WAY_TEXT]; /* of `ask` */
    struct ticket_wait ticket;
    struct x509_st *lacking;              /* a reference; see struct dial_result */
    struct deadline total;                /* connect_timeout */
    struct deadline late;                 /* the end of the resolution delay */
    struct post begin;                    /* a literal address needs no query */
    int64_t started, resolved, connected; /* µs, 0 = not yet */
    struct reap reap;
    struct magic magic;
};

/* µs from FROM, 0 when it has not come, to TO. */
static inline int64_t dial_between(int64_t from, int64_t to)
{
    return from == 0 || to < from ? 0 : to - from;
}

#endif
