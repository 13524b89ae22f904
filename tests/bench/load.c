/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The load generator of tests/bench: up to 16,000 clients on one thread and one epoll, plain or
 * TLS, straight or through a tunnel. Every answer has to be a 200 with the expected Content-Length
 * and exactly that many body bytes; the first that is not ends the run with status 1. What was
 * measured is one line of JSON. connect() blocks for
 * the moment it takes on one machine.
 */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define MAX_LATENCIES 4000000

static struct client clients[MAX_CLIENTS];
static struct text requests[MAX_TARGETS];
static float latencies[MAX_LATENCIES];
static char texts[4 * 1024 * 1024]; /* of all requests */
static size_t texts_len;

void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- what is asked for */

__attribute__((noreturn)) static void usage(void)
{
    fputs(
        "usage: load [-c CLIENTS] [-n REQUESTS] [-l LENGTH] [-p DEPTH] [OPTIONS] PORT HOST TARGET\n"
        "  asks 127.0.0.1:PORT for TARGET with \"Host: HOST\", expects bodies of LENGTH bytes\n"
        "  -p DEPTH   so many requests of a connection under way at once\n"
        "  -1         a new connection per request\n"
        "  -r RATE    so many requests a second, whether or not earlier ones were answered\n"
        "  -F         opens all connections before the first request, and starts the clock then\n"
        "  -i COUNT   each client does COUNT requests, says so and waits until standard input "
        "ends\n"
        "  -u BYTES   PUT with a body of so many bytes; expects 200, 201 or 204 of any length\n"
        "  -C         CONNECT HOST first, then the requests in the tunnel\n"
        "  -T CAFILE  TLS to the name in HOST, inside of the tunnel where there is one\n"
        "  -t COUNT   the first %u in HOST and in TARGET is the number of the request modulo "
        "COUNT\n",
        stderr);
    exit(2);
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

/* Keeps a text until the end of the program. */
__attribute__((format(printf, 1, 2))) static struct text keep(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *to = texts + texts_len;
    int n = vsnprintf(to, sizeof(texts) - texts_len, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof(texts) - texts_len)
        die("the requests are too long");
    texts_len += (size_t)n;
    return (struct text){to, (size_t)n};
}

/* `format` with its first %u replaced, into `to`. */
static void put_number(char *to, size_t size, const char *format, unsigned value)
{
    const char *at = strstr(format, "%u");
    int before = at != NULL ? (int)(at - format) : (int)strlen(format);
    int n = snprintf(to, size, "%.*s", before, format);
    if (at != NULL)
        n = snprintf(to, size, "%.*s%u%s", before, format, value, at + 2);
    if (n < 0 || (size_t)n >= size)
        die("too long: %s", format);
}

static struct text make_request(const struct run *run, const char *target, unsigned value)
{
    char host[256], path[1024], length[64] = "";
    put_number(host, sizeof(host), run->host, value);
    put_number(path, sizeof(path), target, value);
    if (run->upload > 0)
        snprintf(length, sizeof(length), "Content-Length: %llu\r\n",
                 (unsigned long long)run->upload);
    return keep("%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: load\r\nAccept: */*\r\n%s%s\r\n",
                run->upload > 0 ? "PUT" : "GET", path, host, length,
                run->reconnects ? "Connection: close\r\n" : "");
}

static SSL_CTX *make_tls(const char *ca_file)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
    if (tls == NULL || SSL_CTX_load_verify_locations(tls, ca_file, NULL) != 1)
        die("no certificates in %s", ca_file);
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_read_ahead(tls,
                           1); /* a record in one read, not two: who goes direct is to be fast */
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return tls;
}

/* An option that is a number; false where it is none. */
static bool set_number(struct run *run, int option, const char *value)
{
    switch (option) {
    case 'c':
        run->clients = (unsigned)number(value, 1, MAX_CLIENTS);
        return true;
    case 'n':
        run->count = number(value, 1, UINT32_MAX);
        return true;
    case 'l':
        run->length = number(value, 1, UINT32_MAX);
        return true;
    case 'p':
        run->depth = (unsigned)number(value, 1, MAX_DEPTH);
        return true;
    case 'r':
        run->rate = (double)number(value, 1, 1000000);
        return true;
    case 'u':
        run->upload = number(value, 1, UINT32_MAX);
        return true;
    case 't':
        run->targets = (unsigned)number(value, 1, MAX_TARGETS);
        return true;
    default:
        return false;
    }
}

static bool set_option(struct run *run, int option, const char *value)
{
    switch (option) {
    case '1':
        run->reconnects = true;
        return true;
    case 'F':
        run->fans_out = true;
        return true;
    case 'i':
        run->holds = true;
        run->held = (unsigned)number(value, 0, MAX_DEPTH);
        return true;
    case 'a':
        return inet_pton(AF_INET, value, &run->addr.sin_addr) == 1;
    case 'C':
        run->connect.len = 1;
        return true;
    case 'T':
        run->tls = make_tls(value);
        return true;
    default:
        return set_number(run, option, value);
    }
}

static void read_arguments(struct run *run, int argc, char **argv)
{
    int option;
    while ((option = getopt(argc, argv, "a:c:n:l:p:r:u:t:1Fi:CT:")) != -1) {
        if (!set_option(run, option, optarg))
            usage();
    }
    bool deep = run->depth > 1;
    if (argc - optind != 3 || (deep && (run->upload > 0 || run->reconnects || run->rate > 0)) ||
        (run->reconnects && (run->rate > 0 || run->holds || run->fans_out)))
        usage();
    run->addr.sin_port = htons((uint16_t)number(argv[optind], 1, 65535));
    run->host = argv[optind + 1];
    int name_len = (int)strcspn(run->host, ":");
    snprintf(run->tls_name, sizeof(run->tls_name), "%.*s", name_len, run->host);
    if (run->connect.len > 0)
        run->connect = keep("CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", run->host, run->host);
    for (unsigned i = 0; i < run->targets; i++)
        requests[i] = make_request(run, argv[optind + 2], i);
    run->requests = requests;
}

/* ---- what was measured */

static int compare_floats(const void *a, const void *b)
{
    float one = *(const float *)a, other = *(const float *)b;
    return (one > other) - (one < other);
}

static void print_latencies(struct run *run)
{
    if (run->latencies == NULL)
        return;
    qsort(run->latencies, run->count, sizeof(float), compare_floats);
    printf(", \"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f", run->latencies[run->count / 2],
           run->latencies[run->count * 99 / 100], run->latencies[run->count - 1]);
}

static void print_figures(struct run *run)
{
    double seconds = (double)(run->end_ns - run->start_ns) / 1e9;
    printf("{\"requests\": %llu, \"seconds\": %.6f, \"per_second\": %.1f, \"bytes\": %llu",
           (unsigned long long)run->count, seconds, (double)run->count / seconds,
           (unsigned long long)run->bytes);
    print_latencies(run);
    puts("}");
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv)
{
    struct run run = {.clients = 32, .count = 1000, .length = 1024, .depth = 1, .targets = 1};
    run.addr.sin_family = AF_INET;
    run.addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    read_arguments(&run, argc, argv);
    raise_descriptor_limit();
    run.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (run.epoll < 0)
        die("epoll_create1: %s", strerror(errno));
    run.all = clients;
    if (run.depth == 1 && run.count <= MAX_LATENCIES)
        run.latencies = latencies;
    run_all(&run);
    if (!run.holds)
        print_figures(&run);
    return 0;
}
