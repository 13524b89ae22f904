/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor over HTTP/2: the requests of a worker's clients are streams of one connection. nghttp2
 * does the framing. Of a request only the method, the path, the length of its body and whether it
 * is the last one are looked at, of an answer the status and the length. A client that pipelines is
 * closed.
 */
#include "floor.h"

#include <errno.h>
#include <fcntl.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define STREAM_WINDOW  (256 * 1024)
#define SESSION_WINDOW (16 * 1024 * 1024)
#define MAX_HEAD       4096

/* A client, with the one request it may have under way. */
struct asker {
    struct end end;
    bool dead, dirty, under_way, closes;
    struct asker *next;       /* of those that are free, or dead */
    struct asker *next_dirty; /* of those with something to write */
    int32_t stream;
    uint64_t body_unread, body_unsent; /* of the request: by us from the client, to the origin */
    size_t in_len;                     /* bytes in in[]: of a head, then of a body */
    struct rest out;
    char status[4], length[24]; /* of the answer */
    char head[MAX_HEAD];        /* of the request: nghttp2 does not copy what it sends of it */
    char in[FLOOR_CHUNK], out_bytes[STREAM_WINDOW + MAX_HEAD];
};

/* The connection to the origin of one worker, and the worker's clients. */
struct origin {
    struct end end;
    SSL *ssl; /* NULL: none */
    nghttp2_session *session;
    bool failed;
    struct rest out;
    struct asker *free, *dead, *dirty;
    unsigned used;
    char authority[300];
    char out_bytes[FLOOR_CHUNK + FLOOR_RECORD + 16];
    struct asker all[FLOOR_CLIENTS];
};

static struct origin origins[FLOOR_WORKERS];
static unsigned origins_used;

static void origins_begin(struct worker *worker)
{
    struct origin *origin = &origins[__atomic_fetch_add(&origins_used, 1, __ATOMIC_RELAXED)];
    snprintf(origin->authority, sizeof(origin->authority), "%s:%u", worker->floor->name,
             worker->floor->origin_port);
    worker->state = origin;
}

static void asker_make_dirty(struct origin *origin, struct asker *asker)
{
    if (asker->dirty)
        return;
    asker->dirty = true;
    asker->next_dirty = origin->dirty;
    origin->dirty = asker;
}

static void asker_end(struct origin *origin, struct asker *asker)
{
    if (asker->dead)
        return;
    if (asker->under_way && origin->session != NULL) {
        nghttp2_session_set_stream_user_data(origin->session, asker->stream, NULL);
        nghttp2_submit_rst_stream(origin->session, NGHTTP2_FLAG_NONE, asker->stream,
                                  NGHTTP2_CANCEL);
    }
    asker->dead = true;
    close(asker->end.fd);
    asker->next = origin->dead;
    origin->dead = asker;
}

/* ---- what nghttp2 calls */

static struct asker *asker_of(nghttp2_session *session, int32_t stream)
{
    return nghttp2_session_get_stream_user_data(session, stream);
}

static void copy_field(char *to, size_t size, const uint8_t *value, size_t len)
{
    size_t n = len < size - 1 ? len : size - 1;
    memcpy(to, value, n);
    to[n] = '\0';
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t len, uint8_t flags, void *data)
{
    (void)flags, (void)data;
    struct asker *asker = asker_of(session, frame->hd.stream_id);
    if (asker == NULL)
        return 0;
    if (name_len == 7 && memcmp(name, ":status", 7) == 0)
        copy_field(asker->status, sizeof(asker->status), value, len);
    else if (name_len == 14 && memcmp(name, "content-length", 14) == 0)
        copy_field(asker->length, sizeof(asker->length), value, len);
    return 0;
}

static char *append(char *to, const char *text)
{
    return stpcpy(to, text);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
    struct asker *asker = asker_of(session, frame->hd.stream_id);
    if (asker == NULL || frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    char *to = asker->out_bytes + asker->out.at + asker->out.len, *from = to;
    to = append(append(append(to, "HTTP/1.1 "), asker->status), " OK\r\n");
    if (asker->length[0] != '\0')
        to = append(append(append(to, "Content-Length: "), asker->length), "\r\n");
    to = append(to, "\r\n");
    asker->out.len += (size_t)(to - from);
    asker_make_dirty(data, asker);
    return 0;
}

/* The stream's window is not wider than the buffer. */
static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *from,
                   size_t len, void *data)
{
    (void)flags;
    struct asker *asker = asker_of(session, stream);
    if (asker == NULL)
        return nghttp2_session_consume(session, stream, len);
    if (asker->out.at + asker->out.len + len > sizeof(asker->out_bytes)) {
        memmove(asker->out_bytes, asker->out_bytes + asker->out.at, asker->out.len);
        asker->out.at = 0;
    }
    memcpy(asker->out_bytes + asker->out.at + asker->out.len, from, len);
    asker->out.len += len;
    asker_make_dirty(data, asker);
    return 0;
}

static int on_close(nghttp2_session *session, int32_t stream, uint32_t error, void *data)
{
    struct asker *asker = asker_of(session, stream);
    if (asker == NULL)
        return 0;
    asker->under_way = false;
    asker_make_dirty(data, asker);
    if (error != 0 || asker->body_unread > 0)
        asker_end(data, asker);
    return 0;
}

static ssize_t on_upload(nghttp2_session *session, int32_t stream, uint8_t *to, size_t room,
                         uint32_t *flags, nghttp2_data_source *source, void *data)
{
    (void)session, (void)stream;
    struct asker *asker = source->ptr;
    size_t n = asker->in_len < room ? asker->in_len : room;
    if (n == 0)
        return NGHTTP2_ERR_DEFERRED;
    memcpy(to, asker->in, n);
    asker->in_len -= n;
    memmove(asker->in, asker->in + n, asker->in_len);
    asker->body_unsent -= n;
    if (asker->body_unsent == 0)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    asker_make_dirty(data, asker); /* there is room for more */
    return (ssize_t)n;
}

/* ---- the connection to the origin */

static void origin_close(struct origin *origin)
{
    for (unsigned i = 0; i < origin->used; i++) {
        if (!origin->all[i].dead && origin->all[i].under_way)
            asker_end(origin, &origin->all[i]);
    }
    nghttp2_session_del(origin->session);
    close(SSL_get_fd(origin->ssl));
    SSL_free(origin->ssl);
    origin->session = NULL;
    origin->ssl = NULL;
    origin->failed = false;
    origin->out = (struct rest){0};
}

static void origin_make_session(struct origin *origin)
{
    static const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
    };
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    if (nghttp2_session_callbacks_new(&callbacks) != 0 || nghttp2_option_new(&option) != 0)
        die("out of memory");
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_no_http_messaging(option, 1);
    if (nghttp2_session_client_new2(&origin->session, callbacks, origin, option) != 0)
        die("out of memory");
    nghttp2_submit_settings(origin->session, NGHTTP2_FLAG_NONE, settings, 2);
    nghttp2_session_set_local_window_size(origin->session, NGHTTP2_FLAG_NONE, 0, SESSION_WINDOW);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(option);
}

/* Everybody waits for the handshake: it is one for the whole run. */
static bool origin_shake_hands(SSL *ssl)
{
    int flags = fcntl(SSL_get_fd(ssl), F_GETFL);
    fcntl(SSL_get_fd(ssl), F_SETFL, flags & ~O_NONBLOCK);
    const unsigned char *protocol = NULL;
    unsigned len = 0;
    bool good = SSL_do_handshake(ssl) == 1;
    fcntl(SSL_get_fd(ssl), F_SETFL, flags);
    SSL_get0_alpn_selected(ssl, &protocol, &len);
    return good && len == 2;
}

static void origin_event(struct worker *worker, struct end *end, uint32_t events);

static bool origin_open(struct worker *worker, struct origin *origin)
{
    if (origin->ssl != NULL)
        return true;
    SSL *ssl = origin_connect(worker);
    if (ssl == NULL)
        return false;
    if (!origin_shake_hands(ssl)) {
        close(SSL_get_fd(ssl));
        SSL_free(ssl);
        return false;
    }
    origin->ssl = ssl;
    origin->end = (struct end){.handle = origin_event, .fd = SSL_get_fd(ssl)};
    end_add(worker, &origin->end, EPOLLIN);
    origin_make_session(origin);
    return true;
}

/* Writes what is left of the last time; false: not all of it was taken. */
static bool origin_write(struct worker *worker, struct origin *origin)
{
    struct rest *out = &origin->out;
    while (out->len > 0) {
        size_t n;
        if (SSL_write_ex(origin->ssl, origin->out_bytes + out->at, out->len, &n) != 1) {
            origin->failed = SSL_get_error(origin->ssl, 0) != SSL_ERROR_WANT_WRITE;
            break;
        }
        out->at += n;
        out->len -= n;
    }
    end_watch(worker, &origin->end, EPOLLIN | (out->len > 0 ? EPOLLOUT : 0));
    return out->len == 0;
}

/* The frames of this turn, in as few records as they fit. */
static void origin_flush(struct worker *worker, struct origin *origin)
{
    while (origin->ssl != NULL && !origin->failed && origin_write(worker, origin)) {
        struct rest out = {0};
        while (out.len < FLOOR_CHUNK) {
            const uint8_t *frame;
            ssize_t n = nghttp2_session_mem_send(origin->session, &frame);
            if (n <= 0)
                break;
            memcpy(origin->out_bytes + out.len, frame, (size_t)n);
            out.len += (size_t)n;
        }
        origin->out = out;
        if (out.len == 0)
            return;
    }
}

static void origin_event(struct worker *worker, struct end *end, uint32_t events)
{
    struct origin *origin = worker->state;
    size_t len, n;
    (void)end;
    if (events == EPOLLOUT) /* origins_turned() writes */
        return;
    do {
        len = 0;
        do {
            if (SSL_read_ex(origin->ssl, worker->chunk + len, FLOOR_RECORD, &n) != 1) {
                origin->failed = SSL_get_error(origin->ssl, 0) != SSL_ERROR_WANT_READ;
                break;
            }
            len += n;
        } while (len < FLOOR_CHUNK && SSL_has_pending(origin->ssl));
        const uint8_t *bytes = (const uint8_t *)worker->chunk;
        if (nghttp2_session_mem_recv(origin->session, bytes, len) < 0)
            origin->failed = true;
    } while (len >= FLOOR_CHUNK && !origin->failed);
}

/* ---- clients */

static void asker_watch(struct worker *worker, struct asker *asker)
{
    bool reads = asker->in_len < sizeof(asker->in);
    end_watch(worker, &asker->end, (reads ? EPOLLIN : 0) | (asker->out.len > 0 ? EPOLLOUT : 0));
}

static void asker_write(struct worker *worker, struct origin *origin, struct asker *asker)
{
    asker->dirty = false;
    if (asker->dead)
        return;
    if (asker->out.len > 0) {
        ssize_t n =
            send(asker->end.fd, asker->out_bytes + asker->out.at, asker->out.len, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) {
            asker_end(origin, asker);
            return;
        }
        size_t sent = n > 0 ? (size_t)n : 0;
        /* The head counts as data, too, so that windows are opened a few bytes too wide. */
        if (origin->session != NULL)
            nghttp2_session_consume(origin->session, asker->stream, sent);
        asker->out.len -= sent;
        asker->out.at = asker->out.len == 0 ? 0 : asker->out.at + sent;
    }
    if (asker->closes && !asker->under_way && asker->out.len == 0) {
        asker_end(origin, asker);
        return;
    }
    asker_watch(worker, asker);
}

static nghttp2_nv field(const char *name, const char *value, size_t len)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name), len,
                        NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
}

/* Makes a stream of the request in `head`. Returns false where it cannot. */
static bool asker_submit(struct origin *origin, struct asker *asker)
{
    static const char length_name[] = "Content-Length: ";
    const char *method_end = strchr(asker->head, ' ');
    const char *path_end = method_end != NULL ? strchr(method_end + 1, ' ') : NULL;
    if (path_end == NULL)
        return false;
    const char *length = strstr(path_end, length_name);
    length = length != NULL ? length + sizeof(length_name) - 1 : "";
    asker->body_unread = asker->body_unsent = strtoull(length, NULL, 10);
    bool uploads = asker->body_unread > 0;
    const nghttp2_nv fields[] = {
        field(":method", asker->head, (size_t)(method_end - asker->head)),
        field(":scheme", "https", 5),
        field(":authority", origin->authority, strlen(origin->authority)),
        field(":path", method_end + 1, (size_t)(path_end - method_end - 1)),
        field("user-agent", "load", 4),
        field("accept", "*/*", 3),
        field("content-length", length, strspn(length, "0123456789")),
    };
    const nghttp2_data_provider body = {.source.ptr = asker, .read_callback = on_upload};
    asker->stream = nghttp2_submit_request(origin->session, NULL, fields, uploads ? 7 : 6,
                                           uploads ? &body : NULL, asker);
    asker->under_way = asker->stream >= 0;
    asker->closes = strstr(path_end, "Connection: close") != NULL;
    asker->length[0] = '\0';
    return asker->under_way;
}

/* Looks for the end of a head in what has come. Returns false where the client has to go. */
static bool asker_take_head(struct worker *worker, struct asker *asker)
{
    const char *end = memmem(asker->in, asker->in_len, "\r\n\r\n", 4);
    size_t len = end != NULL ? (size_t)(end + 4 - asker->in) : asker->in_len;
    if (len >= sizeof(asker->head))
        return false;
    if (end == NULL)
        return true;
    memcpy(asker->head, asker->in, len);
    asker->head[len] = '\0';
    asker->in_len -= len;
    memmove(asker->in, asker->in + len, asker->in_len);
    struct origin *origin = worker->state;
    if (!origin_open(worker, origin) || !asker_submit(origin, asker))
        return false;
    bool good = asker->in_len <= asker->body_unread;
    asker->body_unread -= good ? asker->in_len : 0;
    return good;
}

static bool asker_read(struct worker *worker, struct asker *asker)
{
    struct origin *origin = worker->state;
    ssize_t n =
        recv(asker->end.fd, asker->in + asker->in_len, sizeof(asker->in) - asker->in_len, 0);
    if (n <= 0)
        return n < 0 && errno == EAGAIN;
    asker->in_len += (size_t)n;
    if (!asker->under_way)
        return asker_take_head(worker, asker);
    if ((size_t)n > asker->body_unread)
        return false;
    asker->body_unread -= (size_t)n;
    nghttp2_session_resume_data(origin->session, asker->stream);
    asker_make_dirty(origin, asker); /* there may be no room for more */
    return true;
}

static void asker_event(struct worker *worker, struct end *end, uint32_t events)
{
    struct asker *asker = end->owner;
    if (asker->dead)
        return;
    if (events & EPOLLOUT)
        asker_make_dirty(worker->state, asker);
    if ((events & ~(uint32_t)EPOLLOUT) && !asker_read(worker, asker))
        asker_end(worker->state, asker);
}

static void asker_begin(struct worker *worker, int fd)
{
    struct origin *origin = worker->state;
    struct asker *asker = origin->free;
    if (asker == NULL && origin->used == FLOOR_CLIENTS) {
        close(fd);
        return;
    }
    if (asker == NULL)
        asker = &origin->all[origin->used++];
    else
        origin->free = asker->next;
    asker->end = (struct end){.handle = asker_event, .owner = asker, .fd = fd};
    asker->dead = asker->dirty = asker->under_way = asker->closes = false;
    asker->in_len = 0;
    asker->out = (struct rest){0};
    end_add(worker, &asker->end, EPOLLIN);
}

/* Clients first: what they take opens windows, which leave with the requests of this turn. */
static void origins_turned(struct worker *worker)
{
    struct origin *origin = worker->state;
    do {
        while (origin->dirty != NULL) {
            struct asker *asker = origin->dirty;
            origin->dirty = asker->next_dirty;
            asker_write(worker, origin, asker);
        }
        origin_flush(worker, origin);
    } while (origin->dirty != NULL); /* an upload went on, and its client is to be read again */
    if (origin->failed)
        origin_close(origin);
    while (origin->dead != NULL) {
        struct asker *asker = origin->dead;
        origin->dead = asker->next;
        asker->next = origin->free;
        origin->free = asker;
    }
}

const struct relay floor_h2 = {origins_begin, asker_begin, origins_turned};
