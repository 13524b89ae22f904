/* SPDX-License-Identifier: Apache-2.0 */
/* Warnings: the machine and the user that test a configuration need not be those that run it. */
#include "trial.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "conf/doubts.h"
#include "conf/files.h"
#include "listen.h"

static const char service_user[] = "tlsfan"; /* of packaging/systemd */

/* ---- addresses */

/* Bound and closed, never listened on. 0, or why not. */
static int trial_address(const struct addr *a)
{
    int on = 1;
    int fd = socket(addr_family(a), SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (addr_family(a) == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    int cause = bind(fd, &a->sa, a->len) == 0 ? 0 : errno;
    close(fd);
    return cause;
}

/* PATH is to be made in its directory. */
static int trial_directory(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *dir = slash == NULL   ? xstrdup(".")
                : slash == path ? xstrdup("/")
                                : xstrndup(path, (size_t)(slash - path));
    int cause = faccessat(AT_FDCWD, dir, W_OK | X_OK, AT_EACCESS) == 0 ? 0 : errno;
    free(dir);
    return cause;
}

/* What is below /run is made as the service starts: RuntimeDirectory= of the unit. */
static int trial_file_address(const char *path)
{
    int cause = trial_directory(path);
    return cause == ENOENT && str_starts(str_from(path), STR("/run/")) ? 0 : cause;
}

static void trial_listener(const struct listener *l)
{
    if (listener_is_captured(l->kind))
        return;
    bool is_file = addr_family(&l->addr) == AF_UNIX;
    int cause = is_file ? trial_file_address(l->addr.un.sun_path) : trial_address(&l->addr);
    if (cause != 0 && cause != EADDRINUSE)
        log_warning("%s: listener %s could not be opened here: %s%s", l->where, l->text,
                    strerror(cause), listen_advice(cause));
}

static void trial_source(const struct addr *a)
{
    char ip[ADDR_TEXT];
    int cause = a->len == 0 ? 0 : trial_address(a);
    if (cause != 0)
        log_warning("upstream.bind = %s cannot be used: %s%s", addr_print_ip(a, ip),
                    strerror(cause), listen_advice(cause));
}

void trial_tell(const struct conf *c, bool is_run)
{
    doubts_tell(c, is_run);
    trial_source(&c->upstream.bind4);
    trial_source(&c->upstream.bind6);
}

/* ---- files */

/* Undoes what become() has done, in part or whole. */
static void become_root(const gid_t *groups, int n)
{
    if (seteuid(0) != 0 || setegid(getgid()) != 0 || setgroups((size_t)n, groups) != 0)
        abort();
}

/* For the time of a few questions; this process has one thread. False where it cannot be: a root
 * without capabilities, as in containers, may not even set the groups that it has. */
static bool become(const struct passwd *user, const gid_t *groups, int n)
{
    if (initgroups(user->pw_name, user->pw_gid) != 0)
        return false;
    if (setegid(user->pw_gid) == 0 && seteuid(user->pw_uid) == 0)
        return true;
    become_root(groups, n);
    return false;
}

/* What lacks is not asked for: it was read where it must be, and a log is made. */
static void trial_file(const char *path, int mode)
{
    int cause = faccessat(AT_FDCWD, path, mode, AT_EACCESS) == 0 ? 0 : errno;
    if (cause == ENOENT && mode == W_OK)
        cause = trial_directory(path);
    if (cause != 0 && cause != ENOENT)
        log_warning("%s cannot be %s by the user %s, as whom the service runs: %s", path,
                    mode == R_OK ? "read" : "written", service_user, strerror(cause));
}

static void trial_files(const struct conf *c)
{
    enum { GROUPS_MAX = 256 };
    gid_t groups[GROUPS_MAX];
    int n = getgroups(GROUPS_MAX, groups);
    const struct passwd *user = getpwnam(service_user);
    if (n < 0 || user == NULL || user->pw_uid == 0)
        return;
    if (!become(user, groups, n))
        return;
    for (const struct conf_file *f = c->files; f != NULL; f = f->hh.next)
        trial_file(f->path, R_OK);
    if (log_sink_name(c->log.access)[0] == '/')
        trial_file(c->log.access, W_OK);
    if (c->rules[0].tls.keylog[0] == '/')
        trial_file(c->rules[0].tls.keylog, W_OK);
    become_root(groups, n);
}

void trial_here(const struct conf *c, bool is_run)
{
    for (unsigned i = 0; i < c->n_listeners; i++)
        trial_listener(&c->listeners[i]);
    if (geteuid() == 0 && !is_run)
        trial_files(c);
}
