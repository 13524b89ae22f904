/* SPDX-License-Identifier: Apache-2.0 */
/* The error log (for people) and the access log (a line an exchange). Thread safe. A sink that does
 * not take a line never stops a worker: the line is dropped and counted. Secrets are never put in.
 * Lines of the error log that a peer can cause go through log_limit.h instead. */
#ifndef TLSFAN_BASE_LOG_H
#define TLSFAN_BASE_LOG_H

#include <stdarg.h>

#include "base/str.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* ACCESS; "stderr" and "stdout" for /dev/stderr and /dev/stdout: many name a stream so, and its
 * file may be a socket or somebody else's, which cannot be opened. */
const char *log_sink_name(const char *access);

/* Opens the access sink: "stderr", "stdout", "syslog", "off" or a file path (appended, mode 0640).
 * The error log goes to stderr always. False with errno text in ERR when the file cannot be opened;
 * the sink before stays. */
MUST_CHECK bool log_open(enum log_level level, const char *access, char *err, size_t err_len);
/* Opens the access file again (USR1). False when it cannot be, which is logged: the old one
 * stays. */
bool log_reopen(void);
void log_close(void);

/* "2026-01-31T12:00:00.123Z warning text\n" to stderr when LEVEL is enabled; at a terminal
 * "12:00:00 warning text\n", and for journald "<4>warning text\n". */
void log_write(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);
void log_vwrite(enum log_level level, const char *fmt, va_list args) PRINTF_LIKE(2, 0);
bool log_is_enabled(enum log_level level);
/* TEXT, whole lines, to stderr, as it stands but for the priorities that journald wants. It waits
 * until all is taken: before serving begins. */
void log_plain(enum log_level level, const char *text);
/* TEXT and a line feed to stderr, without time and level. Like all others it waits for nobody. */
void log_bare(const char *text);
#define log_error(...)   log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_write(LOG_LEVEL_INFO, __VA_ARGS__)

/* What the sink of access lines is; 0 when it is off. */
enum log_trait {
    LOG_IS_ON = 1,
    LOG_IS_TERMINAL = 2,
    LOG_HAS_COLOURS = 4, /* a terminal, and neither NO_COLOR nor TERM=dumb */
    LOG_IS_JOURNAL = 8,  /* lines begin with LOG_JOURNAL_INFO */
    LOG_STAMPS = 16      /* it adds the time itself */
};
#define LOG_JOURNAL_INFO "<6>" /* the priority, as in sd-daemon(3) */
unsigned log_access_traits(void);
/* Of that terminal, as it is now; 0: not known. A system call. */
unsigned log_access_columns(void);
/* Lines that no sink took, of both logs, since the start. */
uint64_t log_dropped(void);

#endif
