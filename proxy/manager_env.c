/* SPDX-License-Identifier: Apache-2.0 */
/* Without libsystemd: for these few lines it would bring five more libraries into a process, a
 * tenth of all that is resident at start. */
#include "manager_env.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/str.h"

static bool env_number(const char *name, uint64_t *out)
{
    const char *text = getenv(name);
    return text != NULL && str_to_u64(str_from(text), out);
}

/* The variables beside NAME are meant for this process, and not for the one that it came from. */
static bool env_is_ours(const char *name)
{
    uint64_t pid;
    return env_number(name, &pid) && pid == (uint64_t)getpid();
}

static bool env_close_on_exec(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        int fd = MANAGER_FIRST_FD + (int)i;
        int flags = fcntl(fd, F_GETFD);
        if (flags < 0 || fcntl(fd, F_SETFD, flags | FD_CLOEXEC) < 0)
            return false;
    }
    return true;
}

unsigned manager_env_fds(void)
{
    uint64_t n = 0;
    bool are_there = env_is_ours("LISTEN_PID") && env_number("LISTEN_FDS", &n) &&
                     n <= INT_MAX - MANAGER_FIRST_FD && env_close_on_exec((unsigned)n);
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    return are_there ? (unsigned)n : 0;
}

static int socket_option(int fd, int name)
{
    int value = -1;
    socklen_t len = sizeof(value);
    return getsockopt(fd, SOL_SOCKET, name, &value, &len) == 0 ? value : -1;
}

bool manager_env_listens(int fd)
{
    return socket_option(fd, SO_TYPE) == SOCK_STREAM && socket_option(fd, SO_ACCEPTCONN) == 1;
}

/* The length of A; 0: nobody wants to hear. "@" stands for an abstract name. */
static socklen_t env_notify_address(struct sockaddr_un *a)
{
    const char *path = getenv("NOTIFY_SOCKET");
    size_t len = path == NULL ? 0 : strlen(path);
    if (len < 2 || len >= sizeof(a->sun_path) || (path[0] != '/' && path[0] != '@'))
        return 0;
    memcpy(a->sun_path, path, len);
    if (path[0] == '@')
        a->sun_path[0] = '\0';
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

void manager_env_notify(const char *text, size_t n)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    socklen_t len = env_notify_address(&a);
    int fd = len == 0 ? -1 : socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    (void)sendto(fd, text, n, MSG_NOSIGNAL, (const struct sockaddr *)&a, len);
    close(fd);
}

uint64_t manager_env_watchdog(void)
{
    uint64_t us;
    bool asks = env_number("WATCHDOG_USEC", &us) && us < UINT64_MAX &&
                (getenv("WATCHDOG_PID") == NULL || env_is_ours("WATCHDOG_PID"));
    return asks ? us : 0;
}
