/* SPDX-License-Identifier: Apache-2.0 */
/* A parent proxy is asked for a tunnel: CONNECT (RFC 9110 section 9.3.6) on a stream of its own,
 * and what the parent says to it. */
#ifndef TLSFAN_UPSTREAM_ASK_H
#define TLSFAN_UPSTREAM_ASK_H

#include "conf/parent.h"
#include "http/h1_parse.h"
#include "net/stream.h"

/* What is asked. Borrowed until ask_start() returns, but for what is said otherwise. */
struct ask_for {
    const struct parent *parent; /* outlives it */
    const char *target;          /* "host:443"; outlives it */
    const char *via;             /* value of Via: what comes round is told by it; NULL: none */
};

/* F NULL: the stream is a tunnel to the target; it is open and paused, has no user, and its first
 * bytes are kept. Else why it is not; FAULT_UP_CLOSED says that nothing was answered. */
typedef void (*ask_fn)(void *arg, const struct fault *f);

/* Embedded in its owner, zero-initialised, whose reaper outlives it. */
struct ask {
    struct stream *stream; /* the owner's */
    const struct parent *parent;
    const char *target;
    ask_fn fn;
    void *arg;
    size_t scanned;  /* bytes of an incomplete head that were searched */
    unsigned infos;  /* interim answers so far */
    bool has_begun;  /* a byte has come */
    struct post won; /* tells of a tunnel, outside the stream's callback */
};

/* Begins on S, which is new. FN comes later, once, or not after ask_close(). S stays the owner's,
 * who closes it when FN has brought a fault. */
void ask_start(struct ask *a, struct stream *s, const struct ask_for *for_what, ask_fn fn,
               void *arg);
/* Any number of times, and without ask_start(). */
void ask_close(struct ask *a);

/* HEAD, of an answer to a request that a parent has read, is the parent's own, as far as that can
 * be told: 407 is nobody else's, and Squid marks its pages. */
bool ask_is_parents(const struct h1_head *head);
/* Fills F: the parent SHOWN has answered HEAD, which is no success, to WHAT ("CONNECT
 * host:443"). HAS_AUTH: it was sent credentials. Nothing that it wrote is repeated but the status,
 * for it may write what it was sent. */
void ask_refused(struct fault *f, const char *shown, bool has_auth, const char *what,
                 const struct h1_head *head);

#endif
