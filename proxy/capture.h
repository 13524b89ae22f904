/* SPDX-License-Identifier: Apache-2.0 */
/* `run --capture`: the network of COMMAND, in which every address leads to sockets of tlsfan's, as
 * seen from tlsfan, which stays outside. One in a process; main thread only. Where it was not
 * started there is none, and that is no fault. */
#ifndef TLSFAN_CAPTURE_H
#define TLSFAN_CAPTURE_H

#include <sys/types.h>

#include "base/addr.h"
#include "capture_spawn.h"
#include "own/name_service.h"

/* Starts the keeper, which makes the network meanwhile. Before there is a second thread, or a file
 * that is not for it. */
void capture_start(void);
/* Waits until the network is there, with the sockets of DNS. False after a sentence on stderr. */
bool capture_wait(void);

/* True between capture_start() and capture_close(). */
bool capture_is_on(void);

/* A socket of COMMAND's network that is bound to A: SOCK_STREAM, and it listens; or SOCK_DGRAM. The
 * caller's; -1 with errno, which is EAFNOSUPPORT where A is IPv6 and the network has none, EPIPE
 * when the keeper has ended. */
MUST_CHECK int capture_socket(const struct addr *a, int type);
/* Where COMMAND asks for names, once: whoever takes it owns the descriptors. NULL where there is no
 * such network. */
const struct name_sockets *capture_take_names(void);

/* PATH, which is absolute, is to be removed when tlsfan dies without a word, before those that were
 * told first. Nothing happens where there is no keeper, or it has no room for it. */
void capture_leave(const char *path);

/* Starts COMMAND in its network, found as posix_spawnp(3) finds it. 0 and its process in *PID, or
 * an errno; -1 where the reason is not COMMAND's, which then has been told on stderr. */
int capture_spawn(pid_t *pid, const struct capture_command *command);

/* PID has ended: true when it was the keeper's; a warning says what that means. */
bool capture_has_ended(pid_t pid);

/* The keeper ends; whoever is left in the network stays, and reaches nobody. Harmless where there
 * is none. */
void capture_close(void);

#endif
