/* SPDX-License-Identifier: Apache-2.0 */
/* See capture_keeper.h. It holds nothing that the user gave tlsfan: no file, no terminal, no
 * directory, so that who waits for the end of a pipe waits for COMMAND alone. Of signals it hears
 * none but SIGKILL: they were blocked before. */
#include "capture_keeper.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "net/sock.h"

/* Of Linux 5.9 and 5.1, one number on all machines; older headers may not say so. */
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif

enum {
    KILL_ROUNDS = 5000,    /* as many ms: then somebody cannot die */
    CLOSE_MAX = 65536,     /* where the system cannot close all at once */
    ROUND_NS = 1000 * 1000 /* between two of them */
};

/* ---- messages */

/* What carries up to CAPTURE_FDS_MAX descriptors. */
union keeper_control {
    struct cmsghdr header;
    char room[CMSG_SPACE(CAPTURE_FDS_MAX * sizeof(int))];
};

bool capture_send(int sock, const struct capture_answer *a, const int *fds)
{
    union keeper_control control = {0};
    struct iovec part = {(void *)(uintptr_t)a, sizeof(*a)};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
    unsigned n = 0;
    while (n < CAPTURE_FDS_MAX && fds[n] >= 0)
        n++;
    if (n > 0) {
        m.msg_control = &control;
        m.msg_controllen = CMSG_SPACE(n * sizeof(int));
        control.header = (struct cmsghdr){
            .cmsg_len = CMSG_LEN(n * sizeof(int)),
            .cmsg_level = SOL_SOCKET,
            .cmsg_type = SCM_RIGHTS,
        };
        memcpy(CMSG_DATA(&control.header), fds, n * sizeof(int));
    }
    return sendmsg(sock, &m, MSG_NOSIGNAL) == (ssize_t)sizeof(*a);
}

bool capture_receive(int sock, struct capture_answer *a, int *fds)
{
    union keeper_control control = {0};
    struct iovec part = {a, sizeof(*a)};
    struct msghdr m = {.msg_iov = &part,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof(control)};
    for (unsigned i = 0; i < CAPTURE_FDS_MAX; i++)
        fds[i] = -1;
    ssize_t n;
    do /* with a time limit, a stop and a continuation interrupt it: signal(7) */
        n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    const struct cmsghdr *c = n < 0 ? NULL : CMSG_FIRSTHDR(&m);
    if (c != NULL && c->cmsg_type == SCM_RIGHTS && c->cmsg_len <= CMSG_LEN(sizeof(int[2])))
        memcpy(fds, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
    if (n >= 0 && n != (ssize_t)sizeof(*a))
        errno = EPIPE;
    return n == (ssize_t)sizeof(*a);
}

/* ---- sockets and files */

/* Which address each was sent to, whoever serves it asks for: net/datagram.h. */
static int keeper_datagram(const struct addr *a)
{
    int on = 1;
    int fd = socket(addr_family(a), SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    bool ok = addr_family(a) == AF_INET ||
              setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) == 0;
    if (ok && bind(fd, &a->sa, a->len) == 0)
        return fd;
    int cause = errno;
    close(fd);
    errno = cause;
    return -1;
}

static struct {
    char paths[CAPTURE_PATHS_MAX][CAPTURE_PATH_MAX];
    unsigned n;
} keeper_left; /* by tlsfan, should it die */

static bool keeper_answer(int sock, const struct capture_request *q)
{
    if (q->path[0] != '\0') {
        if (keeper_left.n < CAPTURE_PATHS_MAX)
            memcpy(keeper_left.paths[keeper_left.n++], q->path, sizeof(q->path) - 1);
        return true;
    }
    struct capture_answer a = {0};
    int fds[CAPTURE_FDS_MAX] = {-1, -1};
    fds[0] = q->socket == SOCK_STREAM ? sock_listen(&q->addr, false) : keeper_datagram(&q->addr);
    a.cause = fds[0] < 0 ? errno : 0;
    bool ok = capture_send(sock, &a, fds);
    if (fds[0] >= 0)
        close(fds[0]);
    return ok;
}

/* ---- the end */

/* Who dies and who does not. */
struct keeper_hunt {
    DIR *proc;
    struct stat net;  /* a file of the namespace */
    struct stat user; /* the user namespace; nothing where none was made */
    char self[32];    /* the keeper in PROC */
};

static bool keeper_is_same(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev;
}

/* Who has made namespaces of its own in ours, as sandboxes do. */
static bool keeper_is_below(const struct keeper_hunt *h, int process)
{
    struct stat st;
    bool found = false;
    int user = h->user.st_ino == 0 ? -1 : openat(process, "ns/user", O_RDONLY | O_CLOEXEC);
    while (user >= 0) {
        found = fstat(user, &st) == 0 && keeper_is_same(&st, &h->user);
        int parent = found ? -1 : ioctl(user, NS_GET_PARENT);
        close(user);
        user = parent;
    }
    return found;
}

/* By a file below net, which each namespace has of its own: ns/net is not shown of a program that
 * its user may not read, nor of another user's to a root without CAP_SYS_PTRACE. One that has ended
 * has none. */
static bool keeper_lives_here(const struct keeper_hunt *h, int process)
{
    struct stat st;
    return fstatat(process, "net/dev", &st, 0) == 0 &&
           (keeper_is_same(&st, &h->net) || keeper_is_below(h, process));
}

/* PROCESS, the directory NAME of /proc, is a handle to it: its number may be another's in the next
 * moment. Where the system does not take it the number must do, if this /proc counts as we do. */
static bool keeper_kill(const struct keeper_hunt *h, int process, const char *name)
{
    if (!keeper_lives_here(h, process))
        return false;
    if (syscall(SYS_pidfd_send_signal, process, SIGKILL, NULL, 0) == 0)
        return true;
    return errno != ESRCH && strtol(h->self, NULL, 10) == getpid() &&
           kill((pid_t)strtol(name, NULL, 10), SIGKILL) == 0;
}

/* True when somebody else lived here. */
static bool keeper_kill_round(const struct keeper_hunt *h)
{
    bool found = false;
    rewinddir(h->proc);
    for (struct dirent *e = readdir(h->proc); e != NULL; e = readdir(h->proc)) {
        bool is_process = e->d_name[0] >= '1' && e->d_name[0] <= '9';
        if (!is_process || strcmp(e->d_name, h->self) == 0)
            continue;
        int fd = openat(dirfd(h->proc), e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
            continue;
        found = keeper_kill(h, fd, e->d_name) || found;
        close(fd);
    }
    return found;
}

/* Who forks meanwhile has its children killed in the next round. */
static void keeper_kill_all(bool has_user)
{
    const struct timespec pause = {.tv_nsec = ROUND_NS};
    struct keeper_hunt h = {.proc = opendir("/proc")};
    if (h.proc == NULL || stat("/proc/self/net/dev", &h.net) != 0 ||
        (has_user && stat("/proc/self/ns/user", &h.user) != 0) ||
        readlink("/proc/self", h.self, sizeof(h.self) - 1) < 0)
        return;
    for (unsigned i = 0; i < KILL_ROUNDS && keeper_kill_round(&h); i++)
        nanosleep(&pause, NULL);
}

/* A directory was told before what is in it. */
static void keeper_remove_all(void)
{
    while (keeper_left.n > 0)
        remove(keeper_left.paths[--keeper_left.n]);
}

/* ---- the beginning */

/* SOCK becomes the lowest descriptor behind the standard ones, and the only other. */
static int keeper_close_all(int sock)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        if (dup2(null, fd) < 0)
            close(fd); /* a system may have no /dev */
    sock = dup2(sock, STDERR_FILENO + 1);
    fcntl(sock, F_SETFD, FD_CLOEXEC);
    if (syscall(SYS_close_range, (unsigned)sock + 1, ~0U, 0) == 0)
        return sock;
    for (int fd = sock + 1; fd < CLOSE_MAX; fd++)
        close(fd);
    return sock;
}

/* Handles of the namespaces, for COMMAND to enter. False with errno. */
static bool keeper_open(const struct capture_net *n, int *fds)
{
    fds[0] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (fds[0] >= 0 && n->has_user)
        fds[1] = open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC);
    return fds[0] >= 0 && (fds[1] >= 0 || !n->has_user);
}

static bool keeper_report(int sock, struct capture_answer *a)
{
    int fds[CAPTURE_FDS_MAX] = {-1, -1};
    a->step = capture_net_make(&a->net);
    if (a->step == CAPTURE_DONE && !keeper_open(&a->net, fds))
        a->step = CAPTURE_NET;
    a->cause = a->step == CAPTURE_DONE ? 0 : errno;
    bool ok = capture_send(sock, a, fds) && a->cause == 0;
    for (unsigned i = 0; i < CAPTURE_FDS_MAX; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    return ok;
}

void capture_keeper(int sock)
{
    struct capture_request q;
    struct capture_answer first = {0};
    ssize_t n;
    setsid();
    (void)!chdir("/");
    prctl(PR_SET_NAME, "capture-keeper"); /* whoever is told to `pkill -9 tlsfan` leaves it alive */
    sock = keeper_close_all(sock);
    if (!keeper_report(sock, &first))
        _exit(1);
    do
        n = recv(sock, &q, sizeof(q), 0);
    while (n == (ssize_t)sizeof(q) && keeper_answer(sock, &q));
    keeper_kill_all(first.net.has_user);
    keeper_remove_all();
    _exit(0);
}
