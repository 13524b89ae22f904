/* SPDX-License-Identifier: Apache-2.0 */
/* The name that a client asks for in its TLS hello, where its handshake is another's to answer: its
 * bytes are looked at by OpenSSL, as they come, and go on as they are. */
#ifndef TLSFAN_NET_TLS_HELLO_H
#define TLSFAN_NET_TLS_HELLO_H

#include "base/str.h"

enum {
    TLS_HELLO_MAX = 17 * 1024,    /* bytes that are looked at: a full record, and some */
    TLS_HELLO_MEMORY = 24 * 1024, /* bytes that a reader takes, about */
    TLS_HELLO_NAME = 256          /* bytes of a name, terminated */
};

enum tls_hello_is {
    TLS_HELLO_MORE, /* it is not whole */
    TLS_HELLO_READ, /* tls_hello_name() has what it asks for, which may be nothing */
    TLS_HELLO_NONE  /* it is no hello, or longer than TLS_HELLO_MAX */
};

struct tls_hello_reader;

/* NULL when OpenSSL has no memory. */
struct tls_hello_reader *tls_hello_new(void);
/* R may be NULL. */
void tls_hello_free(struct tls_hello_reader *r);

/* The first N bytes of a connection are at P, those of the calls before among them: only what is
 * new is read. Once it is not MORE it stays what it is. */
enum tls_hello_is tls_hello_feed(struct tls_hello_reader *r, const char *p, size_t n);

/* SNI (RFC 6066 section 3) as the client wrote it, any bytes; empty: none, or longer than a name
 * may be. As long as R. */
struct str tls_hello_name(const struct tls_hello_reader *r);

#endif
