/* SPDX-License-Identifier: Apache-2.0 */
/* The finished exchange: as a line of the access log, json, common or short, and as a record that
 * the service thread reads from the worker's ring. Credentials are never in either, query strings
 * only with log.query: "?..." stands for one. */
#ifndef TLSFAN_EXCHANGE_RECORD_H
#define TLSFAN_EXCHANGE_RECORD_H

#include "exchange/exchange.h"

enum {
    RECORD_CLIENT = 45, /* bytes of each text in a record; what is longer is cut */
    RECORD_METHOD = 16,
    RECORD_URL = 160, /* and "..." at its end then */
    RECORD_PARENT = 64
};

/* As much of an exchange as is shown of it. Texts stand one behind the other, as peers wrote them.
 */
struct record {
    struct exchange_times t;
    uint64_t id;
    uint64_t bytes_in, bytes_out;
    uint64_t body;              /* bytes of the answer's body */
    uint64_t sentence;          /* its number in the ring of sentences and 1; 0: none */
    uint64_t heads;             /* the same in the ring of heads */
    uint64_t source;            /* source_side.id */
    uint32_t position;          /* on that connection, from 1 */
    struct up_seat seat;        /* upstream; number 0: none */
    const char *protocol, *tls; /* static; NULL: it did not get that far */
    struct sockaddr_in6 peer;   /* or a sockaddr_in: the origin's */
    uint8_t peer_len;           /* 0: none */
    uint8_t fault;              /* enum fault_code */
    bool is_reused;
    bool is_ahead;                                       /* fetched ahead */
    uint8_t minor;                                       /* of the client's HTTP/1 */
    uint8_t client_len, method_len, url_len, parent_len; /* bytes */
    uint16_t status;
    uint16_t retries;
    uint16_t place; /* of the origin in the tally; TALLY_PLACES: none */
    char text[RECORD_CLIENT + RECORD_METHOD + RECORD_URL + 1 + RECORD_PARENT];
};

/* Why one failed: printable ASCII, terminated. */
struct sentence {
    char text[sizeof((struct fault){0}.text)];
};

/* One that failed, which is kept apart. */
struct failure {
    struct record r;
    struct sentence s;
    struct seen_heads heads;
};

/* How an exchange ended, and by whom. */
enum record_kind {
    RECORD_WELL,
    RECORD_REFUSED, /* the origin's own 4xx or 5xx */
    RECORD_LEFT,    /* the client left, or lacks credentials */
    RECORD_FAILED   /* tlsfan answers for the origin, or breaks off */
};
enum record_kind record_kind(const struct record *r);

/* Makes R of X, which may be under way; gives how many bytes of it are used. `sentence` and `heads`
 * are 0. */
size_t record_make(struct record *r, const struct exchange *x);
/* Puts the record of X into the rings of the engine's stats, and writes its line to its log buffer.
 * Once for each, by exchange_close(). */
void record_end(struct exchange *x);

#endif
