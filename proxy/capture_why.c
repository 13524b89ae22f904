/* SPDX-License-Identifier: Apache-2.0 */
/* One row for each thing that stands in the way; the first that fits is told. The kernel says EPERM
 * to most, hence the look at its settings. */
#include "capture_why.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"

enum { SETTING_MAX = 1 << 16 }; /* bytes of one file */

/* Where a row may be the reason. */
enum {
    WHY_USER = 1 << CAPTURE_USER,
    WHY_NET = 1 << CAPTURE_NET,
    WHY_OF_USERS = WHY_USER | 1 << CAPTURE_MAP, /* and of a profile that takes the rights back */
    WHY_ANY = WHY_OF_USERS | WHY_NET | 1 << CAPTURE_ROUTE
};

static const struct {
    unsigned steps;   /* WHY_… */
    int cause;        /* 0: any */
    const char *file; /* below the root; NULL: none is looked at */
    const char *line; /* what one line of it begins with; NULL: it is not there */
    const char *reason;
} why_rows[] = {
    {WHY_USER, 0, "sys/kernel/unprivileged_userns_clone", "0",
     "this system lets only root make user namespaces (kernel.unprivileged_userns_clone = 0; "
     "sysctl -w kernel.unprivileged_userns_clone=1 lets all)"},
    {WHY_USER, 0, "sys/user/max_user_namespaces", "0",
     "this system allows no user namespaces (user.max_user_namespaces = 0; sysctl -w "
     "user.max_user_namespaces=10000 allows them)"},
    {WHY_USER, ENOSPC, NULL, NULL,
     "there are too many user namespaces, or too many inside each other "
     "(user.max_user_namespaces, here or in the one around; 32 levels at most)"},
    {WHY_NET, 0, "sys/user/max_net_namespaces", "0",
     "this system allows no network namespaces (user.max_net_namespaces = 0; sysctl -w "
     "user.max_net_namespaces=10000 allows them)"},
    {WHY_NET, ENOSPC, NULL, NULL,
     "there are too many network namespaces (user.max_net_namespaces, here or in the user "
     "namespace around)"},
    {WHY_ANY, EPERM, "sys/kernel/apparmor_restrict_unprivileged_userns", "1",
     "AppArmor lets no program make use of a user namespace that has no profile for it "
     "(kernel.apparmor_restrict_unprivileged_userns = 1; sysctl -w "
     "kernel.apparmor_restrict_unprivileged_userns=0 lets all)"},
    {WHY_ANY, EACCES, "sys/kernel/apparmor_restrict_unprivileged_userns", "1",
     "AppArmor lets no program make use of a user namespace that has no profile for it "
     "(kernel.apparmor_restrict_unprivileged_userns = 1; sysctl -w "
     "kernel.apparmor_restrict_unprivileged_userns=0 lets all)"},
    {1 << CAPTURE_MAP, EPERM, "self/status", "Uid:\t0",
     "user 0 without CAP_SETFCAP may have none (a container without capabilities: have it run as "
     "another user, or add that one)"},
    {WHY_ANY, 0, "self/ns", NULL, "there is no /proc here (mount -t proc proc /proc)"},
    {WHY_USER, 0, "self/ns/user", NULL, "this kernel has no user namespaces (CONFIG_USER_NS)"},
    {WHY_USER | WHY_NET, 0, "self/ns/net", NULL,
     "this kernel has no network namespaces (CONFIG_NET_NS)"},
    {WHY_USER | WHY_NET, 0, "self/status", "Seccomp:\t2",
     "a seccomp profile forbids namespaces, as that of a container does (docker run "
     "--security-opt seccomp=PROFILE with one that allows unshare and setns, or in Kubernetes "
     "securityContext.seccompProfile)"},
    {WHY_USER, EPERM, NULL, NULL,
     "the kernel makes no user namespace in a chroot, nor for a user that the namespace around "
     "does "
     "not know (a container, or pivot_root(8), is none; root needs no user namespace)"},
};

static const char *const why_steps[] = {
    [CAPTURE_START] = "the process that keeps it has not begun",
    [CAPTURE_USER] = "no user namespace can be made",
    [CAPTURE_MAP] = "the user namespace takes no users",
    [CAPTURE_NET] = "no network namespace can be made",
    [CAPTURE_ROUTE] = "its routes cannot be set",
};

static bool why_has_line(const char *text, const char *line)
{
    struct str rest = str_from(text), one;
    while (text != NULL && str_next_part(&rest, '\n', &one))
        if (str_starts(one, str_from(line)))
            return true;
    return false;
}

static bool why_fits(unsigned row, const char *root, enum capture_step step, int cause)
{
    size_t n;
    if ((why_rows[row].steps & 1U << step) == 0 ||
        (why_rows[row].cause != 0 && why_rows[row].cause != cause))
        return false;
    if (why_rows[row].file == NULL)
        return true;
    char *path = xasprintf("%s/%s", root, why_rows[row].file);
    bool fits;
    if (why_rows[row].line == NULL) {
        fits = !file_identify(path).exists;
    } else {
        char *text = file_read(path, SETTING_MAX, &n);
        fits = why_has_line(text, why_rows[row].line);
        free(text);
    }
    free(path);
    return fits;
}

char *capture_why(const char *root, enum capture_step step, int cause)
{
    const char *reason = NULL;
    for (unsigned i = 0; i < sizeof(why_rows) / sizeof(why_rows[0]) && reason == NULL; i++)
        if (why_fits(i, root, step, cause))
            reason = why_rows[i].reason;
    return xasprintf("--capture needs a network namespace for the command, but %s%s%s; two other "
                     "ways: the same without --capture, which sets http_proxy, or a transparent: "
                     "listener in a sidecar container",
                     reason != NULL ? reason : why_steps[step], reason != NULL ? "" : ": ",
                     reason != NULL ? "" : strerror(cause));
}
