/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets: see fake.h. */
#include "fake_impl.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

enum { ORIGINAL_DST = 80 }; /* netfilter's SO_ORIGINAL_DST */

unsigned fake_dials, fake_open, fake_trip;
void (*fake_on_dial)(struct fake_sock *s);

static struct fake_sock **all; /* heap: those of closed descriptors, too */
static unsigned n_all;
static struct fake_sock *by_fd[FAKE_FD_MAX];
static uint64_t touches;

static void touch(struct fake_sock *s)
{
    s->touched = ++touches;
}

static struct fake_sock *sock_of(int fd)
{
    bool is_fake = fd >= FAKE_FD_FIRST && fd < FAKE_FD_FIRST + FAKE_FD_MAX;
    return is_fake ? by_fd[fd - FAKE_FD_FIRST] : NULL;
}

static struct fake_sock *sock_new(enum fake_state state)
{
    struct fake_sock *s = xcalloc(1, sizeof(*s));
    int i = 0;
    while (by_fd[i] != NULL)
        i++;
    by_fd[i] = s;
    s->fd = FAKE_FD_FIRST + i;
    s->state = state;
    s->room = SIZE_MAX;
    all = fake_grow(all, n_all, sizeof(*all));
    all[n_all++] = s;
    fake_open++;
    return s;
}

static void bytes_add(struct fake_bytes *b, const char *p, size_t n)
{
    if (b->from == b->len)
        b->from = b->len = 0;
    if (b->cap < b->len + n) {
        b->cap = 2 * (b->len + n);
        b->p = xrealloc(b->p, b->cap);
    }
    if (n > 0)
        memcpy(b->p + b->len, p, n);
    b->len += n;
}

static size_t bytes_left(const struct fake_bytes *b)
{
    return b->len - b->from;
}

/* ---- the peer's side */

struct fake_sock *fake_listen(void)
{
    return sock_new(FAKE_LISTENS);
}

/* By the kernel: nobody listens. */
static void turn_away(struct fake_sock *s)
{
    s->state = FAKE_CLOSED;
    s->out_end = s->is_cut = true;
}

/* It has no descriptor before it is accepted. */
struct fake_sock *fake_client(struct fake_sock *listener, const char *from)
{
    struct fake_sock *s = sock_new(FAKE_OPEN);
    by_fd[s->fd - FAKE_FD_FIRST] = NULL;
    s->fd = -1;
    fake_open--;
    if (!addr_parse_ip(&s->peer, str_from(from), 40000) && !addr_parse(&s->peer, str_from(from)))
        abort();
    if (listener->state == FAKE_CLOSED) {
        turn_away(s);
        return s;
    }
    struct fake_sock **end = &listener->queue;
    while (*end != NULL)
        end = &(*end)->queue;
    *end = s;
    touch(listener);
    return s;
}

struct fake_sock *fake_dial(unsigned number)
{
    for (unsigned i = 0; i < n_all; i++) {
        if (all[i]->number == number && number > 0)
            return all[i];
    }
    return NULL;
}

void fake_accept(struct fake_sock *s)
{
    if (s->state != FAKE_DIALS)
        return;
    s->state = FAKE_OPEN;
    touch(s);
}

void fake_refuse(struct fake_sock *s, int error)
{
    if (s->state != FAKE_DIALS)
        return;
    s->state = FAKE_REFUSED;
    s->error = error;
    touch(s);
}

void fake_send(struct fake_sock *s, const char *p, size_t n)
{
    if (s->state != FAKE_OPEN || s->in_end || s->in_error != 0)
        return;
    bytes_add(&s->in, p, n);
    touch(s);
}

void fake_end(struct fake_sock *s)
{
    s->in_end = true;
    touch(s);
}

void fake_close(struct fake_sock *s)
{
    s->peer_gone = true;
    fake_end(s);
}

void fake_reset(struct fake_sock *s)
{
    s->in.from = s->in.len;
    s->in_error = ECONNRESET;
    s->peer_gone = true;
    touch(s);
}

void fake_set_room(struct fake_sock *s, size_t room)
{
    s->room = room;
    touch(s);
}

struct str fake_got(const struct fake_sock *s)
{
    size_t n = bytes_left(&s->out);
    return n == 0 ? STR("") : str_make(s->out.p + s->out.from, n);
}

void fake_take(struct fake_sock *s, size_t n)
{
    s->out.from += n;
}

void fake_clear(void)
{
    for (unsigned i = 0; i < n_all; i++) {
        free(all[i]->in.p);
        free(all[i]->out.p);
        free(all[i]);
    }
    free(all);
    all = NULL;
    n_all = 0;
    memset(by_fd, 0, sizeof(by_fd));
    fake_dials = fake_open = fake_trip = 0;
    fake_on_dial = NULL;
    fake_clear_names();
}

/* ---- events */

short fake_ready(int fd, short what)
{
    const struct fake_sock *s = sock_of(fd);
    if (s == NULL)
        return 0;
    bool is_over = s->state == FAKE_REFUSED || s->in_error != 0;
    bool has_input = s->queue != NULL || s->wakes > 0 || bytes_left(&s->in) > 0 || s->in_end;
    bool takes = s->state == FAKE_OPEN && (s->room > 0 || s->peer_gone);
    short is = (short)((has_input || is_over ? EV_READ : 0) | (takes || is_over ? EV_WRITE : 0));
    return is & what;
}

uint64_t fake_touched(int fd)
{
    return sock_of(fd)->touched;
}

/* ---- the program's side */

static ssize_t error(int cause)
{
    errno = cause;
    return -1;
}

WRAP(int, eventfd, (unsigned count, int flags))
{
    (void)flags;
    struct fake_sock *s = sock_new(FAKE_WAKES);
    s->wakes = count;
    return s->fd;
}

WRAP(ssize_t, read, (int fd, void *p, size_t n))
{
    struct fake_sock *s = sock_of(fd);
    if (s == NULL)
        return __real_read(fd, p, n);
    memcpy(p, &s->wakes, sizeof(s->wakes));
    s->wakes = 0;
    return sizeof(s->wakes);
}

WRAP(ssize_t, write, (int fd, const void *p, size_t n))
{
    struct fake_sock *s = sock_of(fd);
    if (s == NULL)
        return __real_write(fd, p, n);
    if (s->wakes == 0)
        touch(s);
    s->wakes++;
    return (ssize_t)n;
}

WRAP(int, close, (int fd))
{
    struct fake_sock *s = sock_of(fd);
    if (s == NULL) {
        if (fd >= FAKE_FD_FIRST)
            fake_fault = "a descriptor is closed that is not open";
        return fd >= FAKE_FD_FIRST ? 0 : __real_close(fd);
    }
    by_fd[fd - FAKE_FD_FIRST] = NULL;
    fake_open--;
    s->fd = -1;
    s->is_cut = s->is_cut || bytes_left(&s->in) > 0;
    s->out_end = true;
    s->state = FAKE_CLOSED;
    for (struct fake_sock *q = s->queue; q != NULL; q = q->queue)
        turn_away(q);
    s->queue = NULL;
    return 0;
}

WRAP(int, socket, (int family, int type, int protocol))
{
    if ((type & SOCK_STREAM) == 0)
        return __real_socket(family, type, protocol);
    return sock_new(FAKE_NEW)->fd;
}

WRAP(int, bind, (int fd, const struct sockaddr *a, socklen_t len))
{
    return sock_of(fd) == NULL ? __real_bind(fd, a, len) : 0;
}

WRAP(int, connect, (int fd, const struct sockaddr *a, socklen_t len))
{
    struct fake_sock *s = sock_of(fd);
    if (s == NULL)
        return __real_connect(fd, a, len);
    addr_from_sockaddr(&s->peer, a, len);
    s->number = ++fake_dials;
    s->state = FAKE_DIALS;
    if (fake_on_dial != NULL)
        fake_on_dial(s);
    return (int)error(EINPROGRESS);
}

WRAP(int, accept4, (int fd, struct sockaddr *a, socklen_t *len, int flags))
{
    struct fake_sock *l = sock_of(fd);
    (void)flags;
    struct fake_sock *s = l->queue;
    if (s == NULL)
        return (int)error(EAGAIN);
    l->queue = s->queue;
    s->queue = NULL;
    int i = 0;
    while (by_fd[i] != NULL)
        i++;
    by_fd[i] = s;
    s->fd = FAKE_FD_FIRST + i;
    fake_open++;
    memcpy(a, &s->peer.sa, s->peer.len);
    *len = s->peer.len;
    return s->fd;
}

WRAP(ssize_t, recv, (int fd, void *p, size_t n, int flags))
{
    struct fake_sock *s = sock_of(fd);
    if (s == NULL)
        return __real_recv(fd, p, n, flags);
    size_t left = bytes_left(&s->in);
    if (left > 0) {
        n = n < left ? n : left;
        memcpy(p, s->in.p + s->in.from, n);
        s->in.from += (flags & MSG_PEEK) != 0 ? 0 : n;
        return (ssize_t)n;
    }
    if (s->in_error != 0)
        return error(s->in_error);
    return s->in_end ? 0 : error(s->state == FAKE_OPEN ? EAGAIN : ENOTCONN);
}

/* A peer that is gone answers the first bytes by a reset, and after that nothing is taken. */
static ssize_t put(struct fake_sock *s, const char *p, size_t n)
{
    if (s->state != FAKE_OPEN || s->out_end)
        return error(s->state != FAKE_OPEN ? ENOTCONN : EPIPE);
    if (s->in_error != 0)
        return error(EPIPE);
    if (s->peer_gone) {
        s->in_error = ECONNRESET;
        touch(s);
        return (ssize_t)n;
    }
    if (s->room == 0)
        return error(EAGAIN);
    n = n < s->room ? n : s->room;
    bytes_add(&s->out, p, n);
    s->room -= s->room == SIZE_MAX ? 0 : n;
    return (ssize_t)n;
}

/* What a fake socket has are streams. */
WRAP(ssize_t, recvmsg, (int fd, struct msghdr *m, int flags))
{
    return sock_of(fd) == NULL ? __real_recvmsg(fd, m, flags) : error(EOPNOTSUPP);
}

WRAP(ssize_t, send, (int fd, const void *p, size_t n, int flags))
{
    struct fake_sock *s = sock_of(fd);
    return s == NULL ? __real_send(fd, p, n, flags) : put(s, p, n);
}

WRAP(ssize_t, sendmsg, (int fd, const struct msghdr *m, int flags))
{
    struct fake_sock *s = sock_of(fd);
    ssize_t done = 0;
    if (s == NULL)
        return __real_sendmsg(fd, m, flags);
    for (size_t i = 0; i < m->msg_iovlen; i++) {
        const struct iovec *v = &m->msg_iov[i];
        if (v->iov_len == 0)
            continue;
        ssize_t n = put(s, v->iov_base, v->iov_len);
        if (n < 0)
            return done > 0 ? done : n;
        done += n;
        if ((size_t)n < v->iov_len)
            break;
    }
    return done;
}

WRAP(int, shutdown, (int fd, int how))
{
    struct fake_sock *s = sock_of(fd);
    if (s == NULL)
        return __real_shutdown(fd, how);
    s->out_end = true;
    return 0;
}

WRAP(int, setsockopt, (int fd, int level, int name, const void *p, socklen_t len))
{
    struct fake_sock *s = sock_of(fd);
    if (s == NULL)
        return __real_setsockopt(fd, level, name, p, len);
    if (level == SOL_SOCKET && name == SO_LINGER)
        s->is_cut = ((const struct linger *)p)->l_onoff != 0;
    return 0;
}

WRAP(int, getsockopt, (int fd, int level, int name, void *p, socklen_t *len))
{
    struct fake_sock *s = sock_of(fd);
    if (s == NULL)
        return __real_getsockopt(fd, level, name, p, len);
    if (level == IPPROTO_IP && name == ORIGINAL_DST && s->original.len > 0) {
        memcpy(p, &s->original.sa, s->original.len);
        *len = s->original.len;
        return 0;
    }
    if (level == IPPROTO_TCP && name == TCP_INFO) {
        struct tcp_info info = {.tcpi_min_rtt = fake_trip};
        *len = *len < sizeof(info) ? *len : (socklen_t)sizeof(info);
        memcpy(p, &info, *len);
        return 0;
    }
    if (level != SOL_SOCKET || name != SO_ERROR)
        return (int)error(ENOPROTOOPT);
    memcpy(p, &s->error, sizeof(int));
    s->error = 0;
    return 0;
}

WRAP(int, getsockname, (int fd, struct sockaddr *a, socklen_t *len))
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(3128)};
    if (sock_of(fd) == NULL)
        return __real_getsockname(fd, a, len);
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (sock_of(fd)->number > 0) /* so that each dial comes from somewhere else */
        here.sin_port = htons((uint16_t)(50000 + sock_of(fd)->number));
    memcpy(a, &here, sizeof(here));
    *len = sizeof(here);
    return 0;
}
