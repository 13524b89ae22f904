/* SPDX-License-Identifier: Apache-2.0 */
/* Drives many exchanges of one kind through a proxy and counts how they end:
 *     faultc PROXY_PORT http://HOST:PORT/KIND THREADS COUNT [leave]
 * Each request is URL/N/ID; a complete 200 whose body is not that of ID is "wrong". With "leave"
 * the client goes away: while it sends the request, before the answer, or at a byte of it.
 * Prints NAME=COUNT words. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

static int port;
static const char *url;
static bool leave;
static long total;
static atomic_long next_id, statuses[600], cut, wrong, left, stuck;

static int dial(void)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct timeval tv = {30, 0};
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) != 0) {
        perror("connect");
        exit(1);
    }
    return fd;
}

/* Reads a whole response. 0: cut short. The status else; *MATCHES: the body is EXPECTED. */
static int response(int fd, const char *expected, bool *matches)
{
    char buf[16384];
    int have = 0;
    char *end = NULL;
    while (end == NULL) {
        int n = read(fd, buf + have, sizeof buf - 1 - have);
        if (n <= 0) {
            atomic_fetch_add(&stuck, n < 0 && have == 0 ? 1 : 0);
            return 0;
        }
        have += n;
        buf[have] = '\0';
        end = strstr(buf, "\r\n\r\n");
    }
    int status = (int)strtol(buf + 9, NULL, 10), body = (int)(end + 4 - buf);
    char *length = strcasestr(buf, "\r\nContent-Length: ");
    bool chunked = length == NULL || length > end;
    long want = chunked ? 0 : strtol(length + 18, NULL, 10);
    for (;;) {
        if (chunked ? have - body >= 5 && strcmp(buf + have - 5, "0\r\n\r\n") == 0
                    : have - body >= want) {
            break;
        }
        int n = have == (int)sizeof buf - 1 ? -1 : read(fd, buf + have, sizeof buf - 1 - have);
        if (n <= 0) {
            return 0;
        }
        have += n;
        buf[have] = '\0';
    }
    if (chunked) { /* the pieces of the body, without their frames */
        char plain[64] = "";
        for (char *p = buf + body; *p != '0' || p[1] != '\r';) {
            long n = strtol(p, &p, 16);
            if (strlen(plain) + n >= sizeof plain) {
                break;
            }
            strncat(plain, p + 2, n);
            p += 2 + n + 2;
        }
        *matches = strcmp(plain, expected) == 0;
    } else {
        *matches = have - body == want && strcmp(buf + body, expected) == 0;
    }
    return status;
}

static void hang_up(int fd, bool hard)
{
    struct linger l = {1, 0};
    if (hard) {
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
    }
    close(fd);
}

/* Sends a part of the request, or reads a part of the answer, and goes. */
static void leaving(long id, const char *request, int len)
{
    int fd = dial();
    int point = id % (len + 60);
    if (write(fd, request, point < len ? point : len) < 0) {
        perror("write");
    }
    char buf[64];
    for (int want = point - len; want > 0;) {
        int n = read(fd, buf, want);
        if (n <= 0) {
            break;
        }
        want -= n;
    }
    hang_up(fd, id / (len + 60) % 2 == 1);
    atomic_fetch_add(&left, 1);
}

static void *work(void *arg)
{
    (void)arg;
    int fd = -1;
    for (;;) {
        long id = atomic_fetch_add(&next_id, 1);
        if (id >= total) {
            break;
        }
        char request[512], expected[64];
        int len = snprintf(request, sizeof request, "GET %s/%ld/%ld HTTP/1.1\r\nHost: x\r\n\r\n",
                           url, id % 997, id);
        snprintf(expected, sizeof expected, "id=%010ld", id);
        if (leave) {
            leaving(id, request, len);
            continue;
        }
        if (fd < 0) {
            fd = dial();
        }
        bool matches = false;
        int status = write(fd, request, len) == len ? response(fd, expected, &matches) : 0;
        atomic_fetch_add(status > 0 && status < 600 ? &statuses[status] : &cut, 1);
        if (status == 200 && !matches) {
            atomic_fetch_add(&wrong, 1);
        }
        if (status == 0) {
            close(fd);
            fd = -1;
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    port = (int)strtol(argv[1], NULL, 10);
    url = argv[2];
    int threads = (int)strtol(argv[3], NULL, 10);
    total = strtol(argv[4], NULL, 10);
    leave = argc > 5;
    pthread_t t[1024];
    for (int i = 0; i < threads && i < 1024; i++) {
        pthread_create(&t[i], NULL, work, NULL);
    }
    for (int i = 0; i < threads && i < 1024; i++) {
        pthread_join(t[i], NULL);
    }
    for (int i = 0; i < 600; i++) {
        if (statuses[i] > 0) {
            printf("%d=%ld ", i, (long)statuses[i]);
        }
    }
    printf("cut=%ld wrong=%ld left=%ld stuck=%ld\n", (long)cut, (long)wrong, (long)left,
           (long)stuck);
    return 0;
}
