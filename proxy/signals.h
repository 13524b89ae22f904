/* SPDX-License-Identifier: Apache-2.0 */
/* The signals of this process: blocked before there is a second thread, read from a descriptor. */
#ifndef TLSFAN_SIGNALS_H
#define TLSFAN_SIGNALS_H

#include <signal.h>
#include <stdbool.h>
#include <sys/signalfd.h>

/* What the process was given, for a COMMAND that is to have the same. */
struct signals_before {
    sigset_t mask;
    bool ignores_pipe;
};

/* Blocks the signals that signals_open() reads, those of `run` too if IS_RUN, and ignores SIGPIPE.
 * To be called before there is a second thread, as threads inherit the mask. */
void signals_take(bool is_run, struct signals_before *before);

/* A descriptor to read them from as struct signalfd_siginfo, which does not block. The caller's; -1
 * with errno. */
int signals_open(bool is_run);

#endif
