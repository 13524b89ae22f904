/* SPDX-License-Identifier: Apache-2.0 */
/* Which signals: see signals.h. */
#include "signals.h"

#include <pthread.h>
#include <stddef.h>

/* `run` takes all that can be waited for: but SIGPIPE, and those that a thread's own fault raises.
 * That they are blocked has process 1 get them, too, whom the kernel spares their default. */
static void signals_of_run(sigset_t *set)
{
    static const int others[] = {SIGPIPE, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS};
    sigfillset(set);
    for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
        sigdelset(set, others[i]);
}

static void signals_of(bool is_run, sigset_t *set)
{
    static const int of_server[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};
    if (is_run) {
        signals_of_run(set);
        return;
    }
    sigemptyset(set);
    for (size_t i = 0; i < sizeof(of_server) / sizeof(*of_server); i++)
        sigaddset(set, of_server[i]);
}

void signals_take(bool is_run, struct signals_before *before)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct sigaction old;
    sigset_t set;
    sigaction(SIGPIPE, &ignore, &old);
    before->ignores_pipe = old.sa_handler == SIG_IGN;
    signals_of(is_run, &set);
    pthread_sigmask(SIG_BLOCK, &set, &before->mask);
}

int signals_open(bool is_run)
{
    sigset_t set;
    signals_of(is_run, &set);
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}
