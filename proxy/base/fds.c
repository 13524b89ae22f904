/* SPDX-License-Identifier: Apache-2.0 */
/* The budget of descriptors: see fds.h. */
#include "base/fds.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    OF_PROCESS = 32, /* what is open beside connections: logs, signals */
    OF_WORKER = 12,  /* a loop, sockets of DNS */
    PART = 16,       /* of the limit: for each of the three that are kept */
    SHARE_MIN = 8,
    SHARE_MAX = 256, /* the service listener's, and that of all that linger */
    SPARE_MIN = 16,  /* names, logs, a reload */
    SPARE_MAX = 64,
    CLIENTS_MIN = 4,
    IDLE_MAX = 2048, /* more would cost memory and spare few handshakes */
    LIMIT_MAX = 1 << 30
};

static struct fds budget = {.limit = LIMIT_MAX,
                            .mark = LIMIT_MAX,
                            .clients = LIMIT_MAX,
                            .idle = IDLE_MAX,
                            .lingering = SHARE_MAX,
                            .service = SHARE_MAX};

static unsigned fds_between(unsigned n, unsigned min, unsigned max)
{
    return n < min ? min : n > max ? max : n;
}

void fds_plan(struct fds *f, unsigned limit, unsigned workers, unsigned listeners)
{
    unsigned share = fds_between(limit / PART, SHARE_MIN, SHARE_MAX);
    unsigned kept = FDS_GUESTS + 2 * share + fds_between(limit / PART, SPARE_MIN, SPARE_MAX);
    unsigned fixed = OF_PROCESS + (OF_WORKER + listeners) * workers;
    f->limit = limit;
    f->mark = kept <= limit / 4 ? limit - kept : limit - limit / 4;
    unsigned room = f->mark > fixed ? f->mark - fixed : 0;
    f->clients = fds_between(room - room / 3, CLIENTS_MIN, LIMIT_MAX);
    f->idle = fds_between(room / 2, 1, IDLE_MAX);
    f->lingering = fds_between(share / (workers + 1), 2, SHARE_MAX);
    f->service = share;
}

unsigned fds_need(unsigned clients, unsigned workers, unsigned listeners)
{
    unsigned low = 1, high = LIMIT_MAX;
    while (low < high) {
        struct fds f;
        unsigned middle = low + (high - low) / 2;
        fds_plan(&f, middle, workers, listeners);
        if (f.clients >= clients)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

void fds_init(unsigned workers, unsigned listeners)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    if (before != limit.rlim_max && setrlimit(RLIMIT_NOFILE, &limit) < 0)
        limit.rlim_cur = before;
    fds_plan(&budget, limit.rlim_cur < LIMIT_MAX ? (unsigned)limit.rlim_cur : LIMIT_MAX, workers,
             listeners);
}

const struct fds *fds_budget(void)
{
    return &budget;
}

bool fds_is_kept(int fd)
{
    return fd >= 0 && (unsigned)fd >= budget.mark;
}

bool fds_is_near(int fd)
{
    return fd >= 0 && (unsigned)fd >= budget.mark - budget.mark / PART;
}

unsigned fds_left(void)
{
    int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return 0;
    close(fd);
    return fds_is_kept(fd) ? 0 : budget.mark - (unsigned)fd;
}

bool fds_is_short(int err)
{
    return err == EMFILE || err == ENFILE;
}

const char *fds_explain(char *dst, size_t n, int err)
{
    if (err == ENFILE)
        snprintf(dst, n, "the system has no descriptor left (fs.file-max): raise that limit");
    else
        snprintf(dst, n, "the %u descriptors of this process (RLIMIT_NOFILE) are in use: %s",
                 budget.limit, FDS_ADVICE);
    return dst;
}
