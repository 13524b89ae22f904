/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small HTTP/1.1 load generator for tests/bench/quick: N clients on one thread and one epoll,
 * each with one request in flight, on a kept connection or on a new one per request. Every answer
 * has to be a 200 with the expected Content-Length and exactly that many body bytes; the first that
 * is not ends the run with status 1. Loopback only: connect() blocks for the moment it takes, and a
 * request leaves in one write or is a failure.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_CLIENTS 1024
#define MAX_HEAD    8192
#define SILENCE_MS  20000

/* One simulated client: a connection and how far its present answer has come. */
struct client {
    int fd;             /* -1: none */
    size_t head_len;    /* bytes of the answer's head held in head[] */
    bool in_body;       /* the head is complete and was checked */
    uint64_t body_left; /* bytes of the body still to come */
    char head[MAX_HEAD];
};

/* What was asked for on the command line, and how far the run is. */
struct run {
    struct sockaddr_in addr;
    char request[1024];
    size_t request_len;
    uint64_t length; /* of each body */
    unsigned clients;
    uint64_t requests; /* to do in all */
    uint64_t begun, done;
    bool reconnect; /* a new connection per request */
    int epoll;
};

static struct client clients[MAX_CLIENTS];
static char chunk[256 * 1024];

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static void client_open(struct run *run, struct client *client)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket: %s", strerror(errno));
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(fd, (struct sockaddr *)&run->addr, sizeof(run->addr)) != 0)
        die("connect: %s", strerror(errno));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    if (epoll_ctl(run->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        die("epoll_ctl: %s", strerror(errno));
    client->fd = fd;
}

static void client_close(struct client *client)
{
    close(client->fd);
    client->fd = -1;
}

/* Begins the client's next request, on a new connection where it has none; or closes it. */
static void client_next(struct run *run, struct client *client)
{
    if (run->begun == run->requests) {
        if (client->fd >= 0)
            client_close(client);
        return;
    }
    run->begun++;
    client->head_len = 0;
    client->in_body = false;
    if (client->fd < 0)
        client_open(run, client);
    ssize_t n = send(client->fd, run->request, run->request_len, MSG_NOSIGNAL);
    if (n != (ssize_t)run->request_len)
        die("send: %s", n < 0 ? strerror(errno) : "short write");
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

/*
 * Looks for the end of the head in what has come so far. Returns how many bytes beyond it are in
 * head[]: the beginning of the body.
 */
static size_t client_take_head(struct run *run, struct client *client)
{
    client->head[client->head_len] = '\0';
    char *end = strstr(client->head, "\r\n\r\n");
    if (end == NULL) {
        if (client->head_len + 1 >= sizeof(client->head))
            die("the head of the answer is too long");
        return 0;
    }
    end += 4;
    size_t rest = client->head_len - (size_t)(end - client->head);
    if (strncmp(client->head, "HTTP/1.1 200 ", 13) != 0)
        die("not a 200:\n%.*s", (int)client->head_len, client->head);
    *(end - 2) = '\0';
    client->body_left = head_content_length(client->head);
    if (client->body_left != run->length)
        die("Content-Length is %llu, not %llu", (unsigned long long)client->body_left,
            (unsigned long long)run->length);
    client->in_body = true;
    return rest;
}

static void client_take_body(struct run *run, struct client *client, size_t n)
{
    if (n > client->body_left)
        die("more bytes than the answer has");
    client->body_left -= n;
    if (client->body_left > 0)
        return;
    run->done++;
    /* With a new connection per request the server closes: its end of file begins the next one. */
    if (!run->reconnect)
        client_next(run, client);
}

static bool client_is_complete(const struct client *client)
{
    return client->in_body && client->body_left == 0;
}

static void client_readable(struct run *run, struct client *client)
{
    bool in_body = client->in_body;
    char *to = in_body ? chunk : client->head + client->head_len;
    size_t room = in_body ? sizeof(chunk) : sizeof(client->head) - 1 - client->head_len;
    ssize_t n = recv(client->fd, to, room, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0)
        die("recv: %s", strerror(errno));
    if (n == 0) {
        if (!run->reconnect || !client_is_complete(client))
            die("the connection was closed before the end of the answer");
        client_close(client);
        client_next(run, client);
        return;
    }
    size_t body = (size_t)n;
    if (!in_body) {
        client->head_len += (size_t)n;
        body = client_take_head(run, client);
    }
    if (client->in_body)
        client_take_body(run, client, body);
}

static void run_all(struct run *run)
{
    for (unsigned i = 0; i < run->clients; i++) {
        clients[i].fd = -1;
        client_next(run, &clients[i]);
    }
    while (run->done < run->requests) {
        struct epoll_event events[64];
        int n = epoll_wait(run->epoll, events, 64, SILENCE_MS);
        if (n < 0 && errno != EINTR)
            die("epoll_wait: %s", strerror(errno));
        if (n == 0)
            die("nothing came for %d s, %llu of %llu answers are in", SILENCE_MS / 1000,
                (unsigned long long)run->done, (unsigned long long)run->requests);
        for (int i = 0; i < n; i++)
            client_readable(run, events[i].data.ptr);
    }
}

static uint64_t number(const char *text, uint64_t min, uint64_t max)
{
    char *end;
    errno = 0;
    uint64_t value = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || end == text || value < min || value > max)
        die("bad number: %s", text);
    return value;
}

__attribute__((noreturn)) static void usage(void)
{
    fputs("usage: load [-c CLIENTS] [-n REQUESTS] [-l LENGTH] [-1] PORT HOST TARGET\n"
          "  asks 127.0.0.1:PORT for TARGET with \"Host: HOST\", expects bodies of LENGTH bytes;\n"
          "  -1: a new connection per request\n",
          stderr);
    exit(2);
}

static void run_set_request(struct run *run, const char *host, const char *target)
{
    int n = snprintf(run->request, sizeof(run->request),
                     "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: load\r\nAccept: */*\r\n%s\r\n",
                     target, host, run->reconnect ? "Connection: close\r\n" : "");
    if (n < 0 || (size_t)n >= sizeof(run->request))
        die("the target is too long");
    run->request_len = (size_t)n;
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    struct run run = {.clients = 32, .requests = 1000, .length = 1024};
    int option;
    while ((option = getopt(argc, argv, "c:n:l:1")) != -1) {
        switch (option) {
        case 'c':
            run.clients = (unsigned)number(optarg, 1, MAX_CLIENTS);
            break;
        case 'n':
            run.requests = number(optarg, 1, UINT32_MAX);
            break;
        case 'l':
            run.length = number(optarg, 1, UINT32_MAX);
            break;
        case '1':
            run.reconnect = true;
            break;
        default:
            usage();
        }
    }
    if (argc - optind != 3)
        usage();
    run.addr.sin_family = AF_INET;
    run.addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    run.addr.sin_port = htons((uint16_t)number(argv[optind], 1, 65535));
    run_set_request(&run, argv[optind + 1], argv[optind + 2]);
    run.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (run.epoll < 0)
        die("epoll_create1: %s", strerror(errno));

    double start = seconds_now();
    run_all(&run);
    double seconds = seconds_now() - start;
    printf("%.0f requests/s (%llu in %.3f s)\n", (double)run.requests / seconds,
           (unsigned long long)run.requests, seconds);
    return 0;
}
