/* SPDX-License-Identifier: Apache-2.0 */
/* tlsfan's side of the keeper. What is asked of it is answered at once: the main thread waits. */
#include "capture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "capture_keeper.h"
#include "capture_spawn.h"
#include "capture_why.h"
#include "own/name_map.h"

/* Without handlers of others, which might begin a thread in the child (ThreadSanitizer's do): a
 * process of two makes no user namespace. */
#if defined(__GLIBC__) && !__GLIBC_PREREQ(2, 34)
#define _Fork fork
#endif

enum { KEEPER_WAIT_S = 60, DNS_PORT = 53 }; /* for an answer, on a machine that is busy */

static struct {
    bool is_on;
    pid_t keeper; /* 0: it has ended and was waited for */
    int sock;     /* to it; -1 */
    int cause;    /* errno: why there is none */
    struct capture_place place;
    struct capture_net net;
    struct name_sockets names;
    bool has_names; /* nobody has taken them */
} capture = {.sock = -1, .place = {-1, -1}};

/* ---- the keeper */

void capture_start(void)
{
    const struct timeval wait = {.tv_sec = KEEPER_WAIT_S};
    int pair[2];
    capture.is_on = true;
    name_map_open();
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        capture.cause = errno;
        return;
    }
    capture.keeper = _Fork();
    if (capture.keeper == 0)
        capture_keeper(pair[1]);
    capture.cause = errno;
    close(pair[1]);
    if (capture.keeper < 0) {
        close(pair[0]);
        return;
    }
    (void)setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    capture.sock = pair[0];
}

bool capture_is_on(void)
{
    return capture.is_on;
}

bool capture_has_ended(pid_t pid)
{
    if (capture.keeper <= 0 || pid != capture.keeper)
        return false;
    capture.keeper = 0;
    log_warning("the process that keeps the command's network was ended by somebody: the network "
                "stays, but if tlsfan is killed, the command lives on");
    return true;
}

static void capture_close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Before its socket is closed, which to the keeper would be our death. */
static void capture_dismiss(void)
{
    if (capture.keeper > 0 && kill(capture.keeper, SIGKILL) == 0)
        waitpid(capture.keeper, NULL, 0);
    capture.keeper = 0;
    capture_close_fd(&capture.sock);
}

void capture_close(void)
{
    if (!capture.is_on)
        return;
    capture_dismiss();
    name_map_close();
    capture_close_fd(&capture.place.net);
    capture_close_fd(&capture.place.user);
    for (unsigned i = 0; capture.has_names && i < capture.names.n_udp; i++)
        capture_close_fd(&capture.names.udp[i]);
    for (unsigned i = 0; capture.has_names && i < capture.names.n_tcp; i++)
        capture_close_fd(&capture.names.tcp[i]);
    capture.is_on = false;
}

/* ---- sockets */

int capture_socket(const struct addr *a, int type)
{
    struct capture_answer answer;
    int fds[CAPTURE_FDS_MAX];
    struct capture_request q;
    /* All of it goes to another process: no byte of ours that nobody has set. */
    memset(&q, 0, sizeof(q));
    q.socket = type;
    q.addr = *a;
    if (addr_family(a) == AF_INET6 && !capture.net.has_ip6) {
        errno = EAFNOSUPPORT;
        return -1;
    }
    if (send(capture.sock, &q, sizeof(q), MSG_NOSIGNAL) < 0 ||
        !capture_receive(capture.sock, &answer, fds))
        return -1;
    /* One that was sent, and did not fit into our table of descriptors. */
    errno = answer.cause != 0 ? answer.cause : EMFILE;
    return fds[0];
}

void capture_leave(const char *path)
{
    struct capture_request q;
    size_t n = strlen(path);
    if (capture.sock < 0 || n >= sizeof(q.path))
        return;
    memset(&q, 0, sizeof(q));
    memcpy(q.path, path, n);
    (void)send(capture.sock, &q, sizeof(q), MSG_NOSIGNAL);
}

/* True when there is one, or the family is none that the network has. */
static bool capture_add_name(struct str ip, int type, int *fds, unsigned *n)
{
    struct addr a;
    if (!addr_parse_ip(&a, ip, DNS_PORT))
        return false;
    int fd = capture_socket(&a, type);
    if (fd >= 0)
        fds[(*n)++] = fd;
    return fd >= 0 || errno == EAFNOSUPPORT;
}

static bool capture_open_names(struct name_sockets *s)
{
    return capture_add_name(STR("0.0.0.0"), SOCK_DGRAM, s->udp, &s->n_udp) &&
           capture_add_name(STR("0.0.0.0"), SOCK_STREAM, s->tcp, &s->n_tcp) &&
           capture_add_name(STR("::"), SOCK_DGRAM, s->udp, &s->n_udp) &&
           capture_add_name(STR("::"), SOCK_STREAM, s->tcp, &s->n_tcp);
}

const struct name_sockets *capture_take_names(void)
{
    capture.has_names = false;
    return capture.is_on ? &capture.names : NULL;
}

/* ---- the network */

static bool capture_fail(enum capture_step step, int cause)
{
    char *why = capture_why("/proc", step, cause);
    fprintf(stderr, "tlsfan: %s\n", why);
    free(why);
    return false;
}

bool capture_wait(void)
{
    struct capture_answer a = {0};
    int fds[CAPTURE_FDS_MAX];
    if (!capture.is_on)
        return true;
    if (capture.sock < 0)
        return capture_fail(CAPTURE_START, capture.cause);
    if (!capture_receive(capture.sock, &a, fds))
        return capture_fail(CAPTURE_START, errno);
    capture.place = (struct capture_place){fds[0], fds[1]};
    capture.net = a.net;
    if (a.step != CAPTURE_DONE)
        return capture_fail(a.step, a.cause);
    if (fds[0] < 0 || (a.net.has_user && fds[1] < 0))
        return capture_fail(CAPTURE_START, EMFILE);
    capture.has_names = true;
    return capture_open_names(&capture.names) || capture_fail(CAPTURE_ROUTE, errno);
}

int capture_spawn(pid_t *pid, const struct capture_command *command)
{
    int result = capture_spawn_in(pid, command, &capture.place);
    if (result < 0)
        fprintf(stderr, "tlsfan: cannot start the command in its network: %s\n", strerror(errno));
    return result;
}
