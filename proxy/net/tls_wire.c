/* SPDX-License-Identifier: Apache-2.0 */
/* A BIO of our own reads and writes the wire beneath: of a descriptor that remembers a short read,
 * so that OpenSSL's next look for more costs no system call. It keeps the first bytes, so that a
 * port that speaks plain HTTP can be named. OpenSSL's callbacks only record. */
#include "net/tls_wire.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/state.h"

enum {
    RECORD = FEED_RECORD,     /* the most bytes of one record (RFC 8446 §5.1) */
    RECORDS_AT_ONCE = 64,     /* taken by one read: small ones cost as much as large ones */
    TAKEN_AT_ONCE = 64 * 1024 /* bytes after which it asks for no more: tickets give us none */
};

void tls_wire_set_state(struct tls_wire *t, enum tls_wire_state to)
{
    static const struct state_row states[] = {
        [TLS_WIRE_SHAKES] = {"SHAKES", STATE_BIT(TLS_WIRE_OPEN) | STATE_BIT(TLS_WIRE_BROKEN)},
        [TLS_WIRE_OPEN] = {"OPEN", STATE_BIT(TLS_WIRE_BROKEN)},
        [TLS_WIRE_BROKEN] = {"BROKEN", 0},
    };
    state_check("tls_wire", (uint64_t)t->wire.line->fd, states, t->state, to);
    t->state = to;
}

static struct tls_wire *tls_of(const struct wire *w)
{
    return container_of(w, struct tls_wire, wire);
}

/* ---- BIO ---- */

static BIO_METHOD *method;
static pthread_once_t method_once = PTHREAD_ONCE_INIT;

static void note_first(struct tls_wire *t, const char *p, size_t n)
{
    while (n > 0 && t->n_first < TLS_FIRST_BYTES) {
        t->first[t->n_first++] = *p++;
        n--;
    }
}

/* One buffer for all records that wait, not one for each. */
static void tls_keep_buffer(struct tls_wire *t)
{
    if (!t->keeps_buffer)
        SSL_clear_mode(t->ssl, SSL_MODE_RELEASE_BUFFERS);
    t->keeps_buffer = true;
}

static int bio_read(BIO *b, char *p, int n)
{
    struct tls_wire *t = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    if (t->below_eof || n <= 0)
        return 0;
    ssize_t got = t->may_take == 0 ? WIRE_AGAIN : feed_read(&t->feed, t->wire.below, p, (size_t)n);
    if (got > 0) {
        t->may_take -= (size_t)got < t->may_take ? (size_t)got : t->may_take;
        note_first(t, p, (size_t)got);
        if (t->feed.n_waits > 0)
            tls_keep_buffer(t);
        return (int)got;
    }
    if (got == WIRE_EOF) {
        t->below_eof = true;
        return 0;
    }
    if (got == WIRE_AGAIN)
        BIO_set_retry_read(b);
    return -1;
}

static int bio_write(BIO *b, const char *p, int n)
{
    struct tls_wire *t = BIO_get_data(b);
    struct wire *below = t->wire.below;
    struct iovec v = {.iov_base = (char *)p, .iov_len = (size_t)n};
    BIO_clear_retry_flags(b);
    /* One thread has one queue of errors: TLS beneath clears it, and this may be the alert for what
     * is in there. */
    unsigned long err = below->below == NULL ? 0 : ERR_peek_error();
    ssize_t done = below->ops->write(below, &v, 1);
    if (err != 0)
        ERR_raise(ERR_GET_LIB(err), ERR_GET_REASON(err));
    if (done >= 0)
        return (int)done;
    if (done == WIRE_AGAIN)
        BIO_set_retry_write(b);
    return -1;
}

static long bio_ctrl(BIO *b, int cmd, long num, void *ptr)
{
    (void)b;
    (void)num;
    (void)ptr;
    return cmd == BIO_CTRL_FLUSH ? 1 : 0;
}

static int bio_create(BIO *b)
{
    BIO_set_init(b, 1);
    return 1;
}

static void make_method(void)
{
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "wire");
    if (method == NULL)
        abort();
    BIO_meth_set_read(method, bio_read);
    BIO_meth_set_write(method, bio_write);
    BIO_meth_set_ctrl(method, bio_ctrl);
    BIO_meth_set_create(method, bio_create);
}

/* ---- faults ---- */

/* SSL_get_error() looks at all that is in the queue. To clear it costs the same whether there is
 * anything in it, many times what a look does. */
static void tls_forget_errors(void)
{
    if (ERR_peek_error() != 0)
        ERR_clear_error();
}

/* Gives FAIL, for a fault that is known. */
static int tls_break(struct tls_wire *t)
{
    tls_wire_set_state(t, TLS_WIRE_BROKEN);
    ERR_clear_error();
    return WIRE_FAIL;
}

/* Records why OpenSSL gave up. */
static int tls_give_up(struct tls_wire *t, int ssl_error)
{
    /* The first error is the cause, what follows tells where it was noticed. */
    t->role->failed(t, ssl_error, ERR_peek_error());
    line_settle(t->wire.line);
    return tls_break(t);
}

/* A failed write does not keep OpenSSL from reading what has come, unless it was its own fault. */
static int tls_write_failed(struct tls_wire *t, int ssl_error)
{
    if (ssl_error != SSL_ERROR_SYSCALL)
        return tls_give_up(t, ssl_error);
    ERR_clear_error();
    return WIRE_FAIL;
}

/* ---- wire_ops ---- */

/* What a call of SSL_read() that gave nothing but the error E means. */
static int read_result(struct tls_wire *t, int e)
{
    struct line *l = t->wire.line;
    t->more = false;
    switch (e) {
    case SSL_ERROR_WANT_READ:
        if (!t->below_eof)
            return WIRE_AGAIN;
        break;
    case SSL_ERROR_WANT_WRITE:
        t->more = true;
        l->want_write = true;
        return WIRE_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        l->eof_clean = true;
        return WIRE_EOF;
    default:
        break;
    }
    if (e == SSL_ERROR_SSL || !t->below_eof)
        return tls_give_up(t, e);
    l->eof_clean = false;
    return WIRE_EOF;
}

/* The socket was read to its end, and nothing of that is left: one more call of SSL_read() would
 * allocate a buffer to find no more than that. */
static bool tls_is_empty(const struct tls_wire *t)
{
    return t->feed.n_waits == 0 && t->wire.line->drained && !t->below_eof &&
           !wire_has_buffered(t->wire.below) && SSL_has_pending(t->ssl) == 0;
}

/* Takes a record, or a part of one, to P. The count; 0: t->end says what came instead. */
static size_t read_record(struct tls_wire *t, char *p, size_t n)
{
    tls_forget_errors();
    int r = SSL_read(t->ssl, p, n < INT32_MAX ? (int)n : INT32_MAX);
    int e = r > 0 ? SSL_ERROR_NONE : SSL_get_error(t->ssl, r);
    if (t->is_watched && e != SSL_ERROR_SSL && !t->role->looked(t)) {
        t->end = tls_give_up(t, SSL_ERROR_NONE);
        return 0;
    }
    if (r > 0) {
        t->more = !tls_is_empty(t);
        return (size_t)r;
    }
    t->end = read_result(t, e);
    return 0;
}

/* Nothing of OpenSSL's buffer is in use. What has come out of a record, and was not taken, is in
 * there, and SSL_has_pending() tells of it; but not of the header of a record of which nothing else
 * has come. Before 3.0.14 SSL_free_buffers() does not look for that, either, and the record's body
 * would be read to memory that was freed (CVE-2024-4741). OpenSSL itself is asked: a hello in the
 * format of SSL 2 puts our own count of records out of step. */
static bool tls_buffer_is_free(const struct tls_wire *t)
{
    return SSL_has_pending(t->ssl) == 0 && strcmp(SSL_rstate_string(t->ssl), "RH") == 0;
}

/* What waits is for another call, and OpenSSL keeps no buffer for it. */
static void tls_end_feed(struct tls_wire *t)
{
    feed_end(&t->feed, t->wire.below);
    if (!t->keeps_buffer)
        return;
    t->keeps_buffer = false;
    SSL_set_mode(t->ssl, SSL_MODE_RELEASE_BUFFERS);
    if (tls_buffer_is_free(t))
        SSL_free_buffers(t->ssl);
}

/* Fills P from as many records as there are, so that a body leaves in few writes; but from no more
 * than others can wait for. What is left is read in a later call, if need be in a later turn. */
static ssize_t tls_read(struct wire *w, char *p, size_t n)
{
    struct tls_wire *t = tls_of(w);
    size_t got = 0;
    if (t->end == 0 && t->state == TLS_WIRE_BROKEN)
        return WIRE_FAIL;
    t->may_take = TAKEN_AT_ONCE;
    for (int i = 0; t->end == 0 && i < RECORDS_AT_ONCE && (i == 0 || t->more); i++) {
        /* Of what may not be taken now nothing is read, or it would have to be put back. */
        size_t most = FEED_RECORD + t->may_take;
        size_t gap = feed_gap(&t->feed, p + got, n - got < most ? n - got : most);
        if (gap == 0)
            break;
        got += read_record(t, p + got, gap);
    }
    t->may_take = SIZE_MAX;
    tls_end_feed(t);
    int end = t->end;
    if (end == WIRE_AGAIN)
        t->end = 0;
    if (got == 0)
        return end;
    t->has_read = true;
    return (ssize_t)got;
}

static bool tls_has_buffered(struct wire *w)
{
    const struct tls_wire *t = tls_of(w);
    return t->end != 0 || (t->more && !w->line->want_write);
}

static bool tls_is_amid(const struct wire *w)
{
    return feed_is_amid(&tls_of(w)->feed);
}

/* The next record of IOV from byte SKIP on: where it lies, or gathered in COPY. A record that
 * the kernel did not take must be offered again with at least the same bytes; as a run of RECORD
 * bytes, or all there is, it always is. */
static size_t next_record(const struct iovec *iov, int n, size_t skip, char *copy, const char **p)
{
    size_t len = 0;
    *p = copy;
    for (int i = 0; i < n && len < RECORD; i++) {
        if (skip >= iov[i].iov_len) {
            skip -= iov[i].iov_len;
            continue;
        }
        const char *run = (const char *)iov[i].iov_base + skip;
        size_t left = iov[i].iov_len - skip;
        skip = 0;
        if (len == 0 && (left >= RECORD || i == n - 1)) {
            *p = run;
            return left < RECORD ? left : RECORD;
        }
        size_t part = left < RECORD - len ? left : RECORD - len;
        memcpy(copy + len, run, part);
        len += part;
    }
    return len;
}

/* Gives what SSL_get_error() does. Reads nothing: what comes is for tls_read(), which looks at what
 * it means before anything is written behind it. */
static int write_record(struct tls_wire *t, const char *p, size_t len, size_t *done)
{
    tls_forget_errors();
    t->may_take = 0;
    int r = SSL_write(t->ssl, p, (int)len);
    t->may_take = SIZE_MAX;
    int e = r > 0 ? SSL_ERROR_NONE : SSL_get_error(t->ssl, r);
    t->is_writing = e == SSL_ERROR_WANT_WRITE;
    if (r > 0) {
        *done += (size_t)r;
        t->n_records++;
    }
    return e;
}

static ssize_t tls_write(struct wire *w, const struct iovec *iov, int n)
{
    struct tls_wire *t = tls_of(w);
    char copy[RECORD];
    size_t done = 0;
    if (t->state == TLS_WIRE_BROKEN)
        return WIRE_FAIL;
    if (t->is_watched && t->role->is_busy(t)) {
        w->line->want_read = true;
        return WIRE_AGAIN;
    }
    for (;;) {
        const char *p;
        size_t len = next_record(iov, n, done, copy, &p);
        if (len == 0)
            return (ssize_t)done;
        int e = write_record(t, p, len, &done);
        if (e == SSL_ERROR_NONE)
            continue;
        if (e != SSL_ERROR_WANT_WRITE && e != SSL_ERROR_WANT_READ)
            return tls_write_failed(t, e);
        if (e == SSL_ERROR_WANT_READ)
            w->line->want_read = true;
        return done > 0 ? (ssize_t)done : WIRE_AGAIN;
    }
}

static int tls_handshake(struct wire *w)
{
    struct tls_wire *t = tls_of(w);
    if (t->state == TLS_WIRE_BROKEN)
        return WIRE_FAIL;
    ERR_clear_error();
    int r = SSL_do_handshake(t->ssl);
    int e = r == 1 ? SSL_ERROR_NONE : SSL_get_error(t->ssl, r);
    if (e == SSL_ERROR_NONE) {
        t->more = SSL_has_pending(t->ssl) == 1;
        if (t->role->opened != NULL && !t->role->opened(t))
            return tls_break(t);
        tls_wire_set_state(t, TLS_WIRE_OPEN);
        return 0;
    }
    if (e == SSL_ERROR_WANT_WRITE)
        w->line->want_write = true;
    if (e == SSL_ERROR_WANT_WRITE || (e == SSL_ERROR_WANT_READ && !t->below_eof))
        return WIRE_AGAIN;
    return e == SSL_ERROR_WANT_CLIENT_HELLO_CB ? WIRE_WAITS : tls_give_up(t, e);
}

static int tls_shutdown(struct wire *w)
{
    struct tls_wire *t = tls_of(w);
    if (t->state == TLS_WIRE_BROKEN)
        return 0;
    ERR_clear_error();
    int r = t->has_ended ? 0 : SSL_shutdown(t->ssl);
    if (r < 0 && SSL_get_error(t->ssl, r) == SSL_ERROR_WANT_WRITE)
        return WIRE_AGAIN;
    /* What went wrong here shows when reading ends. */
    ERR_clear_error();
    t->has_ended = true;
    return w->below->ops->shutdown(w->below);
}

/* close_notify, if the kernel takes it (RFC 8446 §6.1). */
static void tls_close(struct wire *w, bool is_well)
{
    struct tls_wire *t = tls_of(w);
    if (t->role->closed != NULL)
        t->role->closed(t);
    if (!is_well || t->state != TLS_WIRE_OPEN || t->has_ended)
        return;
    SSL_shutdown(t->ssl);
    ERR_clear_error();
}

static void tls_free(struct wire *w)
{
    struct tls_wire *t = tls_of(w);
    /* Or OpenSSL would call the session of a connection that ended without close_notify spoilt. */
    if (t->state != TLS_WIRE_BROKEN)
        SSL_set_shutdown(t->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(t->ssl);
    t->role->freed(t);
}

static const struct wire_ops tls_ops = {
    .read = tls_read,
    .write = tls_write,
    .handshake = tls_handshake,
    .shutdown = tls_shutdown,
    .has_buffered = tls_has_buffered,
    .is_amid = tls_is_amid,
    .close = tls_close,
    .free = tls_free,
};

/* ---- public ---- */

void tls_wire_init_ctx(struct ssl_ctx_st *ctx)
{
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ctx, 1);
}

void tls_wire_init(struct tls_wire *t, struct ssl_ctx_st *ctx, const struct tls_role *role)
{
    pthread_once(&method_once, make_method);
    BIO *bio = BIO_new(method);
    t->ssl = SSL_new(ctx);
    if (t->ssl == NULL || bio == NULL)
        abort();
    BIO_set_data(bio, t);
    SSL_set_bio(t->ssl, bio, bio);
    t->wire.ops = &tls_ops;
    t->role = role;
    t->may_take = SIZE_MAX;
}

struct tls_wire *tls_wire_of(const struct stream *s, const struct tls_role *role)
{
    struct tls_wire *t = s->wire->ops == &tls_ops ? tls_of(s->wire) : NULL;
    return t == NULL || role == NULL || t->role == role ? t : NULL;
}

const char *tls_wire_version(const struct stream *s)
{
    const struct tls_wire *t = tls_wire_of(s, NULL);
    return t == NULL ? "" : SSL_get_version(t->ssl);
}

void tls_wire_mute(const struct stream *s)
{
    struct tls_wire *t = tls_wire_of(s, NULL);
    if (t != NULL)
        t->has_ended = true;
}

struct str tls_wire_alpn(const struct ssl_st *ssl)
{
    const unsigned char *name = NULL;
    unsigned len = 0;
    SSL_get0_alpn_selected(ssl, &name, &len);
    return str_make((const char *)name, len);
}

int tls_wire_alert_number(unsigned long err)
{
    int number = ERR_GET_LIB(err) == ERR_LIB_SSL ? ERR_GET_REASON(err) - SSL_AD_REASON_OFFSET : -1;
    return number > 0 && number <= 255 ? number : -1;
}

/* OpenSSL's words for alerts do not know the newer ones, its words for errors begin with a
 * version. */
const char *tls_wire_alert(unsigned long err)
{
    int number = tls_wire_alert_number(err);
    if (number < 0)
        return NULL;
    const char *text = SSL_alert_desc_string_long(number);
    if (strcmp(text, "unknown") != 0)
        return text;
    text = ERR_reason_error_string(err);
    return text == NULL ? "unknown" : text;
}

bool tls_wire_starts_with(const struct tls_wire *t, const char *z)
{
    size_t n = strlen(z);
    return t->n_first >= n && memcmp(t->first, z, n) == 0;
}
