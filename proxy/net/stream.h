/* SPDX-License-Identifier: Apache-2.0 */
/* A connected byte stream, plain or TLS; nobody above knows which. Optimistic: a write is tried
 * at once, and an event to write is armed only when the kernel does not take everything.
 *
 * Input. All streams of a loop read into loop->rbuf, never inside another's callback. on_data()
 * gets what is there and says how much of it it has used; what it leaves is kept in `rest` and
 * given again, in front of what comes next; so a stream with nothing pending holds no memory. While
 * paused no on_data() comes.
 *     rest_len > 0   only between turns: on_data() left bytes, or the stream was paused midway
 * Output. stream_write() tries the kernel first; what it does not take goes to `out`, in order.
 *     out != NULL    exactly while `writes` is armed, or the handshake is not done, or a
 *                    later one that the peer has asked for
 *
 * Owner: whoever made it or was handed it; closed by stream_close(), stream_abort() or
 * stream_linger(). These may be called anywhere, in the stream's own callbacks too; no callback
 * comes after them. Bytes given to on_data() stay valid until it returns, even then. */
#ifndef TLSFAN_NET_STREAM_H
#define TLSFAN_NET_STREAM_H

#include <event2/buffer.h>

#include "base/addr.h"
#include "base/loop.h"
#include "net/fd_event.h"
#include "net/wire.h"

struct stream;

/* Who uses it. Each may close the stream. */
struct stream_user {
    void (*on_ready)(void *arg); /* the handshake is done; NULL allowed */
    /* N > 0 bytes; gives how many were used. */
    size_t (*on_data)(void *arg, const char *p, size_t n);
    /* The peer has ended its side. CLEAN false: TLS without close_notify. stream_rest() has what
     * was left. */
    void (*on_eof)(void *arg, bool clean);
    void (*on_drain)(void *arg); /* output that waited is written, all of it; NULL allowed */
    /* The connection is dead; once. Never inside stream_write(). When a write fails, what the
     * peer had sent before is read first (an early answer), unless fail_fast. */
    void (*on_fault)(void *arg, const struct fault *f);
};

enum stream_state {
    STREAM_HANDSHAKE, /* waits for stream_start() and its wire's handshake; may write (queued) */
    STREAM_OPEN,      /* reads and writes */
    STREAM_LINGER,    /* belongs to itself: flushes, ends its side, drops input, then closes */
    STREAM_CLOSED     /* waits for the reaper */
};

/* Told to a user are on_ready() on leaving NEW, on_eof() on ENDED and on_fault() on TOLD. */
enum stream_input {
    INPUT_NEW,        /* waits for the handshake, or on_ready() is yet to be told */
    INPUT_READS,      /* `rest` is given in front of what comes next */
    INPUT_GIVES,      /* and is given again without that, later in this turn: resumed, a new user */
    INPUT_LOOKS,      /* the same, and the socket is asked then: stream_read_soon() */
    INPUT_ENDS_GIVES, /* nothing more comes; `rest`, if any, is given again first */
    INPUT_ENDS,       /* nothing more comes; that is told when not paused: an end, or the fault */
    INPUT_ENDED,      /* on_eof() was told to the present user */
    INPUT_DEAD,       /* nothing is read or written any more; the fault is yet to be told */
    INPUT_TOLD        /* and has been, to the present user */
};

enum stream_output {
    OUTPUT_OPEN,  /* written at once, or behind what waits in `out` */
    OUTPUT_ENDS,  /* stream_end() was called: our side is ended when `out` is empty */
    OUTPUT_ENDED, /* and it has been */
    OUTPUT_LOST   /* a write has failed: what the peer has sent may still be read, see on_fault() */
};

struct stream {
    struct loop *loop;
    struct line line;
    struct wire plain;              /* over the descriptor */
    struct wire *wire;              /* the topmost one */
    const struct stream_user *user; /* NULL: like paused; faults wait for stream_set_user() */
    void *arg;
    enum stream_state state;
    enum stream_input input;
    enum stream_output output;
    bool paused;    /* the user wants no data */
    bool fail_fast; /* set by the user: a failed write is told at once, not after reading on */
    struct fd_event *reads;  /* owned; NULL: the stream has lost its descriptor */
    struct fd_event *writes; /* owned; NULL: all was written at once until now */
    struct evbuffer *out;    /* NULL while nothing waits */
    char *rest;              /* heap */
    size_t rest_len, rest_cap;
    size_t read_most;   /* bytes of one read, set by the user; 0: as many as most streams read */
    size_t fixed;       /* bytes of all else that its connection costs */
    size_t rest_max;    /* more than this left by on_data() is a fault; 1 MiB unless changed */
    struct share share; /* of `rest`, `out` and `fixed`: see stream_share.h */
    struct post later;  /* what came up outside the event handler: `rest`, eof, faults */
    struct lingering *lingering; /* heap: from LINGER on; see linger.h */
    struct reap reap;
    uint64_t bytes_in, bytes_out;
    struct addr peer;
};

/* A plain stream over FD, which it owns from now on. The user is set before stream_start(). */
struct stream *stream_new(struct loop *l, int fd, const struct addr *peer);
/* Lays W, on the heap, over the wire of S, which owns it from now on: before stream_start() or, on
 * an open stream, later, when nothing waits to be written. Then S is as it was before its start,
 * and is to be started again. What its user has left is for W, the bytes that on_data() leaves
 * when this is called inside of it, too. The user stays, unless another is set. Where S is dead,
 * that is what its user will be told. */
void stream_push(struct stream *s, struct wire *w);

/* Changes who is told. Pending `rest`, eof and fault are told to the new user (posted), the
 * first two not while paused. */
void stream_set_user(struct stream *s, const struct stream_user *user, void *arg);
/* Begins: handshake, or reading. And goes on with a handshake that waits for its owner. */
void stream_start(struct stream *s);

/* Writes all of IOV, or keeps copies of what the kernel does not take. Errors come later as
 * on_fault(). Dropped after stream_end() or a fault. */
void stream_write(struct stream *s, const struct iovec *iov, int n);
/* The same for one run of bytes. */
void stream_put(struct stream *s, const char *p, size_t n);
/* Moves all of BUF (emptied, whatever happens) behind what waits. */
void stream_write_buffer(struct stream *s, struct evbuffer *buf);
/* Bytes that wait to be written. */
size_t stream_pending(const struct stream *s);
/* Ends our side when all is written (FIN, close_notify). Reading goes on. */
void stream_end(struct stream *s);

/* While paused nothing is read and on_data() and on_eof() do not come. stream_resume() delivers
 * what was kept, later in this turn, not inside the call. Cheap when both happen within a turn. */
void stream_pause(struct stream *s);
void stream_resume(struct stream *s);

/* Bytes kept for the user (a message not complete at eof), for tests. Empty inside on_data(). */
struct str stream_rest(const struct stream *s);

/* Puts N > 0 bytes in front of those that are kept: the user that stream_set_user() sets next gets
 * them as if they had come. S is open; not inside on_data(). */
void stream_unread(struct stream *s, const char *p, size_t n);

/* True for an open stream without input, end, fault or pending output: fit to be kept in a pool
 * or taken from it. PEEK also asks the kernel. */
bool stream_is_quiet(const struct stream *s, bool peek);
/* A part of a record has come, of which nobody can be told before the rest has. */
bool stream_is_amid(const struct stream *s);

/* Takes in what has come later in this turn, in front of what is posted from now on. */
void stream_read_soon(struct stream *s);

/* Closes at once; what waits to be written is dropped. Idempotent; S may be NULL. */
void stream_close(struct stream *s);
/* Closes with RST: the peer must not take it for a proper end. */
void stream_abort(struct stream *s);
/* Gives the stream to itself: writes what waits (giving up when the peer takes nothing for 60
 * s), ends its side, drops what comes for at most 2 s, closes. So the peer can read an answer
 * although it was still sending. */
void stream_linger(struct stream *s);
/* Closes S, a stream whose TLS has failed, but for its descriptor: a plain stream over that is the
 * caller's, to be started and to linger, so that the peer can read the alert. */
struct stream *stream_strip(struct stream *s);

#endif
