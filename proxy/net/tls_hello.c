/* SPDX-License-Identifier: Apache-2.0 */
/* A TLS hello that is only looked at: see tls_hello.h. OpenSSL begins to answer it, over memory,
 * and is stopped as soon as it has parsed it: before it looks for a certificate, versions or
 * ciphers. */
#include "net/tls_hello.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/mem.h"
#include "net/tls_server.h"

/* Owner: whoever made it. */
struct tls_hello_reader {
    SSL *ssl;
    BIO *in; /* the SSL's */
    enum tls_hello_is is;
    size_t fed;
    size_t name_len;
    char name[TLS_HELLO_NAME];
};

static SSL_CTX *hello_ctx; /* one for the process: nothing in it is of a connection */
static pthread_once_t hello_once = PTHREAD_ONCE_INIT;

static int hello_on_parsed(SSL *ssl, int *alert, void *arg)
{
    struct tls_hello_reader *r = SSL_get_app_data(ssl);
    struct str name = tls_server_asked(ssl).name;
    (void)alert;
    (void)arg;
    r->is = TLS_HELLO_READ;
    if (name.len < sizeof(r->name)) {
        memcpy(r->name, name.p, name.len);
        r->name_len = name.len;
    }
    return SSL_CLIENT_HELLO_RETRY; /* and nobody will */
}

static void hello_make_ctx(void)
{
    hello_ctx = SSL_CTX_new(TLS_server_method());
    if (hello_ctx == NULL)
        return;
    SSL_CTX_set_min_proto_version(hello_ctx, 0);
    SSL_CTX_set_client_hello_cb(hello_ctx, hello_on_parsed, NULL);
}

struct tls_hello_reader *tls_hello_new(void)
{
    pthread_once(&hello_once, hello_make_ctx);
    SSL *ssl = hello_ctx == NULL ? NULL : SSL_new(hello_ctx);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_null());
    if (ssl == NULL || in == NULL || out == NULL) {
        SSL_free(ssl);
        BIO_free(in);
        BIO_free(out);
        return NULL;
    }
    struct tls_hello_reader *r = xcalloc(1, sizeof(*r));
    r->ssl = ssl;
    r->in = in;
    BIO_set_mem_eof_return(in, -1);
    SSL_set_bio(ssl, in, out);
    SSL_set_accept_state(ssl);
    SSL_set_app_data(ssl, r);
    return r;
}

void tls_hello_free(struct tls_hello_reader *r)
{
    if (r == NULL)
        return;
    SSL_free(r->ssl);
    free(r);
}

enum tls_hello_is tls_hello_feed(struct tls_hello_reader *r, const char *p, size_t n)
{
    n = n < TLS_HELLO_MAX ? n : TLS_HELLO_MAX;
    if (r->is != TLS_HELLO_MORE || n <= r->fed)
        return r->is;
    int new = (int)(n - r->fed);
    ERR_clear_error();
    bool is_given = BIO_write(r->in, p + r->fed, new) == new;
    r->fed = n;
    int result = SSL_accept(r->ssl);
    bool wants_more = is_given && SSL_get_error(r->ssl, result) == SSL_ERROR_WANT_READ;
    ERR_clear_error();
    if (r->is == TLS_HELLO_MORE && (!wants_more || n == TLS_HELLO_MAX))
        r->is = TLS_HELLO_NONE;
    return r->is;
}

struct str tls_hello_name(const struct tls_hello_reader *r)
{
    return str_make(r->name, r->name_len);
}
