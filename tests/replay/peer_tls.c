/* SPDX-License-Identifier: Apache-2.0 */
#include "peer_tls.h"

#include <nghttp2/nghttp2.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "world.h"

enum { REQUESTS = 64, FIELDS = 32 };

/* By HTTP/2. */
struct request {
    int32_t id;
    char method[16], path[1024];
    struct fake_bytes fields, body; /* the rest of the head, as HTTP/1.1 has it */
    bool is_whole, is_answered, is_shed;
    char *answer; /* heap */
    size_t answer_len, answer_at;
};

/* Owner: its peer. */
struct peer_tls {
    struct fake_sock *sock;
    SSL *ssl;
    BIO *in, *out;
    bool is_h2, is_open;
    struct fake_bytes text; /* what has come, decrypted; by HTTP/2: the oldest request */
    bool is_client;
    struct fake_bytes early; /* of a client: goes out right behind the handshake */
    nghttp2_session *session;
    struct request requests[REQUESTS];
    unsigned n, taken, picked; /* requests; of them shown and taken; 0, or who is answered next */
};

static void add(struct fake_bytes *b, const char *p, size_t n)
{
    if (b->cap < b->len + n) {
        b->cap = 2 * (b->len + n);
        b->p = xrealloc(b->p, b->cap);
    }
    memcpy(b->p + b->len, p, n);
    b->len += n;
}

static void add_text(struct fake_bytes *b, const char *text)
{
    add(b, text, strlen(text));
}

/* ---- TLS */

static int choose_protocol(SSL *s, const unsigned char **out, unsigned char *len,
                           const unsigned char *in, unsigned in_len, void *arg);

/* Who shows a certificate. */
struct shown {
    X509 *cert;
    EVP_PKEY *key;
};

static void add_extension(X509 *cert, int nid, const char *value)
{
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    if (ext == NULL || X509_add_ext(cert, ext, -1) != 1)
        abort();
    X509_EXTENSION_free(ext);
}

/* With KEY, signed by BY; NULL: by itself. NAMES, for a server; PLACE, where BY is found. */
static struct shown make_shown(const char *cn, EVP_PKEY *key, const struct shown *by,
                               const char *names, const char *place)
{
    struct shown s = {X509_new(), key};
    X509_NAME *name = X509_get_subject_name(s.cert);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0);
    X509_set_issuer_name(s.cert, by == NULL ? name : X509_get_subject_name(by->cert));
    X509_gmtime_adj(X509_getm_notBefore(s.cert), -86400);
    X509_gmtime_adj(X509_getm_notAfter(s.cert), 86400 * 3650L);
    X509_set_pubkey(s.cert, s.key);
    X509_set_version(s.cert, X509_VERSION_3);
    if (names != NULL)
        add_extension(s.cert, NID_subject_alt_name, names);
    else
        add_extension(s.cert, NID_basic_constraints, "critical,CA:TRUE");
    if (place != NULL)
        add_extension(s.cert, NID_info_access, place);
    X509_sign(s.cert, by == NULL ? s.key : by->key, EVP_sha256());
    return s;
}

static SSL_CTX *context_of(const struct shown *s)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    SSL_CTX_use_certificate(ctx, s->cert);
    SSL_CTX_use_PrivateKey(ctx, s->key);
    SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
    return ctx;
}

/* All that is shown here; made once. `issuer` is between `root` and `lacks`, who does not show it;
 * `forged` has its key and name, and is by nobody who is known. */
static struct {
    struct shown usual, root, issuer, lacks, forged;
    SSL_CTX *ctx, *lacks_ctx;
} shown;

static int choose_shown(SSL *s, int *alert, void *arg)
{
    static const char below[] = ".lacks.safe";
    const char *name = SSL_get_servername(s, TLSEXT_NAMETYPE_host_name);
    size_t len = name == NULL ? 0 : strlen(name), n = sizeof(below) - 1;
    (void)alert;
    (void)arg;
    if (len > n && strcmp(name + len - n, below) == 0)
        SSL_set_SSL_CTX(s, shown.lacks_ctx);
    return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *make_context(void)
{
    if (shown.ctx != NULL)
        return shown.ctx;
    shown.usual = make_shown("fake", EVP_EC_gen("P-256"), NULL, "DNS:*.ca.safe", NULL);
    shown.root = make_shown("root", EVP_EC_gen("P-256"), NULL, NULL, NULL);
    shown.issuer = make_shown("issuer", EVP_EC_gen("P-256"), &shown.root, NULL, NULL);
    shown.lacks = make_shown("lacks", EVP_EC_gen("P-256"), &shown.issuer, "DNS:*.lacks.safe",
                             "caIssuers;URI:http://9.9.9.9/issuer");
    const struct shown stranger = make_shown("stranger", EVP_EC_gen("P-256"), NULL, NULL, NULL);
    shown.forged = make_shown("issuer", shown.issuer.key, &stranger, NULL, NULL);
    X509_free(stranger.cert);
    EVP_PKEY_free(stranger.key);
    shown.ctx = context_of(&shown.usual);
    shown.lacks_ctx = context_of(&shown.lacks);
    SSL_CTX_set_tlsext_servername_callback(shown.ctx, choose_shown);
    return shown.ctx;
}

static FILE *make_file(char path[32])
{
    int fd = memfd_create("pem", 0);
    FILE *f = fdopen(fd, "w");
    if (f == NULL || fchmod(fd, 0600) != 0)
        abort();
    snprintf(path, 32, "/proc/self/fd/%d", fd);
    return f;
}

const char *peer_tls_ca(void)
{
    static char path[32];
    if (path[0] != '\0')
        return path;
    FILE *f = make_file(path);
    (void)make_context();
    if (PEM_write_X509(f, shown.usual.cert) != 1 || PEM_write_X509(f, shown.root.cert) != 1 ||
        fflush(f) != 0)
        abort();
    return path;
}

const char *peer_tls_key(void)
{
    static char path[32];
    if (path[0] != '\0')
        return path;
    FILE *f = make_file(path);
    EVP_PKEY *key = SSL_CTX_get0_privatekey(make_context());
    if (PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) != 1 || fflush(f) != 0)
        abort();
    return path;
}

struct str peer_tls_issuer(bool is_forged)
{
    static unsigned char *der[2];
    static int n[2];
    (void)make_context();
    if (der[is_forged] == NULL)
        n[is_forged] = i2d_X509(is_forged ? shown.forged.cert : shown.issuer.cert, &der[is_forged]);
    return str_make((char *)der[is_forged], (size_t)n[is_forged]);
}

static int choose_protocol(SSL *s, const unsigned char **out, unsigned char *len,
                           const unsigned char *in, unsigned in_len, void *arg)
{
    static const unsigned char h2[] = "\x02h2", h1[] = "\x08http/1.1";
    const struct peer_tls *t = SSL_get_app_data(s);
    (void)arg;
    int r = SSL_select_next_proto((unsigned char **)out, len, t->is_h2 ? h2 : h1, t->is_h2 ? 3 : 9,
                                  in, in_len);
    return r == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

/* What OpenSSL has to say goes out. */
static void tls_flush(struct peer_tls *t)
{
    char some[16384];
    int n;
    while ((n = BIO_read(t->out, some, sizeof(some))) > 0)
        fake_send(t->sock, some, (size_t)n);
}

static void tls_write(struct peer_tls *t, const char *p, size_t n)
{
    if (n > 0)
        SSL_write(t->ssl, p, (int)n);
    tls_flush(t);
}

/* ---- HTTP/2 */

static struct request *request_of(struct peer_tls *t, int32_t id)
{
    for (unsigned i = 0; i < t->n; i++) {
        if (t->requests[i].id == id)
            return &t->requests[i];
    }
    return NULL;
}

static int on_begin(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct peer_tls *t = arg;
    (void)session;
    if (t->n == REQUESTS)
        abort();
    if (request_of(t, frame->hd.stream_id) == NULL)
        t->requests[t->n++].id = frame->hd.stream_id;
    return 0;
}

static int on_field(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                    size_t name_len, const uint8_t *value, size_t len, uint8_t flags, void *arg)
{
    struct request *q = request_of(arg, frame->hd.stream_id);
    const char *n = (const char *)name;
    (void)session;
    (void)flags;
    if (strcmp(n, ":method") == 0)
        snprintf(q->method, sizeof(q->method), "%.*s", (int)len, (const char *)value);
    else if (strcmp(n, ":path") == 0)
        snprintf(q->path, sizeof(q->path), "%.*s", (int)len, (const char *)value);
    if (*n == ':' || strcmp(n, "content-length") == 0)
        return 0;
    add(&q->fields, n, name_len);
    add_text(&q->fields, ": ");
    add(&q->fields, (const char *)value, len);
    add_text(&q->fields, "\r\n");
    return 0;
}

static int on_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
                    void *arg)
{
    (void)session;
    (void)flags;
    add(&request_of(arg, id)->body, (const char *)p, n);
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct request *q = request_of(arg, frame->hd.stream_id);
    (void)session;
    if (q != NULL && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0)
        q->is_whole = true;
    return 0;
}

static ssize_t read_answer(nghttp2_session *session, int32_t id, uint8_t *p, size_t max,
                           uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    struct request *q = source->ptr;
    (void)session;
    (void)id;
    (void)arg;
    size_t n = q->answer_len - q->answer_at < max ? q->answer_len - q->answer_at : max;
    memcpy(p, q->answer + q->answer_at, n);
    q->answer_at += n;
    if (q->answer_at == q->answer_len)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static void h2_start(struct peer_tls *t)
{
    nghttp2_session_callbacks *c;
    nghttp2_session_callbacks_new(&c);
    nghttp2_session_callbacks_set_on_begin_headers_callback(c, on_begin);
    nghttp2_session_callbacks_set_on_header_callback(c, on_field);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, on_chunk);
    nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame);
    nghttp2_session_server_new(&t->session, c, t);
    nghttp2_session_callbacks_del(c);
    nghttp2_submit_settings(t->session, NGHTTP2_FLAG_NONE, NULL, 0);
}

static void h2_flush(struct peer_tls *t)
{
    struct fake_bytes all = {0};
    const uint8_t *p;
    ssize_t n;
    while ((n = nghttp2_session_mem_send(t->session, &p)) > 0)
        add(&all, (const char *)p, (size_t)n);
    tls_write(t, all.p, all.len);
    free(all.p);
}

static struct request *next_unanswered(struct peer_tls *t)
{
    if (t->picked > 0 && t->picked <= t->n)
        return &t->requests[t->picked - 1];
    for (unsigned i = 0; i < t->n; i++) {
        if (!t->requests[i].is_answered)
            return &t->requests[i];
    }
    return NULL;
}

static nghttp2_nv pair(struct str name, struct str value)
{
    return (nghttp2_nv){(uint8_t *)name.p, (uint8_t *)value.p, name.len, value.len, 0};
}

/* ANSWER is whole, as HTTP/1.1 has it. */
static void h2_answer(struct peer_tls *t, struct str answer)
{
    nghttp2_nv nv[FIELDS];
    char names[FIELDS][64];
    struct message m = message_read(answer, false, true);
    struct request *q = next_unanswered(t);
    struct str rest = m.head, line, name;
    size_t n = 1;
    t->picked = 0;
    if (q == NULL || !m.is_whole)
        abort();
    nv[0] = pair(STR(":status"), str_make(m.start.p + 9, 3));
    (void)str_next_part(&rest, '\n', &line);
    while (n < FIELDS && str_next_part(&rest, '\n', &line) && line.len > 1) {
        line.len--;
        const char *colon = memchr(line.p, ':', line.len);
        name = str_make(line.p, (size_t)(colon - line.p));
        for (size_t i = 0; i < name.len && i < sizeof(names[n]); i++)
            names[n][i] = (char)(name.p[i] | 0x20);
        names[n][name.len] = '\0';
        struct str value = str_trim(str_make(colon + 1, line.len - name.len - 1));
        nv[n] = pair(str_make(names[n], name.len), value);
        n++;
    }
    q->is_answered = true;
    q->answer = xmalloc(m.body.len + 1);
    q->answer_len = m.body.len;
    memcpy(q->answer, m.body.p, m.body.len);
    nghttp2_data_provider data = {.source.ptr = q, .read_callback = read_answer};
    nghttp2_submit_response(t->session, q->id, nv, n, m.body.len > 0 ? &data : NULL);
    h2_flush(t);
}

/* Who would be answered next is refused. */
static void h2_shed(struct peer_tls *t)
{
    struct request *q = next_unanswered(t);
    t->picked = 0;
    if (q == NULL)
        abort();
    q->is_answered = q->is_shed = true;
    nghttp2_submit_rst_stream(t->session, NGHTTP2_FLAG_NONE, q->id, NGHTTP2_REFUSED_STREAM);
}

/* The oldest request that was not shown yet becomes the text; not one that was refused before all
 * of it had come. */
static void h2_show(struct peer_tls *t)
{
    char line[1200];
    while (t->taken < t->n && t->requests[t->taken].is_shed && !t->requests[t->taken].is_whole)
        t->taken++;
    struct request *q = &t->requests[t->taken];
    if (t->text.from < t->text.len || t->taken == t->n || !q->is_whole)
        return;
    t->taken++;
    t->text.from = t->text.len = 0;
    snprintf(line, sizeof(line), "%s %s HTTP/2\r\n", q->method, q->path);
    add_text(&t->text, line);
    add(&t->text, q->fields.p == NULL ? "" : q->fields.p, q->fields.len);
    snprintf(line, sizeof(line), "content-length: %zu\r\n\r\n", q->body.len);
    add_text(&t->text, q->body.len > 0 ? line : "\r\n");
    add(&t->text, q->body.p == NULL ? "" : q->body.p, q->body.len);
}

/* "resumed" a session, or "shook" hands in full. */
static bool has_shaken(struct peer_tls *t, const char *how)
{
    bool is_resumed = SSL_session_reused(t->ssl) == 1;
    return t->is_open && strcmp(how, is_resumed ? "resumed" : "shook") == 0;
}

bool peer_tls_plays(struct peer_tls *t, const char *verb, const char *rest)
{
    if (has_shaken(t, verb))
        return true;
    if (!t->is_h2 || t->session == NULL)
        return false;
    unsigned long n = strtoul(rest, NULL, 10);
    const char *text = NULL;
    for (unsigned long i = 0; strcmp(verb, "pings") == 0 && i < n; i++)
        nghttp2_submit_ping(t->session, NGHTTP2_FLAG_NONE, NULL);
    if (strcmp(verb, "pings") == 0)
        h2_flush(t);
    else if (strcmp(verb, "picks") == 0)
        t->picked = (unsigned)n;
    else if (strcmp(verb, "goaway") == 0 && (text = strchr(rest, ' ')) != NULL)
        nghttp2_submit_goaway(t->session, NGHTTP2_FLAG_NONE, (int32_t)n, 0,
                              (const uint8_t *)text + 1, strlen(text + 1));
    else if (strcmp(verb, "sheds") == 0)
        h2_shed(t);
    else
        return false;
    h2_flush(t);
    return true;
}

/* ---- life */

struct peer_tls *peer_tls_new(struct fake_sock *s, bool is_h2)
{
    struct peer_tls *t = xcalloc(1, sizeof(*t));
    t->sock = s;
    t->is_h2 = is_h2;
    t->ssl = SSL_new(make_context());
    t->in = BIO_new(BIO_s_mem());
    t->out = BIO_new(BIO_s_mem());
    SSL_set_bio(t->ssl, t->in, t->out);
    SSL_set_accept_state(t->ssl);
    SSL_set_app_data(t->ssl, t);
    if (is_h2)
        h2_start(t);
    return t;
}

struct peer_tls *peer_tls_new_client(struct fake_sock *s)
{
    static SSL_CTX *ctx;
    struct peer_tls *t = xcalloc(1, sizeof(*t));
    if (ctx == NULL)
        ctx = SSL_CTX_new(TLS_client_method());
    t->sock = s;
    t->is_client = true;
    t->ssl = SSL_new(ctx);
    t->in = BIO_new(BIO_s_mem());
    t->out = BIO_new(BIO_s_mem());
    SSL_set_bio(t->ssl, t->in, t->out);
    SSL_set_connect_state(t->ssl);
    SSL_do_handshake(t->ssl);
    return t;
}

void peer_tls_shake(struct peer_tls *t, size_t n)
{
    char some[16384];
    int got = BIO_read(t->out, some, (int)(n < sizeof(some) ? n : sizeof(some)));
    if (got > 0)
        fake_send(t->sock, some, (size_t)got);
}

bool peer_tls_is_whole(const struct peer_tls *t)
{
    return !t->is_client || (SSL_get_shutdown(t->ssl) & SSL_RECEIVED_SHUTDOWN) != 0;
}

void peer_tls_free(struct peer_tls *t)
{
    if (t == NULL)
        return;
    for (unsigned i = 0; i < t->n; i++) {
        free(t->requests[i].fields.p);
        free(t->requests[i].body.p);
        free(t->requests[i].answer);
    }
    nghttp2_session_del(t->session);
    SSL_free(t->ssl);
    free(t->text.p);
    free(t->early.p);
    free(t);
}

void peer_tls_send(struct peer_tls *t, const char *text, size_t n)
{
    if (t->is_h2)
        h2_answer(t, str_make(text, n));
    else if (t->is_client && !t->is_open)
        add(&t->early, text, n);
    else
        tls_write(t, text, n);
}

void peer_tls_end(struct peer_tls *t)
{
    SSL_shutdown(t->ssl);
    tls_flush(t);
}

bool peer_tls_turn(struct peer_tls *t)
{
    char some[16384];
    int n;
    struct str got = fake_got(t->sock);
    if (got.len == 0)
        return false;
    BIO_write(t->in, got.p, (int)got.len);
    fake_take(t->sock, got.len);
    while ((n = SSL_read(t->ssl, some, sizeof(some))) > 0) {
        if (!t->is_h2)
            add(&t->text, some, (size_t)n);
        else if (nghttp2_session_mem_recv(t->session, (const uint8_t *)some, (size_t)n) < 0)
            abort();
        if (t->is_h2)
            h2_flush(t);
    }
    if (!t->is_open && SSL_is_init_finished(t->ssl)) {
        t->is_open = true;
        if (t->is_h2)
            h2_flush(t);
        if (t->early.len > 0)
            SSL_write(t->ssl, t->early.p, (int)t->early.len);
    }
    tls_flush(t);
    return true;
}

struct str peer_tls_got(struct peer_tls *t)
{
    if (t->is_h2)
        h2_show(t);
    size_t n = t->text.len - t->text.from;
    return n == 0 ? STR("") : str_make(t->text.p + t->text.from, n);
}

void peer_tls_take(struct peer_tls *t, size_t n)
{
    t->text.from += n;
}
