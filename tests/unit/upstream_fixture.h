/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of net/dns.c and of upstream/ share: a configuration made by hand, a loop, and
 * peers on loopback that the test itself plays, with blocking reads bounded by turns of the loop.
 */
#ifndef TLSFAN_TESTS_UPSTREAM_FIXTURE_H
#define TLSFAN_TESTS_UPSTREAM_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "conf/conf.h"
#include "net/dns.h"
#include "upstream/pool.h"

struct fixture {
    struct loop loop;
    struct rule rule;
    struct conf conf; /* keeps a reference of its own: never freed by conf_unref() */
    struct dns *dns;
};

static char fixture_empty[] = "";
static char fixture_any[] = "*";

static inline void fixture_open(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    assert_true(loop_init(&f->loop));
    f->rule.host = fixture_any;
    f->rule.connect_host = fixture_empty;
    f->rule.sni = fixture_empty;
    f->rule.max_per_host = 256;
    f->conf.refs = 1000;
    f->conf.generation = 1;
    f->conf.rules = &f->rule;
    f->conf.n_rules = 1;
    f->conf.upstream = (struct upstream_conf){.connect_timeout = 5000,
                                              .idle_timeout = 60000,
                                              .max_age = 600000,
                                              .queue_timeout = 5000,
                                              .max_head = 131072,
                                              .retries = 1};
    f->conf.dns = (struct dns_conf){
        .timeout = 3000, .ttl_max = 60000, .negative_ttl = 5000, .family = AF_UNSPEC};
}

static inline void fixture_open_dns(struct fixture *f)
{
    f->dns = dns_new(&f->loop, &f->conf);
    assert_non_null(f->dns);
}

static inline void fixture_close(struct fixture *f)
{
    dns_close(f->dns);
    loop_turn(&f->loop, false);
    loop_clear(&f->loop);
    assert_int_equal(f->conf.refs, 1000);
}

/* Something happens at least every 5 ms, so that waiting for a condition never blocks for good. */
static inline void fixture_tick(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
}

/* Turns the loop until *DONE; fails the test after 10 s. */
static inline void fixture_until(struct fixture *f, const volatile bool *done)
{
    struct event *tick = event_new(f->loop.base, -1, EV_PERSIST, fixture_tick, NULL);
    struct timeval tv = {0, 5000};
    event_add(tick, &tv);
    int64_t end = loop_now() + 10000000;
    while (!*done && loop_now() < end)
        loop_turn(&f->loop, true);
    event_free(tick);
    assert_true(*done);
}

/* Turns until nothing is left to do at once. */
static inline void fixture_settle(struct fixture *f)
{
    for (int i = 0; i < 5; i++)
        loop_turn(&f->loop, false);
}

/* A listener on 127.0.0.1; *PORT is the one that was picked. */
static inline int fixture_listen(uint16_t *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fd, 64), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    *port = ntohs(a.sin_port);
    return fd;
}

/* Turns the loop until the listener has a connection, and takes it. */
static inline int fixture_accept(struct fixture *f, int listener)
{
    int64_t end = loop_now() + 10000000;
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd >= 0)
            return fd;
        assert_true(loop_now() < end);
        loop_turn(&f->loop, false);
    }
}

/* Turns the loop until N bytes, or an end, have come from FD; gives how many, terminated. BUF has N
 * + 1 bytes. */
static inline size_t fixture_read(struct fixture *f, int fd, char *buf, size_t n)
{
    size_t got = 0;
    int64_t end = loop_now() + 10000000;
    while (got < n) {
        ssize_t r = recv(fd, buf + got, n - got, MSG_DONTWAIT);
        if (r == 0 || (r < 0 && errno != EAGAIN))
            break;
        if (r > 0)
            got += (size_t)r;
        assert_true(loop_now() < end);
        loop_turn(&f->loop, false);
    }
    buf[got] = '\0';
    return got;
}

static inline void fixture_write(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static inline struct up_where fixture_where(struct fixture *f, const char *host, uint16_t port)
{
    return (struct up_where){
        .conf = &f->conf, .rule = &f->rule, .host = str_from(host), .port = port, .is_local = true};
}

/* ---- a DNS server on the loop; the first label of a name says what it answers */

struct fixture_dns {
    struct event event;
    int fd;
    char server[32]; /* for dns.servers */
    const char *servers[1];
    unsigned queries; /* that came */
    bool hold;        /* answer nothing, but keep the last query of "held" */
    /* The code to answer a query for a name with (in labels, with their lengths), and nothing
     * else; 0: as its first label says; -1: not at all. NULL: so for all. */
    int (*code_of)(const char *labels, bool is_v6);
    char kept[512];
    size_t kept_len;
    struct sockaddr_in kept_from;
};

static inline void fixture_dns_reply(struct fixture_dns *d, const char *query, size_t len,
                                     const struct sockaddr_in *to)
{
    static const unsigned char a4[] = {0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1};
    static const unsigned char a6[] = {0xc0, 0x0c, 0, 28, 0, 1, 0, 0, 0, 60, 0, 16, 0, 0,
                                       0,    0,    0, 0,  0, 0, 0, 0, 0, 0,  0, 0,  0, 1};
    /* "alias": a CNAME to itself's parent domain with TTL 1, then the address of that with TTL 60
     */
    static const unsigned char cname[] = {0xc0, 0x0c, 0, 5, 0, 1, 0, 0, 0, 1, 0, 2, 0xc0, 0x12};
    char out[600];
    size_t n = 12;
    while (n < len && query[n] != 0)
        n += (size_t)(unsigned char)query[n] + 1;
    n += 5;
    if (n > len || len > 500)
        return;
    bool is_v6 = query[n - 3] == 28;
    const char *label = query + 13;
    memcpy(out, query, n);
    out[2] = (char)0x81;
    out[3] = (char)(memcmp(label, "none", 4) == 0 ? 0x83 : 0x80);
    memset(out + 4, 0, 8);
    out[5] = 1;
    int code = d->code_of != NULL ? d->code_of(query + 12, is_v6) : 0;
    if (code < 0)
        return;
    if (code != 0)
        out[3] = (char)(0x80 | code);
    else if (memcmp(label, "alias", 5) == 0 && !is_v6) {
        memcpy(out + n, cname, sizeof(cname));
        n += sizeof(cname);
        memcpy(out + n, a4, sizeof(a4));
        out[n + 1] = 0x12;
        n += sizeof(a4);
        out[7] = 2;
    } else if (out[3] == (char)0x80 && !is_v6 && memcmp(label, "six", 3) != 0) {
        memcpy(out + n, a4, sizeof(a4));
        n += sizeof(a4);
        out[7] = 1;
    } else if (is_v6 && (memcmp(label, "both", 4) == 0 || memcmp(label, "six", 3) == 0)) {
        memcpy(out + n, a6, sizeof(a6));
        n += sizeof(a6);
        out[7] = 1;
    }
    assert_int_equal(sendto(d->fd, out, n, 0, (const struct sockaddr *)to, sizeof(*to)), n);
}

static inline void fixture_dns_on_query(evutil_socket_t fd, short what, void *arg)
{
    struct fixture_dns *d = arg;
    char q[512];
    struct sockaddr_in from;
    socklen_t from_len = sizeof(from);
    (void)what;
    ssize_t n = recvfrom(fd, q, sizeof(q), MSG_DONTWAIT, (struct sockaddr *)&from, &from_len);
    if (n < 20)
        return;
    d->queries++;
    bool is_v6 = memchr(q + 12, 28, (size_t)n - 12) != NULL;
    if (d->hold) {
        memcpy(d->kept, q, (size_t)n);
        d->kept_len = (size_t)n;
        d->kept_from = from;
    } else if (memcmp(q + 13, "silent", 6) != 0 && !(memcmp(q + 13, "half", 4) == 0 && is_v6)) {
        fixture_dns_reply(d, q, (size_t)n, &from);
    }
}

/* Makes the server, and F ask it alone. */
static inline void fixture_dns_open(struct fixture *f, struct fixture_dns *d)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    memset(d, 0, sizeof(*d));
    d->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(d->fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(getsockname(d->fd, (struct sockaddr *)&a, &len), 0);
    snprintf(d->server, sizeof(d->server), "127.0.0.1:%u", ntohs(a.sin_port));
    d->servers[0] = d->server;
    f->conf.dns.servers.v = d->servers;
    f->conf.dns.servers.n = 1;
    event_assign(&d->event, f->loop.base, d->fd, EV_READ | EV_PERSIST, fixture_dns_on_query, d);
    event_add(&d->event, NULL);
}

static inline void fixture_dns_close(struct fixture_dns *d)
{
    event_del(&d->event);
    close(d->fd);
}

#endif
