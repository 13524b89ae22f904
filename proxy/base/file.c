/* SPDX-License-Identifier: Apache-2.0 */
/* Versions and contents of files: see file.h. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

enum { FIRST_ROOM = 16384 };

static int64_t ns_of(const struct timespec *t)
{
    return (int64_t)t->tv_sec * 1000000000 + t->tv_nsec;
}

struct file_id file_identify(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return (struct file_id){0};
    return (struct file_id){.exists = true,
                            .device = st.st_dev,
                            .inode = st.st_ino,
                            .size = (uint64_t)st.st_size,
                            .modified = ns_of(&st.st_mtim),
                            .changed = ns_of(&st.st_ctim)};
}

bool file_is_same(const struct file_id *a, const struct file_id *b)
{
    return a->exists == b->exists && a->device == b->device && a->inode == b->inode &&
           a->size == b->size && a->modified == b->modified && a->changed == b->changed;
}

/* -1 with errno. What was read is P's in any case. */
static int read_to_end(int fd, char **p, size_t max, size_t *len)
{
    size_t room = FIRST_ROOM;
    ssize_t n;
    *p = xmalloc(room);
    *len = 0;
    while ((n = read(fd, *p + *len, room - *len - 1)) > 0) {
        *len += (size_t)n;
        if (*len >= max) {
            errno = EFBIG;
            return -1;
        }
        if (room - *len > 1)
            continue;
        room *= 2;
        *p = xrealloc(*p, room);
    }
    (*p)[*len] = '\0';
    return n < 0 ? -1 : 0;
}

/* A pipe nobody writes to: what it held was read before, or is yet to come. */
static bool is_empty_pipe(int fd, size_t len)
{
    struct stat st;
    return len == 0 && fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode);
}

/* Opening a FIFO would wait for who writes to it; reading may. */
static int open_at_once(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0)
        (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    return fd;
}

char *file_read(const char *path, size_t max, size_t *len)
{
    char *p;
    int fd = open_at_once(path);
    if (fd < 0)
        return NULL;
    bool ok = read_to_end(fd, &p, max, len) == 0;
    int saved = errno;
    if (ok && is_empty_pipe(fd, *len)) {
        ok = false;
        saved = ENODATA;
    }
    close(fd);
    if (!ok) {
        free(p);
        p = NULL;
    }
    errno = saved;
    return p;
}

bool file_write(int fd, const char *p, size_t n)
{
    ssize_t done = 0;
    errno = 0;
    while (n > 0 && (done = write(fd, p, n)) > 0) {
        p += done;
        n -= (size_t)done;
    }
    if (n > 0 && errno == 0)
        errno = EIO;
    return n == 0;
}
