/* SPDX-License-Identifier: Apache-2.0 */
/* A TLS origin with every fault a peer can have, chosen by the path of each request: /KIND/N/ID.
 * One thread a connection. Prints three ports: TLS, one that closes what it accepts, and one that
 * resets it. Ends when stdin does. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static SSL_CTX *ctx;

struct port {
    int fd;
    void *(*serve)(void *fd);
};

static void reset(int fd)
{
    struct linger l = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
}

/* Writes N bytes in pieces of STEP, one record each. */
static void put(SSL *ssl, const char *p, int n, int step)
{
    for (int i = 0; i < n; i += step) {
        if (SSL_write(ssl, p + i, n - i < step ? n - i : step) <= 0) {
            return;
        }
    }
}

/* The response to the request ID; chunked when WANTED. */
static int compose(char *out, size_t size, long id, bool chunked)
{
    char body[64];
    snprintf(body, sizeof body, "id=%010ld", id);
    if (chunked) {
        return snprintf(out, size,
                        "HTTP/1.1 200 OK\r\nTransfer-Encoding: "
                        "chunked\r\n\r\n5\r\n%.5s\r\n8\r\n%s\r\n0\r\n\r\n",
                        body, body + 5);
    }
    return snprintf(out, size, "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n%s", body);
}

/* Answers one request. False: the connection is done with; *HARD: without close_notify. */
static bool answer(SSL *ssl, int fd, const char *head, int count, bool *hard)
{
    char kind[16] = "", out[512];
    int n = 0;
    long id = 0;
    if (sscanf(head, "GET /%15[a-z]/%d/%ld", kind, &n, &id) != 3) {
        return false;
    }
    const char *what = strcmp(kind, "ccut") == 0 ? "cut" : kind;
    bool chunked = what != kind;
    int len = compose(out, sizeof out, id, chunked);
    *hard = true;
    if (strcmp(what, "cut") == 0 || strcmp(what, "fin") == 0 || strcmp(what, "rst") == 0) {
        int upto = n % (len + 1);
        put(ssl, out, upto, 4096);
        *hard = strcmp(what, "fin") != 0;
        if (strcmp(what, "rst") == 0) {
            reset(fd);
        }
        return false;
    }
    if (strcmp(what, "hang") == 0) {
        char c;
        SSL_read(ssl, &c, 1);
        return false;
    }
    if (strcmp(what, "drip") == 0) {
        put(ssl, out, len, 1);
        return true;
    }
    if (strcmp(what, "extra") == 0) {
        len += snprintf(out + len, sizeof out - len,
                        "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nid=9999999999");
        put(ssl, out, len, 4096);
        return true;
    }
    if (strcmp(what, "lost") == 0 && count > 0) {
        return false;
    }
    if (strcmp(what, "big") == 0) {
        static char block[65536];
        len = snprintf(out, sizeof out, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n",
                       8 * sizeof block);
        put(ssl, out, len, 4096);
        for (int i = 0; i < 8; i++) {
            put(ssl, block, sizeof block, 16384);
        }
        return true;
    }
    put(ssl, out, len, 4096);
    *hard = false;
    return strcmp(what, "stale") != 0;
}

/* Answers requests until one ends the connection. True: without close_notify. */
static bool converse(SSL *ssl, int fd)
{
    char buf[8192];
    int have = 0, count = 0;
    bool hard = true;
    for (;;) {
        buf[have] = '\0';
        char *end = strstr(buf, "\r\n\r\n");
        if (end != NULL) {
            if (!answer(ssl, fd, buf, count++, &hard)) {
                return hard;
            }
            int used = (int)(end + 4 - buf);
            memmove(buf, buf + used, have - used);
            have -= used;
            continue;
        }
        int n = SSL_read(ssl, buf + have, (int)sizeof buf - 1 - have);
        if (n <= 0) {
            return true;
        }
        have += n;
    }
}

static void *serve_tls(void *arg)
{
    int fd = (int)(long)arg, one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    SSL *ssl = SSL_new(ctx);
    SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) == 1 && !converse(ssl, fd)) {
        SSL_shutdown(ssl);
    }
    SSL_free(ssl);
    close(fd);
    return NULL;
}

static void *serve_close(void *arg)
{
    close((int)(long)arg);
    return NULL;
}

static void *serve_reset(void *arg)
{
    reset((int)(long)arg);
    close((int)(long)arg);
    return NULL;
}

static void *accept_all(void *arg)
{
    struct port *p = arg;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 256 * 1024);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    for (;;) {
        int fd = accept(p->fd, NULL, NULL);
        pthread_t t;
        if (fd < 0) {
            continue;
        }
        if (p->serve != serve_tls) {
            p->serve((void *)(long)fd);
        } else if (pthread_create(&t, &attr, p->serve, (void *)(long)fd) != 0) {
            close(fd);
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    ctx = SSL_CTX_new(TLS_server_method());
    if (SSL_CTX_use_certificate_chain_file(ctx, argv[1]) != 1 ||
        SSL_CTX_use_PrivateKey_file(ctx, argv[2], SSL_FILETYPE_PEM) != 1) {
        return 1;
    }
    static struct port ports[3] = {{0, serve_tls}, {0, serve_close}, {0, serve_reset}};
    for (int i = 0; i < 3; i++) {
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t len = sizeof a;
        ports[i].fd = socket(AF_INET, SOCK_STREAM, 0);
        if (bind(ports[i].fd, (struct sockaddr *)&a, len) != 0 || listen(ports[i].fd, 1024) != 0 ||
            getsockname(ports[i].fd, (struct sockaddr *)&a, &len) != 0) {
            return 1;
        }
        printf("%d%c", ntohs(a.sin_port), i == 2 ? '\n' : ' ');
        pthread_t t;
        pthread_create(&t, NULL, accept_all, &ports[i]);
    }
    fflush(stdout);
    char c;
    while (read(0, &c, 1) > 0) {
    }
    _exit(0);
}
