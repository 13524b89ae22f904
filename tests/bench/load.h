/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

/* The load generator of tests/bench: load.c reads the command line, load_loop.c decides when which
 * client asks, load_client.c is one client. */
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAX_CLIENTS 16000
#define MAX_DEPTH   1000
#define MAX_TARGETS 10000
#define MAX_HEAD    4096
#define SILENCE_MS  20000

enum client_state {
    CLIENT_CLOSED,
    CLIENT_TUNNEL,    /* CONNECT was sent */
    CLIENT_HANDSHAKE, /* TLS is being set up */
    CLIENT_OPEN,
};

/* One simulated client: a connection, and how far its present answer has come. */
struct client {
    enum client_state state;
    int fd;
    SSL *ssl;             /* NULL: plain */
    unsigned wanted;      /* requests to send once it is open */
    unsigned in_flight;   /* requests whose answers are not complete */
    size_t head_len;      /* bytes in head[]: what has come of a head that is not complete */
    bool in_body;         /* the head is complete and was checked */
    bool waits_write;     /* writability is waited for, too */
    uint64_t body_left;   /* of the answer */
    uint64_t upload_left; /* of the request */
    uint64_t asked_ns;    /* when its oldest request was sent, or was to be */
    char head[MAX_HEAD];
};

struct text {
    const char *bytes;
    size_t len;
};

/* What was asked for on the command line, and how far the run is. */
struct run {
    struct sockaddr_in addr;
    const char *host; /* with its port */
    struct text connect;
    const struct text *requests; /* one a target: request number I is requests[I % targets] */
    unsigned targets;
    SSL_CTX *tls; /* NULL: plain */
    char tls_name[256];
    uint64_t length, upload;
    unsigned clients, depth;
    double rate; /* requests a second; 0: each client asks as it is answered */
    bool holds, fans_out;
    unsigned held;        /* requests of a client that is held */
    bool reconnects;      /* a new connection per request */
    uint64_t count;       /* of requests, as asked for */
    uint64_t begun, done; /* since the clock started */
    uint64_t start_ns, end_ns;
    uint64_t bytes;   /* of bodies, both ways */
    float *latencies; /* µs, one for each answer; NULL: not kept */
    int epoll;
    struct client *all;
};

__attribute__((format(printf, 1, 2), noreturn)) void die(const char *format, ...);
uint64_t now_ns(void);

/* load_client.c */

/* Opens the connection, without asking for anything. */
void client_open(struct run *run, struct client *client);
void client_close(struct client *client);
/* Sends that many requests as soon as the connection is open; opens one where there is none. */
void client_ask(struct run *run, struct client *client, unsigned requests);
/* To be called when epoll has an event for the client. */
void client_event(struct run *run, struct client *client, uint32_t events);

/* load_loop.c */

/* Called by a client that can take something new: it opened, or all bytes that had come were read.
 * `ended`: the server has closed the connection after its last answer. */
void run_turn(struct run *run, struct client *client, bool ended);
/* Called by a client for each complete answer. */
void run_answered(struct run *run, struct client *client);
/* Does what the command line asked for. */
void run_all(struct run *run);

#endif
