/* SPDX-License-Identifier: Apache-2.0 */
/* TLS sessions that no server has made. */
#ifndef TLSFAN_TESTS_SESSION_FIXTURE_H
#define TLSFAN_TESTS_SESSION_FIXTURE_H

#include <openssl/ssl.h>
#include <time.h>

/* As from a handshake of VERSION: good for 100 s by its own time, and for 300 s by the server's
 * word, which cannot be set but by the encoding. */
static inline SSL_SESSION *session_make(int version)
{
    static const unsigned char der[] = {
        0x30, 23,                                  /* a sequence */
        0x02, 1,  1,                               /* version of the encoding */
        0x02, 2,  0x03, 0x04,                      /* TLS 1.3 */
        0x04, 2,  0x13, 0x01,                      /* TLS_AES_128_GCM_SHA256 */
        0x04, 2,  'i',  'd',                       /* so that it can be resumed */
        0x04, 0,                                   /* its secret */
        0xa9, 4,  0x02, 2,    300 / 256, 300 % 256 /* lifetime hint */
    };
    const unsigned char *p = der;
    SSL_SESSION *s = d2i_SSL_SESSION(NULL, &p, sizeof(der));
    assert_non_null(s);
    assert_int_equal(SSL_SESSION_get_ticket_lifetime_hint(s), 300);
    assert_int_equal(SSL_SESSION_set_protocol_version(s, version), 1);
    SSL_SESSION_set_time(s, (long)time(NULL));
    SSL_SESSION_set_timeout(s, 100);
    return s;
}

#endif
