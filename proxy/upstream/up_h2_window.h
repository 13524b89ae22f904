/* SPDX-License-Identifier: Apache-2.0 */
/* How much of a body may come before its reader has taken what came: a stream's window (RFC 9113
 * §5.2). Only the files of the HTTP/2 transport include it. */
#ifndef TLSFAN_UPSTREAM_UP_H2_WINDOW_H
#define TLSFAN_UPSTREAM_UP_H2_WINDOW_H

#include "base/mem.h"

enum {
    UP_H2_WINDOW = 65535,                 /* bytes: what HTTP/2 begins with */
    UP_H2_WINDOW_MOST = 16 * 1024 * 1024, /* of one stream */
    UP_H2_WINDOW_ALL = 64 * 1024 * 1024   /* of a connection; streams are held back by their own */
};

struct up_h2_stream;

/* What streams of one connection have in common. */
struct up_h2_path {
    int32_t first;   /* bytes: the window that a stream begins with */
    int32_t near;    /* which it has soon, if its reader keeps up: client.buffer */
    int32_t reached; /* the largest that one has needed */
    int64_t trip;    /* µs: there and back takes at most as long */
    int64_t begun;   /* µs: when our settings were sent; 0: they are acknowledged */
    bool is_sure;    /* the kernel has been asked about `trip` */
};

/* A stream's. Zero-initialised but for `size`. */
struct up_h2_window {
    int32_t size;     /* bytes that wait here, or may come */
    int32_t unread;   /* those that wait */
    bool is_slow;     /* its reader has stood still for long; until nothing waits */
    bool is_padded;   /* more may come than the body */
    int64_t asked_at; /* µs: when its request left, if that is of interest; else 0 */
    int64_t since;    /* µs: when the present round trip began */
    uint64_t passed;  /* bytes that went straight to the reader since then */
    int64_t stood_at; /* µs: when the reader was paused; 0: it is not */
};

/* BUFFER is client.buffer; the handshake took TLS_US at most. */
void up_h2_path_init(struct up_h2_path *p, const struct budget *b, size_t buffer, int64_t tls_us);
/* Our settings are acknowledged. */
void up_h2_path_acked(struct up_h2_path *p, int64_t now);
/* The head of the request of S has left; that of its answer has come. */
void up_h2_window_asked(struct up_h2_stream *s);
void up_h2_window_answered(struct up_h2_stream *s);

/* LENGTH bytes of body follow; UINT64_MAX: nobody knows. */
void up_h2_window_begin(struct up_h2_stream *s, uint64_t length);
/* The reader of S has taken N bytes: as many may come again. HAS_WAITED: not when they came.
 * N is 0 where padding has come. */
void up_h2_window_give(struct up_h2_stream *s, size_t n, bool has_waited);
/* The reader stands still, or goes on. */
void up_h2_window_pause(struct up_h2_stream *s, bool paused);

#endif
