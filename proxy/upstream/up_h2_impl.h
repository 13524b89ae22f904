/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the HTTP/2 transport share: up_h2.c (the connection), up_h2_stream.c (one
 * request on it), up_h2_head.c (fields both ways), up_h2_session.c (nghttp2's callbacks, which only
 * record). Nobody else includes it.
 * In:   bytes -> nghttp2 -> callbacks record events -> up_h2_dispatch() tells the streams
 * Out:  streams -> nghttp2's queue -> one flush a turn, in as few writes as fit */
#ifndef TLSFAN_UPSTREAM_UP_H2_IMPL_H
#define TLSFAN_UPSTREAM_UP_H2_IMPL_H

#include <event2/buffer.h>

#include "upstream/up_h2.h"
#include "upstream/up_h2_head.h"
#include "upstream/up_h2_window.h"

enum {
    UP_H2_INFOS = 32,   /* interim responses to one request */
    UP_H2_CREDIT = 1000 /* frames that carry nothing, ahead of those that do */
};

enum up_h2_kind {
    UP_H2_HEADERS, /* `block` */
    UP_H2_DATA,    /* `data`, inside what was read */
    UP_H2_END,     /* END_STREAM of DATA */
    UP_H2_RESET    /* the stream is closed, by either side, with `code` */
};

/* What a callback of nghttp2 has seen. */
struct up_h2_event {
    enum up_h2_kind kind;
    struct up_h2_stream *s;
    struct up_h2_block *block; /* owned */
    struct str data;
    unsigned next; /* DATA: the next of S, with nothing else of S between; 0: none */
    uint32_t code;
};

enum up_h2_state {
    UP_H2_OPEN,
    UP_H2_CLOSED /* waits for the reaper */
};

/* Owner: see struct pool_conn. Closed by up_h2_close(). */
struct up_h2 {
    struct pool_conn conn;
    struct loop *loop;
    struct budget *budget;
    nghttp2_session *session; /* until the reaper */
    struct claim parsing;     /* nghttp2 reads or writes: its callbacks must not make it do so */
    enum up_h2_state state;
    struct list streams; /* struct up_h2_stream with a place here */
    struct up_h2_event *events;
    unsigned n_events, cap_events;
    uint64_t rounds; /* of telling events, from 1 */
    struct post flush, rested;
    struct deadline watch; /* silence: then PING; after it the end */
    bool is_asked;         /* PING, or our settings, have no answer yet */
    bool has_settings;     /* the peer's have come or changed */
    bool has_goaway;
    bool is_broken; /* nghttp2 cannot go on */
    bool is_flood;  /* too many frames that carry nothing */
    struct up_h2_path path;
    int64_t now;       /* µs: of the last read */
    uint64_t out;      /* bytes that nghttp2 has given out */
    uint64_t out_left; /* how many of them had left when the connection was lost */
    size_t headers;    /* bytes of fields recorded since the last read */
    unsigned fields;   /* and how many */
    size_t taken;      /* bytes of DATA that came and are not yet given back to the window */
    int64_t ignored;   /* bytes of frames that nghttp2 passed over, less those that may come */
    unsigned updates;  /* WINDOW_UPDATE that what we sent accounts for */
    int credit;        /* frames that carry nothing and may still come */
    int64_t counted;   /* µs: when `credit` was last topped up */
    const char *why;   /* static: what was wrong with a frame; NULL: nothing */
    struct reap reap;
};

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
    struct share share; /* what it holds, and its window */
    struct list link;   /* in c->streams */
    enum up_h2_stream_state state;
    int32_t id;
    enum method_id method;
    /* Out. */
    struct evbuffer *out; /* body that waits; NULL: none */
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
    struct evbuffer *in;        /* body that waits while paused; NULL: none */
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
};

/* ---- up_h2.c */

/* What waits in nghttp2 leaves later in this turn. */
void up_h2_want_flush(struct up_h2 *c);
/* N bytes of a stream that was given up may still come. */
void up_h2_excuse(struct up_h2 *c, size_t n);
/* Closes C at once; streams on it are told nothing. */
void up_h2_close(struct up_h2 *c);

/* ---- up_h2_session.c */

/* The session of C; the preface and our settings are queued. */
void up_h2_session_open(struct up_h2 *c, size_t max_head);
/* Where nghttp2 gets the body of a request: up_h2_stream_read() of its stream. */
nghttp2_data_provider up_h2_session_body(void);

/* ---- up_h2_stream.c */

struct up_h2_stream *up_h2_stream_new(struct up_h2 *c);
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
/* nghttp2 takes up to N bytes of S's body to DST; gives what its data provider gives. */
ssize_t up_h2_stream_read(struct up_h2_stream *s, uint8_t *dst, size_t n, uint32_t *flags);

#endif
