/* SPDX-License-Identifier: Apache-2.0 */
/* What any proxy changes in a message: hop-by-hop fields (RFC 9110 §7.6.1), Via (§7.6.3),
 * Max-Forwards (§7.6.2), Expect (§10.1.1), TE (§10.1.4), Upgrade (§7.8). */
#ifndef TLSFAN_HTTP_FORWARD_H
#define TLSFAN_HTTP_FORWARD_H

#include "base/fault.h"
#include "http/h1_parse.h"

/* What was in the hop-by-hop fields of a request before they went. */
struct forward_info {
    bool te_trailers;  /* TE of a 1.1 client has "trailers" */
    bool is_websocket; /* Upgrade: websocket named in Connection, 1.1, GET */
};

/* Names the process in Via and for loop detection: "tlsfan-" and random hex, made once at start.
 * It points into itself and messages point to it: neither copied nor moved, and it outlives
 * every message. */
struct forward_id {
    char via[40];        /* "1.1 tlsfan-ab12cd34" */
    struct str received; /* "tlsfan-ab12cd34" inside via */
    /* Proxy-Authorization of what this process asks of itself for a client that it has
     * authenticated; nobody else can know it. Sent to own listeners alone. "": there is none. */
    char pass[48];
};
void forward_id_init(struct forward_id *id);
/* VALUE is the `pass` of ID; takes as long whether it nearly is or not. */
bool forward_is_pass(const struct forward_id *id, struct str value);

/* True when the client's connection may stay after this request: Connection, else
 * Proxy-Connection, else its version (RFC 9112 §9.3). */
bool forward_keep_alive(const struct h1_head *head);

/* True for Expect: 100-continue of a 1.1 client; others never get a 100. */
bool forward_expects_continue(const struct h1_head *head);

/* True when the request's Via names ID: a loop. Before forward_request(). */
bool forward_is_loop(const struct fields *fields, const struct forward_id *id);

/* Reads Max-Forwards for OPTIONS and TRACE: 0 = *ANSWER_HERE; else it is counted down in place
 * (arena of FIELDS). Of any other method it is left alone. False with WHY, a static sentence,
 * when it is not one number. */
MUST_CHECK bool forward_max_forwards(struct fields *fields, enum method_id method,
                                     bool *answer_here, const char **why);

/* Takes hop-by-hop fields, what Connection names, Proxy-*, and HTTP2-Settings out of a request;
 * Upgrade: websocket stays in the list, any other Upgrade goes, as does Expect unless it is
 * 100-continue from a 1.1 client. Host, Content-Length and Transfer-Encoding stay whatever
 * Connection says: they decide where a message goes and ends, and h1_write.h leaves out or
 * replaces them. So does Trailer, as trailers are passed on. VIA true appends Via. */
void forward_request(struct h1_head *head, const struct forward_id *id, bool via,
                     struct forward_info *info);

/* The same for a response. KEEP_ALIVE is what its sender says of its connection. An Upgrade
 * field stays only with status 101. What is made goes to the arena of the fields. */
void forward_response(struct h1_head *head, const struct forward_id *id, bool via,
                      bool *keep_alive);

#endif
