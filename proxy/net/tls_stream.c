/* SPDX-License-Identifier: Apache-2.0 */
/* OpenSSL beneath a stream. A BIO of our own does recv() and send(): it remembers a short read,
 * so that OpenSSL's next look for more costs no system call, and the first bytes, so that a port
 * that speaks plain HTTP can be named. OpenSSL's callbacks only record. */
#include "net/tls_stream.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>

#include "net/tls_asked.h"
#include "net/tls_verify.h"

enum {
    RECORD = 16 * 1024,           /* the most bytes of one record (RFC 8446 §5.1) */
    STREAMING_BUFFER = 64 * 1024, /* OpenSSL's read buffer while a body streams; else a record */
    STREAMING_TURNS = 8,          /* short reads until streaming is taken to be over */
    RECORDS_AT_ONCE = 64,         /* taken by one read: small ones cost as much as large ones */
    WIRE_AT_ONCE = 64 * 1024,     /* bytes after which it asks for no more: tickets give us none */
    FIRST_BYTES = 5
};

struct tls {
    struct stream s; /* first: the reaper frees from its start */
    SSL *ssl;
    char *name; /* terminated, owned */
    size_t name_len;
    char *where; /* terminated, owned */
    struct tls_resume resume;
    struct tls_asked asked;
    bool verify;
    bool bio_eof;  /* the socket has ended */
    bool more;     /* OpenSSL may have bytes for us without a look at the socket */
    bool broken;   /* a fatal error: OpenSSL must not be called again */
    int end;       /* EOF or FAIL that waits for the bytes before it to be delivered; 0: none */
    int bio_errno; /* of the last system call that failed */
    size_t wire;   /* bytes that the read under way may still ask for; elsewhere SIZE_MAX */
    int streaming; /* > 0: the large read buffer is in use; counts down */
    unsigned n_records; /* written behind the handshake */
    enum tls_refusal refusal;
    unsigned n_first;
    char first[FIRST_BYTES];
};

static struct tls *tls_of(const struct stream *s)
{
    return container_of(s, struct tls, s);
}

/* ---- BIO ---- */

static BIO_METHOD *method;
static pthread_once_t method_once = PTHREAD_ONCE_INIT;

static void note_first(struct tls *t, const char *p, size_t n)
{
    while (n > 0 && t->n_first < FIRST_BYTES) {
        t->first[t->n_first++] = *p++;
        n--;
    }
}

/* A read that fills OpenSSL's whole buffer means that there is more than a record to come: the next
 * buffer that it allocates is larger. */
static void note_streaming(struct tls *t, bool full)
{
    if (full && t->streaming == 0)
        SSL_set_default_read_buffer_len(t->ssl, STREAMING_BUFFER);
    if (full)
        t->streaming = STREAMING_TURNS;
    else if (t->streaming > 0 && --t->streaming == 0)
        SSL_set_default_read_buffer_len(t->ssl, 0);
}

static int bio_read(BIO *b, char *p, int n)
{
    struct tls *t = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    if (t->bio_eof || n <= 0)
        return 0;
    if (t->s.drained || t->wire == 0) {
        BIO_set_retry_read(b);
        return -1;
    }
    ssize_t got = recv(t->s.fd, p, (size_t)n, 0);
    if (got > 0) {
        t->s.drained = got < n;
        t->wire -= (size_t)got < t->wire ? (size_t)got : t->wire;
        note_first(t, p, (size_t)got);
        note_streaming(t, got == n && n >= RECORD / 2);
        return (int)got;
    }
    if (got == 0) {
        t->bio_eof = true;
        return 0;
    }
    if (errno == EAGAIN || errno == EINTR) {
        t->s.drained = true;
        BIO_set_retry_read(b);
        return -1;
    }
    t->bio_errno = errno;
    return -1;
}

static int bio_write(BIO *b, const char *p, int n)
{
    struct tls *t = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    ssize_t done = send(t->s.fd, p, (size_t)n, MSG_NOSIGNAL);
    if (done >= 0)
        return (int)done;
    if (errno == EAGAIN || errno == EINTR)
        BIO_set_retry_write(b);
    else
        t->bio_errno = errno;
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
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");
    if (method == NULL)
        abort();
    BIO_meth_set_read(method, bio_read);
    BIO_meth_set_write(method, bio_write);
    BIO_meth_set_ctrl(method, bio_ctrl);
    BIO_meth_set_create(method, bio_create);
}

/* ---- faults ---- */

static bool starts_with(const struct tls *t, const char *z)
{
    size_t n = strlen(z);
    return t->n_first >= n && memcmp(t->first, z, n) == 0;
}

/* A status line, or a page of an HTTP/0.9 server. */
static bool speaks_http(const struct tls *t)
{
    return starts_with(t, "HTTP/") || starts_with(t, "<!") || starts_with(t, "<h") ||
           starts_with(t, "<H");
}

/* OpenSSL's words for alerts do not know the newer ones, its words for errors begin with a
 * version. */
static const char *alert_text(unsigned long err)
{
    const char *text = SSL_alert_desc_string_long(ERR_GET_REASON(err) - SSL_AD_REASON_OFFSET);
    if (strcmp(text, "unknown") != 0)
        return text;
    text = ERR_reason_error_string(err);
    return text == NULL ? "unknown" : text;
}

static void set_protocol_fault(struct tls *t, unsigned long err)
{
    struct stream *s = &t->s;
    const char *where = t->where;
    int reason = ERR_GET_REASON(err);
    if (s->state == STREAM_HANDSHAKE && speaks_http(t)) {
        stream_set_fault(s, FAULT_TLS_PROTOCOL,
                         "%s speaks plain HTTP, not TLS; if that is right, allow it with "
                         "upgrade = off in a rule for this host",
                         where);
        s->fault->phrase = "No TLS at %s, which speaks plain HTTP";
        return;
    }
    bool is_ssl = ERR_GET_LIB(err) == ERR_LIB_SSL;
    if (is_ssl && reason > SSL_AD_REASON_OFFSET && reason <= SSL_AD_REASON_OFFSET + 255) {
        stream_set_fault(s, FAULT_TLS_ALERT, "%s refused TLS with the alert \"%s\"", where,
                         alert_text(err));
        if (reason == SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED)
            s->fault->phrase = "Client certificate wanted by %s";
        return;
    }
    if (is_ssl && (reason == SSL_R_UNSUPPORTED_PROTOCOL || reason == SSL_R_WRONG_SSL_VERSION)) {
        stream_set_fault(s, FAULT_TLS_PROTOCOL,
                         "%s speaks no version of TLS that min_version allows", where);
        s->fault->phrase = "TLS of %s is older than min_version";
        return;
    }
    const char *text = ERR_reason_error_string(err);
    stream_set_fault(s, FAULT_TLS_PROTOCOL, "TLS with %s failed: %s", where,
                     text == NULL ? "unknown reason" : text);
}

/* Records why OpenSSL gave up. Gives FAIL. */
static int record_fault(struct tls *t, int ssl_error)
{
    struct fault f;
    /* The first error is the cause, what follows tells where it was noticed. */
    unsigned long err = ERR_peek_error();
    struct str name = str_make(t->name, t->name_len);
    t->broken = true;
    bool is_shaking = t->s.state == STREAM_HANDSHAKE || t->asked.is_shaking;
    /* By TLS 1.2 a server hears the end of a resumed handshake only when we have it behind us. */
    bool is_new = t->asked.is_shaking || (t->resume.offered && t->s.bytes_in == 0);
    if (ssl_error == SSL_ERROR_SSL && is_new) {
        tls_resume_fail(&t->resume);
        if (!is_shaking && !t->asked.is_used) /* what was asked for behind a request was read */
            t->refusal = tls_resume_judge(t->ssl, err, t->n_records);
    }
    if ((is_shaking && t->verify && tls_verify_fault(&f, t->ssl, name)) ||
        tls_asked_fault(&t->asked, &f, t->where))
        stream_copy_fault(&t->s, &f);
    else if (ssl_error == SSL_ERROR_SSL && err != 0)
        set_protocol_fault(t, err);
    else if (t->s.state == STREAM_HANDSHAKE)
        stream_set_fault(&t->s, FAULT_UP_CLOSED,
                         "%s closed the connection during the TLS handshake", t->where);
    else
        stream_set_errno(&t->s, t->bio_errno == 0 ? EPIPE : t->bio_errno);
    ERR_clear_error();
    return STREAM_FAIL;
}

/* A failed write does not keep OpenSSL from reading what has come, unless it was its own fault. */
static int record_write_fault(struct tls *t, int ssl_error)
{
    if (ssl_error != SSL_ERROR_SYSCALL)
        return record_fault(t, ssl_error);
    stream_set_errno(&t->s, t->bio_errno == 0 ? EPIPE : t->bio_errno);
    ERR_clear_error();
    return STREAM_FAIL;
}

/* ---- stream_ops ---- */

/* What a call of SSL_read() that gave nothing but the error E means. */
static int read_result(struct tls *t, int e)
{
    t->more = false;
    switch (e) {
    case SSL_ERROR_WANT_READ:
        if (!t->bio_eof)
            return STREAM_AGAIN;
        break;
    case SSL_ERROR_WANT_WRITE:
        t->more = true;
        t->s.want_write = true;
        return STREAM_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        t->s.eof_clean = true;
        return STREAM_EOF;
    default:
        break;
    }
    if (e == SSL_ERROR_SSL || !t->bio_eof)
        return record_fault(t, e);
    t->s.eof_clean = false;
    return STREAM_EOF;
}

/* What was asked of OpenSSL is not taken for granted. */
static int finish_handshake(struct tls *t)
{
    struct fault f;
    t->more = SSL_has_pending(t->ssl) == 1;
    if (!t->verify || tls_verify_check(&f, t->ssl, str_make(t->name, t->name_len)))
        return 0;
    t->broken = true;
    tls_resume_fail(&t->resume);
    stream_copy_fault(&t->s, &f);
    return STREAM_FAIL;
}

/* A renegotiation changes nothing about who the server is: its certificate is the same, and is
 * judged again. False when it is not; then nothing that has come counts. */
static bool may_go_on(struct tls *t)
{
    switch (tls_asked_look(&t->asked, t->ssl)) {
    case TLS_ASKED_NOTHING:
        return true;
    case TLS_ASKED_DONE:
        return finish_handshake(t) == 0;
    case TLS_ASKED_FAULT:
        break;
    }
    tls_resume_fail(&t->resume);
    record_fault(t, SSL_ERROR_NONE);
    return false;
}

/* Fills P from as many records as there are, so that a body leaves in few writes; but from no more
 * than others can wait for. What is left is read in a later call, if need be in a later turn. */
static ssize_t tls_read(struct stream *s, char *p, size_t n)
{
    struct tls *t = tls_of(s);
    size_t got = 0;
    if (t->end == 0 && t->broken)
        return STREAM_FAIL;
    t->wire = WIRE_AT_ONCE;
    for (int i = 0; t->end == 0 && got < n && i < RECORDS_AT_ONCE; i++) {
        ERR_clear_error();
        int r = SSL_read(t->ssl, p + got, n - got < INT32_MAX ? (int)(n - got) : INT32_MAX);
        int e = r > 0 ? SSL_ERROR_NONE : SSL_get_error(t->ssl, r);
        if (t->asked.may_renegotiate && e != SSL_ERROR_SSL && !may_go_on(t)) {
            t->end = STREAM_FAIL;
        } else if (r > 0) {
            got += (size_t)r;
            t->more = true;
        } else {
            t->end = read_result(t, e);
        }
    }
    t->wire = SIZE_MAX;
    if (got > 0) {
        if (t->end == STREAM_AGAIN)
            t->end = 0;
        return (ssize_t)got;
    }
    int end = t->end;
    if (end == STREAM_AGAIN)
        t->end = 0;
    return end;
}

static bool tls_has_buffered(struct stream *s)
{
    const struct tls *t = tls_of(s);
    return t->end != 0 || (t->more && !t->s.want_write);
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
static int write_record(struct tls *t, const char *p, size_t len, size_t *done)
{
    ERR_clear_error();
    t->wire = 0;
    int r = SSL_write(t->ssl, p, (int)len);
    t->wire = SIZE_MAX;
    int e = r > 0 ? SSL_ERROR_NONE : SSL_get_error(t->ssl, r);
    t->asked.is_writing = e == SSL_ERROR_WANT_WRITE;
    if (r > 0) {
        *done += (size_t)r;
        t->n_records++;
    }
    return e;
}

static bool is_renegotiating(const struct tls *t)
{
    return t->asked.is_shaking && SSL_in_init(t->ssl);
}

static ssize_t tls_write(struct stream *s, const struct iovec *iov, int n)
{
    struct tls *t = tls_of(s);
    char copy[RECORD];
    size_t done = 0;
    if (t->broken)
        return STREAM_FAIL;
    s->want_read = is_renegotiating(t);
    while (!s->want_read) {
        const char *p;
        size_t len = next_record(iov, n, done, copy, &p);
        if (len == 0)
            return (ssize_t)done;
        int e = write_record(t, p, len, &done);
        if (e == SSL_ERROR_WANT_WRITE)
            break;
        if (e != SSL_ERROR_NONE && e != SSL_ERROR_WANT_READ)
            return record_write_fault(t, e);
        s->want_read = e == SSL_ERROR_WANT_READ;
    }
    return done > 0 ? (ssize_t)done : STREAM_AGAIN;
}

static int tls_handshake(struct stream *s)
{
    struct tls *t = tls_of(s);
    if (t->broken)
        return STREAM_FAIL;
    ERR_clear_error();
    int r = SSL_connect(t->ssl);
    if (r == 1) {
        tls_asked_open(&t->asked, t->ssl);
        return finish_handshake(t);
    }
    int e = SSL_get_error(t->ssl, r);
    if (e == SSL_ERROR_WANT_READ && !t->bio_eof)
        return STREAM_AGAIN;
    if (e == SSL_ERROR_WANT_WRITE) {
        s->want_write = true;
        return STREAM_AGAIN;
    }
    if (t->resume.offered)
        tls_resume_fail(&t->resume);
    return record_fault(t, e);
}

static int tls_shutdown(struct stream *s)
{
    struct tls *t = tls_of(s);
    if (t->broken)
        return 0;
    ERR_clear_error();
    int r = SSL_shutdown(t->ssl);
    if (r < 0 && SSL_get_error(t->ssl, r) == SSL_ERROR_WANT_WRITE)
        return STREAM_AGAIN;
    /* What went wrong here shows when reading ends. */
    ERR_clear_error();
    shutdown(s->fd, SHUT_WR);
    return 0;
}

/* close_notify, if the kernel takes it (RFC 8446 §6.1). */
static void tls_close(struct stream *s)
{
    struct tls *t = tls_of(s);
    bool can = s->state != STREAM_HANDSHAKE && s->fault == NULL && !s->failed && !t->broken;
    tls_resume_end(&t->resume, t->ssl);
    if (!can || s->ended || s->out != NULL)
        return;
    SSL_shutdown(t->ssl);
    ERR_clear_error();
}

static void tls_free(struct stream *s)
{
    struct tls *t = tls_of(s);
    /* Or OpenSSL would call the session of a connection that ended without close_notify spoilt. */
    if (!t->broken)
        SSL_set_shutdown(t->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(t->ssl);
    tls_asked_clear(&t->asked);
    free(t->name);
    free(t->where);
}

static const struct stream_ops tls_ops = {
    .read = tls_read,
    .write = tls_write,
    .handshake = tls_handshake,
    .shutdown = tls_shutdown,
    .has_buffered = tls_has_buffered,
    .close = tls_close,
    .free = tls_free,
};

/* ---- public ---- */

static SSL *new_ssl(struct tls *t, const struct tls_ctx *ctx)
{
    pthread_once(&method_once, make_method);
    SSL *ssl = SSL_new(tls_ctx_ssl(ctx));
    BIO *bio = BIO_new(method);
    if (ssl == NULL || bio == NULL)
        abort();
    BIO_set_data(bio, t);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_connect_state(ssl);
    return ssl;
}

/* The context offers HTTP/1.1 alone. */
static void offer_h2(SSL *ssl)
{
    static const unsigned char both[] = "\x02h2\x08http/1.1";
    /* 0 is success here. */
    if (SSL_set_alpn_protos(ssl, both, sizeof(both) - 1) != 0)
        abort();
}

/* SNI and what is verified. False when the name cannot be used. */
static bool set_name(struct tls *t, const struct tls_peer *peer)
{
    if (!peer->is_ip && SSL_set_tlsext_host_name(t->ssl, t->name) != 1)
        return false;
    if (peer->verify)
        return tls_verify_setup(t->ssl, peer->name, peer->is_ip);
    SSL_set_verify(t->ssl, SSL_VERIFY_NONE, NULL);
    return true;
}

struct stream *tls_stream_new(struct loop *l, int fd, const struct addr *addr,
                              const struct tls_peer *peer)
{
    struct tls *t = xcalloc(1, sizeof(*t));
    stream_init(&t->s, l, fd, addr, &tls_ops);
    t->name = xstrndup(peer->name.p, peer->name.len);
    t->name_len = peer->name.len;
    t->where = xstrndup(peer->where.p, peer->where.len);
    t->verify = peer->verify;
    t->wire = SIZE_MAX;
    t->resume = (struct tls_resume){.kept = peer->sessions, .verify = peer->verify};
    t->ssl = new_ssl(t, peer->ctx);
    tls_asked_init(&t->asked, t->ssl);
    if (peer->http2)
        offer_h2(t->ssl);
    if (!set_name(t, peer)) {
        char name[256];
        stream_set_fault(&t->s, FAULT_TLS_CERTIFICATE, "\"%s\" cannot be the name of a TLS server",
                         str_escape(name, sizeof(name), peer->name));
        t->s.fault->phrase = "No TLS server can have the name %s";
        t->broken = true;
        ERR_clear_error();
        return &t->s;
    }
    tls_resume_start(&t->resume, t->ssl, !peer->fresh);
    return &t->s;
}

const char *tls_stream_version(const struct stream *s)
{
    return s->ops == &tls_ops ? SSL_get_version(tls_of(s)->ssl) : "";
}

bool tls_stream_is_h2(const struct stream *s)
{
    const unsigned char *name = NULL;
    unsigned len = 0;
    if (s->ops == &tls_ops)
        SSL_get0_alpn_selected(tls_of(s)->ssl, &name, &len);
    return len == 2 && memcmp(name, "h2", 2) == 0;
}

bool tls_stream_is_resumed(const struct stream *s)
{
    return s->ops == &tls_ops && SSL_session_reused(tls_of(s)->ssl) == 1;
}

void tls_stream_begin_request(struct stream *s)
{
    if (s->ops == &tls_ops && tls_of(s)->asked.has_cert)
        tls_asked_allow(&tls_of(s)->asked, tls_of(s)->ssl);
}

bool tls_stream_has_offered(const struct stream *s)
{
    return s->ops == &tls_ops && tls_of(s)->resume.offered;
}

enum tls_refusal tls_stream_refusal(const struct stream *s)
{
    return s->ops == &tls_ops ? tls_of(s)->refusal : TLS_REFUSED_NOT;
}

void tls_stream_spoil(struct stream *s)
{
    if (tls_stream_has_offered(s))
        tls_resume_fail(&tls_of(s)->resume);
}

int64_t tls_stream_expiry(const struct stream *s)
{
    return s->ops == &tls_ops ? tls_verify_expiry(SSL_get0_peer_certificate(tls_of(s)->ssl)) : 0;
}
