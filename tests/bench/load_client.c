/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One client of the load generator: opens its connection (through a tunnel, with TLS), sends
 * requests and checks each answer: its status, its length, and that it has exactly that many bytes.
 */
#include "load.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static char chunk[256 * 1024];    /* of what comes */
static char zeros[64 * 1024];     /* of uploads */
static char together[512 * 1024]; /* requests that leave in one write */

void client_close(struct client *client)
{
    SSL_free(client->ssl);
    close(client->fd);
    client->state = CLIENT_CLOSED;
    client->ssl = NULL;
    client->waits_write = false;
}

/* Says with `how` what is wrong with TLS, in the words of OpenSSL. */
__attribute__((noreturn)) static void die_of_tls(struct client *client, const char *how)
{
    long verified = SSL_get_verify_result(client->ssl);
    if (verified != X509_V_OK)
        die("%s: %s", how, X509_verify_cert_error_string(verified));
    unsigned long code = ERR_peek_error();
    die("%s: %s", how, code != 0 ? ERR_error_string(code, NULL) : strerror(errno));
}

static void client_watch(struct run *run, struct client *client, bool write)
{
    if (client->waits_write == write)
        return;
    struct epoll_event event = {.events = EPOLLIN | (write ? EPOLLOUT : 0), .data.ptr = client};
    if (epoll_ctl(run->epoll, EPOLL_CTL_MOD, client->fd, &event) != 0)
        die("epoll_ctl: %s", strerror(errno));
    client->waits_write = write;
}

/* Like send(): -1 with EAGAIN where nothing can be taken now. */
static ssize_t client_send(struct client *client, const char *from, size_t len)
{
    if (client->ssl == NULL)
        return send(client->fd, from, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    size_t n;
    if (SSL_write_ex(client->ssl, from, len, &n) == 1)
        return (ssize_t)n;
    if (SSL_get_error(client->ssl, 0) != SSL_ERROR_WANT_WRITE)
        die_of_tls(client, "SSL_write");
    errno = EAGAIN;
    return -1;
}

/* Like recv(). */
static ssize_t client_recv(struct client *client)
{
    if (client->ssl == NULL)
        return recv(client->fd, chunk, sizeof(chunk), MSG_DONTWAIT);
    size_t n;
    if (SSL_read_ex(client->ssl, chunk, sizeof(chunk), &n) == 1)
        return (ssize_t)n;
    int error = SSL_get_error(client->ssl, 0);
    if (error == SSL_ERROR_ZERO_RETURN)
        return 0;
    if (error != SSL_ERROR_WANT_READ)
        die_of_tls(client, "SSL_read");
    errno = EAGAIN;
    return -1;
}

/* Small things leave in one write or the run has failed: the socket's buffer has room for them. */
static void client_send_all(struct client *client, const char *from, size_t len)
{
    ssize_t n = client_send(client, from, len);
    if (n != (ssize_t)len)
        die("send: %s", n < 0 ? strerror(errno) : "short write");
}

static void client_upload(struct run *run, struct client *client)
{
    while (client->upload_left > 0) {
        size_t len = sizeof(zeros);
        if (len > client->upload_left)
            len = client->upload_left;
        ssize_t n = client_send(client, zeros, len);
        if (n < 0 && errno != EAGAIN)
            die("send: %s", strerror(errno));
        if (n < 0)
            break;
        client->upload_left -= (uint64_t)n;
        run->bytes += (uint64_t)n;
    }
    client_watch(run, client, client->upload_left > 0);
}

/* Sends the requests that are wanted, as many as fit together at once. */
static void client_flush(struct run *run, struct client *client)
{
    size_t len = 0;
    while (client->wanted > 0) {
        const struct text *request = &run->requests[run->begun % run->targets];
        if (len + request->len > sizeof(together))
            die("the requests do not fit into one write");
        memcpy(together + len, request->bytes, request->len);
        len += request->len;
        client->wanted--;
        client->in_flight++;
        run->begun++;
    }
    if (len == 0)
        return;
    if (client->asked_ns == 0)
        client->asked_ns = now_ns();
    client_send_all(client, together, len);
    client->upload_left = run->upload;
    client_upload(run, client);
}

static void client_is_open(struct run *run, struct client *client)
{
    client->state = CLIENT_OPEN;
    if (client->wanted == 0)
        run_turn(run, client, false);
    client_flush(run, client);
}

static void client_handshake(struct run *run, struct client *client)
{
    int result = SSL_do_handshake(client->ssl);
    if (result == 1) {
        client_is_open(run, client);
        return;
    }
    int error = SSL_get_error(client->ssl, result);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
        die_of_tls(client, "TLS handshake");
}

static void client_begin_tls(struct run *run, struct client *client)
{
    if (run->tls == NULL) {
        client_is_open(run, client);
        return;
    }
    client->ssl = SSL_new(run->tls);
    if (client->ssl == NULL || SSL_set_fd(client->ssl, client->fd) != 1 ||
        SSL_set_tlsext_host_name(client->ssl, run->tls_name) != 1 ||
        SSL_set1_host(client->ssl, run->tls_name) != 1)
        die("no TLS connection can be made");
    SSL_set_connect_state(client->ssl);
    client->state = CLIENT_HANDSHAKE;
    client_handshake(run, client);
}

void client_open(struct run *run, struct client *client)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket: %s", strerror(errno));
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    /* On loopback this blocks for a moment only; what comes after it must not. */
    if (connect(fd, (struct sockaddr *)&run->addr, sizeof(run->addr)) != 0)
        die("connect: %s", strerror(errno));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    if (epoll_ctl(run->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        die("epoll_ctl: %s", strerror(errno));
    client->fd = fd;
    if (run->connect.len == 0) {
        client_begin_tls(run, client);
        return;
    }
    client->state = CLIENT_TUNNEL;
    client_send_all(client, run->connect.bytes, run->connect.len);
}

void client_ask(struct run *run, struct client *client, unsigned requests)
{
    client->wanted += requests;
    if (client->state == CLIENT_CLOSED)
        client_open(run, client);
    else if (client->state == CLIENT_OPEN)
        client_flush(run, client);
}

/* The value of Content-Length in a head that ends in an empty line; dies without one. */
static uint64_t head_content_length(const char *head)
{
    static const char name[] = "content-length:";
    for (const char *line = strstr(head, "\r\n"); line != NULL; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, sizeof(name) - 1) == 0)
            return strtoull(line + sizeof(name) - 1, NULL, 10);
    }
    die("no Content-Length in this answer:\n%s", head);
}

/* Checks the head of an answer; returns how many bytes its body has. */
static uint64_t head_check(const struct run *run, const char *head)
{
    bool stored = run->upload > 0 && (strncmp(head, "HTTP/1.1 201 ", 13) == 0 ||
                                      strncmp(head, "HTTP/1.1 204 ", 13) == 0);
    if (!stored && strncmp(head, "HTTP/1.1 200 ", 13) != 0)
        die("not a 200:\n%s", head);
    if (strncmp(head + 9, "204", 3) == 0)
        return 0;
    uint64_t length = head_content_length(head);
    if (run->upload == 0 && length != run->length)
        die("Content-Length is %llu, not %llu", (unsigned long long)length,
            (unsigned long long)run->length);
    return length;
}

static void tunnel_check(const char *head)
{
    if (strncmp(head, "HTTP/1.", 7) != 0 || strncmp(head + 8, " 200", 4) != 0)
        die("no tunnel:\n%s", head);
}

/*
 * Takes what belongs to a head off the `len` bytes at `from`: `*head` becomes the whole of it, or
 * NULL where its end has not come. Returns how many bytes were taken. Heads usually come in one
 * piece, and thousands of clients that are idle have touched no memory for one.
 */
static size_t client_take_head(struct client *client, char *from, size_t len, char **head)
{
    char *end = client->head_len == 0 ? memmem(from, len, "\r\n\r\n", 4) : NULL;
    if (end != NULL) {
        end[2] = '\0';
        *head = from;
        return (size_t)(end + 4 - from);
    }
    size_t had = client->head_len, room = sizeof(client->head) - 1 - had;
    size_t taken = len < room ? len : room;
    memcpy(client->head + had, from, taken);
    client->head_len += taken;
    end = memmem(client->head, client->head_len, "\r\n\r\n", 4);
    *head = end != NULL ? client->head : NULL;
    if (end == NULL && taken == room)
        die("the head of the answer is too long");
    if (end == NULL)
        return taken;
    end[2] = '\0';
    client->head_len = 0;
    return (size_t)(end + 4 - client->head) - had;
}

static void client_end_answer(struct run *run, struct client *client)
{
    if (client->upload_left > 0)
        die("the answer came before the end of the upload");
    client->in_body = false;
    client->in_flight--;
    run_answered(run, client);
}

/* Takes one answer's next part off what came; returns its length. */
static size_t client_take_answer(struct run *run, struct client *client, char *from, size_t len)
{
    size_t taken = 0;
    if (!client->in_body) {
        if (client->in_flight == 0)
            die("more bytes than the answer has");
        char *head;
        taken = client_take_head(client, from, len, &head);
        if (head == NULL)
            return taken;
        client->body_left = head_check(run, head);
        client->in_body = true;
    }
    size_t body = len - taken;
    if (body > client->body_left)
        body = client->body_left;
    client->body_left -= body;
    run->bytes += body;
    if (client->body_left == 0)
        client_end_answer(run, client);
    return taken + body;
}

static void client_take_tunnel(struct run *run, struct client *client, size_t len)
{
    char *head;
    size_t taken = client_take_head(client, chunk, len, &head);
    if (head == NULL)
        return;
    tunnel_check(head);
    if (taken < len)
        die("bytes behind the answer to CONNECT");
    client_begin_tls(run, client);
}

static void client_take(struct run *run, struct client *client, size_t len)
{
    if (client->state == CLIENT_TUNNEL) {
        client_take_tunnel(run, client, len);
        return;
    }
    for (size_t at = 0; at < len;)
        at += client_take_answer(run, client, chunk + at, len - at);
    run_turn(run, client, false);
}

static void client_ended(struct run *run, struct client *client)
{
    if (client->in_flight > 0 || client->wanted > 0)
        die("the connection was closed before the end of the answer");
    client_close(client);
    run_turn(run, client, true);
}

static void client_readable(struct run *run, struct client *client)
{
    do {
        ssize_t n = client_recv(client);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n < 0)
            die("recv: %s", strerror(errno));
        if (n == 0) {
            client_ended(run, client);
            return;
        }
        client_take(run, client, (size_t)n);
    } while (client->ssl != NULL && SSL_has_pending(client->ssl));
}

void client_event(struct run *run, struct client *client, uint32_t events)
{
    if (client->state == CLIENT_HANDSHAKE) {
        client_handshake(run, client);
        return;
    }
    if (events & EPOLLOUT)
        client_upload(run, client);
    if (events & ~(uint32_t)EPOLLOUT)
        client_readable(run, client);
}
