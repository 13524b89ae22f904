/* SPDX-License-Identifier: Apache-2.0 */
/* The TLS sessions of one origin, and who waits for the first of them. A handshake that resumes a
 * session costs a quarter of a full one, at both ends. Of dials that begin together while there is
 * none, one therefore goes ahead; the others connect, and say hello when it has brought a session:
 * by TLS 1.3 that is a ticket, one round trip behind its handshake.
 *
 *     the one      connects, hello ──▶ finished, request ──▶ ticket
 *     the others   connect    . . . . . . . . . . . . . . .  hello ──▶
 *
 * That takes two round trips, and is worth it only where these are short: nobody waits for an
 * origin that is not near, nor through a parent, nor for much longer than 40 ms, nor when the first
 * one has failed. Where no session came in time nobody waits for some minutes, whatever comes
 * later; nor where a ticket is good for one connection alone. */
#ifndef TLSFAN_UPSTREAM_TICKETS_H
#define TLSFAN_UPSTREAM_TICKETS_H

#include "base/loop.h"
#include "net/tls_sessions.h"

/* Embedded in its origin, which outlives who waits. */
struct tickets {
    struct tls_sessions sessions;
    struct loop *loop;
    struct list waiting;        /* struct ticket_wait, first come first */
    struct deadline end;        /* of their patience; set: one has gone ahead */
    struct ticket_wait *leader; /* who that is, until its handshake is done; else NULL */
    struct post news;           /* a session has come, or nobody has to wait any more */
    int64_t barren_until;       /* µs: nobody waits until then: no session came, the last time */
};

/* What a dial has to do with it. Embedded there; ticket_wait_init(). */
struct ticket_wait {
    struct list link; /* while it waits */
    void (*fn)(void *arg);
    void *arg;
};

/* HAS_PARENT: a parent proxy is on the way, and how far the origin is behind it is not known. */
void tickets_init(struct tickets *t, struct loop *l, bool has_parent);
/* Once all have left. */
void tickets_clear(struct tickets *t);

void ticket_wait_init(struct ticket_wait *w, void (*fn)(void *arg), void *arg);
/* W's connection is FD. True: its handshake may begin, and W may be the one that goes ahead. False:
 * W->fn says when, and never before this returns. */
MUST_CHECK bool tickets_go(struct tickets *t, struct ticket_wait *w, int fd);
/* W's handshake is done. If it leads, its session is still waited for, as long again. */
void tickets_done(struct tickets *t, struct ticket_wait *w);
/* W is over. If it leads, and is not done, nobody waits for it any more. Any number of times. */
void tickets_leave(struct tickets *t, struct ticket_wait *w);

#endif
