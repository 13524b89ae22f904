/* SPDX-License-Identifier: Apache-2.0 */
/* What is outside of a worker, faked: time, libevent's loop, sockets and c-ares. The program is the
 * one that is installed: the linker leads its calls of these libraries here (--wrap, see
 * CMakeLists.txt), so that nothing sleeps, and nothing happens that a script did not say. A worker
 * that has nothing left to do calls fake_idle, which changes the world and returns.
 *
 * One thread. Times are µs. Descriptors are faked from FAKE_FD_FIRST on, the lowest free one first,
 * as the kernel does it; all others are real. */
#ifndef TLSFAN_TESTS_FAKE_H
#define TLSFAN_TESTS_FAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/addr.h"

enum { FAKE_FD_FIRST = 1000, FAKE_FD_MAX = 4096 };

/* Bytes on their way: those from `from` on have not been taken. */
struct fake_bytes {
    char *p; /* heap */
    size_t from, len, cap;
};

enum fake_state {
    FAKE_LISTENS,
    FAKE_WAKES,   /* an eventfd; `wakes` is its count */
    FAKE_NEW,     /* a socket that was not connected yet */
    FAKE_DIALS,   /* connect() was called: fake_accept() or fake_refuse() */
    FAKE_OPEN,    /* connected */
    FAKE_REFUSED, /* `error` says why, as SO_ERROR does */
    FAKE_CLOSED   /* the program has closed it */
};

/* A socket of the program's, and what its peer sees. Owner: this file, until fake_clear(). */
struct fake_sock {
    enum fake_state state;
    int fd;               /* -1: closed */
    struct addr peer;     /* of a dial: where to */
    struct addr original; /* of a client: where it was going when it was turned here; len 0: here */
    struct fake_bytes in; /* from the peer, not read yet */
    struct fake_bytes out; /* to the peer, which takes `room` more bytes */
    size_t room;
    bool in_end;    /* behind `in`: the peer has ended */
    int in_error;   /* behind `in`: or this errno */
    bool peer_gone; /* the peer reads no more: what is written is answered by a reset */
    bool out_end;   /* the program has ended its side, or closed it */
    bool is_cut;    /* the program has reset it, or closed it over bytes that it has not read */
    int error;
    uint64_t wakes;
    uint64_t touched;        /* events come in the order of these */
    unsigned number;         /* of the dials: from 1 on */
    struct fake_sock *queue; /* of a listener: who has come, oldest first; else the next in it */
};

extern int64_t fake_now;        /* monotonic; the wall clock is that and 20,000 days */
extern unsigned fake_dials;     /* so far */
extern unsigned fake_trip;      /* µs of a round trip to any of them, as the kernel tells it */
extern unsigned fake_open;      /* descriptors that the program has */
extern void (*fake_idle)(void); /* changes something, or ends the process */
extern void (*fake_on_dial)(struct fake_sock *s); /* connect() was called: NULL leaves it so */
extern const char *fake_fault; /* what the program must never do, and did: a sentence; or NULL */

/* A listener, whose descriptor the program gets. */
struct fake_sock *fake_listen(void);
/* Somebody connects to it; FROM is an address, with or without a port. */
struct fake_sock *fake_client(struct fake_sock *listener, const char *from);
/* The dial of that number; NULL where there was none. */
struct fake_sock *fake_dial(unsigned number);
void fake_accept(struct fake_sock *s);
void fake_refuse(struct fake_sock *s, int error);

/* The peer's doing. Nothing comes of it once the program has closed the socket. */
void fake_send(struct fake_sock *s, const char *p, size_t n);
void fake_end(struct fake_sock *s);
void fake_close(struct fake_sock *s); /* ends and reads no more */
void fake_reset(struct fake_sock *s);
void fake_set_room(struct fake_sock *s, size_t room);
/* What the peer has got and not taken. */
struct str fake_got(const struct fake_sock *s);
void fake_take(struct fake_sock *s, size_t n);

/* Names. ANSWER is a list of addresses, divided by commas, or "absent", "fails", "silent" (in the
 * end c-ares gives up), "waits" (until it is set to something else). */
void fake_name(const char *name, const char *answer);
unsigned fake_questions(void); /* that wait */

/* When the next timer of any loop fires; -1: none is set. */
int64_t fake_next_timer(void);

/* The thread that the program has started, and not run: runs it to its end. */
void fake_run_thread(void);

/* Forgets all sockets and names, once the worker has been freed. Time goes on. */
void fake_clear(void);

#endif
