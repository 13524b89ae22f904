/* SPDX-License-Identifier: Apache-2.0 */
/* A TLS hello that is only looked at: see tls_hello.h. Where it ends is told by the headers of its
 * records. Then OpenSSL begins to answer it, over memory, and is stopped as soon as it has parsed
 * it: before it looks for a certificate, versions or ciphers. */
#include "net/tls_hello.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>

#include "net/tls_server.h"

enum {
    RECORD = 5,            /* bytes of the header of a record (RFC 8446 section 5.1) */
    RECORD_MAX = 1 << 14,  /* bytes in one that is not encrypted */
    HANDSHAKE = 22,        /* the type of those that hold a hello */
    MAJOR = 3,             /* of the version of each */
    MESSAGE = 4,           /* bytes in front of a message: its type, and its length */
    CLIENT_HELLO = 1,      /* such a type */
    SSL2 = 2,              /* bytes of the header of SSL 2 */
    SSL2_NO_PADDING = 0x80 /* in the first of them */
};

/* ---- whether it is whole */

/* A hello, as its records are gone through. */
struct hello_message {
    unsigned char head[MESSAGE];
    size_t len; /* bytes of it that have come */
};

static void hello_add(struct hello_message *m, const unsigned char *p, size_t n)
{
    for (size_t i = 0; i < n && m->len + i < MESSAGE; i++)
        m->head[m->len + i] = p[i];
    m->len += n;
}

static enum tls_hello_is hello_look_at_message(const struct hello_message *m)
{
    if (m->len > 0 && m->head[0] != CLIENT_HELLO)
        return TLS_HELLO_NONE;
    size_t all = MESSAGE + ((size_t)m->head[1] << 16 | (size_t)m->head[2] << 8 | m->head[3]);
    return m->len >= MESSAGE && m->len >= all ? TLS_HELLO_READ : TLS_HELLO_MORE;
}

static enum tls_hello_is hello_look_at_records(const unsigned char *p, size_t n)
{
    struct hello_message m = {.len = 0};
    enum tls_hello_is is = TLS_HELLO_MORE;
    for (size_t at = 0; is == TLS_HELLO_MORE && at < n;) {
        bool is_other = p[at] != HANDSHAKE || (n - at > 1 && p[at + 1] != MAJOR);
        if (n - at < RECORD || is_other)
            return is_other ? TLS_HELLO_NONE : TLS_HELLO_MORE;
        size_t len = (size_t)p[at + 3] << 8 | p[at + 4];
        if (len > RECORD_MAX)
            return TLS_HELLO_NONE;
        at += RECORD;
        bool is_whole = len <= n - at;
        hello_add(&m, p + at, is_whole ? len : n - at);
        at += len;
        is = hello_look_at_message(&m);
        if (!is_whole && is == TLS_HELLO_READ)
            is = TLS_HELLO_MORE; /* OpenSSL reads whole records */
    }
    return is;
}

static enum tls_hello_is hello_look(const unsigned char *p, size_t n)
{
    if ((p[0] & SSL2_NO_PADDING) == 0)
        return hello_look_at_records(p, n);
    if (n <= SSL2)
        return TLS_HELLO_MORE;
    if (p[SSL2] != CLIENT_HELLO)
        return TLS_HELLO_NONE;
    size_t all = SSL2 + ((size_t)(p[0] & ~SSL2_NO_PADDING) << 8 | p[1]);
    return n >= all ? TLS_HELLO_READ : TLS_HELLO_MORE;
}

/* ---- what it asks for */

struct hello_asked {
    bool is_parsed;
    char *name; /* of TLS_HELLO_NAME bytes */
};

static SSL_CTX *hello_ctx; /* one for the process: nothing in it is of a connection */
static pthread_once_t hello_once = PTHREAD_ONCE_INIT;

static int hello_on_parsed(SSL *ssl, int *alert, void *arg)
{
    struct hello_asked *asked = SSL_get_app_data(ssl);
    struct str name = tls_server_asked(ssl).name;
    (void)alert;
    (void)arg;
    asked->is_parsed = true;
    if (name.len < TLS_HELLO_NAME && str_find(name, '\0') == name.len)
        snprintf(asked->name, TLS_HELLO_NAME, "%.*s", STR_ARG(name));
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

/* False: it is none after all. True also where OpenSSL has no memory. */
static bool hello_parse(const char *p, size_t n, char *name)
{
    struct hello_asked asked = {.name = name};
    pthread_once(&hello_once, hello_make_ctx);
    SSL *ssl = hello_ctx == NULL ? NULL : SSL_new(hello_ctx);
    BIO *in = BIO_new_mem_buf(p, (int)n), *out = BIO_new(BIO_s_null());
    bool is_made = ssl != NULL && in != NULL && out != NULL;
    if (is_made) {
        SSL_set_bio(ssl, in, out);
        SSL_set_app_data(ssl, &asked);
        ERR_clear_error();
        (void)SSL_accept(ssl);
    } else {
        BIO_free(in);
        BIO_free(out);
    }
    ERR_clear_error();
    SSL_free(ssl);
    return asked.is_parsed || !is_made;
}

enum tls_hello_is tls_hello_read(const char *p, size_t n, char name[TLS_HELLO_NAME])
{
    name[0] = '\0';
    bool is_long = n >= TLS_HELLO_MAX;
    n = is_long ? TLS_HELLO_MAX : n;
    enum tls_hello_is is = hello_look((const unsigned char *)p, n);
    if (is == TLS_HELLO_READ && !hello_parse(p, n, name))
        return TLS_HELLO_NONE;
    return is == TLS_HELLO_MORE && is_long ? TLS_HELLO_READ : is;
}
