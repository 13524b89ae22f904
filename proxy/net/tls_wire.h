/* SPDX-License-Identifier: Apache-2.0 */
/* OpenSSL over the wire beneath: records, the handshake's steps, close_notify. One record and one
 * call downwards for a small write, one for many records that are read, buffers released when idle.
 * Which side of TLS it speaks, and what is said of its faults, is a role: tls_client.h,
 * tls_server.h.
 *
 *     TLS_WIRE_SHAKES ──▶ OPEN ──▶ BROKEN     and SHAKES ──▶ BROKEN */
#ifndef TLSFAN_NET_TLS_WIRE_H
#define TLSFAN_NET_TLS_WIRE_H

#include "net/stream.h"
#include "net/tls_feed.h"

struct ssl_st;     /* SSL */
struct ssl_ctx_st; /* SSL_CTX */
struct tls_wire;

/* What a side of TLS adds. */
struct tls_role {
    /* The handshake is done, says OpenSSL. False: it does not count, line->fault says why. NULL: it
     * does. */
    bool (*opened)(struct tls_wire *t);
    /* Has given up with SSL_ERROR, the first error in the queue is ERR: sets line->fault, unless
     * the end of the connection is all there is to say. */
    void (*failed)(struct tls_wire *t, int ssl_error, unsigned long err);
    /* While t->is_watched. After each read; false: what came does not count, failed() says why. */
    bool (*looked)(struct tls_wire *t);
    /* And before each write: true while nothing may be written until more has been read. */
    bool (*is_busy)(const struct tls_wire *t);
    void (*closed)(struct tls_wire *t); /* OpenSSL may be called a last time; NULL allowed */
    void (*freed)(struct tls_wire *t);  /* frees the object that T is the first member of */
};

enum tls_wire_state {
    TLS_WIRE_SHAKES, /* the handshake */
    TLS_WIRE_OPEN,
    TLS_WIRE_BROKEN /* a fatal error: OpenSSL must not be called again */
};

enum { TLS_FIRST_BYTES = 5 };

/* First member of an object of its role. */
struct tls_wire {
    struct wire wire;
    const struct tls_role *role;
    struct ssl_st *ssl;
    enum tls_wire_state state;
    bool is_writing; /* a record is half written */
    bool is_watched; /* set by its role: see there */
    bool has_read;   /* a byte has been given upwards */
    bool has_ended;  /* close_notify is on its way */
    bool below_eof;  /* the wire beneath has ended */
    bool more;       /* OpenSSL may have bytes for us without a look beneath */
    int end;         /* EOF or FAIL that waits for the bytes before it to be delivered; 0: none */
    size_t may_take; /* bytes that the read under way may still take from beneath; else SIZE_MAX */
    struct tls_feed feed;
    bool keeps_buffer;  /* OpenSSL's, as more records wait for it */
    unsigned n_records; /* written behind the handshake */
    unsigned n_first;
    char first[TLS_FIRST_BYTES]; /* of all that has come */
};

/* What every CTX of a wire needs, whichever side it is for. */
void tls_wire_init_ctx(struct ssl_ctx_st *ctx);
/* T, zero-initialised but for what ROLE has of its own, gets an SSL of CTX. */
void tls_wire_init(struct tls_wire *t, struct ssl_ctx_st *ctx, const struct tls_role *role);
void tls_wire_set_state(struct tls_wire *t, enum tls_wire_state to);

/* The topmost wire of S, if it is TLS, of ROLE where that is not NULL; else NULL. */
struct tls_wire *tls_wire_of(const struct stream *s, const struct tls_role *role);
/* "TLSv1.3"; static. "" for a plain stream. */
const char *tls_wire_version(const struct stream *s);
/* When S ends, that is no proper end: its peer gets no close_notify of the topmost wire. Harmless
 * for a plain stream. */
void tls_wire_mute(const struct stream *s);
/* What was agreed by ALPN (RFC 7301); empty: nothing. Borrowed from SSL. */
struct str tls_wire_alpn(const struct ssl_st *ssl);

/* The words for an alert of the peer; NULL: ERR is something else. */
const char *tls_wire_alert(unsigned long err);
/* The number of that alert (RFC 8446 section 6); -1: something else. */
int tls_wire_alert_number(unsigned long err);
/* True when the peer's first bytes are those of Z. */
bool tls_wire_starts_with(const struct tls_wire *t, const char *z);

#endif
