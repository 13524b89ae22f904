/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions to resume, and until when. What a resumed session vouches for is a certificate that was
 * verified once: it ends with the first certificate of that chain, or with the revocation list that
 * did not name it, and so do the tickets that come while it is resumed.
 *
 * A ticket of TLS 1.3 that no connection had yet goes first. Where there is none left, for more
 * connections begin at once than tickets have come, the newest that was offered is offered again,
 * until a handshake with it is done, and for some seconds at most. RFC 8446 section C.4 advises
 * against that, because who watches the wire can tell from it that two connections are of one
 * client. Of most of these he sees that anyway: they go from one address to one origin, whose name
 * is in clear, within those seconds. He does learn it where many share that address (NAT), and
 * where some connect by IPv4 and some by IPv6: that much is given away. What could be followed for
 * longer, or from one network to another, is a ticket that is offered as long as it is good; this
 * one is not, and each handshake brings a new one in its place. Behind a parent proxy, which may
 * have many addresses and other clients, nothing of this holds: there a ticket is used once,
 * always. Early data, for which a second use is dangerous (section 8), is never sent. Where TLS
 * fails with a ticket that was used before, its server may not like that, and tickets are used once
 * for some minutes. */
#ifndef TLSFAN_NET_TLS_SESSIONS_H
#define TLSFAN_NET_TLS_SESSIONS_H

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct post;

struct ssl_st;         /* SSL */
struct ssl_session_st; /* SSL_SESSION */

enum { TLS_SESSIONS_KEPT = 8 };

struct tls_session {
    struct ssl_session_st *session; /* owned */
    int64_t until;                  /* seconds since 1970: not offered from then on */
};

/* Of one origin under one policy in one worker: under another none of them is ever offered, nor to
 * another name. Zero-initialised. */
struct tls_sessions {
    struct tls_session v[TLS_SESSIONS_KEPT]; /* not offered yet, or of TLS 1.2; oldest first */
    unsigned n;
    struct tls_session again; /* of TLS 1.3: the newest one offered; `session` NULL: none. OpenSSL
                                 makes it unfit when a handshake with it is done */
    int64_t again_until;      /* µs: not offered again from then on */
    int64_t once_until;       /* µs: none is offered again until then; INT64_MAX: never */
    struct loop *loop;        /* where `news`, */
    struct post *news;        /* both borrowed, is posted when a session comes; NULL: nowhere */
};

void tls_sessions_clear(struct tls_sessions *t);
/* Keeps S, whose reference is taken over, in place of the oldest when full. */
void tls_sessions_put(struct tls_sessions *t, struct tls_session s);
/* There is one that is good for a handshake that begins now. */
bool tls_sessions_has(const struct tls_sessions *t);
/* Each ticket of TLS 1.3 is for one connection alone. */
bool tls_sessions_once(const struct tls_sessions *t);

/* What one connection has to do with sessions. Embedded in its wire. */
struct tls_resume {
    struct tls_sessions *kept; /* borrowed; NULL: none are offered nor kept */
    bool verify;               /* kept sessions are bound by the certificates */
    bool offered;
    bool is_again; /* it was offered to others before */
    bool bound;    /* `until` is that of the handshake, not of the session offered */
    int64_t until; /* as above */
};

/* Offers SSL the session whose turn it is, if it OFFERS one at all, and keeps in R->kept those that
 * it gets, until tls_resume_end(). */
void tls_resume_start(struct tls_resume *r, struct ssl_st *ssl, bool offers);
void tls_resume_end(struct tls_resume *r, struct ssl_st *ssl);
/* The handshake did not end well: whatever the reason is, no session that has to do with it must
 * stand in the way of every later attempt. IS_REFUSED: TLS has failed, and its session may be why;
 * a connection that was lost, or took too long, says nothing about that. */
void tls_resume_fail(struct tls_resume *r, bool is_refused);

/* Why a connection has ended that was resumed, before a byte came on it: by TLS 1.2 a server hears
 * the end of such a handshake when requests may be behind it already. */
enum tls_refusal {
    TLS_REFUSED_NOT,   /* for something else */
    TLS_REFUSED_MAYBE, /* by an alert, which may be about the handshake */
    TLS_REFUSED_SURELY /* it is: nothing behind the handshake was read */
};
/* ERR is OpenSSL's error, of an open connection; N_RECORDS were written behind the handshake. */
enum tls_refusal tls_resume_judge(struct ssl_st *ssl, unsigned long err, unsigned n_records);

/* For SSL_CTX_sess_set_new_cb(). Records only. */
int tls_resume_on_new(struct ssl_st *ssl, struct ssl_session_st *session);

#endif
