/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the HTTP/2 transport share: up_h2.c (the connection), up_h2_stream*.c (one
 * request on it, see up_h2_stream_impl.h), up_h2_head.c (fields both ways), up_h2_session.c
 * (nghttp2's callbacks, which only record). Nobody else includes it.
 * In:   bytes -> nghttp2 -> callbacks record events -> up_h2_dispatch() tells the streams
 * Out:  streams -> nghttp2's queue -> one flush a turn, in as few writes as fit */
#ifndef TLSFAN_UPSTREAM_UP_H2_IMPL_H
#define TLSFAN_UPSTREAM_UP_H2_IMPL_H

#include "base/magic.h"
#include "upstream/pool_conn.h"
#include "upstream/up_h2_head.h"
#include "upstream/up_h2_pages.h"
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

/* Owner: see struct pool_conn. Closed by up_h2_shut(). */
struct up_h2 {
    struct pool_conn conn;
    struct loop *loop;
    struct budget *budget;
    struct up_h2_spare *spare; /* borrowed: of the pool */
    nghttp2_session *session;  /* until the reaper */
    struct up_h2_pages pages;  /* the session's */
    struct claim parsing;      /* nghttp2 reads or writes: its callbacks must not make it do so */
    enum up_h2_state state;
    struct list streams;        /* struct up_h2_stream with a place here */
    struct up_h2_stream *found; /* one of them: the last that a callback was about; or NULL */
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
    struct magic magic;
};

/* ---- up_h2.c */

/* What waits in nghttp2 leaves later in this turn. */
void up_h2_want_flush(struct up_h2 *c);
/* N bytes of a stream that was given up may still come. */
void up_h2_excuse(struct up_h2 *c, size_t n);

/* ---- up_h2_session.c */

/* The session of C; the preface and our settings are queued. */
void up_h2_session_open(struct up_h2 *c, size_t max_head);
/* Where nghttp2 gets the body of a request: up_h2_stream_read() of its stream. */
nghttp2_data_provider up_h2_session_body(void);

#endif
