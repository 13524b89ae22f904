/* SPDX-License-Identifier: Apache-2.0 */
/* capture_why.c: which setting is named, from files that stand for those of /proc. The program is
 * no library, hence the include. */
#include "../../proxy/capture_why.c"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define CLONE    "sys/kernel/unprivileged_userns_clone"
#define APPARMOR "sys/kernel/apparmor_restrict_unprivileged_userns"
#define USERS    "sys/user/max_user_namespaces"
#define NETS     "sys/user/max_net_namespaces"

static const char *const folders[] = {"", "sys", "sys/kernel", "sys/user", "self", "self/ns"};
static const char *const files[] = {CLONE,         APPARMOR,       USERS,        NETS,
                                    "self/status", "self/ns/user", "self/ns/net"};

static char root[32];

static char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", root, name);
    return path;
}

/* NULL removes it. */
static void put(const char *name, const char *text)
{
    if (text == NULL) {
        unlink(path_of(name));
        return;
    }
    FILE *f = fopen(path_of(name), "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* A system on which nothing stands in the way. */
static int set_up(void **state)
{
    (void)state;
    snprintf(root, sizeof(root), "/tmp/test_why.XXXXXX");
    if (mkdtemp(root) == NULL)
        return -1;
    for (size_t i = 1; i < sizeof(folders) / sizeof(folders[0]); i++)
        mkdir(path_of(folders[i]), 0700);
    put(CLONE, "1\n");
    put(APPARMOR, "0\n");
    put(USERS, "96365\n");
    put(NETS, "96365\n");
    put("self/status", "Name:\ttlsfan\nSeccomp:\t0\nSeccomp_filters:\t0\n");
    put("self/ns/user", "");
    put("self/ns/net", "");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        put(files[i], NULL);
    for (size_t i = sizeof(folders) / sizeof(folders[0]); i > 0; i--)
        rmdir(path_of(folders[i - 1]));
    return 0;
}

static void expect(enum capture_step step, int cause, const char *part)
{
    char *why = capture_why(root, step, cause);
    if (strstr(why, part) == NULL)
        fail_msg("%s is not in: %s", part, why);
    /* One sentence, with the other ways. */
    assert_null(strchr(why, '\n'));
    assert_null(strstr(why, ". "));
    assert_non_null(strstr(why, "without --capture, which sets http_proxy"));
    assert_non_null(strstr(why, "transparent:"));
    free(why);
}

static void each_setting(void **state)
{
    static const struct {
        const char *file, *text;
        enum capture_step step;
        int cause;
        const char *part;
    } rows[] = {
        {CLONE, "0\n", CAPTURE_USER, EPERM, "(kernel.unprivileged_userns_clone = 0;"},
        {APPARMOR, "1\n", CAPTURE_USER, EPERM,
         "(kernel.apparmor_restrict_unprivileged_userns = 1;"},
        {APPARMOR, "1\n", CAPTURE_MAP, EPERM, "(kernel.apparmor_restrict_unprivileged_userns = 1;"},
        {APPARMOR, "1\n", CAPTURE_ROUTE, EACCES,
         "(kernel.apparmor_restrict_unprivileged_userns = 1;"},
        {USERS, "0\n", CAPTURE_USER, ENOSPC, "(user.max_user_namespaces = 0;"},
        {USERS, "5\n", CAPTURE_USER, ENOSPC, "(user.max_user_namespaces, here"},
        {NETS, "0\n", CAPTURE_NET, ENOSPC, "(user.max_net_namespaces = 0;"},
        {NETS, "5\n", CAPTURE_NET, ENOSPC, "(user.max_net_namespaces, here"},
        {"self/status", "Name:\tx\nSeccomp:\t2\n", CAPTURE_USER, EPERM, "seccomp profile"},
        {"self/status", "Name:\tx\nSeccomp:\t2\n", CAPTURE_NET, ENOSYS, "seccomp profile"},
        {"self/status", "Name:\tx\nUid:\t0\t0\t0\t0\n", CAPTURE_MAP, EPERM, "CAP_SETFCAP"},
        {"self/ns/user", NULL, CAPTURE_USER, EINVAL, "CONFIG_USER_NS"},
        {"self/ns/net", NULL, CAPTURE_NET, EINVAL, "CONFIG_NET_NS"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        tear_down(state);
        set_up(state);
        put(rows[i].file, rows[i].text);
        expect(rows[i].step, rows[i].cause, rows[i].part);
    }
}

/* A limit that was reached and a profile are none of it where the cause is another. */
static void what_is_set_and_harmless(void **state)
{
    (void)state;
    put(APPARMOR, "1\n");
    put("self/status", "Name:\tx\nSeccomp:\t2\n");
    expect(CAPTURE_ROUTE, ENETDOWN, "its routes cannot be set: Network is down");
    put("self/status", "Name:\tx\nSeccomp:\t0\n");
    expect(CAPTURE_USER, EUSERS, "no user namespace can be made: ");
}

/* That no file is there is no reason of that file's. */
static void no_proc(void **state)
{
    tear_down(state);
    expect(CAPTURE_USER, EINVAL, "there is no /proc here");
    expect(CAPTURE_MAP, ENOENT, "there is no /proc here");
    expect(CAPTURE_NET, ENOENT, "there is no /proc here");
}

static void nothing_found(void **state)
{
    (void)state;
    expect(CAPTURE_START, EAGAIN, "the process that keeps it has not begun: Resource");
    expect(CAPTURE_USER, EPERM, "in a chroot");
    expect(CAPTURE_USER, EACCES, "no user namespace can be made: Permission denied");
    expect(CAPTURE_NET, EPERM, "no network namespace can be made: Operation not permitted");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_setting, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_set_and_harmless, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_proc, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_found, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
