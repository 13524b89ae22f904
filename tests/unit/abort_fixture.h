/* SPDX-License-Identifier: Apache-2.0 */
/* What must end the process, tried in a child. */
#ifndef TLSFAN_TESTS_ABORT_FIXTURE_H
#define TLSFAN_TESTS_ABORT_FIXTURE_H

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* True when FN ends by abort(). TEXT: what it said on stderr, terminated, CAP bytes at most. */
static inline bool aborts(void (*fn)(void), char *text, size_t cap)
{
    int ends[2];
    int status = 0;
    size_t n = 0;
    if (pipe(ends) != 0)
        return false;
    pid_t child = fork();
    if (child == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGABRT, SIG_DFL);
        dup2(ends[1], STDERR_FILENO);
        fn();
        _exit(0);
    }
    close(ends[1]);
    for (ssize_t r = 1; r > 0 && n + 1 < cap; n += (size_t)(r > 0 ? r : 0))
        r = read(ends[0], text + n, cap - 1 - n);
    text[n] = '\0';
    close(ends[0]);
    return waitpid(child, &status, 0) == child && WIFSIGNALED(status) &&
           WTERMSIG(status) == SIGABRT;
}

#endif
