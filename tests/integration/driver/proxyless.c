/* SPDX-License-Identifier: Apache-2.0 */
/* A program that knows neither proxy nor TLS, built static: what no preloaded library reaches.
 *
 *     proxyless ADDRESS PORT PATH [HOST]    an IPv4 or IPv6 literal
 *     proxyless @NAME PORT PATH [HOST]      the address that 8.8.8.8 says, by a query of its own
 *
 * With HOST it asks by HTTP/1.1, without by HTTP/1.0 and no Host. Writes what comes back, as it is.
 * Exit status: 0, 2 where NAME has no address, 3 where the connection fails. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { HEADER = 12, MESSAGE = 512 };

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static void fail(int status, const char *what)
{
    fprintf(stderr, "proxyless: %s: %s\n", what, strerror(errno));
    exit(status);
}

/* Writes a query for the A records of NAME; returns its length. */
static size_t write_query(uint8_t *out, const char *name)
{
    static const uint8_t head[HEADER] = {0x12, 0x34, 1, 0, 0, 1};
    uint8_t *at = out + HEADER;

    memcpy(out, head, HEADER);
    while (*name != '\0') {
        size_t len = strcspn(name, ".");

        *at++ = (uint8_t)len;
        memcpy(at, name, len);
        at += len;
        name += len + (name[len] == '.');
    }
    memcpy(at, "\0\0\1\0\1", 5);
    return (size_t)(at + 5 - out);
}

/* The address in the first answer, which has a name of two bytes, or of any length. */
static struct in_addr read_answer(const uint8_t *in, size_t len, size_t asked)
{
    const uint8_t *at = in + asked, *end = in + len;
    struct in_addr found;

    if (len < asked || memcmp(in, "\x12\x34", 2) != 0 || in[7] == 0) {
        fprintf(stderr, "proxyless: rcode %d\n", len > 3 ? in[3] & 15 : -1);
        exit(2);
    }
    while (at < end && *at != 0 && *at < 0xc0)
        at += *at + 1;
    at += (at < end && *at >= 0xc0 ? 2 : 1) + 10;
    if (at + 4 > end) {
        fprintf(stderr, "proxyless: no address in the answer\n");
        exit(2);
    }
    memcpy(&found, at, sizeof found);
    return found;
}

static struct in_addr resolve(const char *name)
{
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(53)};
    struct timeval patience = {.tv_sec = 10};
    uint8_t message[MESSAGE];
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    size_t len = write_query(message, name);
    ssize_t got;

    inet_pton(AF_INET, "8.8.8.8", &server.sin_addr);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    /* connected: an answer from another address than the one asked is not taken */
    if (connect(fd, (struct sockaddr *)&server, sizeof server) != 0 ||
        send(fd, message, len, 0) < 0 || (got = recv(fd, message, sizeof message, 0)) < 0)
        fail(2, "8.8.8.8");
    close(fd);
    return read_answer(message, (size_t)got, len);
}

static union address to_address(const char *host, const char *port)
{
    union address a = {.v4 = {.sin_family = AF_INET}};
    in_port_t number = htons((uint16_t)strtoul(port, NULL, 10));

    if (strchr(host, ':') != NULL) {
        a.v6.sin6_family = AF_INET6;
        a.v6.sin6_port = number;
        inet_pton(AF_INET6, host, &a.v6.sin6_addr);
        return a;
    }
    a.v4.sin_port = number;
    if (host[0] == '@')
        a.v4.sin_addr = resolve(host + 1);
    else
        inet_pton(AF_INET, host, &a.v4.sin_addr);
    return a;
}

static void ask(int fd, const char *path, const char *host)
{
    char text[1024];
    ssize_t got;

    if (host != NULL)
        snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n",
                 path, host);
    else
        snprintf(text, sizeof text, "GET %s HTTP/1.0\r\n\r\n", path);
    if (write(fd, text, strlen(text)) < 0)
        fail(3, "write");
    while ((got = read(fd, text, sizeof text)) > 0)
        fwrite(text, 1, (size_t)got, stdout);
    if (got < 0)
        fail(3, "read");
}

int main(int argc, char **argv)
{
    union address a;
    int fd;

    if (argc < 4)
        return 1;
    a = to_address(argv[1], argv[2]);
    fd = socket(a.any.sa_family, SOCK_STREAM, 0);
    if (connect(fd, &a.any, sizeof a) != 0)
        fail(3, argv[1]);
    ask(fd, argv[3], argc > 4 ? argv[4] : NULL);
    return 0;
}
