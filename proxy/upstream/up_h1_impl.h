/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the HTTP/1.1 transport share: up_h1.c (the connection, requests out) and
 * up_h1_in.c (responses in). */
#ifndef TLSFAN_UPSTREAM_UP_H1_IMPL_H
#define TLSFAN_UPSTREAM_UP_H1_IMPL_H

#include "base/magic.h"
#include "upstream/up_h1.h"

enum up_h1_state {
    UP_H1_IDLE,     /* in the pool, or given out and not started */
    UP_H1_ACTIVE,   /* carries a request */
    UP_H1_SWITCHED, /* 101 has come: waits to be taken */
    UP_H1_CLOSED    /* waits for the reaper */
};

enum up_h1_half { UP_H1_HEAD, UP_H1_BODY, UP_H1_DONE };

/* Owner: see struct pool_conn. Closed by up_h1_close(). */
struct up_h1 {
    struct pool_conn conn;
    struct ustream us;
    struct loop *loop;
    enum up_h1_state state;
    enum up_h1_half req, res;
    enum h1_framing req_framing;
    enum method_id method;
    bool is_upgrade;      /* 101 was asked for */
    bool keep_alive;      /* as the response says */
    bool has_answered;    /* a byte of an answer has come */
    bool wants_drain;     /* body() said false */
    unsigned infos;       /* interim responses so far */
    size_t scanned;       /* bytes of an incomplete head that were searched */
    size_t buffer;        /* bytes of body that may wait */
    uint64_t sent_before; /* stream->bytes_out when the request began */
    struct h1_body body;  /* of the response */
    struct reap reap;
    struct magic magic;
};

/* ---- up_h1.c */

void up_h1_set_state(struct up_h1 *c, enum up_h1_state to);
void up_h1_close(struct up_h1 *c);
/* The one way in which an exchange fails here. Closes C. */
void up_h1_fail(struct up_h1 *c, const struct fault *f);

/* ---- up_h1_in.c */

/* What the stream tells C. */
extern const struct stream_user up_h1_stream_user;

#endif
