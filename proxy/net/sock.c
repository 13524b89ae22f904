/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets: making them, and what an errno of theirs means. Nothing here waits. */
#include "net/sock.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fds.h"

/* Linux has it since 4.2; older C library headers may not say so. */
#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

enum { ORIGINAL_DST = 80 }; /* SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST of netfilter */

static int open_socket(int family)
{
    return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

static bool sock_set_flag(int fd, int level, int name)
{
    int on = 1;
    return setsockopt(fd, level, name, &on, sizeof(on)) == 0;
}

/* Closes FD and keeps errno. */
static int give_up(int fd)
{
    int cause = errno;
    close(fd);
    errno = cause;
    return -1;
}

/* Removes the socket file of a process that has gone. A file that is no socket is left alone. */
static bool remove_stale(const struct addr *a)
{
    struct stat st;
    if (lstat(a->un.sun_path, &st) < 0)
        return errno == ENOENT;
    if (!S_ISSOCK(st.st_mode)) {
        errno = EADDRINUSE;
        return false;
    }
    int fd = open_socket(AF_UNIX);
    if (fd < 0)
        return false;
    int r = connect(fd, &a->sa, a->len);
    int cause = errno;
    close(fd);
    if (r == 0 || cause != ECONNREFUSED) {
        errno = EADDRINUSE;
        return false;
    }
    return unlink(a->un.sun_path) == 0 || errno == ENOENT;
}

static int listen_unix(const struct addr *a)
{
    if (!remove_stale(a))
        return -1;
    int fd = open_socket(AF_UNIX);
    if (fd < 0)
        return -1;
    if (bind(fd, &a->sa, a->len) < 0)
        return give_up(fd);
    /* Before listen(): until then nobody can connect, whatever the umask made of the mode. */
    if (chmod(a->un.sun_path, 0660) < 0 || listen(fd, SOMAXCONN) < 0)
        return give_up(fd);
    return fd;
}

int sock_listen(const struct addr *a, bool reuseport)
{
    int family = addr_family(a);
    if (family == AF_UNIX)
        return listen_unix(a);
    int fd = open_socket(family);
    if (fd < 0)
        return -1;
    bool ok =
        sock_set_flag(fd, SOL_SOCKET, SO_REUSEADDR) && sock_set_flag(fd, IPPROTO_TCP, TCP_NODELAY);
    if (ok && reuseport)
        ok = sock_set_flag(fd, SOL_SOCKET, SO_REUSEPORT);
    if (ok && family == AF_INET6)
        ok = sock_set_flag(fd, IPPROTO_IPV6, IPV6_V6ONLY);
    if (!ok || bind(fd, &a->sa, a->len) < 0 || listen(fd, SOMAXCONN) < 0)
        return give_up(fd);
    return fd;
}

bool sock_set_transparent(int listener, const struct addr *a)
{
    if (addr_family(a) == AF_INET6)
        return sock_set_flag(listener, IPPROTO_IPV6, IPV6_TRANSPARENT);
    return sock_set_flag(listener, IPPROTO_IP, IP_TRANSPARENT);
}

bool sock_local(int fd, struct addr *a)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    if (getsockname(fd, (struct sockaddr *)&ss, &len) < 0)
        return false;
    addr_from_sockaddr(a, (struct sockaddr *)&ss, len);
    return true;
}

bool sock_original(int fd, struct addr *dst)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    if (!sock_local(fd, dst))
        return false;
    /* Both families have the same number for it. */
    int level = addr_family(dst) == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;
    memset(&ss, 0, sizeof(ss));
    if (getsockopt(fd, level, ORIGINAL_DST, &ss, &len) == 0)
        addr_from_sockaddr(dst, (struct sockaddr *)&ss, len);
    return true;
}

int sock_accept(int listener, struct addr *peer)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    int fd = accept4(listener, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return -1;
    addr_from_sockaddr(peer, (struct sockaddr *)&ss, len);
    return fd;
}

bool sock_is_passing(int cause)
{
    switch (cause) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case EPERM:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENONET:
    case ENOPROTOOPT:
    case EOPNOTSUPP:
    case ETIMEDOUT:
        return true;
    default:
        return false;
    }
}

int sock_connect(const struct addr *a, const struct addr *source)
{
    int family = addr_family(a);
    int fd = open_socket(family);
    if (fd < 0)
        return -1;
    if (fds_is_kept(fd)) {
        errno = EMFILE;
        return give_up(fd);
    }
    if (family != AF_UNIX)
        sock_set_flag(fd, IPPROTO_TCP, TCP_NODELAY);
    if (source != NULL && source->len > 0) {
        /* The port is picked by connect(): as many connections as there are ports to each origin,
         * rather than to all of them together. */
        sock_set_flag(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT);
        if (bind(fd, &source->sa, source->len) < 0)
            return give_up(fd);
    }
    if (connect(fd, &a->sa, a->len) < 0 && errno != EINPROGRESS)
        return give_up(fd);
    return fd;
}

int sock_connect_result(int fd)
{
    int err = 0;
    socklen_t len = sizeof(err);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
        return errno;
    return err;
}

bool sock_is_quiet(int fd)
{
    char c;
    ssize_t n = recv(fd, &c, 1, MSG_PEEK | MSG_DONTWAIT);
    return n < 0 && (errno == EAGAIN || errno == EINTR);
}

bool sock_has_input(int fd)
{
    char c;
    return recv(fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

void sock_set_reset(int fd)
{
    struct linger off = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &off, sizeof(off));
}

static enum fault_code connect_code(int err)
{
    switch (err) {
    case ECONNREFUSED:
    case ECONNRESET:
    case ENOENT: /* unix: */
        return FAULT_REFUSED;
    case ETIMEDOUT:
        return FAULT_CONNECT_TIMEOUT;
    case EMFILE:
    case ENFILE:
        return FAULT_DESCRIPTORS;
    case ENOBUFS:
    case ENOMEM:
    case EAGAIN: /* no local port is left, or the backlog of a unix socket is full */
        return FAULT_LIMIT;
    default:
        return FAULT_UNROUTABLE;
    }
}

void sock_fault(struct fault *f, int err, const struct addr *a)
{
    char text[ADDR_TEXT], why[256];
    enum fault_code code = connect_code(err);
    addr_print(a, text);
    if (code == FAULT_DESCRIPTORS)
        fault_set(f, code, "no connection can be made: %s", fds_explain(why, sizeof(why), err));
    else if (err == ECONNREFUSED)
        fault_set(f, code, "%s refused the connection", text);
    else if (code == FAULT_CONNECT_TIMEOUT)
        fault_set(f, code, "%s did not answer in time", text);
    else
        fault_set(f, code, "cannot connect to %s: %s", text, strerror(err));
}
