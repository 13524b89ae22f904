/* SPDX-License-Identifier: Apache-2.0 */
/* One request on an HTTP/2 connection, for the files of the transport alone: its life and what
 * comes in (up_h2_stream.c), what goes out (up_h2_stream_out.c), its window (up_h2_window.c). */
#ifndef TLSFAN_UPSTREAM_UP_H2_STREAM_IMPL_H
#define TLSFAN_UPSTREAM_UP_H2_STREAM_IMPL_H

#include "base/backlog.h"
#include "upstream/up_h2_impl.h"

enum up_h2_stream_state {
    UP_H2_NEW,    /* given out, not started */
    UP_H2_ACTIVE, /* on the connection */
    UP_H2_TAIL,   /* all has come, and what waits is still to be told; no connection any more */
    UP_H2_OVER    /* waits for the reaper */
};

/* One request. Owner: whoever holds its ustream. Ended by up_h2_stream_*(). */
struct up_h2_stream {
    struct ustream us;
    struct up_h2 *c; /* NULL from TAIL on */
    struct loop *loop;
    struct slab *slab;  /* borrowed: where it goes back to */
    struct share share; /* what it holds beside `out` and `in` */
    struct list link;   /* in c->streams */
    enum up_h2_stream_state state;
    int32_t id;
    enum method_id method;
    /* Out. */
    struct backlog out;   /* body that waits */
    size_t buffer;        /* bytes of it that may wait */
    size_t head;          /* bytes of what nghttp2 holds of the request's fields */
    nghttp2_nv *trailers; /* with their text in one piece of heap; NULL: none */
    size_t n_trailers;
    bool out_end;     /* nothing is added to `out` any more */
    bool is_deferred; /* nghttp2 waits for body */
    bool is_out_done; /* END_STREAM was written */
    bool wants_drain; /* body() said false */
    bool is_drained;  /* and there is room again */
    bool is_sent;     /* HEADERS were given out */
    uint64_t sent_at; /* and what had been, with them: c->out */
    /* In. */
    struct up_h2_block *block;  /* that is being received */
    struct up_h2_block *ending; /* trailers, until they are told */
    struct backlog in;          /* body that waits while paused; its window is promised */
    struct up_h2_window window;
    uint64_t left;            /* bytes of body that are still to come, if that is known */
    uint64_t round;           /* in which the last event was recorded */
    unsigned last_data;       /* that event, if it was DATA, else UINT32_MAX */
    unsigned infos, answered; /* interim responses that have come; answers C gave before S */
    bool paused;
    bool has_answered;   /* a byte of an answer has come */
    bool has_head;       /* the final head was told */
    bool has_ended;      /* END_STREAM has come: the end is told when nothing waits */
    bool by_peer;        /* RST_STREAM has come */
    bool is_refused;     /* it was never processed: GOAWAY, or it could not be sent */
    const char *why;     /* static: what was wrong with the response; NULL: nothing */
    struct fault *fault; /* heap: told when nothing waits; NULL: none */
    struct post deliver;
    struct reap reap;
    struct magic magic;
};

static inline struct up_h2_stream *up_h2_stream_of(struct ustream *us)
{
    return container_of(us, struct up_h2_stream, us);
}

/* The session while S is on it, else NULL. */
static inline nghttp2_session *up_h2_stream_session(const struct up_h2_stream *s)
{
    return s->c != NULL && s->c->state == UP_H2_OPEN ? s->c->session : NULL;
}

/* ---- up_h2_stream.c */

struct up_h2_stream *up_h2_stream_new(struct up_h2 *c);
void up_h2_stream_set_state(struct up_h2_stream *s, enum up_h2_stream_state to);
void up_h2_stream_recount(struct up_h2_stream *s); /* what S holds has changed */
/* The last request that has not left goes elsewhere; false when all have. */
bool up_h2_stream_give_back(struct up_h2 *c);
/* What callbacks recorded for S. Each may close S and its connection. */
void up_h2_stream_headers(struct up_h2_stream *s, struct up_h2_block *block);
void up_h2_stream_data(struct up_h2_stream *s, struct str data);
void up_h2_stream_end(struct up_h2_stream *s, struct up_h2_block *trailers);
void up_h2_stream_reset(struct up_h2_stream *s, uint32_t code);
/* The connection of S is gone because of F. */
void up_h2_stream_lost(struct up_h2_stream *s, const struct fault *f);

/* ---- up_h2_stream_out.c */

void up_h2_stream_op_start(struct ustream *us, const struct up_request *rq, struct str body,
                           bool end);
bool up_h2_stream_op_body(struct ustream *us, struct str data);
void up_h2_stream_op_end(struct ustream *us, struct str last, const struct fields *trailers);
/* nghttp2 takes up to N bytes of S's body to DST; gives what its data provider gives. */
ssize_t up_h2_stream_read(struct up_h2_stream *s, uint8_t *dst, size_t n, uint32_t *flags);

#endif
