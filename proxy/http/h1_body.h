/* SPDX-License-Identifier: Apache-2.0 */
/* How long a message body is (RFC 9112 §6.3), and a push decoder for it. No I/O.
 *
 *     while (n > 0 && !h1_body_is_done(&b)) {
 *         ssize_t used = h1_body_feed(&b, p, n, &data);    // < 0: b.error says why
 *         if (data.len > 0) give data away;
 *         p += used; n -= used;
 *     }
 *     at close: h1_body_at_close(&b)
 */
#ifndef TLSFAN_HTTP_H1_BODY_H
#define TLSFAN_HTTP_H1_BODY_H

#include <sys/types.h>

#include "http/chunk_ext.h"
#include "http/h1_parse.h"

enum h1_framing {
    H1_FRAMING_NONE,    /* no body at all */
    H1_FRAMING_LENGTH,  /* Content-Length */
    H1_FRAMING_CHUNKED, /* Transfer-Encoding: chunked */
    H1_FRAMING_CLOSE    /* until the connection closes; responses only */
};

struct h1_body {
    enum h1_framing framing;
    bool lenient;       /* of an old origin: see h1_body.c */
    uint64_t length;    /* LENGTH: as declared */
    uint64_t left;      /* bytes to come of the body or of the chunk */
    unsigned state;     /* of the chunked decoder, private */
    enum chunk_ext ext; /* of the same, private */
    unsigned line;      /* bytes of the chunk-size or trailer line so far, bounded */
    unsigned overhead;  /* bytes of chunk extensions that no data made up for, bounded */
    char *trailer;      /* heap: the trailer section as it arrives; at most max_trailer bytes */
    size_t trailer_len, trailer_cap;
    size_t max_trailer;    /* 64k until the owner sets it */
    struct h1_error error; /* after -1; its pos counts from the bytes of that call */
    enum fault_code fault; /* its code: FAULT_BAD_REQUEST of a request, FAULT_UP_PROTOCOL else */
};

/* Initialises B and chooses the framing of a request: false with E (FAULT_BAD_REQUEST;
 * FAULT_NOT_IMPLEMENTED for a coding other than chunked) when two readers could disagree:
 * Content-Length twice (even when equal), a list, a sign, an overflow, or with Transfer-Encoding;
 * Transfer-Encoding in HTTP/1.0, twice, or not exactly "chunked". */
MUST_CHECK bool h1_body_of_request(struct h1_body *b, const struct h1_head *head,
                                   struct h1_error *e);
/* Of a response to a request with METHOD: HEAD, 1xx, 204, 304 and 2xx to CONNECT have none. A 204
 * or 1xx with a Content-Length or Transfer-Encoding is taken as having no body. False
 * (FAULT_UP_PROTOCOL) as above. LENIENT: Content-Length may be there twice or as a list when all is
 * the same number, "identity" alone is as no Transfer-Encoding, both put right in HEAD; and size
 * lines of chunks may have blanks behind the size, all lines end in a bare LF. */
MUST_CHECK bool h1_body_of_response(struct h1_body *b, struct h1_head *head, enum method_id method,
                                    bool lenient, struct h1_error *e);

/* Takes bytes off the wire. Gives the number consumed (> 0), with *DATA the run of body bytes among
 * them (maybe empty), or -1 with b->error set. Not to be called when done. Consumes nothing behind
 * the end. */
ssize_t h1_body_feed(struct h1_body *b, const char *p, size_t n, struct str *data);

/* The same, for all of IN that has a place: chunks of a few bytes are joined in ROOM, of
 * H1_BODY_JOIN bytes, where *DATA lies then; a large run that comes first is given as it lies in
 * IN. So a body in tiny chunks is passed on in as few calls, records and chunks as one in large
 * ones. A fault behind bytes that are good is found by the next call. */
enum { H1_BODY_JOIN = 16 * 1024 - 64 }; /* with what frames it no more than a TLS record */
ssize_t h1_body_feed_joined(struct h1_body *b, const struct str *in, char *room, struct str *data);

bool h1_body_is_done(const struct h1_body *b);
/* The peer closed: true when that is a proper end (framing CLOSE, which becomes done); false: the
 * body was cut short. */
bool h1_body_at_close(struct h1_body *b);
/* After done: the trailer fields (slices into b->trailer); empty when there were none. Fields that
 * frame, route or authenticate (RFC 9110 §6.5.1) are dropped. */
MUST_CHECK bool h1_body_trailers(struct h1_body *b, struct fields *trailers);
void h1_body_clear(struct h1_body *b);

#endif
