/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1 heads (RFC 9112 §2 to §5), strict, in one pass over a complete head. No I/O. */
#ifndef TLSFAN_HTTP_H1_PARSE_H
#define TLSFAN_HTTP_H1_PARSE_H

#include "base/fault.h"
#include "http/fields.h"

enum { H1_MAX_FIELDS = 2000 }; /* of one message; more is FAULT_HEAD_TOO_LARGE in a request */

/* The start line and fields of one message. Slices point into the bytes that were parsed. */
struct h1_head {
    struct method method; /* request */
    struct str target;    /* request */
    unsigned status;      /* response, 100..999 */
    struct str reason;    /* response, may be empty */
    uint8_t minor;        /* HTTP/1.minor: 0 or 1 (a higher one counts as 1) */
    struct fields fields;
};

struct h1_error {
    enum fault_code
        code; /* request: _BAD_REQUEST, _VERSION, _HEAD_TOO_LARGE; response: _UP_PROTOCOL */
    const char *reason; /* what is bad, a static phrase: "a bare LF in the head" */
    size_t pos;         /* of the byte at fault */
    bool lenient_takes; /* of a response: a lenient reader goes on behind it */
};

/* Where a head ends: the bytes of the head with its empty line, or 0 when it is not all there. At
 * most one leading empty line before a request line is skipped by the caller (§2.2). *SCANNED is 0
 * for a new head and remembers how far was looked, so that a head that comes byte by byte costs no
 * more. LENIENT: lines may end in a bare LF; when it is false the head "ends" behind a bare LF, for
 * the parser to refuse it at once rather than wait for its end. */
size_t h1_head_end(const char *p, size_t n, size_t *scanned, bool lenient);

/* Parses exactly N bytes that h1_head_end() found. HEAD->fields must have been initialised, and be
 * empty. False with E set on: a bare CR or LF, NUL or another control byte, obs-fold, white space
 * before the colon or at the start, an empty or non-token name, a bad start line, a version other
 * than HTTP/1.x (FAULT_VERSION). Bytes from 0x80 on in the target pass here and are for
 * uri_parse_target() to refuse.
 *
 * LENIENT, of a request: lines may end in a bare LF. Of a response, for old origins: they may, a
 * folded line becomes part of the value before it (joined by a space, in the arena of the fields)
 * unless that is a Content-Length or Transfer-Encoding, and white space before a colon is left
 * out. */
MUST_CHECK bool h1_parse_request(struct h1_head *head, const char *p, size_t n, bool lenient,
                                 struct h1_error *e);
MUST_CHECK bool h1_parse_response(struct h1_head *head, const char *p, size_t n, bool lenient,
                                  struct h1_error *e);

/* What E says of a request, as a clause that is told: "the request is not valid HTTP: a bare LF in
 * the head". Its reason is the phrase. */
void h1_request_fault(struct fault *f, const struct h1_error *e);

/* Only field lines and the empty line (trailer section, §7.1.2). LENIENT as of a response. */
MUST_CHECK bool h1_parse_fields(struct fields *fields, const char *p, size_t n, bool lenient,
                                struct h1_error *e);

/* What a connection speaks, told from its first bytes when they are no HTTP/1 request: a sentence
 * with what to use instead, or NULL when it may still be HTTP/1. TLS hello, h2c preface, SOCKS 4/5.
 * IS_SILENT is set when no HTTP answer makes sense (TLS, SOCKS): log and close. */
const char *h1_foreign(const char *p, size_t n, bool *is_silent);

#endif
