/* SPDX-License-Identifier: Apache-2.0 */
/* A client of OpenSSL's over TCP to a rig: its handshake, and what it asks inside. */
#ifndef TLSFAN_TESTS_INSIDE_FIXTURE_H
#define TLSFAN_TESTS_INSIDE_FIXTURE_H

#include "client_fixture.h"

#include <openssl/ssl.h>

/* Until the handshake is done, or has failed. */
static inline bool inside_shake(struct rig *r, SSL *ssl)
{
    for (int64_t limit = loop_now() + 10000000;; loop_turn(&r->f.loop, false)) {
        int done = SSL_connect(ssl);
        int e = SSL_get_error(ssl, done);
        if (done == 1 || (e != SSL_ERROR_WANT_READ && e != SSL_ERROR_WANT_WRITE))
            return done == 1;
        assert_true(loop_now() < limit);
    }
}

/* Sends TEXT; what has come first, until the next call. */
static inline const char *inside_ask(struct rig *r, SSL *ssl, const char *text)
{
    static char got[4096];
    int n = 0;
    assert_int_equal(SSL_write(ssl, text, (int)strlen(text)), (int)strlen(text));
    for (int64_t limit = loop_now() + 10000000; n <= 0; loop_turn(&r->f.loop, false)) {
        assert_true(loop_now() < limit);
        n = SSL_read(ssl, got, sizeof(got) - 1);
    }
    got[n] = '\0';
    return got;
}

#endif
