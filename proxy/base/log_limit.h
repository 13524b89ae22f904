/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of the error log that a peer can cause. Each call of log_limited() has a limit of its
 * own, LOG_LIMIT_BURST lines in LOG_LIMIT_MS, so that no peer fills the disk; what is held back is
 * counted, and told with the next line of that call, or by a loop soon after the time is over.
 * What the operator causes goes through log.h and is never held back. Thread safe. */
#ifndef TLSFAN_BASE_LOG_LIMIT_H
#define TLSFAN_BASE_LOG_LIMIT_H

#include "base/log.h"

struct loop;

enum { LOG_LIMIT_BURST = 5, LOG_LIMIT_MS = 5000, LOG_LIMIT_TEXT = 256 };

/* One call site. Static and zero-initialised; its fields are log_limit.c's alone. */
struct log_limit {
    struct log_limit *next; /* of those that hold something back */
    enum log_level level;   /* of what is held back */
    int64_t since;          /* µs: when its time began; 0: no line yet */
    unsigned written;       /* lines in that time */
    unsigned held;
    char first[LOG_LIMIT_TEXT]; /* the first of those held back; cut */
};

/* log_write() with at most LOG_LIMIT_BURST lines in LOG_LIMIT_MS from this call site. */
#define log_limited(level, ...)                                     \
    do {                                                            \
        static struct log_limit log_limit_here;                     \
        if (log_is_enabled(level))                                  \
            log_limit_write(&log_limit_here, (level), __VA_ARGS__); \
    } while (0)
void log_limit_write(struct log_limit *l, enum log_level level, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* From now on LOOP, whose thread calls this, tells what was held back when its time is over. NULL,
 * before the loop goes: all of it is told now. It is the loop of base/log_loss.h, too. */
void log_limit_set_loop(struct loop *loop);

#endif
