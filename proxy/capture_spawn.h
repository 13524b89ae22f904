/* SPDX-License-Identifier: Apache-2.0 */
/* The birth of COMMAND in its network: posix_spawnp(3) with setns(2) before the program begins. */
#ifndef TLSFAN_CAPTURE_SPAWN_H
#define TLSFAN_CAPTURE_SPAWN_H

#include <sys/resource.h>
#include <sys/types.h>

#include "signals.h"

/* COMMAND as it is to begin. */
struct capture_command {
    char **words, **environment;
    const struct signals_before *before;
    const struct rlimit *limit; /* of descriptors */
};

/* Descriptors of the namespaces that it enters. */
struct capture_place {
    int net;
    int user; /* -1: it stays in ours, with its capabilities; else it has none */
};

/* Starts COMMAND in PLACE, from any of any number of threads. 0 and its process in *PID, or an
 * errno as posix_spawnp() gives it; -1 with errno where PLACE could not be entered, or no process
 * made. */
int capture_spawn_in(pid_t *pid, const struct capture_command *command,
                     const struct capture_place *place);

#endif
