/* SPDX-License-Identifier: Apache-2.0 */
/* What a service manager says by variables, and where it listens: sd_listen_fds(3), sd_notify(3)
 * and sd_watchdog_enabled(3), as systemd describes them for programs without its library. Main
 * thread only. */
#ifndef TLSFAN_MANAGER_ENV_H
#define TLSFAN_MANAGER_ENV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MANAGER_FIRST_FD = 3 };

/* How many descriptors were passed to this process, from MANAGER_FIRST_FD on; 0 also where one of
 * them is not open. None of them gets to a child, nor do the variables. */
unsigned manager_env_fds(void);
/* FD is a stream socket that listens. */
bool manager_env_listens(int fd);
/* Sends the N bytes of TEXT to who started us, if it wants to hear. */
void manager_env_notify(const char *text, size_t n);
/* µs after which it takes us for dead; 0: it does not ask. */
uint64_t manager_env_watchdog(void);

#endif
