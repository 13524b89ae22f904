/* SPDX-License-Identifier: Apache-2.0 */
/* The name that a client asks for in its TLS hello, where its handshake is another's to answer: its
 * bytes are looked at, by OpenSSL once they are whole, and go on as they are. */
#ifndef TLSFAN_NET_TLS_HELLO_H
#define TLSFAN_NET_TLS_HELLO_H

#include <stddef.h>

enum {
    TLS_HELLO_MAX = 17 * 1024, /* bytes that are looked at: a full record, and some */
    TLS_HELLO_NAME = 256       /* bytes of a name, terminated */
};

enum tls_hello_is {
    TLS_HELLO_MORE, /* it is not whole */
    TLS_HELLO_READ,
    TLS_HELLO_NONE /* it is no hello */
};

/* The first N > 0 bytes of a connection are at P. When READ, NAME is the SNI (RFC 6066 section 3)
 * as the client wrote it, any bytes but '\0'; empty: none, or longer than a name may be, or in a
 * hello longer than TLS_HELLO_MAX. Nothing is kept between two calls: a hello that does not go on
 * costs its bytes alone. */
enum tls_hello_is tls_hello_read(const char *p, size_t n, char name[TLS_HELLO_NAME]);

#endif
