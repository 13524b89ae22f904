/* SPDX-License-Identifier: Apache-2.0 */
/* What a connection speaks whose client does not know that it talks to a proxy, by its first bytes.
 * No I/O. */
#ifndef TLSFAN_HTTP_H1_FIRST_H
#define TLSFAN_HTTP_H1_FIRST_H

#include "base/str.h"

enum {
    H1_FIRST_METHOD = 64,    /* bytes of a method, at most */
    H1_FIRST_LINE = 8 * 1024 /* bytes of a request line that are waited for */
};

enum h1_first_is {
    H1_FIRST_MORE, /* it may still be HTTP/1, or is too short to say */
    H1_FIRST_HTTP, /* token SP something SP HTTP/d.d, or as much of that as fits in H1_FIRST_LINE */
    H1_FIRST_TLS,  /* a record of a handshake, or a hello in the format of SSL 2 */
    H1_FIRST_OTHER /* the HTTP/2 preface, too */
};

/* How far was looked: zero for a new connection. */
struct h1_first {
    size_t start;  /* of the request line, behind empty ones */
    size_t at;     /* of the next byte to look at */
    size_t method; /* bytes of it, once its end has been seen; else 0 */
};

/* The first N bytes of a connection are at P, those of the calls before among them. To be asked
 * again while it is MORE. */
enum h1_first_is h1_first_look(struct h1_first *f, const char *p, size_t n);

/* Nothing more will be waited for: what the N > 0 bytes at P, of which h1_first_look() has said
 * MORE, are taken for. */
enum h1_first_is h1_first_settle(const struct h1_first *f, const char *p, size_t n);

/* OTHER that is text and shall be answered like a request all the same, where nothing else can be
 * done with it: a client that reads HTTP can read why. */
bool h1_first_is_request(const struct h1_first *f, const char *p, size_t n);

#endif
