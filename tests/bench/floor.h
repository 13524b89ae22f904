/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BENCH_FLOOR_H
#define BENCH_FLOOR_H

/* The floor of tests/bench: what plain in and TLS out costs at least. floor.c has threads, sockets
 * and TLS contexts, floor_h1.c relays bytes, floor_h2.c turns requests into streams. */
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FLOOR_WORKERS 4
#define FLOOR_CLIENTS 512          /* of one worker */
#define FLOOR_CHUNK   (128 * 1024) /* read and written at once at most */
#define FLOOR_RECORD  16384        /* plain bytes of a TLS record at most */

struct worker;

/* One socket of a worker's epoll. */
struct end {
    void (*handle)(struct worker *worker, struct end *end, uint32_t events);
    void *owner;
    int fd;
    uint32_t events; /* waited for */
};

/* Bytes that a socket did not take yet; in a buffer of its owner's. */
struct rest {
    size_t at, len;
};

struct floor {
    uint16_t port, origin_port;
    struct in_addr address; /* the origin's */
    const char *name, *ca_file;
    unsigned workers;
    bool h2;
};

struct worker {
    const struct floor *floor;
    int epoll;
    struct end listener;
    SSL_CTX *tls;
    void *state; /* of floor_h1.c or floor_h2.c */
    char chunk[FLOOR_CHUNK + FLOOR_RECORD];
};

__attribute__((format(printf, 1, 2), noreturn)) void die(const char *format, ...);

/* Adds a socket to the worker's epoll, or changes what it waits for. */
void end_add(struct worker *worker, struct end *end, uint32_t events);
void end_watch(struct worker *worker, struct end *end, uint32_t events);

/* A TCP connection to the origin and its TLS, before the handshake; NULL: there is none. */
SSL *origin_connect(struct worker *worker);

/* Which of the two a worker runs. `begin` makes its state, `accepted` takes a client's socket over,
 * `turned` is called when all events of a turn were handled. */
struct relay {
    void (*begin)(struct worker *worker);
    void (*accepted)(struct worker *worker, int fd);
    void (*turned)(struct worker *worker);
};

extern const struct relay floor_h1, floor_h2;

#endif
