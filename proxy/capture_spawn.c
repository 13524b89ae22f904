/* SPDX-License-Identifier: Apache-2.0 */
/* Other threads run and may hold any lock, so what the child does until it is COMMAND are system
 * calls alone; all else is made before. */
#include "capture_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"

/* What the child needs. */
struct spawn {
    const struct capture_command *command;
    const struct capture_place *place;
    char **paths; /* where the program may be, one after the other; heap */
    unsigned n_paths;
    int told; /* the end of a pipe that closes when COMMAND has begun */
};

/* What comes out of it before. */
struct spawn_fault {
    bool is_outside; /* the network could not be entered */
    int cause;
};

/* ---- before */

/* As execvp(3): what has a slash is a path, and a directory that is nothing is the current one. */
static void spawn_find(struct spawn *s)
{
    const char *name = s->command->words[0];
    const char *path = getenv("PATH");
    bool is_path = strchr(name, '/') != NULL;
    if (path == NULL)
        path = "/bin:/usr/bin";
    s->paths = xcalloc(strlen(path) + 2, sizeof(*s->paths));
    if (is_path)
        s->paths[s->n_paths++] = xstrdup(name);
    if (is_path || name[0] == '\0')
        return;
    const char *dir = path, *end;
    do {
        end = strchrnul(dir, ':');
        s->paths[s->n_paths++] =
            xasprintf("%.*s%s%s", (int)(end - dir), dir, end == dir ? "" : "/", name);
        dir = end + 1;
    } while (*end == ':');
}

static void spawn_free(struct spawn *s)
{
    for (unsigned i = 0; i < s->n_paths; i++)
        free(s->paths[i]);
    free(s->paths);
}

/* ---- in the child */

/* All of them, those that a program of user 0 would get too. */
static bool spawn_drop_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};
    for (unsigned long c = 0; prctl(PR_CAPBSET_READ, c, 0, 0, 0) >= 0; c++)
        if (prctl(PR_CAPBSET_DROP, c, 0, 0, 0) != 0)
            return false;
    if (errno != EINVAL) /* which it is for the first that the kernel does not know */
        return false;
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); /* an older kernel has none */
    return syscall(SYS_capset, &header, none) == 0;
}

static bool spawn_enter(const struct capture_place *p)
{
    if (p->user >= 0 && setns(p->user, CLONE_NEWUSER) != 0)
        return false;
    return setns(p->net, CLONE_NEWNET) == 0 && (p->user < 0 || spawn_drop_capabilities());
}

static void spawn_restore(const struct capture_command *c)
{
    setrlimit(RLIMIT_NOFILE, c->limit);
    if (!c->before->ignores_pipe)
        signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_SETMASK, &c->before->mask, NULL);
}

/* The errno that posix_spawnp() would give: of the first place where there is something wrong with
 * what is found, else that there was no right to one, else the last. */
static int spawn_exec(const struct spawn *s)
{
    int cause = ENOENT;
    bool is_denied = false;
    for (unsigned i = 0; i < s->n_paths; i++) {
        execve(s->paths[i], s->command->words, s->command->environment);
        cause = errno;
        is_denied = is_denied || cause == EACCES;
        if (cause != EACCES && cause != ENOENT && cause != ENOTDIR && cause != ESTALE &&
            cause != ENODEV && cause != ETIMEDOUT)
            return cause;
    }
    return is_denied ? EACCES : cause;
}

static _Noreturn void spawn_child(const struct spawn *s)
{
    struct spawn_fault f = {0};
    if (spawn_enter(s->place)) {
        spawn_restore(s->command);
        f.cause = spawn_exec(s);
    } else {
        f = (struct spawn_fault){true, errno};
    }
    (void)!write(s->told, &f, sizeof(f));
    _exit(127);
}

/* ---- all of it */

/* Waits until COMMAND has begun: 0, or what it was that came before. */
static int spawn_wait(int fd, pid_t pid)
{
    struct spawn_fault f;
    ssize_t n;
    do
        n = read(fd, &f, sizeof(f));
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)sizeof(f))
        return 0;
    waitpid(pid, NULL, 0);
    errno = f.cause;
    return f.is_outside ? -1 : f.cause;
}

int capture_spawn_in(pid_t *pid, const struct capture_command *command,
                     const struct capture_place *place)
{
    struct spawn s = {.command = command, .place = place};
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return -1;
    s.told = ends[1];
    spawn_find(&s);
    *pid = fork();
    int cause = errno;
    if (*pid == 0)
        spawn_child(&s);
    close(ends[1]);
    errno = cause;
    int result = *pid < 0 ? -1 : spawn_wait(ends[0], *pid);
    cause = errno;
    close(ends[0]);
    spawn_free(&s);
    errno = cause;
    if (result != 0)
        *pid = 0;
    return result;
}
