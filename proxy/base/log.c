/* SPDX-License-Identifier: Apache-2.0 */
/* The two logs. Both end in sinks, and a sink is asked (poll(2), or a send that does not wait)
 * before it gets a piece that it takes whole: at most PIPE_BUF bytes, cut at a line end. O_NONBLOCK
 * is not set, because the descriptor of stderr is shared with whoever started the program. */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/loop.h"
#include "base/mem.h"

enum {
    LINE_MAX_BYTES = 2048,     /* of the error log; longer ones are cut */
    ACCESS_KEEP = 256 * 1024,  /* what a log_buf keeps allocated between two turns */
    ACCESS_FIRST = 16 * 1024,  /* its first allocation */
    SYSLOG_LINE_MAX = 8 * 1024 /* bytes of one datagram to syslog */
};

/* How a sink is asked whether it takes more. */
enum sink_kind {
    SINK_NEW,     /* not looked at yet */
    SINK_OFF,     /* takes nothing, and nothing counts as dropped */
    SINK_REGULAR, /* a file: always takes, or fails at once */
    SINK_SOCKET,  /* a stream socket, as journald's */
    SINK_POLLED,  /* pipe or terminal */
    SINK_SYSLOG   /* datagrams to /dev/log, one a line */
};

struct sink {
    enum sink_kind kind;
    int fd;
    bool torn; /* the last line was cut; the next one begins with a line feed */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the five below */
static struct sink error_sink = {.fd = STDERR_FILENO};
static struct sink other_sink = {.kind = SINK_OFF, .fd = -1};
static struct sink *access_sink = &other_sink; /* &error_sink when both go to stderr */
static char *access_path;                      /* heap; NULL when the sink is no file */
static bool access_is_owned;                   /* other_sink.fd is ours to close */

static _Atomic int level_now = LOG_LEVEL_INFO;
static _Atomic bool access_on;
static _Atomic uint64_t dropped;

static enum sink_kind kind_of(int fd)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return SINK_OFF;
    if (S_ISREG(st.st_mode))
        return SINK_REGULAR;
    return S_ISSOCK(st.st_mode) ? SINK_SOCKET : SINK_POLLED;
}

/* At most N bytes to S without waiting. Bytes written; <= 0 when it takes none. */
static ssize_t sink_put(struct sink *s, const char *p, size_t n)
{
    ssize_t done;
    struct pollfd pfd = {.fd = s->fd, .events = POLLOUT};
    do {
        if (s->kind == SINK_SOCKET)
            done = send(s->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
        else if (s->kind == SINK_REGULAR || (poll(&pfd, 1, 0) == 1 && pfd.revents == POLLOUT))
            done = write(s->fd, p, n);
        else
            return 0;
    } while (done < 0 && errno == EINTR);
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

/* Whole lines to a descriptor; what it does not take is dropped and counted. */
static void sink_write_fd(struct sink *s, const char *p, size_t n)
{
    if (s->torn && sink_put(s, "\n", 1) != 1) {
        atomic_fetch_add(&dropped, count_lines(p, n));
        return;
    }
    s->torn = false;
    while (n > 0) {
        ssize_t done = sink_put(s, p, cut_piece(s, p, n));
        if (done <= 0) {
            atomic_fetch_add(&dropped, count_lines(p, n));
            return;
        }
        s->torn = p[done - 1] != '\n';
        p += done;
        n -= (size_t)done;
    }
}

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
    close(s->fd);
    s->fd = -1;
    return false;
}

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
        if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EMSGSIZE)
            return false;
        close(s->fd);
        s->fd = -1;
    }
    return false;
}

static void sink_write_syslog(struct sink *s, const char *p, size_t n)
{
    while (n > 0) {
        const char *end = memchr(p, '\n', n);
        size_t len = end == NULL ? n : (size_t)(end - p);
        if (!syslog_line(s, p, len))
            atomic_fetch_add(&dropped, 1);
        size_t used = end == NULL ? len : len + 1;
        p += used;
        n -= used;
    }
}

static void sink_write(struct sink *s, const char *p, size_t n)
{
    if (s->kind == SINK_NEW)
        s->kind = kind_of(s->fd);
    if (s->kind == SINK_SYSLOG)
        sink_write_syslog(s, p, n);
    else if (s->kind != SINK_OFF)
        sink_write_fd(s, p, n);
}

static int log_open_file(const char *path)
{
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
}

/* Makes FD the sink of access lines in the place of the one before. PATH is taken over. */
static void set_access(struct sink *target, struct sink sink, char *path)
{
    pthread_mutex_lock(&lock);
    int old = access_is_owned || other_sink.kind == SINK_SYSLOG ? other_sink.fd : -1;
    char *old_path = access_path;
    other_sink = sink;
    access_sink = target;
    access_path = path;
    access_is_owned = path != NULL;
    pthread_mutex_unlock(&lock);
    if (old >= 0)
        close(old);
    free(old_path);
}

bool log_open(enum log_level level, const char *access, char *err, size_t err_len)
{
    struct sink sink = {.kind = SINK_OFF, .fd = -1};
    struct sink *target = &other_sink;
    char *path = NULL;
    if (strcmp(access, "stderr") == 0) {
        target = &error_sink;
    } else if (strcmp(access, "stdout") == 0) {
        sink = (struct sink){.kind = SINK_NEW, .fd = STDOUT_FILENO};
    } else if (strcmp(access, "syslog") == 0) {
        sink.kind = SINK_SYSLOG;
    } else if (strcmp(access, "off") != 0) {
        sink = (struct sink){.kind = SINK_NEW, .fd = log_open_file(access)};
        if (sink.fd < 0) {
            snprintf(err, err_len, "%s", strerror(errno));
            return false;
        }
        path = xstrdup(access);
    }
    atomic_store(&level_now, (int)level);
    atomic_store(&access_on, strcmp(access, "off") != 0);
    set_access(target, sink, path);
    return true;
}

void log_reopen(void)
{
    pthread_mutex_lock(&lock);
    char *path = access_path == NULL ? NULL : xstrdup(access_path);
    pthread_mutex_unlock(&lock);
    if (path == NULL)
        return;
    int fd = log_open_file(path);
    if (fd < 0) {
        log_error("%s cannot be opened again, the old file stays: %s", path, strerror(errno));
        free(path);
        return;
    }
    set_access(&other_sink, (struct sink){.kind = SINK_NEW, .fd = fd}, path);
}

void log_close(void)
{
    atomic_store(&access_on, false);
    set_access(&other_sink, (struct sink){.kind = SINK_OFF, .fd = -1}, NULL);
}

/* "2026-01-31T12:00:00.123Z " to DST; gives the bytes written. */
static size_t put_time(char *dst, size_t cap)
{
    int64_t now = loop_wall();
    time_t seconds = (time_t)(now / 1000000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    size_t n = strftime(dst, cap, "%Y-%m-%dT%H:%M:%S", &tm);
    return n + (size_t)snprintf(dst + n, cap - n, ".%03dZ ", (int)(now / 1000 % 1000));
}

/* One message is one line, whatever it was made of. */
static void make_one_line(char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)p[i] < 0x20 || p[i] == 0x7f)
            p[i] = '?';
    }
}

void log_vwrite(enum log_level level, const char *fmt, va_list args)
{
    static const char *const names[] = {"error ", "warning ", "info ", "debug "};
    char line[LINE_MAX_BYTES];
    if (!log_is_enabled(level))
        return;
    int cause = errno;
    size_t n = put_time(line, sizeof(line));
    size_t name = strlen(names[level]);
    memcpy(line + n, names[level], name);
    n += name;
    size_t room = sizeof(line) - n - 1;
    errno = cause; /* for %m */
    int wanted = vsnprintf(line + n, room, fmt, args);
    size_t text = wanted < 0 ? 0 : (size_t)wanted < room ? (size_t)wanted : room - 1;
    make_one_line(line + n, text);
    n += text;
    line[n++] = '\n';
    pthread_mutex_lock(&lock);
    sink_write(&error_sink, line, n);
    pthread_mutex_unlock(&lock);
    errno = cause;
}

void log_write(enum log_level level, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    log_vwrite(level, fmt, args);
    va_end(args);
}

bool log_is_enabled(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&level_now, memory_order_relaxed);
}

bool log_access_is_on(void)
{
    return atomic_load_explicit(&access_on, memory_order_relaxed);
}

char *log_buf_room(struct log_buf *b, size_t n)
{
    if (b->cap - b->len < n) {
        size_t cap = b->cap == 0 ? (size_t)ACCESS_FIRST : b->cap * 2;
        b->cap = cap - b->len < n ? b->len + n : cap;
        b->p = xrealloc(b->p, b->cap);
    }
    return b->p + b->len;
}

void log_buf_flush(struct log_buf *b)
{
    if (b->len == 0)
        return;
    pthread_mutex_lock(&lock);
    sink_write(access_sink, b->p, b->len);
    pthread_mutex_unlock(&lock);
    b->len = 0;
    if (b->cap > ACCESS_KEEP)
        log_buf_clear(b);
}

void log_buf_clear(struct log_buf *b)
{
    free(b->p);
    memset(b, 0, sizeof(*b));
}

uint64_t log_dropped(void)
{
    return atomic_load_explicit(&dropped, memory_order_relaxed);
}
