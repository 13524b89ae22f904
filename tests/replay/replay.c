/* SPDX-License-Identifier: Apache-2.0 */
/* Plays the scripts that it is given, each in a process of its own, so that one that breaks the
 * worker does not hide the next. Exits with 1 when one has failed. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "script.h"

static int play(const char *path)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        alarm(60);
        script_play(path);
        exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        return 1;
    if (WIFSIGNALED(status))
        fprintf(stderr, "%s: ended by signal %d\n", path, WTERMSIG(status));
    return status != 0;
}

int main(int argc, char **argv)
{
    int failed = 0;
    for (int i = 1; i < argc; i++)
        failed += play(argv[i]);
    printf("%d scripts, %d failed\n", argc - 1, failed);
    return failed > 0;
}
