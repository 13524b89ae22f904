/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of the access log that its sink has not taken, because a disk is full or nobody reads a
 * pipe. Said once when that begins, and with their number when it is over: when lines were taken
 * for LOG_LOSS_MS, so that a slow reader is one beginning and one end. Thread safe. */
#ifndef TLSFAN_BASE_LOG_LOSS_H
#define TLSFAN_BASE_LOG_LOSS_H

#include "base/str.h"

struct loop;

enum { LOG_LOSS_MS = 1000 };

/* Lines went to the sink NAME, of which LOST were not taken, for the reason WHY: errno, or 0 when
 * it takes no more for the moment. Not under the lock of log.c, for this writes a line. */
void log_loss_note(const char *name, unsigned lost, int why);

/* The sink is about to be another one, or none: what it has lost is said now. */
void log_loss_end(void);

/* From now on LOOP, whose thread calls this, sees to it that an end is said though no further line
 * comes. NULL before the loop goes. */
void log_loss_set_loop(struct loop *loop);

#endif
