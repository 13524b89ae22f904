/* SPDX-License-Identifier: Apache-2.0 */
/* A line is one write(2) to a file that is appended to, under a lock: lines of several threads, and
 * of another process with the same file, do not mix. */
#include "net/tls_keylog.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log_limit.h"
#include "base/mem.h"

/* A label, the random and the longest secret in hex, and the blanks: 240 at most. */
enum { KEYLOG_LINE = 512 };

static struct {
    pthread_mutex_t lock; /* guards the rest */
    int fd;               /* -1: no file */
    char *path;           /* heap */
    bool torn;            /* the last line was cut; the next one begins with a line feed */
} keylog = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1};

static ssize_t keylog_put(const char *p, size_t n)
{
    ssize_t done;
    do
        done = write(keylog.fd, p, n);
    while (done < 0 && errno == EINTR);
    return done;
}

/* False with errno when the file does not take the N bytes of LINE. */
static bool keylog_write(const char *line, size_t n)
{
    if (keylog.torn && keylog_put("\n", 1) != 1)
        return false;
    ssize_t done = keylog_put(line, n);
    keylog.torn = done > 0 && (size_t)done < n;
    if (keylog.torn)
        errno = ENOSPC;
    return done == (ssize_t)n;
}

/* OpenSSL's callback. */
static void keylog_on_line(const SSL *ssl, const char *text)
{
    char line[KEYLOG_LINE];
    char path[256] = "";
    size_t n = strlen(text);
    (void)ssl;
    if (n >= sizeof(line))
        return;
    memcpy(line, text, n);
    line[n++] = '\n';
    pthread_mutex_lock(&keylog.lock);
    bool ok = keylog.fd < 0 || keylog_write(line, n);
    int cause = errno;
    if (!ok)
        str_escape(path, sizeof(path), str_from(keylog.path));
    pthread_mutex_unlock(&keylog.lock);
    OPENSSL_cleanse(line, n);
    if (!ok)
        log_limited(LOG_LEVEL_WARNING, "tls.keylog %s takes no line, which is dropped: %s", path,
                    strerror(cause));
}

void tls_keylog_watch(struct ssl_ctx_st *ctx)
{
    SSL_CTX_set_keylog_callback(ctx, keylog_on_line);
}

/* Whoever put a file or a pipe there before us may have done so to read it. */
static void keylog_warn_others(int fd, const char *path)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || (!S_ISREG(st.st_mode) && !S_ISFIFO(st.st_mode)))
        return;
    if ((st.st_mode & 077) != 0)
        log_limited(LOG_LEVEL_WARNING, "tls.keylog %s was there with mode %03o: others can read it",
                    path, (unsigned)st.st_mode & 0777);
    if (st.st_uid != geteuid())
        log_limited(LOG_LEVEL_WARNING,
                    "tls.keylog %s was there and belongs to user %u, who can read it", path,
                    (unsigned)st.st_uid);
}

/* O_NONBLOCK: a pipe that nobody reads is an error, not a wait. */
int tls_keylog_open(const char *path)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
    if (fd >= 0)
        keylog_warn_others(fd, path);
    return fd;
}

void tls_keylog_use(int fd, const char *path)
{
    char *copy = fd < 0 ? NULL : xstrdup(path);
    pthread_mutex_lock(&keylog.lock);
    int old = keylog.fd;
    char *old_path = keylog.path;
    keylog.fd = fd;
    keylog.path = copy;
    keylog.torn = false;
    pthread_mutex_unlock(&keylog.lock);
    if (old >= 0)
        close(old);
    free(old_path);
}

bool tls_keylog_reopen(void)
{
    pthread_mutex_lock(&keylog.lock);
    char *path = keylog.path == NULL ? NULL : xstrdup(keylog.path);
    pthread_mutex_unlock(&keylog.lock);
    if (path == NULL)
        return true;
    int fd = tls_keylog_open(path);
    if (fd < 0)
        log_limited(LOG_LEVEL_ERROR, "tls.keylog %s cannot be opened again, the old file stays: %s",
                    path, strerror(errno));
    else
        tls_keylog_use(fd, path);
    free(path);
    return fd >= 0;
}
