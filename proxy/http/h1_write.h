/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1 messages out: heads, chunk frames, trailers, made anew from what was understood. */
#ifndef TLSFAN_HTTP_H1_WRITE_H
#define TLSFAN_HTTP_H1_WRITE_H

#include "http/h1_body.h"

enum {
    H1_CHUNK_HEAD_MAX = 20, /* bytes of "ffffffffffffffff\r\n" and to spare */
    H1_HOST_MAX = 272       /* bytes of a Host value that uri.c lets through, port included */
};

/* How the body that follows is framed on this side. */
struct h1_out {
    enum h1_framing framing;
    uint64_t length;  /* LENGTH */
    bool keep_alive;  /* false: "Connection: close"; true to a 1.0 peer: "Connection: keep-alive" */
    bool peer_is_1_0; /* the reader speaks HTTP/1.0; the status line is 1.1 still (RFC 9112 §2.3) */
    bool is_upgrade; /* "Connection: upgrade" is written; the Upgrade field itself is in the list */
    bool te_trailers;  /* request: "TE: trailers" with "Connection: TE" is written */
    bool omit_framing; /* neither Content-Length nor Transfer-Encoding is written, fields of those
                          names are kept as they are: answers to HEAD, 304 */
};

/* Bytes that the head needs at most. */
size_t h1_request_size(struct str method, struct str target, const struct fields *fields);
size_t h1_response_size(struct str reason, const struct fields *fields);

/* Writes a head to DST, which has room for the size above; gives the bytes written. Fields keep
 * case and order; Connection, Keep-Alive, Proxy-Connection, TE, Transfer-Encoding and
 * Content-Length in FIELDS are not written (but see omit_framing): OUT says what stands for them. A
 * Content-Length is written where the old one stood, if there was one. HOST (at most H1_HOST_MAX
 * bytes) is written as the Host field where the old one stood, else first. With a Transfer-Encoding
 * it is the same as with Content-Length; Connection and TE come last. */
struct h1_start {
    struct str method;
    struct str target;
    struct str host;
    struct str prefix; /* "http://host:port" in front of the target (for "*", alone), as a proxy is
                          asked; empty: none */
    struct str auth;   /* Proxy-Authorization for it; empty: none */
};
size_t h1_write_request(char *dst, const struct h1_start *start, const struct fields *fields,
                        const struct h1_out *out);
size_t h1_write_response(char *dst, unsigned status, struct str reason, const struct fields *fields,
                         const struct h1_out *out);

/* The "HEX CRLF" line before N > 0 bytes of a chunk (the CRLF behind the data is the caller's). */
size_t h1_write_chunk_head(char *dst, uint64_t n);

/* "0 CRLF", trailer fields (NULL: none), CRLF. Room: h1_trailers_size(). */
size_t h1_trailers_size(const struct fields *trailers);
size_t h1_write_trailers(char *dst, const struct fields *trailers);

/* The standard reason phrase, "" for an unknown status. */
struct str h1_reason(unsigned status);

#endif
