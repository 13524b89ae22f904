/* SPDX-License-Identifier: Apache-2.0 */
/* What OpenSSL reads: one record at a time, where one read of the wire beneath has brought many.
 *
 * OpenSSL can read ahead itself, but whenever it begins with a record it moves all that is left in
 * its buffer to the front: of a read with a hundred records fifty times as much as was read. So
 * where many come at once, it gets no more than the record that it asks for. The others wait in the
 * room that the reader gave for what comes out of them, behind a gap for what comes out of one.
 * That is shorter than its record, so records make the gap larger; but of the first one OpenSSL may
 * have a part already, and behind that the gap may be as small as a byte, and never nothing.
 * feed_gap() says how large it is. */
#ifndef TLSFAN_NET_TLS_FEED_H
#define TLSFAN_NET_TLS_FEED_H

#include "net/wire.h"

enum {
    FEED_RECORD = 16 * 1024, /* the most bytes that come out of a record (RFC 8446 §5.1) */
    FEED_HEADER = 5          /* bytes of one in front of its length's worth */
};

/* Embedded in its wire. Zero-initialised. */
struct tls_feed {
    const char *waits; /* borrowed: read, and not given to OpenSSL; until feed_end() */
    size_t n_waits;
    bool has_many; /* a read has brought more than a record, the last time: then there is room */
    char *room;    /* borrowed: where that comes; NULL: OpenSSL gets whatever it has room for */
    size_t n_room;
    unsigned char header[FEED_HEADER]; /* of the record that OpenSSL is given now */
    unsigned n_header;                 /* bytes of it that have been given */
    size_t left;                       /* bytes behind it that have not */
};

/* What is to be read may come to P, of N bytes, behind a gap. Gives how long that is: what comes
 * out of a record goes there, before the next call. 0: there is no room for it. */
size_t feed_gap(struct tls_feed *f, char *p, size_t n);
/* What OpenSSL asks for: as wire_read() of BELOW, to P. */
ssize_t feed_read(struct tls_feed *f, struct wire *below, char *p, size_t n);
/* The room is its owner's again: what waits is given to BELOW, to be read again. */
void feed_end(struct tls_feed *f, struct wire *below);

/* A part of a record has been given to OpenSSL, which waits for the rest. */
static inline bool feed_is_amid(const struct tls_feed *f)
{
    return f->n_header > 0;
}

#endif
