/* SPDX-License-Identifier: Apache-2.0 */
/* The two logs, and what their lines look like where they end: at a terminal, in the journal,
 * elsewhere. */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/log_impl.h"
#include "base/log_loss.h"
#include "base/log_sink.h"
#include "base/loop.h"
#include "base/mem.h"

enum {
    LINE_MAX_BYTES = 2048, /* of the error log; longer ones are cut */
    NAME_SHOWN = 256       /* bytes of a path in a line */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the five below */
static struct sink error_sink = {.fd = STDERR_FILENO};
static struct sink other_sink = {.kind = SINK_OFF, .fd = -1};
static struct sink *access_sink = &other_sink; /* &error_sink when both go to stderr */
static char *access_name;                      /* heap: as the configuration has it; NULL: none */
static bool access_is_file;                    /* other_sink.fd is ours to close */

static _Atomic int level_now = LOG_LEVEL_INFO;
static _Atomic unsigned access_traits;
static _Atomic unsigned error_traits; /* 0: stderr was not looked at yet */
static _Atomic int terminal_fd = -1;  /* of access lines; borrowed */
static _Atomic uint64_t dropped;

static bool wants_colours(void)
{
    const char *no = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    return (no == NULL || no[0] == '\0') && term != NULL && strcmp(term, "dumb") != 0;
}

/* Under the lock. */
static unsigned sink_traits(struct sink *s)
{
    sink_look(s);
    if (s->kind == SINK_OFF)
        return 0;
    if (s->is_journal)
        return LOG_IS_ON | LOG_IS_JOURNAL | LOG_STAMPS;
    if (s->kind == SINK_SYSLOG)
        return LOG_IS_ON | LOG_STAMPS;
    if (s->kind == SINK_TERMINAL)
        return LOG_IS_ON | LOG_IS_TERMINAL | (wants_colours() ? LOG_HAS_COLOURS : 0);
    return LOG_IS_ON;
}

static unsigned log_error_traits(void)
{
    unsigned traits = atomic_load_explicit(&error_traits, memory_order_relaxed);
    if (traits != 0)
        return traits;
    pthread_mutex_lock(&lock);
    traits = sink_traits(&error_sink);
    pthread_mutex_unlock(&lock);
    atomic_store(&error_traits, traits);
    return traits;
}

static int log_open_file(const char *path)
{
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
}

/* Makes SINK the one of access lines in the place of the one before; kind SINK_NEW without a
 * descriptor stands for that of the error log. NAME is taken over. */
static void set_access(struct sink sink, char *name, bool is_file)
{
    log_loss_end();
    pthread_mutex_lock(&lock);
    struct sink old = other_sink;
    bool old_is_file = access_is_file;
    char *old_name = access_name;
    bool is_shared = sink.kind == SINK_NEW && sink.fd < 0;
    if (is_shared)
        sink.kind = SINK_OFF;
    other_sink = sink;
    access_sink = is_shared ? &error_sink : &other_sink;
    access_name = name;
    access_is_file = is_file;
    unsigned traits = sink_traits(access_sink);
    atomic_store(&terminal_fd, (traits & LOG_IS_TERMINAL) != 0 ? access_sink->fd : -1);
    atomic_store(&access_traits, traits);
    pthread_mutex_unlock(&lock);
    sink_close(&old, old_is_file);
    free(old_name);
}

/* stderr may be another than it was. */
static void look_again(void)
{
    pthread_mutex_lock(&lock);
    bool is_torn = error_sink.is_torn;
    sink_close(&error_sink, false);
    error_sink = (struct sink){.fd = STDERR_FILENO, .is_torn = is_torn};
    pthread_mutex_unlock(&lock);
    atomic_store(&error_traits, 0);
}

const char *log_sink_name(const char *access)
{
    if (strcmp(access, "/dev/stderr") == 0)
        return "stderr";
    return strcmp(access, "/dev/stdout") == 0 ? "stdout" : access;
}

bool log_open(enum log_level level, const char *access, char *err, size_t err_len)
{
    access = log_sink_name(access);
    struct sink sink = {.kind = SINK_NEW, .fd = -1};
    bool is_file = false;
    if (strcmp(access, "stdout") == 0) {
        sink.fd = STDOUT_FILENO;
    } else if (strcmp(access, "syslog") == 0) {
        sink.kind = SINK_SYSLOG;
    } else if (strcmp(access, "off") == 0) {
        sink.kind = SINK_OFF;
    } else if (strcmp(access, "stderr") != 0) {
        is_file = true;
        sink.fd = log_open_file(access);
        if (sink.fd < 0) {
            snprintf(err, err_len, "%s", strerror(errno));
            return false;
        }
    }
    atomic_store(&level_now, (int)level);
    look_again();
    set_access(sink, xstrdup(access), is_file);
    return true;
}

bool log_reopen(void)
{
    pthread_mutex_lock(&lock);
    char *path = access_is_file ? xstrdup(access_name) : NULL;
    pthread_mutex_unlock(&lock);
    if (path == NULL)
        return true;
    int fd = log_open_file(path);
    if (fd < 0) {
        log_error("%s cannot be opened again, the old file stays: %s", path, strerror(errno));
        free(path);
        return false;
    }
    set_access((struct sink){.kind = SINK_NEW, .fd = fd}, path, true);
    return true;
}

void log_close(void)
{
    set_access((struct sink){.kind = SINK_OFF, .fd = -1}, NULL, false);
}

/* "2026-01-31T12:00:00.123Z " to DST; at a terminal "12:00:00 ", by the clock on the wall there.
 * Gives the bytes written. */
static size_t put_time(char *dst, size_t cap, bool is_terminal)
{
    int64_t now = loop_wall();
    time_t seconds = (time_t)(now / 1000000);
    struct tm tm;
    if (is_terminal) {
        localtime_r(&seconds, &tm);
        return strftime(dst, cap, "%H:%M:%S ", &tm);
    }
    gmtime_r(&seconds, &tm);
    size_t n = strftime(dst, cap, "%Y-%m-%dT%H:%M:%S", &tm);
    return n + (size_t)snprintf(dst + n, cap - n, ".%03dZ ", (int)(now / 1000 % 1000));
}

/* How lines of a level begin. */
static const struct {
    const char *name, *coloured, *priority;
} levels[] = {
    [LOG_LEVEL_ERROR] = {"error ", "\033[31merror\033[m ", "<3>"},
    [LOG_LEVEL_WARNING] = {"warning ", "\033[33mwarning\033[m ", "<4>"},
    [LOG_LEVEL_INFO] = {"info ", "info ", "<6>"},
    [LOG_LEVEL_DEBUG] = {"debug ", "debug ", "<7>"},
};

/* What stands before the text. */
static size_t put_beginning(char *dst, size_t cap, enum log_level level)
{
    unsigned traits = log_error_traits();
    size_t n = 0;
    if ((traits & LOG_STAMPS) == 0)
        n = put_time(dst, cap, (traits & LOG_IS_TERMINAL) != 0);
    n += (size_t)snprintf(
        dst + n, cap - n, "%s%s", (traits & LOG_IS_JOURNAL) != 0 ? levels[level].priority : "",
        (traits & LOG_HAS_COLOURS) != 0 ? levels[level].coloured : levels[level].name);
    return n;
}

/* Bytes of the character at P, of at most N, in UTF-8; 0: it is none, or one that commands. */
static size_t character(const char *p, size_t n)
{
    unsigned char c = (unsigned char)p[0];
    size_t len = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
    if (len > n || c < 0x20 || c == 0x7f)
        return 0;
    for (size_t i = 1; i < len; i++) {
        if (((unsigned char)p[i] & 0xc0) != 0x80)
            return 0;
    }
    /* U+0080 to U+009F: some terminals take them for ESC and a letter. */
    return c == 0xc2 && (unsigned char)p[1] < 0xa0 ? 0 : len;
}

/* One message is one line, whatever it was made of, and no terminal obeys it. */
static void make_one_line(char *p, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t len = character(p + i, n - i);
        if (len == 0)
            p[i] = '?';
        i += len == 0 ? 1 : len;
    }
}

static void log_put(const char *p, size_t n)
{
    int why;
    pthread_mutex_lock(&lock);
    unsigned lost = sink_write(&error_sink, p, n, &why);
    pthread_mutex_unlock(&lock);
    atomic_fetch_add(&dropped, lost);
}

void log_vwrite(enum log_level level, const char *fmt, va_list args)
{
    char line[LINE_MAX_BYTES];
    if (!log_is_enabled(level))
        return;
    int cause = errno;
    size_t n = put_beginning(line, sizeof(line), level);
    size_t room = sizeof(line) - n - 1;
    errno = cause; /* for %m */
    int wanted = vsnprintf(line + n, room, fmt, args);
    size_t text = wanted < 0 ? 0 : (size_t)wanted < room ? (size_t)wanted : room - 1;
    make_one_line(line + n, text);
    n += text;
    line[n++] = '\n';
    log_put(line, n);
    errno = cause;
}

void log_plain(enum log_level level, const char *text)
{
    bool is_journal = (log_error_traits() & LOG_IS_JOURNAL) != 0;
    struct str rest = str_from(text);
    while (rest.len > 0) {
        size_t n = str_find(rest, '\n');
        fprintf(stderr, "%s%.*s\n", is_journal ? levels[level].priority : "", (int)n, rest.p);
        rest = str_from_byte(rest, n + 1);
    }
}

void log_bare(const char *text)
{
    char *line = xasprintf("%s\n", text);
    log_put(line, strlen(line));
    free(line);
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

unsigned log_access_traits(void)
{
    return atomic_load_explicit(&access_traits, memory_order_relaxed);
}

unsigned log_access_columns(void)
{
    return sink_columns(atomic_load_explicit(&terminal_fd, memory_order_relaxed));
}

void log_access_hold(void)
{
    pthread_mutex_lock(&lock);
}

void log_access_put(const char *p, size_t n, struct log_outcome *o)
{
    o->lost += sink_write(access_sink, p, n, &o->why);
    o->any = true;
}

void log_access_release(const struct log_outcome *o)
{
    char name[NAME_SHOWN];
    name[0] = '\0';
    if (o->lost > 0)
        snprintf(name, sizeof(name), "%s", access_name);
    pthread_mutex_unlock(&lock);
    if (o->lost > 0)
        atomic_fetch_add(&dropped, o->lost);
    if (o->any)
        log_loss_note(name, o->lost, o->why);
}

uint64_t log_dropped(void)
{
    return atomic_load_explicit(&dropped, memory_order_relaxed);
}
