/* SPDX-License-Identifier: Apache-2.0 */
/* The floor over HTTP/1: bytes go from a client to a TLS connection of its own and back. */
#include "floor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* A client and its connection to the origin. */
struct link {
    struct end client, origin;
    SSL *ssl;
    bool ready; /* the handshake is over */
    bool dead;
    struct link *next; /* of those that are free, or dead */
    struct rest up, down;
    char up_bytes[FLOOR_CHUNK], down_bytes[FLOOR_CHUNK + FLOOR_RECORD];
};

/* Of one worker. */
struct links {
    struct link *free, *dead;
    unsigned used; /* of those in all */
    struct link all[FLOOR_CLIENTS];
};

static struct links pools[FLOOR_WORKERS];
static unsigned pools_used;

static void links_begin(struct worker *worker)
{
    worker->state = &pools[__atomic_fetch_add(&pools_used, 1, __ATOMIC_RELAXED)];
}

/* Events of this turn may still point to it: it is free when they were handled. */
static void link_end(struct worker *worker, struct link *link)
{
    struct links *links = worker->state;
    if (link->dead)
        return;
    link->dead = true;
    close(link->client.fd);
    close(link->origin.fd);
    SSL_free(link->ssl);
    link->next = links->dead;
    links->dead = link;
}

static void links_turned(struct worker *worker)
{
    struct links *links = worker->state;
    while (links->dead != NULL) {
        struct link *link = links->dead;
        links->dead = link->next;
        link->next = links->free;
        links->free = link;
    }
}

/* A side is read while the other one takes what it sends. */
static void link_watch(struct worker *worker, struct link *link)
{
    uint32_t client = (link->up.len == 0 ? EPOLLIN : 0) | (link->down.len > 0 ? EPOLLOUT : 0);
    uint32_t origin = (link->down.len == 0 ? EPOLLIN : 0) | (link->up.len > 0 ? EPOLLOUT : 0);
    end_watch(worker, &link->client, client);
    end_watch(worker, &link->origin, origin);
}

/* Returns how many bytes the origin's connection took, -1: it has failed. */
static ssize_t link_write_up(struct link *link, const char *from, size_t len)
{
    size_t sent = 0, n;
    while (sent < len) {
        if (SSL_write_ex(link->ssl, from + sent, len - sent, &n) == 1)
            sent += n;
        else
            return SSL_get_error(link->ssl, 0) == SSL_ERROR_WANT_WRITE ? (ssize_t)sent : -1;
    }
    return (ssize_t)sent;
}

static ssize_t link_write_down(struct link *link, const char *from, size_t len)
{
    ssize_t n = send(link->client.fd, from, len, MSG_NOSIGNAL);
    return n < 0 && errno == EAGAIN ? 0 : n;
}

static void keep_rest(struct rest *rest, char *bytes, const char *from, size_t len)
{
    memcpy(bytes, from, len);
    *rest = (struct rest){.len = len};
}

static void link_up(struct worker *worker, struct link *link)
{
    ssize_t n = recv(link->client.fd, worker->chunk, FLOOR_CHUNK, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    ssize_t sent = n > 0 ? link_write_up(link, worker->chunk, (size_t)n) : -1;
    if (sent < 0) {
        link_end(worker, link);
        return;
    }
    if (sent == n)
        return;
    keep_rest(&link->up, link->up_bytes, worker->chunk + sent, (size_t)(n - sent));
    link_watch(worker, link);
}

/* What the origin has sent, as much as fits and needs no further wait; -1: it has ended. */
static ssize_t link_read_down(struct worker *worker, struct link *link)
{
    size_t len = 0, n;
    do {
        if (SSL_read_ex(link->ssl, worker->chunk + len, FLOOR_RECORD, &n) != 1)
            return len == 0 && SSL_get_error(link->ssl, 0) != SSL_ERROR_WANT_READ ? -1
                                                                                  : (ssize_t)len;
        len += n;
    } while (len < FLOOR_CHUNK && SSL_has_pending(link->ssl));
    return (ssize_t)len;
}

static void link_down(struct worker *worker, struct link *link)
{
    ssize_t n, sent;
    do {
        n = link_read_down(worker, link);
        sent = n > 0 ? link_write_down(link, worker->chunk, (size_t)n) : n;
    } while (sent == n && n >= FLOOR_CHUNK); /* OpenSSL may hold more, which makes no event */
    if (sent < 0) {
        link_end(worker, link);
    } else if (sent < n) {
        keep_rest(&link->down, link->down_bytes, worker->chunk + sent, (size_t)(n - sent));
        link_watch(worker, link);
    }
}

/* Returns true when nothing is left. */
static bool rest_sent(struct rest *rest, ssize_t sent)
{
    rest->at += (size_t)sent;
    rest->len -= (size_t)sent;
    return rest->len == 0;
}

static void client_event(struct worker *worker, struct end *end, uint32_t events)
{
    struct link *link = end->owner;
    if (link->dead)
        return;
    if (link->down.len > 0 && (events & EPOLLOUT)) {
        ssize_t n = link_write_down(link, link->down_bytes + link->down.at, link->down.len);
        if (n < 0)
            link_end(worker, link);
        else if (rest_sent(&link->down, n))
            link_watch(worker, link);
        /* What OpenSSL holds back makes no event. */
        if (!link->dead && link->down.len == 0 && SSL_has_pending(link->ssl))
            link_down(worker, link);
    }
    if (!link->dead && link->up.len == 0 && (events & ~(uint32_t)EPOLLOUT))
        link_up(worker, link);
}

static void link_handshake(struct worker *worker, struct link *link)
{
    int result = SSL_do_handshake(link->ssl);
    if (result == 1) {
        link->ready = true;
        end_watch(worker, &link->origin, EPOLLIN);
        end_add(worker, &link->client, EPOLLIN);
        return;
    }
    int error = SSL_get_error(link->ssl, result);
    if (error == SSL_ERROR_WANT_READ)
        end_watch(worker, &link->origin, EPOLLIN);
    else if (error != SSL_ERROR_WANT_WRITE)
        link_end(worker, link);
}

static void origin_event(struct worker *worker, struct end *end, uint32_t events)
{
    struct link *link = end->owner;
    if (link->dead)
        return;
    if (!link->ready) {
        link_handshake(worker, link);
        return;
    }
    if (link->up.len > 0 && (events & EPOLLOUT)) {
        ssize_t n = link_write_up(link, link->up_bytes + link->up.at, link->up.len);
        if (n < 0)
            link_end(worker, link);
        else if (rest_sent(&link->up, n))
            link_watch(worker, link);
    }
    if (!link->dead && link->down.len == 0 && (events & ~(uint32_t)EPOLLOUT))
        link_down(worker, link);
}

static struct link *link_get(struct links *links)
{
    struct link *link = links->free;
    if (link != NULL)
        links->free = link->next;
    else if (links->used < FLOOR_CLIENTS)
        link = &links->all[links->used++];
    return link;
}

static void link_begin(struct worker *worker, int fd)
{
    struct link *link = link_get(worker->state);
    SSL *ssl = link != NULL ? origin_connect(worker) : NULL;
    if (ssl == NULL) {
        close(fd);
        return;
    }
    link->client = (struct end){.handle = client_event, .owner = link, .fd = fd};
    link->origin = (struct end){.handle = origin_event, .owner = link, .fd = SSL_get_fd(ssl)};
    link->ssl = ssl;
    link->ready = link->dead = false;
    link->up = link->down = (struct rest){0};
    end_add(worker, &link->origin, EPOLLOUT);
}

const struct relay floor_h1 = {links_begin, link_begin, links_turned};
