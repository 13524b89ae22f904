/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A relay from plain HTTP to TLS that does nothing else: no parsing, no pool, no timers, one
 * origin. Its processor time is the limit that proxies are compared with. Over HTTP/1 each client
 * has a connection to the origin of its own, and a request is one read, one SSL_write, one SSL_read
 * and one write; over HTTP/2 (-2) each worker has one connection, nghttp2 does the framing, and the
 * frames of a turn leave in one SSL_write.
 */
#include "floor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BUFFER (64 * 1024) /* of OpenSSL: so much comes in one read */

static struct floor options = {.workers = 1};
static struct worker workers[FLOOR_WORKERS];

void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("floor: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static void end_control(struct worker *worker, struct end *end, int operation)
{
    struct epoll_event event = {.events = end->events, .data.ptr = end};
    if (epoll_ctl(worker->epoll, operation, end->fd, &event) != 0)
        die("epoll_ctl: %s", strerror(errno));
}

void end_add(struct worker *worker, struct end *end, uint32_t events)
{
    end->events = events;
    end_control(worker, end, EPOLL_CTL_ADD);
}

void end_watch(struct worker *worker, struct end *end, uint32_t events)
{
    if (end->events == events)
        return;
    end->events = events;
    end_control(worker, end, EPOLL_CTL_MOD);
}

static void set_nodelay(int fd)
{
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

SSL *origin_connect(struct worker *worker)
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons(worker->floor->origin_port),
                               .sin_addr = worker->floor->address};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return NULL;
    set_nodelay(fd);
    if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0 && errno != EINPROGRESS) {
        close(fd);
        return NULL;
    }
    SSL *ssl = SSL_new(worker->tls);
    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1 ||
        SSL_set_tlsext_host_name(ssl, worker->floor->name) != 1 ||
        SSL_set1_host(ssl, worker->floor->name) != 1)
        die("no TLS connection can be made");
    SSL_set_connect_state(ssl);
    return ssl;
}

/* As fast as it can be: the cheapest cipher, whole records in one read, buffers that stay. */
static SSL_CTX *make_tls(void)
{
    static const unsigned char h2[] = "\x02h2";
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
    if (tls == NULL || SSL_CTX_load_verify_locations(tls, options.ca_file, NULL) != 1)
        die("no certificates in %s", options.ca_file);
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_ciphersuites(tls, "TLS_AES_128_GCM_SHA256");
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(tls, 1);
    SSL_CTX_set_default_read_buffer_len(tls, READ_BUFFER);
    if (options.h2)
        SSL_CTX_set_alpn_protos(tls, h2, sizeof(h2) - 1);
    return tls;
}

static void accept_one(struct worker *worker, struct end *end, uint32_t events)
{
    (void)events;
    int fd = accept4(end->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    set_nodelay(fd);
    (options.h2 ? &floor_h2 : &floor_h1)->accepted(worker, fd);
}

static void worker_listen(struct worker *worker)
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons(options.port),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0 || listen(fd, 4096) != 0)
        die("port %u: %s", options.port, strerror(errno));
    worker->listener = (struct end){.handle = accept_one, .fd = fd};
    end_add(worker, &worker->listener, EPOLLIN);
}

static void worker_begin(struct worker *worker)
{
    worker->floor = &options;
    worker->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (worker->epoll < 0)
        die("epoll_create1: %s", strerror(errno));
    worker->tls = make_tls();
    worker_listen(worker);
}

static void *worker_run(void *argument)
{
    struct worker *worker = argument;
    const struct relay *relay = options.h2 ? &floor_h2 : &floor_h1;
    relay->begin(worker);
    for (;;) {
        struct epoll_event events[64];
        int n = epoll_wait(worker->epoll, events, 64, -1);
        for (int i = 0; i < n; i++) {
            struct end *end = events[i].data.ptr;
            end->handle(worker, end, events[i].events);
        }
        relay->turned(worker);
    }
    return NULL;
}

static unsigned number(const char *text, unsigned max)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (*end != '\0' || end == text || value < 1 || value > max)
        die("bad number: %s", text);
    return (unsigned)value;
}

static bool set_option(int option, const char *value)
{
    switch (option) {
    case '2':
        options.h2 = true;
        return true;
    case 'w':
        options.workers = number(value, FLOOR_WORKERS);
        return true;
    case 'a':
        return inet_pton(AF_INET, value, &options.address) == 1;
    default:
        return false;
    }
}

__attribute__((noreturn)) static void usage(void)
{
    fputs("usage: floor [-2] [-w WORKERS] [-a ORIGIN_ADDRESS] PORT ORIGIN_PORT NAME CAFILE\n",
          stderr);
    exit(2);
}

static void read_arguments(int argc, char **argv)
{
    int option;
    while ((option = getopt(argc, argv, "2w:a:")) != -1) {
        if (!set_option(option, optarg))
            usage();
    }
    if (argc - optind != 4)
        usage();
    options.port = (uint16_t)number(argv[optind], 65535);
    options.origin_port = (uint16_t)number(argv[optind + 1], 65535);
    options.name = argv[optind + 2];
    options.ca_file = argv[optind + 3];
}

static void on_terminate(int number_of_signal)
{
    (void)number_of_signal;
    _exit(0);
}

int main(int argc, char **argv)
{
    options.address.s_addr = htonl(INADDR_LOOPBACK);
    read_arguments(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, on_terminate);
    for (unsigned i = 0; i < options.workers; i++)
        worker_begin(&workers[i]);
    for (unsigned i = 1; i < options.workers; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, worker_run, &workers[i]) != 0)
            die("no thread");
    }
    worker_run(&workers[0]);
    return 0;
}
