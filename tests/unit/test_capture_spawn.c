/* SPDX-License-Identifier: Apache-2.0 */
/* capture_spawn.c: a program is found, and found wanting, as posix_spawnp(3) does it; what a new
 * process has, and that one which cannot enter its network says so. The program is no library,
 * hence the include. */
#include "../../proxy/capture_spawn.c"

#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

#define WORD(text) ((char *)(uintptr_t)(text)) /* execve(2) wants it so, and writes nothing */

static char base[32];
static struct capture_place own = {-1, -1}; /* the network that we are in */

static void make_file(const char *name, const char *text, mode_t mode)
{
    char path[64];
    snprintf(path, sizeof(path), "%s/%s", base, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fchmod(fileno(f), mode), 0);
    fclose(f);
}

static int set_up(void **state)
{
    char path[64];
    (void)state;
    snprintf(base, sizeof(base), "/tmp/test_spawn.XXXXXX");
    if (mkdtemp(base) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/folder", base);
    mkdir(path, 0700);
    make_file("ok", "#!/bin/sh\nexit 3\n", 0700);
    make_file("data", "no program\n", 0700);
    make_file("closed", "#!/bin/sh\n", 0600);
    make_file("orphan", "#!/nonexistent/sh\n", 0700);
    own.net = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    return own.net < 0 ? -1 : chdir(base);
}

static int tear_down(void **state)
{
    static const char *const names[] = {"ok", "data", "closed", "orphan"};
    (void)state;
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        unlink(names[i]);
    rmdir("folder");
    close(own.net);
    return chdir("/") + rmdir(base);
}

static struct signals_before before;
static struct rlimit limit;

static int start(pid_t *pid, char **words, const struct capture_place *place)
{
    static char *environment[] = {WORD("A=b"), NULL};
    getrlimit(RLIMIT_NOFILE, &limit);
    return capture_spawn_in(pid, &(struct capture_command){words, environment, &before, &limit},
                            place);
}

/* The exit status of what was started. */
static int status_of(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static bool may_set_network(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(setns(own.net, CLONE_NEWNET) == 0 ? 0 : 1);
    return status_of(pid) == 0;
}

/* Whatever a name and a PATH lead to, the C library's word counts. */
static void as_the_library_finds_it(void **state)
{
    static const char *const paths[] = {
        NULL,        "",         "/nonexistent:/bin",       ".",  ":/bin", "/bin:", "/bin::/x",
        "/dev/null", "folder:.", "/nonexistent:.:/usr/bin", "::", ":"};
    static const char *const names[] = {"ok",       "true",   "data",     "closed",   "orphan", "",
                                        "folder",   "./ok",   "./data",   "none",     "./none", "/",
                                        "./folder", "ok/sub", "./closed", "/bin/true"};
    static char *environment[] = {WORD("A=b"), NULL};
    (void)state;
    if (!may_set_network())
        skip();
    for (size_t p = 0; p < sizeof(paths) / sizeof(paths[0]); p++) {
        if (paths[p] == NULL)
            unsetenv("PATH");
        else
            setenv("PATH", paths[p], 1);
        for (size_t n = 0; n < sizeof(names) / sizeof(names[0]); n++) {
            pid_t ours, theirs;
            char *words[] = {WORD(names[n]), NULL};
            int wanted = posix_spawnp(&theirs, words[0], NULL, NULL, words, environment);
            int got = start(&ours, words, &own);
            if (got != wanted)
                fail_msg("%s in %s: %d, not %d", names[n], paths[p] ? paths[p] : "no PATH", got,
                         wanted);
            if (got == 0)
                assert_int_equal(status_of(ours), status_of(theirs));
        }
    }
    setenv("PATH", "/bin:/usr/bin", 1);
}

static void expect_line(const char *pattern, const struct rlimit *of_files)
{
    char *words[] = {WORD("grep"), WORD("-qx"), WORD(pattern), WORD("/proc/self/status"), NULL};
    char *environment[] = {WORD("A=b"), NULL};
    struct capture_command c = {words, environment, &before, of_files};
    pid_t pid;
    assert_int_equal(capture_spawn_in(&pid, &c, &own), 0);
    if (status_of(pid) != 0)
        fail_msg("no line is %s", pattern);
}

/* The mask and what is ignored are those of before; the limit and the environment are as given. */
static void what_it_begins_with(void **state)
{
    char *words[] = {WORD("sh"), WORD("-c"), WORD("test $(ulimit -n)$A = 77b"), NULL};
    char *environment[] = {WORD("A=b"), NULL};
    struct rlimit small;
    pid_t pid;
    (void)state;
    if (!may_set_network())
        skip();
    getrlimit(RLIMIT_NOFILE, &small);
    small.rlim_cur = 77;
    sigset_t here = before.mask;
    sigaddset(&before.mask, SIGUSR1);
    signal(SIGPIPE, SIG_IGN);
    expect_line("SigBlk:.*00200", &small);
    expect_line("SigIgn:.*0[0246]000", &small);
    before.ignores_pipe = true;
    expect_line("SigIgn:.*01000", &small);
    before = (struct signals_before){.mask = here};
    signal(SIGPIPE, SIG_DFL);
    struct capture_command c = {words, environment, &before, &small};
    assert_int_equal(capture_spawn_in(&pid, &c, &own), 0);
    assert_int_equal(status_of(pid), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_not_equal(limit.rlim_cur, 77);
}

/* What is no namespace cannot be entered: that is nothing of the command's. */
static void no_network(void **state)
{
    char *words[] = {WORD("true"), NULL};
    struct capture_place no_place = {STDERR_FILENO, -1};
    pid_t pid;
    (void)state;
    assert_int_equal(start(&pid, words, &no_place), -1);
    assert_int_equal(pid, 0);
    assert_true(errno == EINVAL || errno == EBADF || errno == EPERM);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* it was buried */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_the_library_finds_it),
        cmocka_unit_test(what_it_begins_with),
        cmocka_unit_test(no_network),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
