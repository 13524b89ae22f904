/* SPDX-License-Identifier: Apache-2.0 */
/* What carries the bytes of a stream: a descriptor, or a protocol over the wire beneath (TLS, and
 * TLS in TLS). A wire has no events and keeps no output; the stream at the top has (stream.h), and
 * calls the topmost wire alone. Bytes that were read from a wire too early are put back on it, and
 * are what is read of it next: so another wire can be laid on it at any time.
 *
 * Owner: the stream; a wire owns the one beneath. */
#ifndef TLSFAN_NET_WIRE_H
#define TLSFAN_NET_WIRE_H

#include <sys/uio.h>

#include "base/fault.h"
#include "base/mem.h"

/* What read, write, handshake and shutdown give besides a count. */
enum { WIRE_AGAIN = -1, WIRE_EOF = -2, WIRE_FAIL = -3, WIRE_WAITS = -4 };

/* What all wires of one connection share. Embedded in its stream. */
struct line {
    int fd;
    int err;             /* errno of the system call that failed; 0: none has */
    bool drained;        /* the last read of the socket was short: no use in reading again now */
    bool eof_clean;      /* how EOF was reached */
    bool want_write;     /* set by a read or handshake: needs the socket to be writable */
    bool want_read;      /* set by a write: needs what the peer says next */
    bool is_cut;         /* `fault` is that the peer does not listen any more: it may have spoken */
    size_t unread;       /* bytes put back on all wires */
    struct fault *fault; /* heap, set once: why the connection is dead */
};

struct wire;

/* FAIL: line->fault says why or, when it is NULL, line->err. */
struct wire_ops {
    /* A count > 0, AGAIN, FAIL, or EOF with line->eof_clean set. While line->drained the kernel is
     * not asked; a short read sets it. */
    ssize_t (*read)(struct wire *w, char *p, size_t n);
    /* A count > 0 (less than all: the kernel is full), AGAIN or FAIL. */
    ssize_t (*write)(struct wire *w, const struct iovec *iov, int n);
    /* 0 done, AGAIN, FAIL, or WAITS: to be called again by stream_start(), and not before. NULL:
     * nothing to do. */
    int (*handshake)(struct wire *w);
    int (*shutdown)(struct wire *w);      /* says that no more is written: 0, AGAIN, FAIL */
    bool (*has_buffered)(struct wire *w); /* left the kernel, but not given to us */
    /* Has taken a part of something (a record) that can be given only when the rest has come. */
    bool (*is_amid)(const struct wire *w);
    /* Before the descriptor is closed. IS_WELL: what was written has left, so that last words are
     * in place. NULL: nothing to do. */
    void (*close)(struct wire *w, bool is_well);
    void (*free)(struct wire *w); /* from the reaper; NULL: embedded, nothing of its own */
};

struct wire {
    const struct wire_ops *ops;
    struct wire *below; /* owned; NULL: the descriptor */
    struct line *line;  /* borrowed */
    char *unread;       /* heap: put back */
    size_t unread_len, unread_at;
};

/* recv(), sendmsg(), shutdown(). */
extern const struct wire_ops wire_plain_ops;

/* P, a heap run whose first N bytes were read from W, is W's from now on, to be read again. */
void wire_put_back(struct wire *w, char *p, size_t n);
/* The last N bytes that wire_read() has given in one go, which are at P, are to be read again. */
void wire_unread(struct wire *w, const char *p, size_t n);
/* What wire_read() does where something was put back. */
ssize_t wire_read_again(struct wire *w, char *p, size_t n);

static inline ssize_t wire_read(struct wire *w, char *p, size_t n)
{
    return w->unread == NULL ? w->ops->read(w, p, n) : wire_read_again(w, p, n);
}

/* What wire_has_buffered() does where there is more than the descriptor. */
bool wire_pile_has_buffered(struct wire *w);

/* True while W, or one beneath, has bytes of which no event tells. */
static inline bool wire_has_buffered(struct wire *w)
{
    return w->line->unread > 0 || (w->below != NULL && wire_pile_has_buffered(w));
}

/* True while W, or one beneath, has the beginning of something: more of it is to come, and what it
 * is nobody knows yet. To read again gives nothing before that. */
bool wire_pile_is_amid(const struct wire *w);

/* From the top downwards. */
void wire_close(struct wire *w, bool is_well);
void wire_free(struct wire *w);

/* Records why the connection is dead, unless that is known; the last one from line->err. */
void line_set_fault(struct line *l, enum fault_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);
void line_copy_fault(struct line *l, const struct fault *f);
void line_settle(struct line *l);

#endif
