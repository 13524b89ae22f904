/* SPDX-License-Identifier: Apache-2.0 */
/* A schedule: what clients, origins, names and the clock do, and in which order, chosen by bytes.
 * Whatever they choose, this must hold:
 *
 *     each answer is its own request's: bodies and a field carry the request's number
 *     there is one answer a request, whole or cut off by the end of the connection
 *     an origin gets each request as it was sent, an unsafe one at most once
 *     of one client, an unsafe request is at an origin alone
 *     what nobody has asked for reaches nobody
 *     when all timeouts are over each request has been answered, or its connection has ended, and
 *     no connection, client or byte of max_memory is left, and who comes then is served */
#ifndef TLSFAN_TESTS_SCHEDULE_H
#define TLSFAN_TESTS_SCHEDULE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Plays the N bytes at P. NULL when all held, else what did not. Valid until the next call. */
const char *schedule_play(const uint8_t *p, size_t n);
/* What was done, much as a script has it. */
void schedule_print(FILE *to);
/* Frees what schedules share. */
void schedule_clear(void);

#endif
