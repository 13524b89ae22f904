/* SPDX-License-Identifier: Apache-2.0 */
/* Sinks: see log_sink.h. */
#include "base/log_sink.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

enum { SYSLOG_LINE_MAX = 8 * 1024 }; /* bytes of one datagram to syslog */

/* ---- what it is */

/* systemd tells by JOURNAL_STREAM which stream is the journal's; a child inherits the variable, and
 * may have got other streams (systemd.exec(5)). */
static bool sink_is_journal(const struct stat *st)
{
    char stream[64];
    const char *wanted = getenv("JOURNAL_STREAM");
    snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st->st_dev,
             (unsigned long long)st->st_ino);
    return wanted != NULL && strcmp(wanted, stream) == 0;
}

/* A terminal that nobody reads says that it takes a byte, and waits at the second one. Opened once
 * more it can be told not to, without those who share FD being told so. -1: it cannot be. */
static int open_again(int fd)
{
    char path[32];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return open(path, O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
}

void sink_look(struct sink *s)
{
    struct stat st;
    if (s->kind != SINK_NEW)
        return;
    if (fstat(s->fd, &st) != 0) {
        s->kind = SINK_OFF;
        return;
    }
    s->is_journal = sink_is_journal(&st);
    s->kind = S_ISREG(st.st_mode)    ? SINK_REGULAR
              : S_ISSOCK(st.st_mode) ? SINK_SOCKET
              : isatty(s->fd)        ? SINK_TERMINAL
                                     : SINK_POLLED;
    if (s->kind == SINK_TERMINAL) {
        int fd = open_again(s->fd);
        s->own = fd > 0 ? fd : 0;
    }
}

void sink_close(struct sink *s, bool is_owned)
{
    if (s->own > 0)
        close(s->own);
    if (s->fd >= 0 && (is_owned || s->kind == SINK_SYSLOG))
        close(s->fd);
    *s = (struct sink){.kind = SINK_OFF, .fd = -1};
}

unsigned sink_columns(int fd)
{
    struct winsize w;
    return fd >= 0 && ioctl(fd, TIOCGWINSZ, &w) == 0 ? w.ws_col : 0;
}

/* ---- descriptors */

/* Whether FD would take more at once; else WHY. */
static bool sink_is_ready(int fd, int *why)
{
    struct pollfd pfd = {.fd = fd, .events = POLLOUT};
    int n;
    do {
        n = poll(&pfd, 1, 0);
    } while (n < 0 && errno == EINTR);
    if (n == 1 && pfd.revents == POLLOUT)
        return true;
    *why = n < 0 ? errno : n == 0 ? 0 : EPIPE;
    return false;
}

static ssize_t sink_try(struct sink *s, const char *p, size_t n)
{
    if (s->kind == SINK_SOCKET)
        return send(s->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    return write(s->own > 0 ? s->own : s->fd, p, n);
}

/* At most N bytes to S without waiting. Bytes written; <= 0 with WHY when it takes none. */
static ssize_t sink_put(struct sink *s, const char *p, size_t n, int *why)
{
    ssize_t done;
    bool is_asked = s->kind == SINK_POLLED || (s->kind == SINK_TERMINAL && s->own == 0);
    do {
        if (is_asked && !sink_is_ready(s->fd, why))
            return 0;
        done = sink_try(s, p, n);
    } while (done < 0 && errno == EINTR);
    if (done < 0)
        *why = errno == EAGAIN || errno == EWOULDBLOCK ? 0 : errno;
    return done;
}

static unsigned count_lines(const char *p, size_t n)
{
    unsigned lines = 0;
    for (size_t i = 0; i < n; i++)
        lines += p[i] == '\n';
    return lines;
}

/* The next piece of P: whole lines, unless the first one alone is too long. */
static size_t cut_piece(const struct sink *s, const char *p, size_t n)
{
    if (s->kind == SINK_REGULAR || n <= PIPE_BUF)
        return n;
    const char *end = memrchr(p, '\n', PIPE_BUF);
    return end == NULL ? (size_t)PIPE_BUF : (size_t)(end - p) + 1;
}

static unsigned sink_write_fd(struct sink *s, const char *p, size_t n, int *why)
{
    if (s->is_torn && sink_put(s, "\n", 1, why) != 1)
        return count_lines(p, n);
    s->is_torn = false;
    while (n > 0) {
        ssize_t done = sink_put(s, p, cut_piece(s, p, n), why);
        if (done <= 0)
            return count_lines(p, n);
        s->is_torn = p[done - 1] != '\n';
        p += done;
        n -= (size_t)done;
    }
    return 0;
}

/* ---- syslog */

/* syslog(3) would wait for a daemon that is stuck, so the datagram is sent by hand. */
static bool syslog_connect(struct sink *s)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};
    if (s->fd >= 0)
        return true;
    s->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (s->fd < 0)
        return false;
    if (connect(s->fd, (struct sockaddr *)&to, sizeof(to)) == 0)
        return true;
    int cause = errno;
    close(s->fd);
    s->fd = -1;
    errno = cause;
    return false;
}

/* False with errno. */
static bool syslog_line(struct sink *s, const char *p, size_t n)
{
    char line[SYSLOG_LINE_MAX];
    char when[32];
    time_t now = time(NULL);
    struct tm tm;
    localtime_r(&now, &tm);
    strftime(when, sizeof(when), "%b %e %H:%M:%S", &tm);
    int len = snprintf(line, sizeof(line), "<%d>%s tlsfan[%d]: %.*s", LOG_DAEMON | LOG_INFO, when,
                       (int)getpid(), (int)n, p);
    size_t size = (size_t)len < sizeof(line) ? (size_t)len : sizeof(line) - 1;
    /* Twice: the daemon may have been started anew since the last line. */
    for (int i = 0; i < 2 && syslog_connect(s); i++) {
        if (send(s->fd, line, size, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
            return true;
        int cause = errno;
        if (cause == EAGAIN || cause == EWOULDBLOCK || cause == EMSGSIZE)
            return false;
        close(s->fd);
        s->fd = -1;
        errno = cause;
    }
    return false;
}

static unsigned sink_write_syslog(struct sink *s, const char *p, size_t n, int *why)
{
    unsigned lost = 0;
    while (n > 0) {
        const char *end = memchr(p, '\n', n);
        size_t len = end == NULL ? n : (size_t)(end - p);
        if (!syslog_line(s, p, len)) {
            *why = errno == EAGAIN || errno == EWOULDBLOCK ? 0 : errno;
            lost++;
        }
        size_t used = end == NULL ? len : len + 1;
        p += used;
        n -= used;
    }
    return lost;
}

unsigned sink_write(struct sink *s, const char *p, size_t n, int *why)
{
    if (s->kind == SINK_NEW)
        sink_look(s);
    if (s->kind == SINK_SYSLOG)
        return sink_write_syslog(s, p, n, why);
    return s->kind == SINK_OFF ? 0 : sink_write_fd(s, p, n, why);
}
